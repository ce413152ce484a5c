// Presets to press, clients and their packets, the log, and what the child processes do.

import { html, useState } from "./vendor/htm-preact.js";
import { ago, clock, count, duration } from "./format.js";
import { Bar } from "./list.js";
import { ask, now, rowOfId, store } from "./store.js";

export function Presets({ say, toForm, toJob }) {
  const [pressed, setPressed] = useState({});
  const may = store.about && store.about.may_write;
  const names = Object.keys(store.presets).sort();
  const press = async (name) => {
    const answer = await ask("press", { preset: name });
    setPressed((before) => ({ ...before, [name]: answer }));
    if (answer.error) say(`${answer.error} ${answer.hint || ""}`);
  };
  if (!names.length) {
    return html`<div class="page"><p class="empty">There are no presets. Keep one on the page Run, write it into the settings file, or send /worker/set/NAME/operation.</p></div>`;
  }
  return html`
    <div class="page presets">
      ${names.map((name) => {
        const { operation, ...values } = store.presets[name];
        const answer = pressed[name];
        const row = answer && answer.id ? rowOfId(answer.id) : null;
        return html`
          <article key=${name} class="preset">
            <button class="press" disabled=${!may || !operation} onClick=${() => press(name)}>
              <b>${name}</b><span>${operation || "has no operation yet"}</span>
              <span class=${`state ${row ? row.state : answer && answer.error ? "failed" : ""}`}>${row ? (row.state === "running" ? html`<${Bar} row=${row} />` : row.state === "failed" ? row.message : row.state === "ready" ? `ready after ${duration(row.run)}` : "waiting") : answer && answer.error ? answer.error : ""}</span>
            </button>
            <p class="values">${Object.entries(values).slice(0, 4).map(([key, value]) => html`<span><i>${key}</i> ${String(value)}</span>`)}</p>
            <p class="more">
              ${row ? html`<button class="quiet" onClick=${() => toJob(row)}>Show the job</button>` : null}
              <button class="quiet" onClick=${() => toForm({ operation, values, id: "" })}>Open as a form</button>
              <button class="quiet" disabled=${!may} onClick=${() => confirm(`Delete the preset ${name}?`) && ask("presets/unset", { preset: name })}>Delete</button>
            </p>
          </article>
        `;
      })}
    </div>
  `;
}

export function Clients() {
  const clients = [...store.clients].filter((one) => !one.key.startsWith("page:")).sort((one, other) => one.heard_s - other.heard_s);
  return html`
    <div class="page two">
      <section aria-labelledby="clients-title">
        <h2 id="clients-title">Clients</h2>
        ${clients.length ? html`
          <table>
            <thead><tr><th>Name</th><th>Reports go to</th><th>Last packet</th><th>State</th></tr></thead>
            <tbody>${clients.map((one) => html`
              <tr key=${one.key}><td>${one.name || html`<span class="dim">without a hello</span>`}</td><td class="value">${one.key}</td><td>${ago(one.heard_s)}</td>
              <td>${one.present ? html`<span class="word ready">present</span>` : html`<span class="word cancelled">gone</span>`}</td></tr>
            `)}</tbody>
          </table>
        ` : html`<p class="empty">Nobody has sent a packet yet.</p>`}
      </section>
      <section aria-labelledby="packets-title">
        <h2 id="packets-title">Last packets</h2>
        ${store.packets.length ? html`
          <ol class="lines packets" tabindex="0" aria-labelledby="packets-title">
            ${[...store.packets].reverse().map(([at, peer, text, refused]) => html`<li class=${refused ? "error" : ""}><time>${clock(at)}</time><span class="place">${peer.startsWith("page:") ? "page" : peer}</span><code>${text}</code></li>`)}
          </ol>
        ` : html`<p class="empty">None.</p>`}
      </section>
    </div>
  `;
}

const LEVELS = [[10, "all"], [20, "info"], [30, "warnings"], [40, "errors"]];

export function Log() {
  const [level, setLevel] = useState(10);
  const [query, setQuery] = useState("");
  const wanted = query.toLowerCase();
  const lines = store.lines.filter((line) => line.level >= level && (!wanted || line.text.toLowerCase().includes(wanted) || line.name.includes(wanted)));
  return html`
    <div class="page log">
      <div class="tools">
        <div class="chips" role="group" aria-label="Level">
          ${LEVELS.map(([from, name]) => html`<button aria-pressed=${level === from} onClick=${() => setLevel(from)}>${name}</button>`)}
        </div>
        <input type="search" placeholder="Find in the log" aria-label="Find in the log" value=${query} onInput=${(event) => setQuery(event.target.value)} />
        <span class="dim">${count(lines.length, "line")}</span>
      </div>
      <ol class="lines" tabindex="0" aria-label="Log">
        ${lines.slice(-300).reverse().map((line) => html`
          <li key=${line.n} class=${line.level >= 40 ? "error" : line.level >= 30 ? "warning" : ""}>
            <time>${clock(line.at)}</time><span class="place">${line.level >= 40 ? "error" : line.level >= 30 ? "warning" : line.level >= 20 ? "info" : "debug"}</span><code>${line.text}</code>
          </li>
        `)}
      </ol>
      ${lines.length ? null : html`<p class="empty">No lines here.</p>`}
    </div>
  `;
}

export function Children({ toJob }) {
  const shown = store.children.filter((one) => one.state !== "free" || store.children.length <= 8);
  return html`
    <ul class="children" aria-label="Child processes">
      ${shown.slice(0, 8).map((one) => {
        const found = one.job_id ? rowOfId(one.job_id) : null;
        const row = found && found.client === one.client ? found : null;
        return html`
          <li key=${one.pid} class=${one.state}>
            <span class="pid">${one.pid || ""}</span>
            ${one.job_id ? html`
              <button class="quiet" onClick=${() => row && toJob(row)} title=${`${one.operation} ${one.job_id} ${one.what}`}><b>${one.operation}</b> ${one.what || one.job_id}</button>
              ${row && row.state === "running" ? html`<span class="dim">${duration((now() - row.started) * 1000)}</span>` : null}
            ` : html`<span class="dim">${one.state === "works" ? "checks itself" : one.state}</span>`}
          </li>
        `;
      })}
      ${store.children.length > shown.slice(0, 8).length ? html`<li class="dim">and ${store.children.length - shown.slice(0, 8).length} more</li>` : null}
    </ul>
  `;
}
