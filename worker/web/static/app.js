// The page as a whole: what stands above everything, which part is shown, and the keys.

import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Detail, Large } from "./detail.js";
import { count } from "./format.js";
import { FILTERS, List, pictureOf, useSelection } from "./list.js";
import { Plot } from "./plots.js";
import { Paths, Run } from "./run.js";
import { ask, connect, listen, store } from "./store.js";
import { Children, Clients, Log, Presets } from "./views.js";

const PARTS = [["jobs", "Jobs"], ["run", "Run"], ["presets", "Presets"], ["clients", "Clients"], ["log", "Log"]];

function useStore() {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const end = listen(setVersion);
    const tick = setInterval(() => setVersion((before) => before + 0.001), 1000);
    return () => {
      end();
      clearInterval(tick);
    };
  }, []);
  return version;
}

function partOf(hash) {
  const wanted = hash.replace("#", "");
  return PARTS.some(([name]) => name === wanted) ? wanted : "jobs";
}

function App() {
  const version = useStore();
  const [part, setPart] = useState(partOf(location.hash));
  const [filter, setFilter] = useState("all");
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState(0);
  const [large, setLarge] = useState(null);
  const [said, setSaid] = useState("");
  const [theme, setTheme] = useState(document.documentElement.dataset.theme || "");
  const [draft, setDraft] = useState({ operation: "", values: {}, id: "" });
  const [help, setHelp] = useState(false);
  const search = useRef(null);
  const { rows, counts } = useSelection(filter, query, Math.floor(version));
  const row = store.rows.get(chosen);
  const may = store.about && store.about.may_write;

  const say = (text) => {
    setSaid(text);
    clearTimeout(say.timer);
    say.timer = setTimeout(() => setSaid(""), 8000);
  };
  const show = (name) => {
    setPart(name);
    history.replaceState(null, "", `#${name}`);
  };
  const toJob = (found) => {
    setFilter("all");
    setQuery("");
    setChosen(found.n);
    show("jobs");
  };
  const actions = {
    show: setLarge,
    cancel: async (jobs) => {
      const answer = await ask("cancel", { jobs });
      if (answer.error) say(answer.error);
    },
    again: async (jobs, all) => {
      const answer = await ask("again", all ? { all: true } : { jobs });
      if (answer.error) say(answer.error);
      else {
        const gone = answer.gone ? ` ${count(answer.gone, "job")} cannot be tried again, because the parameters are not kept any more.` : "";
        say(`${count(answer.jobs, "job")} sent again.${gone}${answer.refused ? ` ${answer.refused}` : ""}`);
      }
    },
    edit: (more) => {
      const every = Object.entries(more.options).filter(([key, value]) => store.about.every_job[key] && store.about.every_job[key].default !== value);
      setDraft({ operation: more.operation, values: { ...more.params, ...Object.fromEntries(every) }, id: "" });
      show("run");
    },
  };
  const open = (found) => {
    const source = pictureOf(found);
    setChosen(found.n);
    if (!source) return;
    const place = source.match(/\/out\/(\d+)/);
    const path = place ? found.files[Number(place[1])] : "input";
    setLarge({ path, source });
  };

  useEffect(() => {
    const press = (event) => {
      const typing = /^(input|select|textarea)$/i.test(event.target.tagName);
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape" && typing) event.target.blur();
      if (typing) return;
      const place = Number(event.key);
      if (place >= 1 && place <= PARTS.length) show(PARTS[place - 1][0]);
      else if (event.key === "/") {
        event.preventDefault();
        if (part === "jobs") search.current.focus();
        else {
          show("jobs");
          setTimeout(() => search.current && search.current.focus());
        }
      } else if (event.key === "?") setHelp(true);
      else if (event.key === "Escape") setChosen(0);
      else if (event.key === "r" && row && row.state === "failed" && may) actions.again([row.n]);
      else if (event.key === "c" && row && (row.state === "queued" || row.state === "running") && may) actions.cancel([row.n]);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  });

  const changeTheme = () => {
    const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const next = dark ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch (error) {
      // it is forgotten when the page is left
    }
    setTheme(next);
  };

  const word = store.connected ? store.levels.word : "Not connected";
  return html`
    <header class="top">
      <div class=${`status ${store.connected ? store.levels.word : "Off"}`} role="status">
        <i></i><h1>${word}</h1>
        <span class="numbers">
          <span><b>${number("running")}</b> running</span><span><b>${number("queued")}</b> waiting</span>
          <span><b>${number("done")}</b> ready</span><span class=${store.levels.failed ? "bad" : ""}><b>${number("failed")}</b> failed</span>
        </span>
      </div>
      <nav class="parts" aria-label="Parts of the page">
        ${PARTS.map(([name, title]) => html`<button key=${name} aria-current=${part === name ? "page" : undefined} onClick=${() => show(name)}>${title}</button>`)}
      </nav>
      <button class="quiet theme" onClick=${changeTheme} aria-label="Light or dark" title="Light or dark">◐</button>
      <button class="quiet keys" onClick=${() => setHelp(true)} aria-label="Keys" title="Keys">?</button>
    </header>
    ${store.connected ? null : html`<p class="banner" role="alert">No connection to the worker. What is shown is old; the page tries again by itself.</p>`}
    ${store.about && !may ? html`<p class="banner calm">This browser may look only.</p>` : null}
    <main class=${`part-${part}`}>
      ${part === "jobs" ? html`
        <section class="now" aria-label="Now">
          <${Plot} title="Jobs a second" unit="jobs" series=${[["ready", "--ok"], ["failed", "--bad"]]} columns=${[1, 2]} theme=${theme} version=${version} />
          <${Plot} title="Milliseconds" unit="ms" series=${[["run", "--accent"], ["run, 95 %", "--warn"], ["wait, 95 %", "--dim"]]} columns=${[3, 4, 5]} theme=${theme} version=${version} />
          <${Children} toJob=${toJob} />
        </section>
        <div class="tools">
          <div class="chips" role="group" aria-label="Which jobs">
            ${FILTERS.map(([name, title]) => html`<button key=${name} aria-pressed=${filter === name} onClick=${() => setFilter(name)}>${title} <span>${counts[name].toLocaleString("en")}</span></button>`)}
          </div>
          <input
            ref=${search} type="search" placeholder="Find an id, an operation, an error" aria-label="Find jobs" value=${query}
            onInput=${(event) => setQuery(event.target.value)}
          />
          <${Menu} counts=${counts} actions=${actions} may=${may} say=${say} rows=${rows} />
        </div>
        <div class=${row ? "beside-list with-detail" : "beside-list"}>
          <${List} rows=${rows} chosen=${chosen} choose=${setChosen} open=${open} />
          <${Detail} row=${row} actions=${actions} close=${() => setChosen(0)} />
        </div>
      ` : null}
      ${part === "run" ? html`<${Run} draft=${draft} setDraft=${setDraft} show=${setLarge} toJob=${toJob} /><${Paths} />` : null}
      ${part === "presets" ? html`<${Presets} say=${say} toJob=${toJob} toForm=${(next) => { setDraft(next); show("run"); }} />` : null}
      ${part === "clients" ? html`<${Clients} />` : null}
      ${part === "log" ? html`<${Log} />` : null}
    </main>
    <p class="said" role="status">${said}</p>
    <${Large} shown=${large} close=${() => setLarge(null)} />
    ${help ? html`<${Keys} close=${() => setHelp(false)} />` : null}
  `;
}

function number(name) {
  return Math.round(store.levels[name] || 0).toLocaleString("en");
}

function Menu({ counts, actions, may, say, rows }) {
  const box = useRef(null);
  const close = () => box.current && box.current.removeAttribute("open");
  const go = (call) => async () => {
    close();
    await call();
  };
  const ended = counts.ready + counts.failed;
  useEffect(() => {
    const outside = (event) => box.current && !box.current.contains(event.target) && close();
    document.addEventListener("click", outside);
    return () => document.removeEventListener("click", outside);
  }, []);
  return html`
    <button class="again" disabled=${!may || !counts.failed} onClick=${() => actions.again(rows.filter((row) => row.state === "failed").map((row) => row.n))}>Try failed again</button>
    <details class="menu" ref=${box} onKeyDown=${(event) => event.key === "Escape" && close()}>
      <summary>More</summary>
      <div>
        <button disabled=${!may || !counts.queued} onClick=${go(() => ask("cancel", { all: true, waiting_only: true }))}>Cancel all that wait</button>
        <button disabled=${!may || !(counts.queued + counts.running)} onClick=${go(async () => confirm("Cancel all jobs, those that run as well?") && ask("cancel", { all: true }))}>Cancel all jobs</button>
        <button disabled=${!may || !ended} onClick=${go(async () => { const answer = await ask("forget", { all: true }); say(answer.error || `${count(answer.jobs, "job")} left the list.`); })}>Clear ended jobs from the list</button>
        <button disabled=${!may} onClick=${go(async () => { const answer = await ask("values"); say(answer.error || "All clients got all values."); })}>Send all values now</button>
        <a href="/api/jobs.csv" download>Export as CSV</a>
        <a href="/api/jobs.json" download>Export as JSON</a>
        ${store.about && store.about.has_login ? html`<form method="post" action="/logout"><button>Log out</button></form>` : null}
      </div>
    </details>
  `;
}

const KEYS = [
  ["1 to 5", "the parts of the page"], ["/", "find a job"], ["↑ ↓", "in the list: the job before, the next one"], ["Enter", "its picture, large"],
  ["r", "try a failed job again"], ["c", "cancel a job"], ["Esc", "close"], ["?", "these keys"],
];

function Keys({ close }) {
  const dialog = useRef(null);
  useEffect(() => dialog.current.showModal(), []);
  return html`
    <dialog class="keys" ref=${dialog} onClose=${close} onClick=${() => dialog.current.close()} aria-label="Keys">
      <dl>${KEYS.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
      <p class="dim">TD Image Worker ${store.about ? store.about.version : ""} · OSC on port ${store.about ? store.about.command_port : ""}</p>
      <button onClick=${() => dialog.current.close()}>Close</button>
    </dialog>
  `;
}

const root = document.getElementById("app");
root.textContent = "";
connect();
render(html`<${App} />`, root);
