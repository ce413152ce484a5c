// The jobs: a window of rows over as many as there are, newest first.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { base, clientName, duration } from "./format.js";
import { now, store } from "./store.js";

const ROW = 52;
const BEYOND = 6;

export const FILTERS = [
  ["all", "All"],
  ["running", "Running"],
  ["queued", "Waiting"],
  ["ready", "Ready"],
  ["failed", "Failed"],
];
const WORDS = { queued: "Waiting", running: "Running", ready: "Ready", failed: "Failed" };
const PRIORITY = ["live", "normal", "batch"];

// The rows of a filter and a search, in the order in which they are shown, and how many there are of each state.
export function select(filter, query) {
  const counts = { all: store.order.length, running: 0, queued: 0, ready: 0, failed: 0 };
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  const first = [];
  for (let place = store.order.length - 1; place >= 0; place--) {
    const row = store.order[place];
    counts[row.state] += 1;
    if (filter !== "all" && row.state !== filter) continue;
    if (words.length && !words.every((word) => row.text.includes(word))) continue;
    // What runs stands first, wherever it came in.
    (row.state === "running" ? first : rows).push(row);
  }
  // Those that wait, in the order in which they will run.
  if (filter === "queued") rows.sort((one, other) => one.priority - other.priority || one.n - other.n);
  return { rows: first.length ? first.concat(rows) : rows, counts };
}

export function useSelection(filter, query, version) {
  return useMemo(() => select(filter, query), [filter, query, version]);
}

