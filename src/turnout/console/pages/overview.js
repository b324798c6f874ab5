// Is the month on budget, what was saved, and where does the money go.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { usd, usdAxis, count, short, share, percent, tick, everyTick, seconds, moment, reason, sentence, inPath } from "../format.js";
import { Choice, Empty, Failure, Figure, Figures, Legend, Link, Loading, Name, Table, Tag } from "../ui.js";
import { Bars } from "../chart.js";
import { BudgetCourse } from "../course.js";

export const SPANS = [
  { value: "24h", name: "24 hours" },
  { value: "7d", name: "7 days" },
  { value: "30d", name: "30 days" },
];

const MOST_MODELS = 5;

export function Overview() {
  const [since, setSince] = useState("30d");
  const { data, error } = useLoad(`/admin/overview?since=${since}`);
  const budgets = useLoad("/admin/budgets");
  const held = useLoad("/admin/sessions?held=1&limit=50");
  const name = SPANS.find((s) => s.value === since).name;
  return html`<div class="page-head"><h1>Overview</h1><${Choice} label="Span" options=${SPANS} value=${since} onChange=${setSince} /></div>
    <${Failure} error=${error ?? budgets.error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    <${Held} sessions=${held.data?.data} />
    ${budgets.data && html`<${Money} budgets=${budgets.data.data} />`}
    ${data && (data.totals.requests ? html`<${Span} data=${data} name=${name} />` : html`<${First} />`)}`;
}

/** What waits for a person. */
function Held({ sessions }) {
  const held = (sessions ?? []).filter((s) => s.state !== "running");
  if (!held.length) return null;
  return html`<p class="notice warn" role="status">${held.length === 1 ? "A session is" : `${held.length} sessions are`} held: ${held.slice(0, 3).map((s, n) => html`${n ? ", " : ""}<${Link} to=${`sessions/${encodeURIComponent(s.id)}`}><${Name} of=${s.id} /><//>`)}${held.length > 3 ? " and more" : ""}.</p>`;
}

/** The budget that covers everything first, by month before others. */
function Money({ budgets }) {
  const shown = budgets.filter((b) => b.name !== "turnout-shadow");
  if (!shown.length) {
    return html`<section class="card"><h2>Budget</h2><p>No budget is set, so nothing holds the month's spending. <${Link} to="budgets">Make one<//>.</p></section>`;
  }
  const rank = (b) => (Object.keys(b.match).length ? 2 : 0) + (b.period === "month" ? 0 : 1);
  const [main, ...others] = [...shown].sort((a, b) => rank(a) - rank(b));
  return html`<section class="card" aria-labelledby="money"><h2 id="money">Budget <${Name} of=${main.name} /></h2>
    <${BudgetCourse} budget=${main} />
    ${others.length > 0 && html`<ul class="others">${others.map((b) => html`<li><${Name} of=${b.name} /> <span class="faint">${usd(b.spent_usd)} of ${usd(b.amount_usd)}, ${b.period_text}</span></li>`)}</ul>`}
  </section>`;
}

function First() {
  const where = `${location.origin}/v1`;
  return html`<${Empty} title="No request has come yet">
    <p>Point an agent or an SDK at <code>${where}</code> and ask for the model <code>auto</code>:</p>
    <pre tabindex="0"><code>${`curl ${where}/chat/completions \\
  -H 'content-type: application/json' \\
  -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}'`}</code></pre>
    <p>Or see what would be decided without calling anybody: <${Link} to="decisions">try a prompt<//>.</p><//>`;
}

