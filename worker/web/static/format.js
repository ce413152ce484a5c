// Numbers and times as a person reads them, and jobs as OSC.

export function duration(ms) {
  if (ms < 0) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7200000) return `${Math.round(ms / 60000)} min`;
  return `${Math.round(ms / 3600000)} h`;
}

export function clock(seconds) {
  if (!seconds) return "";
  const when = new Date(seconds * 1000);
  return [when.getHours(), when.getMinutes(), when.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

export function ago(seconds) {
  if (seconds < 1.5) return "now";
  return `${duration(seconds * 1000)} ago`;
}

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many || one + "s"}`;
}

// The last part of a path.
export function base(path) {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}

// "page:9461" is a browser; all else is host and port.
export function clientName(row, clients) {
  if (row.client.startsWith("page:")) return "page";
  if (row.name) return row.name;
  const client = clients.find((one) => one.key === row.client);
  return (client && client.name) || row.client;
}

// The pairs of a job that are not the defaults.
export function pairsOf(operation, values) {
  const pairs = [];
  for (const [name, field] of Object.entries(operation.parameters)) {
    const value = values[name];
    if (value === undefined || value === "" && !field.required && field.default === "") continue;
    if (value !== field.default || field.required) pairs.push([name, value]);
  }
  return pairs;
}

function osc(value) {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return String(value);
  return /^[\w./:#*{}+-]+$/.test(value) ? value : `"${value.replace(/"/g, '\\"')}"`;
}

export function oscMessage(name, pairs) {
  return ["/worker/job", '""', name, ...pairs.flatMap(([key, value]) => [key, osc(value)])].join(" ");
}

function python(value) {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return String(value);
  return `'${value.replace(/\\/g, "\\\\").replace(/'/g, "\\'")}'`;
}

export function touchDesignerLine(name, pairs) {
  const rest = ["''", `'${name}'`, ...pairs.flatMap(([key, value]) => [`'${key}'`, python(value)])];
  return `op('oscout1').sendOSC('/worker/job', [${rest.join(", ")}], asBundle=False)`;
}
