"use strict";
const read = id => JSON.parse(document.getElementById(id).textContent);
const rows = read("rows");
const words = rows.words;
const plots = new Map();

// ---- colours: figures name roles, the ground decides what they look like
const schemes = read("schemes");
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const scheme = () => schemes[dark.matches && !printing ? "dark" : "light"];
function coloured(value, colours) {
  if (typeof value === "string") return value[0] === "@" ? colours[value.slice(1)] ?? value : value;
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(v => coloured(v, colours));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, colours)]));
  return value;
}

// ---- what is told about a training; text of a study is escaped, for plotly reads some HTML
const escaped = text => String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);
const brief = (value, digits) => typeof value === "number" ? String(Number(value.toPrecision(digits))) : String(value);
const cut = text => text.length > 64 ? text.slice(0, 61) + "…" : text;
function title(i) {
  const step = rows.step[i] ? `step ${rows.step[i]}, ` : "";
  return `<b>${step}trial ${rows.trial[i]}</b>` + (rows.seed[i] ? `, seed ${rows.seed[i]}` : "");
}
function told(i) {
  const lines = [title(i) + (rows.rank[i] ? `, rank ${rows.rank[i]}` : `, ${escaped(words[rows.state[i]])}`)];
  if (rows.value[i] !== null) lines.push(`${escaped(cut(rows.metric))}: <b>${brief(rows.value[i], 6)}</b>`);
  for (const [name, values] of Object.entries(rows.params))
    if (values[i] !== null) lines.push(`${escaped(cut(name))} = ${escaped(cut(brief(values[i], 4)))}`);
  if (rows.weights[i]) lines.push(`${rows.weights[i].toLocaleString("en")} parameters`);
  return lines.join("<br>");
}
function texts(trace, hover) {
  if (hover.curves) {
    let n = 0;
    return trace.x.map(x => x === null ? (n++, "") : title(hover.curves[n]));
  }
  if (!hover.rows && !hover.notes) return null;
  return trace.x.map((_, k) => [
    hover.rows ? told(hover.rows[k]) : "", hover.notes ? escaped(hover.notes[k]) : "",
  ].filter(Boolean).join("<br>"));
}

