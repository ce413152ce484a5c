// A form for each operation, made of the catalogue: try it, see the picture, copy the OSC message or the line for TouchDesigner.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { base, oscMessage, pairsOf, touchDesignerLine } from "./format.js";
import { How, Word, picture } from "./list.js";
import { ask, rowOfId, store } from "./store.js";

const COLOR = /^#[0-9a-f]{6}$/i;

// Until the worker has said what there is.
const UNKNOWN = { may_write: false, every_job: {}, missing: {} };

// What stands between back-quotes in a help text is code.
const coded = (text) => text.split("`").map((part, at) => (at % 2 ? html`<code>${part}</code>` : part));

export function Run({ draft, setDraft, show, toJob }) {
  const operations = store.about ? store.about.operations : [];
  const [query, setQuery] = useState("");
  const found = useMemo(
    () => operations.filter((one) => `${one.name} ${one.summary}`.toLowerCase().includes(query.toLowerCase())),
    [operations, query],
  );
  const operation = operations.find((one) => one.name === draft.operation) || operations[0];
  if (!operation) return html`<p class="empty">The operations are being asked for.</p>`;
  return html`
    <div class="run">
      <nav class="operations" aria-label="Operations">
        <input type="search" placeholder="Find an operation" aria-label="Find an operation" value=${query} onInput=${(event) => setQuery(event.target.value)} />
        <ul>
          ${found.map((one) => html`
            <li key=${one.name}>
              <button aria-current=${one.name === operation.name ? "true" : undefined} onClick=${() => setDraft({ operation: one.name, values: {}, id: "" })}>
                <b>${one.name}</b><span>${one.summary}</span>
              </button>
            </li>
          `)}
        </ul>
      </nav>
      <${Form} key=${operation.name} operation=${operation} draft=${draft} setDraft=${setDraft} show=${show} toJob=${toJob} />
    </div>
  `;
}

// What stands in a field that nobody has touched: the default, and a name for a picture that one would like to see.
function suggested(operation, name, field) {
  if (field.default !== undefined && field.default !== "") return field.default;
  if (name === "overlay" || (field.role === "write" && field.required)) {
    const several = /\{n\}/.test(field.help) && field.required && !operation.parameters.image;
    return `tries/${operation.name}${several ? "{n}" : ""}${name === "data" ? ".csv" : /text/.test(operation.name) && !operation.parameters.image ? ".txt" : ".png"}`;
  }
  if (name === "image") return lastPicture();
  return field.type === "bool" ? false : "";
}

// As a job may name it: relative paths start at the first folder.
function relative(path) {
  if (!store.about) return path;
  const root = store.about.roots[0].replace(/\\/g, "/").replace(/\/?$/, "/");
  return path.startsWith(root) ? path.slice(root.length) : path;
}

function lastPicture() {
  for (let place = store.order.length - 1; place >= 0; place--) {
    const path = store.order[place].files.find((one) => /\.(png|jpe?g|tiff?|webp)$/i.test(one));
    if (path) return relative(path);
  }
  return "";
}

function Form({ operation, draft, setDraft, show, toJob }) {
  const values = useMemo(() => {
    const all = {};
    for (const [name, field] of Object.entries(operation.parameters)) all[name] = suggested(operation, name, field);
    return { ...all, ...draft.values };
  }, [operation, draft.values]);
  const [answer, setAnswer] = useState(null);
  const [preset, setPreset] = useState("");
  const [note, setNote] = useState("");
  const about = store.about || UNKNOWN;
  const may = about.may_write;
  const row = answer && answer.id ? rowOfId(answer.id) : null;
  const set = (name, value) => setDraft({ ...draft, operation: operation.name, values: { ...values, [name]: value } });
  const pairs = pairsOf({ parameters: { ...operation.parameters, ...about.every_job } }, values);
  const missing = Object.entries(operation.parameters).filter(([name, field]) => field.required && values[name] === "").map(([name]) => name);
  const why = about.missing[operation.name];

  const submit = async (event) => {
    event.preventDefault();
    setAnswer({ waits: true });
    setAnswer(await ask("jobs", { operation: operation.name, params: Object.fromEntries(pairs) }));
  };
  const keep = async () => {
    await ask("presets", { preset, key: "operation", value: operation.name });
    for (const [key, value] of pairs) await ask("presets", { preset, key, value });
    setNote(`Kept as the preset ${preset}.`);
  };

  return html`
    <form class="form" onSubmit=${submit}>
      <header><h2>${operation.name}</h2><p>${operation.summary}</p>${why ? html`<p class="reason">Not available here: ${why}</p>` : null}</header>
      <div class="fields">
        ${Object.entries(operation.parameters).map(([name, field]) => html`<${Field} key=${name} name=${name} field=${field} value=${values[name]} set=${set} />`)}
        <details>
          <summary>Priority, timeout and what else every job can have</summary>
          ${Object.entries(about.every_job).map(([name, field]) => html`
            <${Field} key=${name} name=${name} field=${field} value=${values[name] === undefined ? field.default : values[name]} set=${set} />
          `)}
        </details>
      </div>
      <div class="go">
        <button class="primary" disabled=${!may || missing.length > 0}>Try it</button>
        ${missing.length ? html`<span class="dim">Fill in ${missing.join(", ")} first.</span>` : null}
        ${may ? null : html`<span class="dim">This browser may look only.</span>`}
      </div>
    </form>
    <section class="outcome" aria-label="Outcome">
      <${Outcome} answer=${answer} row=${row} show=${show} toJob=${toJob} />
      <${Copy} title="OSC message" text=${oscMessage(operation.name, pairs)} />
      <${Copy} title="In TouchDesigner" text=${touchDesignerLine(operation.name, pairs)} />
      <div class="keep">
        <label for="preset">Keep as a preset</label>
        <div class="beside">
          <input id="preset" value=${preset} maxlength="100" pattern="[^/ #*,?\\[\\]{}]+" onInput=${(event) => setPreset(event.target.value)} placeholder="name" />
          <button type="button" disabled=${!may || !preset || /[\s/#*,?[\]{}]/.test(preset)} onClick=${keep}>Keep</button>
        </div>
        <p class="dim" role="status">${note || (preset ? `TouchDesigner starts it with /worker/trigger/${preset} 1` : "")}</p>
      </div>
    </section>
  `;
}

