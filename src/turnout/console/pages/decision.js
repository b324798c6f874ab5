// One request's whole story: decided why, tried whom, took what.
import { html } from "../dom.js";
import { useLoad } from "../live.js";
import { usd, count, short, share, seconds, moment, inPath, shown, reason } from "../format.js";
import { Failure, Figure, Figures, Legend, Link, Loading, Name, PartsBar, Table, Tag, words } from "../ui.js";
import { Said } from "../said.js";
import { Weighed } from "../weighed.js";
import { PARTS } from "./tokens.js";

const NANO = 1e9;
const dollars = (nano) => (nano === null || nano === undefined ? null : nano / NANO);

export function Decision({ id }) {
  const { data, error } = useLoad(`/admin/requests/${inPath(id)}`, 0);
  return html`<p class="crumb"><${Link} to="decisions">Decisions<//></p>
    <div class="page-head"><h1 class="mono"><${Name} of=${id} /></h1></div>
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<${Story} r=${data} />`}`;
}

function Story({ r }) {
  const failed = !["ok", "cancelled"].includes(r.outcome);
  const d = r.decision;
  const parts = Object.fromEntries(PARTS.map((part) => [part, r[`part_${part}`] ?? 0]));
  return html`<section class="card"><h2>The decision</h2>
      <p><strong><${Name} of=${r.deployment} none="nobody answered" /></strong> ${r.reason && html`<${Tag}>${r.reason}<//>`} ${failed && html`<${Tag} kind="bad">${r.status} ${r.error_code ?? r.outcome}<//>`}</p>
      <${StandIn} r=${r} /><p>${shown(d?.explanation ?? reason(r.reason) ?? "It was refused before anything was decided.")}</p>
      ${d && html`<${Weighed} candidates=${d.candidates.map(plain)} rejected=${d.rejected.map(plain)} answered=${r.deployment} failed=${failures(r)} />`}
    </section>
    <${Figures}>
      <${Figure} label="Cost" exact=${dollars(r.cost_nano_usd)} value=${r.cost_nano_usd === null && r.input_tokens === null ? "–" : usd(dollars(r.cost_nano_usd))} note=${r.price_source ?? ""} />
      <${Figure} label="Input tokens" exact=${r.input_tokens} value=${count(r.input_tokens)} note=${r.input_tokens ? `${share(r.cache_read_tokens, r.input_tokens)} read from a cache` : ""} />
      <${Figure} label="Output tokens" exact=${r.output_tokens} value=${count(r.output_tokens)} note=${r.usage_estimated ? "estimated" : ""} />
      <${Figure} label="First token" value=${seconds(r.ttft_ms)} note=${`whole ${seconds(r.duration_ms)}`} />
      <${Figure} label="Gateway's own time" value=${r.overhead_us === null ? "–" : `${(r.overhead_us / 1000).toFixed(1)} ms`} />
    <//>
    <section class="card"><h2>The request</h2>
      <dl class="facts">
        <div><dt>asked for</dt><dd><${Name} of=${r.requested_model} /></dd></div><div><dt>when</dt><dd>${moment(r.received_at)}</dd></div>
        <div><dt>session</dt><dd><${Link} to=${`sessions/${inPath(r.session_id)}`}><${Name} of=${r.session_id} /><//>, step ${r.step + 1}</dd></div>
        <div><dt>key</dt><dd><${Name} of=${r.key_id} /></dd></div><div><dt>mode</dt><dd><${Name} of=${r.mode} /></dd></div><div><dt>format</dt><dd>${r.dialect}</dd></div>
        ${Object.entries(r.tags ?? {}).map(([k, v]) => html`<div><dt><${Name} of=${k} /></dt><dd><${Name} of=${v} /></dd></div>`)}
      </dl>
      ${r.input_tokens ? html`<${Legend} names=${PARTS} /><${PartsBar} parts=${parts} label="context" />` : null}
      ${(r.warnings ?? []).map((w) => html`<p class="small warned">${shown(w)}</p>`)}
    </section>
    ${r.attempt_log?.length > 0 && html`<section class="card"><h2>Attempts</h2><${Attempts} rows=${r.attempt_log} /></section>`}
    <${Said} id=${r.request_id} />`;
}

/** Why each place that was asked in vain gave no answer, by its model. */
const failures = (r) =>
  new Map((r.attempt_log ?? []).filter((a) => a.error_code || a.reason).map((a) => [a.deployment, `${a.status ?? ""} ${a.reason ?? a.error_code}`.trim()]));

/** Where another than the first choice answered: who failed before, and how. */
function StandIn({ r }) {
  const first = r.decision?.candidates[0]?.deployment;
  if (!first || !r.deployment || r.deployment === first) return null;
  const lost = [...failures(r)].filter(([name]) => name !== r.deployment);
  return html`<p class="warned">First choice was <${Name} of=${first} />; <${Name} of=${r.deployment} /> stood in${lost.length ? ": " : "."}${lost.map(([name, why], n) => html`${n ? ", " : ""}<${Name} of=${name} /> ${words(shown(why))}`)}</p>`;
}

const plain = (c) => ({ ...c, model: c.deployment, cost_usd: dollars(c.expected_cost_nano_usd), rest_usd: dollars(c.rest_nano_usd) });

function Attempts({ rows }) {
  const columns = [
    { name: "Place", head: true, cell: (a) => html`<${Name} of=${a.target ?? a.deployment} />` },
    { name: "Answer", cell: (a) => (a.error_code || a.reason ? html`<${Tag} kind="bad">${a.status ?? ""} ${a.reason ?? a.error_code}<//>` : html`<${Tag} kind="good">${a.status ?? "ok"}<//>`) },
    { name: "Waited", num: true, cell: (a) => (a.waited_ms ? seconds(a.waited_ms) : "–") },
    { name: "First byte", num: true, cell: (a) => seconds(a.ttft_ms) },
    { name: "Took", num: true, cell: (a) => seconds(a.duration_ms) },
    { name: "Input", num: true, cell: (a) => short(a.input_tokens) },
    { name: "Cost", num: true, cell: (a) => (a.cost_nano_usd === undefined ? "–" : usd(dollars(a.cost_nano_usd))) },
  ];
  return html`<${Table} label="Attempts" columns=${columns} rows=${rows} />`;
}
