// What the worker tells: one WebSocket, everything once, then what changes. Whoever draws asks here.

const NAMES = [
  "n", "client", "id", "operation", "state", "priority", "accepted", "started", "wait", "run", "step", "steps", "eta", "attempt",
  "code", "word", "message", "hint", "items", "files", "wrote", "skipped", "name", "reads",
];
const MOST_LINES = 500;
const SECONDS = 600;
const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 5000;
// With very many rows the list is made anew at most so often.
const MANY = 2000;
const MANY_EVERY_MS = 150;

export const store = {
  connected: false,
  about: null,
  rows: new Map(),
  order: [],
  levels: { word: "Starting" },
  clients: [],
  children: [],
  presets: {},
  packets: [],
  lines: [],
  series: [],
  offset: 0,
  version: 0,
};

const listeners = new Set();
let due = false;
let last = 0;
let byId = new Map();

export function listen(call) {
  listeners.add(call);
  return () => listeners.delete(call);
}

export function changed() {
  if (due) return;
  due = true;
  const wait = store.order.length > MANY ? Math.max(0, MANY_EVERY_MS - (performance.now() - last)) : 0;
  setTimeout(() => requestAnimationFrame(draw), wait);
}

function draw() {
  due = false;
  last = performance.now();
  store.version += 1;
  for (const call of [...listeners]) call(store.version);
}

// The worker's time, in seconds.
export function now() {
  return Date.now() / 1000 + store.offset;
}

export function rowOfId(id) {
  return byId.get(id);
}

function take(frame) {
  store.offset = frame.now - Date.now() / 1000;
  if (frame.whole) {
    store.rows = new Map();
    store.order = [];
    store.lines = [];
    store.series = [];
    byId = new Map();
    if (store.boot !== frame.boot) askAbout();
    store.boot = frame.boot;
  }
  for (const values of frame.rows || []) takeRow(values);
  if (frame.gone && !frame.whole) forget(frame.gone);
  const newest = store.lines.length ? store.lines[store.lines.length - 1].n : 0;
  for (const [n, at, level, name, text] of frame.lines || []) if (n > newest) store.lines.push({ n, at, level, name, text });
  if (store.lines.length > MOST_LINES) store.lines = store.lines.slice(-MOST_LINES);
  const second = store.series.length ? store.series[store.series.length - 1][0] : 0;
  for (const one of frame.series || []) if (one[0] > second) store.series.push(one);
  if (store.series.length > SECONDS) store.series = store.series.slice(-SECONDS);
  for (const name of ["levels", "clients", "children", "presets", "packets"]) if (name in frame) store[name] = frame[name];
  if ("catalog" in frame && store.catalog !== frame.catalog) {
    if (store.catalog !== undefined) askAbout();
    store.catalog = frame.catalog;
  }
  changed();
}

function takeRow(values) {
  const row = {};
  for (let place = 0; place < NAMES.length; place++) row[NAMES[place]] = values[place];
  row.text = `${row.id} ${row.operation} ${row.message} ${row.word} ${row.name}`.toLowerCase();
  const known = store.rows.get(row.n);
  store.rows.set(row.n, row);
  byId.set(row.id, row);
  if (known) store.order[find(row.n)] = row;
  else store.order.push(row);
}

// The place of a job in the order of the numbers.
function find(n) {
  let low = 0;
  let high = store.order.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (store.order[middle].n < n) low = middle + 1;
    else high = middle;
  }
  return low;
}

function forget(numbers) {
  for (const n of numbers) {
    const row = store.rows.get(n);
    if (row && byId.get(row.id) === row) byId.delete(row.id);
    store.rows.delete(n);
  }
  store.order = store.order.filter((row) => store.rows.has(row.n));
}

async function askAbout() {
  try {
    const answer = await fetch("/api/about");
    if (answer.status === 401) location.reload();
    if (answer.ok) store.about = await answer.json();
    changed();
  } catch (error) {
    // the connection is gone; when it is back, everything is asked for again
  }
}

let wait = FIRST_RETRY_MS;

export function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/told`);
  socket.onmessage = (event) => {
    if (!store.connected) {
      store.connected = true;
      wait = FIRST_RETRY_MS;
    }
    take(JSON.parse(event.data));
  };
  socket.onclose = () => {
    if (store.connected) {
      store.connected = false;
      changed();
    }
    setTimeout(connect, wait);
    wait = Math.min(LONGEST_RETRY_MS, wait * 1.6);
  };
  if (!store.about) askAbout();
}

// Asks the worker to do something. Gives what it answers; an error has `error`, and perhaps `hint`.
export async function ask(path, body) {
  try {
    const answer = await fetch(`/api/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body || {}),
    });
    return await answer.json();
  } catch (error) {
    return { error: "The worker does not answer.", hint: "Is it still running?" };
  }
}