export function List({ rows, chosen, choose, open }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 600 });

  useEffect(() => {
    const element = box.current;
    const look = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const watcher = new ResizeObserver(look);
    watcher.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    look();
    return () => {
      watcher.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);

  const first = Math.max(0, Math.floor(view.top / ROW) - BEYOND);
  const stop = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + BEYOND);

  const move = (event) => {
    const place = rows.findIndex((row) => row.n === chosen);
    const page = Math.max(1, Math.floor(view.height / ROW) - 1);
    const to = {
      ArrowDown: place + 1, ArrowUp: place - 1, j: place + 1, k: place - 1,
      PageDown: place + page, PageUp: place - page, Home: 0, End: rows.length - 1,
    }[event.key];
    if (event.key === "Enter" && place >= 0) {
      event.preventDefault();
      open(rows[place]);
    }
    if (to === undefined || !rows.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = Math.min(rows.length - 1, Math.max(0, to));
    choose(rows[next].n);
    const element = box.current;
    if (next * ROW < element.scrollTop) element.scrollTop = next * ROW;
    else if ((next + 1) * ROW > element.scrollTop + element.clientHeight) element.scrollTop = (next + 1) * ROW - element.clientHeight;
  };

  const shown = rows.slice(first, stop);
  const active = shown.some((row) => row.n === chosen) ? `job-${chosen}` : undefined;
  return html`
    <div
      class="list" ref=${box} role="listbox" tabindex="0" aria-label="Jobs" aria-activedescendant=${active} onKeyDown=${move}
    >
      <div class="all" role="presentation" style=${{ height: `${rows.length * ROW}px` }}>
        ${shown.map((row, place) => html`
          <${Row}
            key=${row.n} row=${row} top=${(first + place) * ROW} place=${first + place + 1} size=${rows.length}
            isChosen=${row.n === chosen} choose=${choose} open=${open}
          />
        `)}
      </div>
      ${rows.length ? null : html`<p class="empty">No jobs here.</p>`}
    </div>
  `;
}

function Row({ row, top, place, size, isChosen, choose, open }) {
  return html`
    <div
      class=${`row ${row.state} ${isChosen ? "chosen" : ""}`} id=${`job-${row.n}`} role="option" aria-selected=${isChosen}
      aria-setsize=${size} aria-posinset=${place} style=${{ transform: `translateY(${top}px)` }}
      onClick=${() => choose(row.n)} onDblClick=${() => open(row)}
    >
      <${Small} row=${row} />
      <span class="what">
        <span class="id" title=${row.id}>${row.id}</span>
        <span class="operation">${row.operation || "unknown"}</span>
      </span>
      <span class="how"><${How} row=${row} /></span>
      <span class="from">${clientName(row, store.clients)}</span>
      <span class="when"><${When} row=${row} /></span>
      <${Word} row=${row} />
    </div>
  `;
}

export function Word({ row }) {
  const cancelled = row.state === "failed" && row.code === 499;
  return html`<span class=${`word ${cancelled ? "cancelled" : row.state}`}>${cancelled ? "Cancelled" : WORDS[row.state]}</span>`;
}

function When({ row }) {
  if (row.state === "queued") return html`waits <b>${duration((now() - row.accepted) * 1000)}</b>`;
  if (row.state === "running") return html`runs <b>${duration((now() - row.started) * 1000)}</b>`;
  return html`<b>${duration(row.run)}</b><span class="waited"> waited ${duration(row.wait)}</span>`;
}

// Progress of what runs, the reason of what failed, and what came of the others.
export function How({ row }) {
  if (row.state === "running" && row.message) { // the source of a live job
    return html`<span class=${row.message.startsWith("Lost") ? "reason" : "dim"} title=${row.message}>${row.message}</span>`;
  }
  if (row.state === "running") return html`<${Bar} row=${row} />`;
  if (row.state === "failed") return html`<span class="reason" title=${`${row.message} ${row.hint}`}>${row.message || row.word}</span>`;
  if (row.state === "queued") return html`<span class="dim">${PRIORITY[row.priority]}${row.attempt ? `, attempt ${row.attempt + 1}` : ""}</span>`;
  const files = row.wrote === 1 ? base(row.files[0]) : row.wrote ? `${row.wrote} files` : "";
  const items = row.items && row.items !== row.wrote ? `${row.items} found` : "";
  const skipped = row.skipped ? `${row.skipped} left out` : "";
  return html`<span class="dim">${[files, items, skipped].filter(Boolean).join(" · ")}</span>`;
}

export function Bar({ row }) {
  const known = row.steps > 0;
  const part = known ? row.step / row.steps : 0;
  const left = row.eta > 0 ? `, ${duration(row.eta)} left` : "";
  const text = known ? `${row.step} of ${row.steps}${left}` : "";
  return html`
    <span class="progress">
      <span
        class=${known ? "bar" : "bar unknown"} role="progressbar" aria-label=${`Progress of ${row.id}`} aria-valuemin="0" aria-valuemax="100"
        aria-valuenow=${known ? Math.round(100 * part) : undefined}
      ><span style=${{ transform: `scaleX(${known ? part : 0.3})` }}></span></span>
      <span class="steps">${text}</span>
    </span>
  `;
}

const ENDINGS = /\.(avif|bmp|dib|exr|gif|hdr|hei[cf]|jp2|jpe?g?|p[abgnp]m|pic|png|pxm|ras|sr|tiff?|webp)$/i;
// Pictures that did not come, and how often. After a while they are asked for once more: too many may have been wanted at once.
const missing = new Map();
const AGAIN_MS = 4000;
// Errors after which the input cannot be shown, either.
const NO_PICTURE = new Set([403, 404, 413, 415]);

// Which picture stands for a job: the newest that it wrote, otherwise the first that it reads.
export function pictureOf(row) {
  for (let place = row.files.length - 1; place >= 0; place--) {
    if (ENDINGS.test(row.files[place])) return picture(row.n, "out", place);
  }
  return row.reads && !NO_PICTURE.has(row.code) ? picture(row.n, "in", 0) : "";
}

// The number of the start is there for the browser, which keeps pictures: after another start the same job is another one.
export function picture(n, kind, place) {
  return `/api/jobs/${n}/${kind}/${place}?run=${store.boot}`;
}

// A browser has six connections to a server. Small pictures take three at most, so that nothing else waits for them.
const AT_ONCE = 3;
const waiting = [];
let loading = 0;

function next() {
  while (loading < AT_ONCE && waiting.length) {
    const begin = waiting.pop();
    loading += 1;
    begin();
  }
}

// Calls `begin` when there is a turn. What comes back ends the turn, or the wait for it.
function turn(begin) {
  let state = "waits";
  const call = () => {
    state = "loads";
    begin();
  };
  waiting.push(call);
  next();
  return () => {
    if (state === "waits") waiting.splice(waiting.indexOf(call), 1);
    if (state === "loads") loading -= 1;
    if (state !== "done") next();
    state = "done";
  };
}

function Small({ row }) {
  const wanted = pictureOf(row);
  const [source, setSource] = useState("");
  const end = useRef(() => {});
  useEffect(() => {
    if (!wanted || missing.get(wanted) > 1) return undefined;
    end.current = turn(() => setSource(wanted));
    return () => end.current();
  }, [wanted]);
  const gone = () => {
    end.current();
    if (missing.size > 20000) missing.clear();
    missing.set(source, (missing.get(source) || 0) + 1);
    setSource("");
    if (missing.get(source) === 1) setTimeout(() => setSource(source), AGAIN_MS);
  };
  return html`<span class="small">
    ${source ? html`<img src=${source} alt="" decoding="async" onLoad=${() => end.current()} onError=${gone} />` : null}
  </span>`;
}
