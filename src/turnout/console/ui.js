// The small parts that pages are made of: names, tables, bars, notices, dialogs.
import { html, useState, useEffect, useRef } from "./dom.js";
import { shown, percent } from "./format.js";
import { me } from "./api.js";

/** A name that somebody else chose: kept apart from the text around it, whichever way it is written. */
export const Name = ({ of, none = "none" }) =>
  of === null || of === undefined || of === ""
    ? html`<span class="faint">${none}</span>`
    : html`<bdi class="name">${shown(of)}</bdi>`;

export const Tag = ({ kind = "plain", children }) => html`<span class=${`tag ${kind}`}>${children}</span>`;

export const Link = ({ to, children, ...more }) => html`<a href=${`#/${to}`} ...${more}>${children}</a>`;

export function Failure({ error, data }) {
  if (!error) return null;
  const stale = data ? " What is shown was read before." : "";
  return html`<p class="notice bad" role="alert">${error.message}${stale}</p>`;
}

/** While nothing is here yet: nothing for a moment, then a word. */
export const Loading = () => html`<p class="loading" role="status">Reading …</p>`;

export const Empty = ({ title, children }) =>
  html`<section class="empty"><h2>${title}</h2><div>${children}</div></section>`;

export function Figure({ label, value, exact, note, kind }) {
  return html`<div class=${`figure ${kind ?? ""}`}>
    <dt>${label}</dt>
    <dd><span class="value" data-exact=${exact}>${value}</span>${note && html`<span class="note">${note}</span>`}</dd>
  </div>`;
}

export const Figures = ({ children }) => html`<dl class="figures">${children}</dl>`;

/**
 * Rows as a table; on a phone each row becomes a card. A column: {name, cell(row), value(row) to sort by, num, head}.
 */
export function Table({ columns, rows, label, keyOf, sort = null }) {
  const [order, setOrder] = useState(sort);
  const column = order && columns.find((c) => c.name === order.name);
  const sorted = column ? [...rows].sort((a, b) => compare(column.value(a), column.value(b)) * (order.up ? 1 : -1)) : rows;
  const turn = (c) => setOrder((old) => ({ name: c.name, up: old?.name === c.name ? !old.up : false }));
  const head = (c) => {
    const mine = order?.name === c.name;
    const said = mine ? (order.up ? "ascending" : "descending") : undefined;
    return html`<th role="columnheader" scope="col" class=${c.num ? "num" : ""} aria-sort=${said}>
      ${c.value ? html`<button type="button" class="sort" onClick=${() => turn(c)}>${c.name}<span aria-hidden="true" class="arrow">${mine ? (order.up ? "▲" : "▼") : ""}</span></button>` : c.name}
    </th>`;
  };
  const [ref, wider] = useWider();
  return html`<div class="wide" ref=${ref} tabindex=${wider ? 0 : undefined} role=${wider ? "group" : undefined} aria-label=${wider ? `${label}, to be moved sideways` : undefined}><table class="table" role="table" aria-label=${label}>
    <thead role="rowgroup"><tr role="row">${columns.map(head)}</tr></thead>
    <tbody role="rowgroup">
      ${sorted.map((row, n) => html`<tr role="row" key=${keyOf ? keyOf(row) : n}>
        ${columns.map((c) => html`<td role="cell" class=${`${c.num ? "num" : ""} ${c.head ? "head" : ""}`} data-label=${c.name}><div>${c.cell(row)}</div></td>`)}
      </tr>`)}
    </tbody>
  </table></div>`;
}

/** Whether what it holds is wider than the element has room: then a keyboard must be able to move it. */
function useWider() {
  const ref = useRef(null);
  const [wider, setWider] = useState(false);
  useEffect(() => {
    const watch = new ResizeObserver(() => setWider(ref.current !== null && ref.current.scrollWidth > ref.current.clientWidth));
    watch.observe(ref.current);
    watch.observe(ref.current.firstElementChild);
    return () => watch.disconnect();
  }, []);
  return [ref, wider];
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return a < b ? -1 : 1;
}

