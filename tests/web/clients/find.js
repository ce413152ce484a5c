// Finds a worker by its HTTP port, as a program does that looks for what there is; reads everything, and prints it as JSON.
const { OSCQueryDiscovery } = require("oscquery");

const port = Number(process.argv[2]);
const discovery = new OSCQueryDiscovery();
discovery.on("error", (error) => console.error(error));
discovery.on("up", (service) => {
  if (service.port !== port) return;
  console.log(JSON.stringify({ address: service.address, host: service.hostInfo, methods: service.flat() }));
  process.exit(0);
});
discovery.start();
