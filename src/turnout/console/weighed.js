// The candidates of a decision: what each was expected to cost and do, and why it lost.
import { html } from "./dom.js";
import { usd, percent, short, shown } from "./format.js";
import { Name, Table, Tag } from "./ui.js";

/** The chance that it does the job: predicted, with bounds that hold it nine times in ten, or assumed of its tier. */
const Chance = ({ c }) => html`${percent(c.success)}${c.success_bounds
  ? html` <span class="faint">${percent(c.success_bounds[0])} to ${percent(c.success_bounds[1])}</span>`
  : c.success ? html` <span class="faint">assumed</span>` : ""}`;

export function Weighed({ candidates, rejected }) {
  const rows = [...candidates.map((c, n) => ({ ...c, place: n + 1 })), ...rejected.map((c) => ({ ...c, place: null }))];
  const columns = [
    { name: "Model", head: true, cell: (c) => html`<${Name} of=${c.model} />` },
    { name: "Place", cell: (c) => (c.place === 1 ? html`<${Tag} kind="good">first<//>` : c.place ? `${c.place}.` : html`<${Tag} kind="plain">out<//>`) },
    { name: "This step", num: true, cell: (c) => usd(c.cost_usd) },
    { name: "Rest, if solved", num: true, cell: (c) => usd(c.rest_usd) },
    { name: "Quality", num: true, cell: (c) => html`<${Chance} c=${c} />` },
    { name: "Seconds", num: true, cell: (c) => (c.expected_s ? c.expected_s.toFixed(1) : "–") },
    { name: "Warm", num: true, cell: (c) => (c.warm_tokens ? short(c.warm_tokens) : "cold") },
    { name: "Why", cell: (c) => shown(c.rejected ?? c.unhealthy ?? (c.place === 1 ? "tried first" : "a stand-in")) },
  ];
  return html`<${Table} label="Candidates" columns=${columns} rows=${rows} keyOf=${(c) => c.model} />`;
}
