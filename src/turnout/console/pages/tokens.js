// Where the tokens go, sorted by money; how contexts grow; what would save most.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { usd, count, short, percent, share, sentence, inPath } from "../format.js";
import { Choice, Dialog, Empty, Failure, Legend, Link, Loading, Name, PartsBar, Table, words } from "../ui.js";
import { Bars } from "../chart.js";
import { SPANS } from "./overview.js";

const SUMMED = ["feature", "key", "team", "mode", "model", "provider", "tier", "reason"];
const READ = ["session", "agent", "step"];
const MANY = 100000;
const PARTS = ["system", "tools", "history", "tool_results", "attachments", "reasoning"];

export function Tokens() {
  const [since, setSince] = useState("30d");
  const [by, setBy] = useState("feature");
  const room = SUMMED.includes(by) ? "volume" : "usage";
  const path = `/admin/${room}?by=${encodeURIComponent(by)}&since=${since}&limit=100`;
  // Growth takes the gateway seconds where there are many sessions, and others wait meanwhile: then it is asked for alone.
  const quick = useLoad(room === "volume" ? `${path}&sessions=no` : path, room === "volume" ? 10000 : 60000);
  const [asked, setAsked] = useState(null);
  const many = (quick.data?.data ?? []).reduce((sum, g) => sum + g.requests, 0) > MANY;
  const whole = useLoad(room === "volume" && quick.data && (!many || asked === path) ? path : null, many ? 0 : 30000);
  const data = quick.data && grown(quick.data, whole.data);
  const error = quick.error ?? whole.error;
  return html`<div class="page-head"><h1>Tokens</h1><${Choice} label="Span" options=${SPANS} value=${since} onChange=${setSince} /></div>
    <p class="lead">Groups by ${by}, the dearest first.
      <label class="inline">Group by <select value=${by} onChange=${(e) => setBy(e.target.value)}>${[...SUMMED, ...READ].map((o) => html`<option value=${o} selected=${o === by}>${o}</option>`)}</select></label></p>
    ${room === "volume" && many && asked !== path && html`<p><button type="button" onClick=${() => setAsked(path)}>Work out growth a step</button> <span class="faint small">takes some seconds with so many sessions</span></p>`}
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && data.data.length === 0 && html`<${Empty} title="No tokens in this span"><p>Choose a longer span, or send a request: <${Link} to="">how<//>.</p><//>`}
    ${data && data.data.length > 0 && html`<${Advice} advice=${data.advice} />
      <section class="card"><h2>By ${by}</h2><${Legend} names=${PARTS} notes=${shares(data.data)} /><${Groups} data=${data} by=${by} /></section>
      <${Snowball} since=${since} />
      <p class="faint small">${sentence(data.notes)}.</p>`}`;
}

/** What was read quickly, with the growth that was read last. */
function grown(quick, whole) {
  if (!whole) return quick;
  const growth = new Map(whole.data.map((g) => [g.group, g.growth_per_step]));
  return { ...quick, data: quick.data.map((g) => ({ ...g, growth_per_step: growth.get(g.group) ?? g.growth_per_step })) };
}

/** What each part of the context is of all input of these groups. */
function shares(groups) {
  const sums = PARTS.map((part) => groups.reduce((sum, g) => sum + (g.parts[part] ?? 0), 0));
  const whole = sums.reduce((a, b) => a + b, 0);
  return whole ? sums.map((sum) => percent(sum / whole)) : null;
}

const LISTED = new Set(["feature", "key", "model", "reason"]);

/** The group's name, with a way to its requests where these can be listed. */
const Group = ({ by, of }) => {
  if (!of) return html`<${Name} of=${of} />`;
  if (by === "session") return html`<${Link} to=${`sessions/${inPath(of)}`}><${Name} of=${of} /><//>`;
  return LISTED.has(by) ? html`<${Link} to=${`decisions?${by}=${inPath(of)}`}><${Name} of=${of} /><//>` : html`<${Name} of=${of} />`;
};