function Outcome({ answer, row, show, toJob }) {
  if (!answer) return html`<p class="empty">What comes of it is shown here.</p>`;
  if (answer.waits) return html`<p class="empty">Sent.</p>`;
  if (answer.error) return html`<div class="why" role="alert"><p>${answer.error}</p>${answer.hint ? html`<p class="hint">${answer.hint}</p>` : null}</div>`;
  if (!row) return html`<p class="empty">Accepted.</p>`;
  const pictures = row.files.map((path, place) => [path, place]).filter(([path]) => /\.(png|jpe?g|tiff?|webp|bmp|avif|exr)$/i.test(path));
  const last = pictures[pictures.length - 1];
  return html`
    <div class="result">
      <p class="line"><${Word} row=${row} /> <span class="how"><${How} row=${row} /></span> <button type="button" class="quiet" onClick=${() => toJob(row)}>Show the job</button></p>
      ${row.hint ? html`<p class="hint">${row.hint}</p>` : null}
      ${row.state === "ready" && last ? html`<${Picture} key=${row.n} path=${last[0]} source=${picture(row.n, "out", last[1])} show=${show} />` : null}
    </div>
  `;
}

function Picture({ path, source, show }) {
  return html`<button type="button" class="look wide" onClick=${() => show({ path, source })}><img src=${`${source}&large`} alt=${`Written: ${base(path)}`} /><span>${path}</span></button>`;
}

function Field({ name, field, value, set }) {
  const id = `field-${name}`;
  const help = `${field.help || ""}${field.unit ? ` (${field.unit})` : ""}${range(field)}`;
  return html`
    <div class=${`field ${field.type}`}>
      <label for=${id}>${name}${field.required ? html` <span class="needed">needed</span>` : null}</label>
      <${Input} id=${id} name=${name} field=${field} value=${value} set=${set} />
      <p class="help" id=${`${id}-help`}>${coded(help)}</p>
    </div>
  `;
}

function range(field) {
  if (field.choices || field.min === undefined) return "";
  return field.max === undefined || field.max > 1e6 ? `, from ${field.min}` : `, ${field.min} to ${field.max}`;
}

function Input({ id, name, field, value, set }) {
  const shared = { id, name, "aria-describedby": `${id}-help` };
  if (field.choices) {
    return html`<select ...${shared} onChange=${(event) => set(name, field.choices[event.target.selectedIndex])}>
      ${field.choices.map((choice) => html`<option selected=${choice === value}>${String(choice)}</option>`)}
    </select>`;
  }
  if (field.type === "bool") return html`<input ...${shared} type="checkbox" checked=${!!value} onChange=${(event) => set(name, event.target.checked)} />`;
  if (field.type === "int" || field.type === "float") {
    const read = (event) => event.target.value !== "" && set(name, Number(event.target.value));
    const slides = field.min !== undefined && field.max !== undefined && field.max - field.min <= 1000;
    const step = field.type === "int" ? 1 : slides && field.max - field.min <= 1 ? 0.01 : slides ? 0.1 : "any";
    return html`<span class="beside">
      <input ...${shared} type="number" step=${field.type === "int" ? 1 : "any"} min=${field.min} max=${field.max} value=${value} onInput=${read} />
      ${slides ? html`<input type="range" aria-label=${`${name}, as a slider`} tabindex="-1" step=${step} min=${field.min} max=${field.max} value=${value} onInput=${read} />` : null}
    </span>`;
  }
  const text = html`<input ...${shared} type="text" value=${value} spellcheck="false" autocomplete="off" list=${field.role ? "paths" : undefined} onInput=${(event) => set(name, event.target.value)} />`;
  if (!COLOR.test(field.default || "")) return text;
  return html`<span class="beside">${text}<input type="color" aria-label=${`${name}, from a palette`} value=${COLOR.test(value) ? value : "#000000"} onInput=${(event) => set(name, event.target.value)} /></span>`;
}

export function Paths() {
  const paths = [];
  const known = new Set();
  for (let place = store.order.length - 1; place >= 0 && paths.length < 40; place--) {
    for (const path of store.order[place].files.slice(-2).map(relative)) {
      if (!known.has(path)) {
        known.add(path);
        paths.push(path);
      }
    }
  }
  return html`<datalist id="paths">${paths.map((path) => html`<option value=${path}></option>`)}</datalist>`;
}

export function Copy({ title, text }) {
  const area = useRef(null);
  const [done, setDone] = useState(false);
  useEffect(() => setDone(false), [text]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      // without a secure connection there is no clipboard; the old way works everywhere
      area.current.select();
      document.execCommand("copy");
    }
    setDone(true);
  };
  return html`
    <div class="copy">
      <span class="beside"><span class="title">${title}</span><button type="button" class="quiet" onClick=${copy}>${done ? "Copied" : "Copy"}</button></span>
      <textarea ref=${area} readonly rows="3" aria-label=${title} value=${text}></textarea>
    </div>
  `;
}