function Span({ data, name }) {
  const t = data.totals;
  const saved = data.baselines;
  const than = saved.model ? html`than <${Name} of=${saved.model} />` : "";
  const over = saved.compared_requests < t.requests ? `, over ${count(saved.compared_requests)} requests` : "";
  return html`<section aria-label=${`The last ${name}`}>
    <${Figures}>
      <${Figure} label="Spent" exact=${t.cost_usd} value=${usd(t.cost_usd)} note=${t.unpriced ? `${count(t.unpriced)} requests have no price` : `last ${name}`} />
      ${saved.model && saved.compared_requests > 0 && html`<${Figure} kind="good" label="Saved, beside no cache" exact=${saved.saved_uncached_usd} value=${usd(saved.saved_uncached_usd)} note=${html`${share(saved.saved_uncached_usd, saved.uncached_usd)} less ${than}${over}`} />
      <${Figure} kind="good" label="Saved, beside a warm cache" exact=${saved.saved_cached_usd} value=${usd(saved.saved_cached_usd)} note=${html`${share(saved.saved_cached_usd, saved.cached_usd)} less ${than}${over}`} />`}
      <${Figure} label="Requests" exact=${t.requests} value=${count(t.requests)} note=${t.errors ? html`<${Link} to="decisions?failed=1"><${Tag} kind="bad">${count(t.errors)} failed (${share(t.errors, t.requests)})<//><//>` : "none failed"} />
      <${Figure} label="Input tokens" exact=${t.input_tokens} value=${short(t.input_tokens)} note=${`${share(t.cache_read_tokens, t.input_tokens)} read from a cache`} />
      <${Figure} label="Output tokens" exact=${t.output_tokens} value=${short(t.output_tokens)} note=${t.reasoning_tokens ? `${short(t.reasoning_tokens)} of them thinking` : ""} />
      <${Figure} label="First token" value=${seconds(t.ttft_ms)} note="mean" />
      <${Figure} label="Gateway's own time" value=${t.overhead_ms === null ? "–" : `${t.overhead_ms.toFixed(1)} ms`} note="mean a request" />
    <//>
    <${Course} data=${data} />
    <div class="columns">
      <${Split} title="Models" rows=${data.by_model} field="model" none="nobody answered" total=${t.cost_usd} />
      <${Split} title="Features" rows=${data.by_feature} field="feature" none="no feature told" total=${t.cost_usd} />
      <${Split} title="Reasons" rows=${data.by_reason} field="reason" none="refused before a decision" total=${t.cost_usd} />
    </div>
    <p class="faint small">Read from the ledger, ${moment(data.since)} to ${moment(data.until)}. ${sentence(data.notes)}.</p>
  </section>`;
}

/** Cost over time, by the models that cost most. */
function Course({ data }) {
  const order = data.by_model.filter((m) => m.cost_usd > 0).map((m) => m.model);
  const names = order.slice(0, MOST_MODELS).map((m) => m ?? "nobody");
  if (order.length > MOST_MODELS) names.push("others");
  const at = new Map((data.series.length ? everyTick(data.series[0].at, data.until) : []).map((when) => [when, names.map(() => 0)]));
  for (const told of data.series_by_model) {
    const place = order.indexOf(told.model);
    if (place >= 0 && at.has(told.at)) at.get(told.at)[Math.min(place, names.length - 1)] += told.cost_usd;
  }
  const rows = [...at].map(([when, values]) => ({ name: tick(when), values }));
  return html`<section class="card"><h2>Cost by ${data.step}</h2><${Legend} names=${names} />
    <${Bars} label=${`Cost by ${data.step} and model`} names=${names} rows=${rows} format=${usd} axis=${usdAxis} /></section>`;
}

function Split({ title, rows, field, none, total }) {
  const columns = [
    { name: title.slice(0, -1), head: true, cell: (r) => html`${r[field] ? html`<${Link} to=${`decisions?${field}=${inPath(r[field])}`}><${Name} of=${r[field]} /><//>` : html`<${Name} none=${none} />`}${field === "reason" && reason(r.reason) && html` <span class="faint">${reason(r.reason)}</span>`}` },
    { name: "Cost", num: true, value: (r) => r.cost_usd, cell: (r) => html`<span data-exact=${r.cost_usd}>${usd(r.cost_usd)}</span>` },
    { name: "Share", num: true, cell: (r) => percent(total ? r.cost_usd / total : null) },
    { name: "Requests", num: true, value: (r) => r.requests, cell: (r) => count(r.requests) },
  ];
  return html`<section class="card"><h2>${title}</h2><${Table} label=${title} columns=${columns} rows=${rows.slice(0, 12)} keyOf=${(r) => String(r[field])} /></section>`;
}
