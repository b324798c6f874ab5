// Sessions, those that go on and those of the ledger: who is held, who costs.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { post } from "../api.js";
import { usd, count, short, share, ago, inPath, shown } from "../format.js";
import { Action, Choice, Empty, Failure, Link, Loading, Name, Table, Tag } from "../ui.js";
import { SPANS } from "./overview.js";

/** One entry a session, from its agents in the ledger and what is in memory of it. */
function joined(past, live) {
  const found = new Map();
  for (const run of past) {
    const id = `${run.key ?? ""}\n${run.id}`;
    const one = found.get(id);
    if (!one) {
      found.set(id, { ...run, agents: 1, models: [run.model], live: null });
      continue;
    }
    one.agents += 1;
    if (!one.models.includes(run.model)) one.models.push(run.model);
    for (const sum of ["requests", "errors", "input_tokens", "cache_read_tokens", "output_tokens", "cost_usd"]) one[sum] += run[sum];
    one.longest_context = Math.max(one.longest_context, run.longest_context);
    if (run.last_at > one.last_at) Object.assign(one, { last_at: run.last_at, last_context: run.last_context });
  }
  for (const run of live) {
    const id = `${run.key ?? ""}\n${run.id}`;
    if (found.has(id)) found.get(id).live = run;
    else if (run.steps || run.state !== "running") {
      found.set(id, { id: run.id, key: run.key, feature: run.feature, models: [], agents: run.agents, requests: run.steps, errors: 0, input_tokens: run.tokens, cache_read_tokens: 0, cost_usd: run.total_usd, last_at: null, live: run });
    }
  }
  return [...found.values()];
}

const KINDS = { running: "plain", paused: "warn", blocked: "bad" };

export function Sessions() {
  const [since, setSince] = useState("7d");
  const [wanted, setWanted] = useState("");
  const past = useLoad(`/admin/history?since=${since}&limit=500`);
  const live = useLoad("/admin/sessions?limit=500", 5000);
  const held = useLoad("/admin/sessions?held=1&limit=50", 5000);
  const ready = past.data && live.data && held.data;
  const all = ready ? joined(past.data.data, [...held.data.data, ...live.data.data]) : [];
  const word = wanted.trim().toLowerCase();
  const rows = all.filter((s) => !word || [s.id, s.feature, s.key, ...s.models].some((v) => String(v ?? "").toLowerCase().includes(word)));
  const waits = rows.filter((s) => s.live && s.live.state !== "running");
  return html`<div class="page-head"><h1>Sessions</h1><${Choice} label="Span" options=${SPANS} value=${since} onChange=${setSince} /></div>
    <${Failure} error=${past.error ?? live.error ?? held.error} data=${ready} />
    ${!ready && !past.error && html`<${Loading} />`}
    ${ready && !all.length && html`<${Empty} title="No session in this span"><p>A session begins with an agent's first request. Name it with <code>x-turnout-session</code>, or let it be found by its messages.</p><//>`}
    ${waits.length > 0 && html`<section class="card held"><h2>Held</h2>${waits.map((s) => html`<div class="row"><div><${Link} to=${`sessions/${inPath(s.id)}`}><${Name} of=${s.id} /><//> <${Tag} kind=${KINDS[s.live.state]}>${s.live.state}<//><p class="small">${shown(s.live.why)}</p></div>
      ${s.live.state === "paused" && html`<${Action} does=${() => post(`/admin/sessions/${inPath(s.id)}/resume`)} done=${() => { live.again(); held.again(); }}>Resume<//>`}</div>`)}</section>`}
    ${all.length > 0 && html`<section class="card">
      <label class="search"><span class="unseen">Find a session</span><input type="search" placeholder="Find by session, feature, key or model" value=${wanted} onInput=${(e) => setWanted(e.target.value)} /></label>
      <${List} rows=${rows} />
      ${past.data?.data.length === 500 && html`<p class="faint small">The 500 agents that were active last; choose a shorter span for others.</p>`}</section>`}`;
}

function List({ rows }) {
  const columns = [
    { name: "Session", head: true, cell: (s) => html`<${Link} to=${`sessions/${inPath(s.id)}`}><${Name} of=${s.id} /><//>` },
    { name: "State", cell: (s) => (s.live ? html`<${Tag} kind=${KINDS[s.live.state]}>${s.live.state === "running" ? "in memory" : s.live.state}<//>` : html`<span class="faint">past</span>`) },
    { name: "Feature", cell: (s) => html`<${Name} of=${s.feature} />` },
    { name: "Model", cell: (s) => html`<${Name} of=${s.models.at(-1)} none="–" />${s.models.length > 1 ? html` <span class="faint">+${s.models.length - 1}</span>` : ""}` },
    { name: "Steps", num: true, value: (s) => s.requests, cell: (s) => html`${count(s.requests)}${s.errors ? html` <${Tag} kind="bad">${s.errors} failed<//>` : ""}` },
    { name: "Context", num: true, value: (s) => s.longest_context ?? 0, cell: (s) => short(s.longest_context) },
    { name: "From cache", num: true, value: (s) => s.cache_read_tokens / (s.input_tokens || 1), cell: (s) => share(s.cache_read_tokens, s.input_tokens) },
    { name: "Cost", num: true, value: (s) => s.cost_usd, cell: (s) => html`<span data-exact=${s.cost_usd}>${usd(s.cost_usd)}</span>` },
    { name: "Last", num: true, value: (s) => s.last_at ?? "", cell: (s) => (s.last_at ? ago(s.last_at) : "now") },
  ];
  return html`<${Table} label="Sessions" columns=${columns} rows=${rows} keyOf=${(s) => `${s.key}/${s.id}`} sort=${{ name: "Last", up: false }} />`;
}
