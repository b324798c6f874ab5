// The candidates of a decision: what each was expected to cost and do, why it lost, and who answered in the end.
import { html } from "./dom.js";
import { usd, percent, short, shown } from "./format.js";
import { Name, Table, Tag, words } from "./ui.js";

/** The chance that it does the job: predicted, with bounds that hold it nine times in ten, or assumed of its tier. */
const Chance = ({ c }) => html`${percent(c.success)}${c.success_bounds
  ? html` <span class="faint">${percent(c.success_bounds[0])} to ${percent(c.success_bounds[1])}</span>`
  : c.success ? html` <span class="faint">assumed</span>` : ""}`;

const known = (...values) => values.every((v) => v !== null && v !== undefined);

/** What speaks against a candidate, or for it, beside the first. */
function beside(c, first) {
  const told = [];
  if (known(c.rest_usd, first.rest_usd) && c.rest_usd !== first.rest_usd) {
    const more = c.rest_usd - first.rest_usd;
    told.push(`${usd(Math.abs(more))} ${more > 0 ? "dearer" : "cheaper"} if solved`);
  } else if (known(first.cost_usd) && !known(c.cost_usd)) told.push("unpriced");
  if (known(c.success, first.success) && c.success !== first.success) told.push(`${c.success < first.success ? "less" : "more"} likely to do it`);
  return told.length ? `a stand-in: ${told.join(", ")}` : "a stand-in, as good";
}

function why(c, first, answered, failed) {
  if (failed?.has(c.model) && c.model !== answered) return `asked in vain: ${words(failed.get(c.model))}`;
  return c.rejected ?? c.unhealthy ?? (c.place === 1 ? "the first choice" : beside(c, first));
}

const Place = ({ c, answered }) => html`${c.place === 1 ? html`<${Tag} kind=${answered && answered !== c.model ? "plain" : "good"}>first<//>` : c.place ? `${c.place}.` : html`<${Tag} kind="plain">out<//>`}${answered === c.model ? html` <${Tag} kind="good">answered<//>` : ""}`;

/** `answered`: the model that did; `failed`: those that were asked in vain, each with why. Both once it was sent. */
export function Weighed({ candidates, rejected, answered = null, failed = null }) {
  const rows = [...candidates.map((c, n) => ({ ...c, place: n + 1 })), ...rejected.map((c) => ({ ...c, place: null }))];
  const columns = [
    { name: "Model", head: true, cell: (c) => html`<${Name} of=${c.model} />` },
    { name: "Place", cell: (c) => html`<${Place} c=${c} answered=${answered} />` },
    { name: "This step", num: true, cell: (c) => usd(c.cost_usd) },
    { name: "Rest, if solved", num: true, cell: (c) => usd(c.rest_usd) },
    { name: "Quality", num: true, cell: (c) => html`<${Chance} c=${c} />` },
    { name: "Seconds", num: true, cell: (c) => (c.expected_s ? c.expected_s.toFixed(1) : "–") },
    { name: "Warm", num: true, cell: (c) => (c.warm_tokens ? short(c.warm_tokens) : "–") },
    { name: "Why", cell: (c) => shown(why(c, rows[0], answered, failed)) },
  ];
  return html`<${Table} label="Candidates" columns=${columns} rows=${rows} keyOf=${(c) => c.model} />`;
}