function Groups({ data, by }) {
  const columns = [
    { name: by, head: true, cell: (g) => html`<${Group} by=${by} of=${g.group} />` },
    { name: "Cost", num: true, value: (g) => g.cost_usd, cell: (g) => html`<span data-exact=${g.cost_usd}>${usd(g.cost_usd)}</span>` },
    { name: "Calls", num: true, value: (g) => g.requests, cell: (g) => html`<span data-exact=${g.requests}>${count(g.requests)}</span>` },
    { name: "Input", num: true, value: (g) => g.input_tokens, cell: (g) => html`<span data-exact=${g.input_tokens}>${short(g.input_tokens)}</span>` },
    { name: "Output", num: true, value: (g) => g.output_tokens, cell: (g) => short(g.output_tokens) },
    { name: "A call", num: true, value: (g) => g.context_per_call, cell: (g) => short(g.context_per_call) },
    { name: "Growth a step", num: true, value: (g) => g.growth_per_step, cell: (g) => (g.growth_per_step === null ? "–" : short(Math.round(g.growth_per_step))) },
    { name: "Repeated", num: true, value: (g) => g.repeated_share, cell: (g) => percent(g.repeated_share) },
    { name: "From cache", num: true, value: (g) => g.cached_share, cell: (g) => percent(g.cached_share) },
    { name: "Parts", cell: (g) => html`<${PartsBar} parts=${g.parts} />` },
  ];
  return html`<${Table} label=${`Tokens by ${by}`} columns=${columns} rows=${data.data} keyOf=${(g) => String(g.group)} />`;
}

function Advice({ advice }) {
  const [open, setOpen] = useState(null);
  if (!advice.length) return null;
  return html`<section class="card"><h2>What would save most</h2>
    <ul class="advice">${advice.map((a) => html`<li>
      <div><strong>${a.title}</strong>${a.group !== null && html` <span class="faint">for</span> <${Name} of=${a.group} />`}<p class="faint small">${a.how}.</p></div>
      <div class="gain"><span class="value">${usd(a.saving_usd)}</span>${a.change && html`<button type="button" onClick=${() => setOpen(a)}>Show the change</button>`}</div></li>`)}</ul>
    ${open && html`<${Dialog} title="The change" onClose=${() => setOpen(null)}><p>${open.title}.</p><pre tabindex="0"><code>${open.change}</code></pre><p class="faint small">The config is read again when its file changes; nothing here writes it. Estimated saving ${usd(open.saving_usd)} in this span: ${open.how}.</p><//>`}
  </section>`;
}

/** The mean context at each step: a small picture for each of the largest features. */
function Snowball({ since }) {
  const { data } = useLoad(`/admin/snowball?since=${since}`, 60000);
  if (!data || !data.data.length) return null;
  const features = new Map();
  for (const point of data.data) {
    if (!features.has(point.feature)) features.set(point.feature, []);
    features.get(point.feature).push(point);
  }
  const largest = [...features].filter(([, points]) => points.length > 1)
    .sort((a, b) => weight(b[1]) - weight(a[1])).slice(0, 6);
  if (!largest.length) return null;
  return html`<section class="card"><h2>The snowball: context by step</h2>
    <p class="faint small">The mean request of an agent's first step, its second, and so on. What grows is sent again with every step.</p><${Legend} names=${PARTS} />
    <div class="columns">${largest.map(([feature, points]) => html`<div><h3><${Name} of=${feature} none="no feature told" /></h3>
      <${Bars} height=${150} label=${`Context by step of ${feature ?? "requests without a feature"}`} names=${PARTS.map(words)} format=${short}
        rows=${points.map((p) => ({ name: String(p.step + 1), values: PARTS.map((part) => p.parts[part]) }))} /></div>`)}</div></section>`;
}

const weight = (points) => points.reduce((sum, p) => sum + p.requests * p.input_tokens, 0);

export { PARTS, share };