// ---- drawing
function axis(own, colours, length) {
  return {
    nticks: Math.max(3, Math.round(length / 75)), tickangle: own.ticktext ? "auto" : 0,
    gridcolor: colours.grid, linecolor: colours.edge, tickcolor: colours.edge, zeroline: false, showline: true, ticks: "outside",
    ticklen: 4, exponentformat: "power", automargin: true, ...own,
    title: {...own.title, font: {size: 12.5, color: colours.ink}, standoff: 8},
  };
}
function layout(own, colours, place) {
  return {
    ...own, xaxis: axis(own.xaxis, colours, place.clientWidth), yaxis: axis(own.yaxis, colours, place.clientHeight * 1.5), autosize: true, showlegend: false, hovermode: "closest",
    margin: {l: 58, r: 22, t: 24, b: 46}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, -apple-system, Segoe UI, sans-serif", size: 12, color: colours.soft},
    hoverlabel: {align: "left", bgcolor: colours.label, bordercolor: colours.edge, font: {color: colours.ink, size: 12}},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: colours.edge, activecolor: colours.ink},
  };
}
const options = {responsive: true, displaylogo: false, showLink: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
function prepare(place) {
  const plot = JSON.parse(place.parentElement.querySelector("script[type='application/json']").textContent);
  plot.data.forEach((trace, k) => {
    const text = texts(trace, plot.hover[k]);
    if (text) { trace.text = text; trace.hovertemplate ??= "%{text}<extra></extra>"; }
  });
  return plot;
}
function draw(place) {
  const colours = scheme();
  const first = !plots.has(place);
  if (first) plots.set(place, prepare(place));
  const plot = plots.get(place);
  const result = Plotly.react(place, coloured(plot.data, colours), layout(coloured(plot.layout, colours), colours, place), options);
  if (first) place.on("plotly_relayout", change => retick(place, plot, change));
  return result;
}
// chosen ticks suit the whole range only: a zoomed axis gets those of plotly
function retick(place, plot, change) {
  const update = {};
  for (const name of ["xaxis", "yaxis"]) {
    if (!plot.layout[name].tickvals || plot.layout[name].type !== "log") continue;
    if (`${name}.range[0]` in change) update[`${name}.tickmode`] = "auto";
    else if (change[`${name}.autorange`]) update[`${name}.tickmode`] = "array";
  }
  if (Object.keys(update).length) Plotly.relayout(place, update);
}
const waiting = [...document.querySelectorAll("[data-plot]")];
const next = () => {
  const visible = waiting.findIndex(p => { const r = p.getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight; });
  const [place] = waiting.splice(Math.max(visible, 0), 1);
  if (place) { draw(place); setTimeout(next, 0); }
};
next();
const redraw = () => { for (const place of plots.keys()) draw(place); };
dark.addEventListener("change", redraw);
addEventListener("beforeprint", () => { printing = true; while (waiting.length) draw(waiting.shift()); redraw(); });
// on paper there is another width, and no time to wait for plotly to notice
matchMedia("print").addEventListener("change", event => {
  if (event.matches) for (const place of plots.keys()) Plotly.relayout(place, {autosize: false, width: place.clientWidth, height: place.clientHeight});
});
addEventListener("afterprint", () => { printing = false; redraw(); });

// ---- the table of all trainings: sorted and searched over all rows, some of them shown
const table = document.getElementById("trials");
if (table) {
  const heads = [...table.tHead.rows[0].cells], names = Object.keys(rows.params);
  const fixed = {step: rows.step, trial: rows.trial, rank: rows.rank, state: rows.state.map(k => words[k]), value: rows.value,
    weights: rows.weights, time: rows.seconds, host: rows.host.map(k => words[k])};
  const column = key => key.startsWith("p:") ? rows.params[names[Number(key.slice(2))]] : fixed[key];
  const filter = document.getElementById("filter"), more = document.getElementById("more"), status = document.getElementById("shown");
  const line = i => [words[rows.state[i]], words[rows.reason[i]], words[rows.host[i]], rows.trial[i], ...names.map(n => rows.params[n][i])]
    .join(" ").toLowerCase();
  const span = seconds => seconds < 90 ? `${brief(seconds, 3)} s` : seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
  let order = rows.order, limit = Number(table.dataset.shown), lines = null;
  function cell(key, i) {
    const td = document.createElement("td"), value = column(key)[i];
    if (key === "state") {
      const mark = document.createElement("span");
      mark.className = `state ${value}`; mark.textContent = value; mark.title = words[rows.reason[i]];
      td.append(mark);
      return td;
    }
    td.textContent = value === null ? "" : key === "time" ? span(value) : key === "weights" ? value.toLocaleString("en") :
      key.startsWith("p:") ? brief(value, 4) : key === "step" && !value ? "" : value;
    if (key === "trial" && rows.seed[i]) td.textContent += ` (seed ${rows.seed[i]})`;
    if (key !== "host") td.className = "n";
    if (td.textContent.length > 40) td.title = td.textContent;
    return td;
  }
  function fill() {
    const wanted = filter.value.toLowerCase();
    lines ??= wanted ? rows.step.map((_, i) => line(i)) : null;
    const found = wanted ? order.filter(i => lines[i].includes(wanted)) : order;
    const body = document.createElement("tbody");
    for (const i of found.slice(0, limit)) {
      const tr = body.insertRow();
      if (i === rows.winner) tr.className = "winner";
      for (const head of heads) tr.append(cell(head.dataset.column, i));
    }
    table.tBodies[0].replaceWith(body);
    const shown = Math.min(limit, found.length);
    status.textContent = `${shown.toLocaleString("en")} of ${found.length.toLocaleString("en")} shown`;
    more.hidden = shown === found.length;
  }
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const up = head.getAttribute("aria-sort") !== "ascending", values = column(head.dataset.column);
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const compare = (a, b) => {
      const x = values[a], y = values[b];
      if (x === null || y === null) return (x === null) - (y === null);
      return (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y))) * (up ? 1 : -1);
    };
    order = [...order].sort(compare);
    fill();
  });
  filter.addEventListener("input", fill);
  more.addEventListener("click", () => { limit += 1000; fill(); });
}
