// One budget as it stands: spent, held, the pace that would last, where it leads; and its course over the period.
import { html } from "./dom.js";
import { useLoad } from "./live.js";
import { usd, usdAxis, percent, moment } from "./format.js";
import { Tag, words } from "./ui.js";
import { Lines } from "./chart.js";

const HOUR = 3600e3;

export const standing = (b) => {
  if (b.spent_usd >= b.amount_usd) return { kind: "bad", said: "used up" };
  if (b.forecast_usd !== null && b.forecast_usd > b.amount_usd) return { kind: "warn", said: "will not last" };
  if (b.pace_usd !== null && b.spent_usd > b.pace_usd * 1.1) return { kind: "warn", said: "above the pace" };
  return { kind: "good", said: b.end ? "on budget" : "has room" };
};

export function BudgetBar({ budget: b }) {
  const at = (value) => `${Math.min(100, Math.max(0, (value / (b.amount_usd || 1)) * 100))}%`;
  const { kind, said } = standing(b);
  return html`<div class="budget-line">
    <span class="value" data-exact=${b.spent_usd}>${usd(b.spent_usd)}</span><span> of <span data-exact=${b.amount_usd}>${usd(b.amount_usd)}</span></span>
    <${Tag} kind=${kind}>${said}<//></div>
    <div class=${`meter ${kind}`} role="img" aria-label=${`${percent(b.spent_usd / (b.amount_usd || 1))} used${b.pace_usd === null ? "" : `, the pace would be ${percent(b.pace_usd / (b.amount_usd || 1))}`}`}>
      <span class="spent" style=${{ width: at(b.spent_usd) }}></span><span class="held" style=${{ width: at(b.held_usd) }}></span>
      ${b.pace_usd !== null && html`<span class="pace" style=${{ left: at(b.pace_usd) }}></span>`}
    </div>
    <dl class="facts">
      <div><dt>left</dt><dd>${usd(b.left_usd)}</dd></div>
      ${b.held_usd > 0 && html`<div><dt>held for open requests</dt><dd>${usd(b.held_usd)}</dd></div>`}
      ${b.pace_usd !== null && html`<div><dt>pace by now</dt><dd>${usd(b.pace_usd)}</dd></div>`}
      ${b.end && html`<div><dt>forecast</dt><dd>${b.forecast_usd === null ? "too early" : usd(b.forecast_usd)}</dd></div>`}
      ${b.end && html`<div><dt>until</dt><dd>${moment(b.end)}</dd></div>`}
      ${b.rung && b.rung !== "none" && html`<div><dt>saving now</dt><dd>${words(b.rung)}</dd></div>`}
    </dl>`;
}

/** With the course of the spending where the budget covers everything, for then the ledger's sums are the budget's. */
export function BudgetCourse({ budget: b }) {
  const whole = b.end !== null && !Object.keys(b.match).length && new Date(b.end) - new Date(b.start) > 12 * HOUR;
  const path = whole ? `/admin/overview?since=${encodeURIComponent(b.start)}` : null;
  const { data } = useLoad(path, 30000);
  return html`<${BudgetBar} budget=${b} />${whole && data && data.totals.requests > 0 && html`<${Curve} budget=${b} series=${data.series} step=${data.step} />`}`;
}

function Curve({ budget: b, series, step }) {
  const start = Date.parse(b.start);
  const length = Date.parse(b.end) - start;
  const now = Math.min(1, (Date.now() - start) / length);
  const span = step === "hour" ? HOUR : 24 * HOUR;
  let sum = 0;
  const spent = [[0, 0]];
  for (const { at, cost_usd } of series) {
    const begun = Date.parse(at.length > 10 ? `${at.slice(0, 13)}:00:00Z` : `${at}T00:00:00Z`);
    const from = Math.max(0, (begun - start) / length);
    if (from > spent.at(-1)[0]) spent.push([from, sum]);
    sum += cost_usd;
    spent.push([Math.min(now, (begun + span - start) / length), sum]);
  }
  spent.push([now, sum]);
  const lines = [
    { name: "pace that lasts", kind: "quiet", points: [[0, 0], [1, b.amount_usd]] },
    { name: "spent", kind: "main", points: spent },
  ];
  if (b.forecast_usd !== null) lines.push({ name: "forecast", kind: "ahead", points: [[now, b.spent_usd], [1, b.forecast_usd]] });
  const day = (at) => new Date(at).toLocaleDateString(undefined, { month: "short", day: "numeric" });
  const marks = [[0, day(start)], [0.5, day(start + length / 2)], [1, day(start + length)]];
  return html`<ul class="legend"><li><span class="dash main"></span>spent</li><li><span class="dash quiet"></span>pace that lasts</li>${b.forecast_usd !== null && html`<li><span class="dash ahead"></span>forecast</li>`}</ul>
    <${Lines} label="Spending against the budget's pace" lines=${lines} marks=${marks} format=${usdAxis} />`;
}
