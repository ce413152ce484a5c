// A program that speaks OSC over a WebSocket and knows nothing of OSCQuery: it presses the button of a preset, and stays until it is ended.
const osc = require("osc");

const [url, address] = process.argv.slice(2);
const port = new osc.WebSocketPort({ url, metadata: true });
port.on("ready", () => {
  for (const value of [1, 0]) port.send({ address, args: [{ type: "f", value }] });
  console.log("sent");
});
port.open();