/** What something is made of, as one bar. `parts`: {name: amount}; `whole` is its full width. */
export function PartsBar({ parts, whole, label }) {
  const names = Object.keys(parts);
  const total = names.reduce((sum, name) => sum + parts[name], 0);
  const said = names.filter((n) => parts[n]).map((n) => `${words(n)} ${percent(parts[n] / (total || 1))}`).join(", ");
  return html`<div class="bar" role="img" aria-label=${`${label ?? "parts"}: ${said || "nothing"}`} title=${said}>
    ${names.map((name, n) => parts[name] > 0 && html`<span class=${`fill c${n}`} style=${{ width: `${(parts[name] / (whole || total || 1)) * 100}%` }}></span>`)}
  </div>`;
}

export const words = (name) => name.replaceAll("_", " ");

export const Legend = ({ names, notes }) =>
  html`<ul class="legend">${names.map((name, n) => html`<li><span class=${`dot c${n}`}></span>${words(shown(name))}${notes ? ` ${notes[n]}` : ""}</li>`)}</ul>`;

/** One of a few, as a row of buttons. */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map((o) => html`<button type="button" aria-pressed=${o.value === value} onClick=${() => onChange(o.value)}>${o.name}</button>`)}
  </div>`;
}

/** A button that does something at the gateway: says that it is at it, and what went wrong. Viewers do not see it, unless `anybody` may. */
export function Action({ does, children, kind = "", done, ask, anybody = false }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  if (me.role !== "admin" && !anybody) return null;
  const run = async () => {
    if (ask && !window.confirm(ask)) return;
    setBusy(true);
    setError(null);
    try {
      await does();
      done?.();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return html`<span class="action"><button type="button" class=${kind} disabled=${busy} onClick=${run}>${children}</button>
    ${error && html`<span class="wrong" role="alert">${error.message}</span>`}</span>`;
}

/** A dialog of the browser's own: it keeps the focus, Escape closes it. */
export function Dialog({ title, onClose, children }) {
  const ref = useRef(null);
  useEffect(() => {
    ref.current.showModal();
  }, []);
  return html`<dialog ref=${ref} aria-labelledby="dialog-title" onClose=${onClose}>
    <div class="dialog-head"><h2 id="dialog-title">${title}</h2>
      <button type="button" class="plain" aria-label="Close" onClick=${() => ref.current.close()}>✕</button></div>
    ${children}
  </dialog>`;
}

/** A form's fields as rows; `send(values)` is awaited. Empty fields are left out of the values. */
export function Form({ fields, submit, send, values = {} }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const go = async (event) => {
    event.preventDefault();
    const told = {};
    for (const field of fields) {
      const raw = event.target.elements[field.name].value.trim();
      if (raw !== "") told[field.name] = field.number ? Number(raw) : raw;
    }
    setBusy(true);
    setError(null);
    try {
      await send(told);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<form class="form" onSubmit=${go}>
    ${fields.map((f) => html`<label key=${f.name}><span>${f.label}</span>
      ${f.options
        ? html`<select name=${f.name}>${f.options.map((o) => html`<option value=${o} selected=${String(values[f.name] ?? f.options[0]) === o}>${o}</option>`)}</select>`
        : f.lines
          ? html`<textarea name=${f.name} rows=${f.lines} required=${f.required} placeholder=${f.hint}>${values[f.name] ?? ""}</textarea>`
          : html`<input name=${f.name} type=${f.secret ? "password" : f.number ? "number" : "text"} step=${f.number ? "any" : undefined} min=${f.number ? "0" : undefined}
              required=${f.required} placeholder=${f.hint} value=${values[f.name] ?? ""} autocomplete="off" spellcheck="false" />`}
      ${f.help && html`<small>${f.help}</small>`}</label>`)}
    ${error && html`<p class="wrong" role="alert">${error.message}</p>`}
    <button type="submit" class="primary" disabled=${busy}>${submit}</button>
  </form>`;
}
