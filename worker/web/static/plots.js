// Throughput and latency of the last minutes, with uPlot.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { now, store } from "./store.js";

const SPAN_S = 300;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function made(element, series, unit) {
  const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const options = {
    width: element.clientWidth,
    height: element.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    padding: [6, 4, 0, 0],
    scales: { x: { time: true, range: () => [now() - SPAN_S, now()] }, y: { range: (plot, low, high) => [0, Math.max(high || 0, unit === "ms" ? 10 : 1) * 1.1] } },
    axes: [
      { ...axis, size: 20, splits: () => [5, 4, 3, 2, 1, 0].map((back) => now() - 60 * back), values: () => ["-5 min", "-4", "-3", "-2", "-1", ""] },
      { ...axis, size: 46, space: 26, values: (plot, splits) => splits.map((value) => short(value)) },
    ],
    series: [{}, ...series.map(([, name]) => ({ stroke: color(name), width: 1.6, points: { show: unit === "ms", size: 4, fill: color(name), width: 0 }, spanGaps: false, fill: name === "--ok" ? color("--ok-faint") : undefined }))],
  };
  return new uPlot(options, [[], ...series.map(() => [])], element);
}

function short(value) {
  return value >= 10000 ? `${Math.round(value / 1000)}k` : String(Math.round(value * 10) / 10);
}

// `series` are pairs of a name and a colour, `columns` where each stands in a second.
export function Plot({ title, unit, series, columns, theme, version }) {
  const box = useRef(null);
  const plot = useRef(null);

  useEffect(() => {
    plot.current = made(box.current, series, unit);
    const watcher = new ResizeObserver(() => plot.current.setSize({ width: box.current.clientWidth, height: box.current.clientHeight }));
    watcher.observe(box.current);
    return () => {
      watcher.disconnect();
      plot.current.destroy();
    };
  }, [theme]);

  const newest = store.series.length ? store.series[store.series.length - 1] : null;
  useEffect(() => {
    const seconds = store.series.filter((one) => one[0] >= now() - SPAN_S - 5);
    plot.current.setData([seconds.map((one) => one[0]), ...columns.map((column) => seconds.map((one) => (one[column] < 0 ? null : one[column])))]);
  }, [theme, newest && newest[0], store.connected]);

  return html`
    <figure class="plot" data-version=${newest ? newest[0] : 0}>
      <figcaption>
        <span class="title">${title}</span>
        ${series.map(([name, tone], place) => html`
          <span class="key"><i style=${{ background: `var(${tone})` }}></i>${name} <b>${newest ? value(newest[columns[place]]) : ""}</b></span>
        `)}
      </figcaption>
      <div class="canvas" ref=${box} role="img" aria-label=${`${title}, the last ${SPAN_S / 60} minutes`}></div>
    </figure>
  `;
}

function value(number) {
  return number < 0 ? "–" : number.toLocaleString("en");
}
