// Listens to an address over the WebSocket, sets it to each of some numbers, and prints what it hears. Connects again when the worker ends.
const osc = require("osc");

const [url, address, ...numbers] = process.argv.slice(2);
connect();

function connect() {
  const port = new osc.WebSocketPort({ url, metadata: true });
  const again = () => setTimeout(connect, 200);
  port.on("ready", () => {
    port.removeListener("error", again);
    const hear = port.socket.onmessage;
    // The library knows packets only, and ends the program at a text, such as PATH_CHANGED.
    port.socket.onmessage = (event) => typeof event.data === "string" || hear(event);
    port.on("close", again);
    port.socket.send(JSON.stringify({ COMMAND: "LISTEN", DATA: address }));
    console.log("ready");
  });
  port.on("message", (message) => {
    console.log(JSON.stringify([message.address, ...message.args.map((one) => [one.type, one.value])]));
    if (numbers.length > 0) port.send({ address, args: [{ type: "i", value: Number(numbers.shift()) }] });
  });
  port.on("error", again);
  port.open();
}
