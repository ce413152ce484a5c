// One job: its picture, what it was asked, what came of it, and what can be done with it.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { base, clientName, clock, count, duration } from "./format.js";
import { How, Word, picture } from "./list.js";
import { now, store } from "./store.js";

export function Detail({ row, actions, close }) {
  const [more, setMore] = useState(null);
  const state = row ? row.state : "";
  const number = row ? row.n : 0;

  useEffect(() => {
    let wanted = true;
    setMore(null);
    if (number) {
      fetch(`/api/jobs/${number}`).then((answer) => (answer.ok ? answer.json() : null)).then((found) => wanted && setMore(found)).catch(() => {});
    }
    return () => {
      wanted = false;
    };
  }, [number, state]);

  if (!row) {
    return html`<aside class="detail nothing" aria-label="Job"><p class="empty">Choose a job to see what it did.</p></aside>`;
  }
  const may = store.about && store.about.may_write;
  const open = row.state === "queued" || row.state === "running";
  return html`
    <aside class="detail" aria-label="Job">
      <header>
        <h2 title=${row.id}>${row.id}</h2>
        <${Word} row=${row} />
        <button class="quiet close" onClick=${close} aria-label="Close">×</button>
      </header>
      <${Pictures} row=${row} more=${more} show=${actions.show} />
      ${row.state === "failed" ? html`
        <div class="why"><p>${row.message || row.word}</p>${row.hint ? html`<p class="hint">${row.hint}</p>` : null}<p class="code">${row.code} ${row.word}</p></div>
      ` : html`<div class="how"><${How} row=${row} /></div>`}
      <div class="buttons">
        ${open ? html`<button disabled=${!may} onClick=${() => actions.cancel([row.n])}>Cancel <kbd>c</kbd></button>` : null}
        ${row.state === "failed" ? html`<button class="primary" disabled=${!may} onClick=${() => actions.again([row.n])}>Try again <kbd>r</kbd></button>` : null}
        ${more && more.params ? html`<button onClick=${() => actions.edit(more)}>Open as a form</button>` : null}
      </div>
      <dl>
        <dt>Operation</dt><dd>${row.operation}</dd>
        <dt>From</dt><dd>${clientName(row, store.clients)} <span class="dim">${row.client}</span></dd>
        <dt>Accepted</dt><dd>${clock(row.accepted) || "before this start"}</dd>
        <dt>Waited, ran</dt><dd>${times(row)}</dd>
        ${row.attempt > 1 ? html`<dt>Attempts</dt><dd>${row.attempt}</dd>` : null}
        ${row.items ? html`<dt>Found</dt><dd>${count(row.items, "item")}</dd>` : null}
        ${row.skipped ? html`<dt>Left out</dt><dd>${count(row.skipped, "file")} could not be read</dd>` : null}
        ${given(more).map(([key, value]) => html`<dt>${key}</dt><dd class="value">${String(value)}</dd>`)}
        ${row.wrote ? html`<dt>Wrote</dt><dd>${row.files.slice(-8).map((path) => html`<div class="value" title=${path}>${base(path)}</div>`)}${row.wrote > 8 ? html`<div class="dim">and ${row.wrote - Math.min(8, row.files.length)} more</div>` : null}</dd>` : null}
      </dl>
    </aside>
  `;
}

function times(row) {
  if (row.state === "queued") return `waits ${duration((now() - row.accepted) * 1000)}`;
  if (row.state === "running") return `runs ${duration((now() - row.started) * 1000)}`;
  return `${duration(row.wait)}, ${duration(row.run)}`;
}

// What somebody has given, without what is the default.
function given(more) {
  if (!more || !more.params || !store.about) return [];
  const operation = store.about.operations.find((one) => one.name === more.operation);
  const own = Object.entries(more.params).filter(([key, value]) => !operation || !operation.parameters[key] || operation.parameters[key].default !== value);
  const every = Object.entries(more.options).filter(([key, value]) => store.about.every_job[key] && store.about.every_job[key].default !== value);
  return [...own, ...every];
}

function Pictures({ row, more, show }) {
  const inputs = more ? more.inputs.map((path, place) => [path, picture(row.n, "in", place), "in"]) : [];
  const outputs = more ? more.outputs.slice(-4).map(([place, path]) => [path, picture(row.n, "out", place), "out"]) : [];
  const all = [...outputs.reverse(), ...inputs];
  if (!all.length) return null;
  return html`<div class=${`pictures of-${Math.min(all.length, 3)}`}>
    ${all.map(([path, source, kind]) => html`<${Look} key=${source + row.state} path=${path} source=${source} kind=${kind} show=${show} />`)}
  </div>`;
}

function Look({ path, source, kind, show }) {
  const [gone, setGone] = useState(false);
  if (gone) return null;
  return html`
    <button class="look" onClick=${() => show({ path, source })} title=${path}>
      <img src=${source} alt=${`${kind === "out" ? "Written" : "Read"}: ${base(path)}`} decoding="async" onError=${() => setGone(true)} />
      <span>${kind === "out" ? "wrote" : "read"} ${base(path)}</span>
    </button>
  `;
}

// A picture as large as there is room.
export function Large({ shown, close }) {
  const dialog = useRef(null);
  useEffect(() => {
    if (dialog.current && !dialog.current.open) dialog.current.showModal();
  }, [shown]);
  if (!shown) return null;
  return html`
    <dialog class="large" ref=${dialog} onClose=${close} onClick=${() => dialog.current.close()} aria-label=${base(shown.path)}>
      <img src=${`${shown.source}&large`} alt=${base(shown.path)} />
      <p>${shown.path} <button class="quiet" onClick=${() => dialog.current.close()}>Close <kbd>Esc</kbd></button></p>
    </dialog>
  `;
}
