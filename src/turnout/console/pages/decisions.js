// The newest requests with their decisions, or those looked for; and a prompt that is only thought of.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { get, post } from "../api.js";
import { usd, count, short, share, ago, moment, seconds, inPath, reason } from "../format.js";
import { Action, Empty, Failure, Form, Link, Loading, Name, Table, Tag } from "../ui.js";
import { Weighed } from "../weighed.js";

const SOUGHT = ["model", "feature", "key", "reason", "session"];

/** `query`: what is looked for, as it stands behind the page's name in the address. */
export function Decisions({ query }) {
  const wanted = new URLSearchParams(query);
  const path = `/admin/requests?limit=100&${wanted}`;
  // With older ones below them the newest stand still: what a newer page no longer has would be in neither.
  const [still, setStill] = useState(null);
  const [ended, setEnded] = useState(false);
  const { data, error } = useLoad(path, still ? 0 : 5000);
  const rows = still ?? data?.data ?? [];
  const more = async () => {
    const told = (await get(`${path}&before=${inPath(rows.at(-1).request_id)}`)).data;
    setStill([...rows, ...told]);
    setEnded(told.length < 100);
  };
  const sought = [...wanted.keys()].length > 0;
  return html`<div class="page-head"><h1>Decisions</h1></div>
    <${Try} />
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !rows.length && !sought && html`<${Empty} title="No request has come yet"><p>Try a prompt above: it shows whom the gateway would ask, and asks nobody.</p><//>`}
    ${data && (rows.length > 0 || sought) && html`<section class="card"><h2>${sought ? "Requests looked for" : "The newest requests"}</h2>
      <${Seek} key=${query} wanted=${wanted} />
      ${rows.length ? html`<${Newest} rows=${rows} />` : html`<p>None of the newest ${count(data.searched)} requests is like that.</p>`}
      <div class="row"><p class="faint small">One by its <code>x-turnout-request-id</code>: <${Find} /></p>
        ${rows.length >= 100 && !ended && html`<${Action} anybody does=${more}>Older ones<//>`}</div>
      ${still && html`<p class="faint small">Not read anew while older ones are shown.</p>`}</section>`}`;
}

function Seek({ wanted }) {
  const go = (event) => {
    event.preventDefault();
    const told = new URLSearchParams();
    for (const name of SOUGHT) {
      const word = event.target.elements[name]?.value.trim();
      if (word) told.set(name, word);
    }
    if (event.target.elements.failed.checked) told.set("failed", "1");
    location.hash = `#/decisions${told.size ? `?${told}` : ""}`;
  };
  const shownNames = SOUGHT.filter((name) => name !== "session" || wanted.has(name));
  return html`<form class="filters" role="search" aria-label="Requests" onSubmit=${go}>
    ${shownNames.map((name) => html`<label>${name}<input type="text" name=${name} value=${wanted.get(name) ?? ""} spellcheck="false" autocomplete="off" /></label>`)}
    <label class="check"><input type="checkbox" name="failed" checked=${wanted.get("failed") === "1"} />only failed</label>
    <button type="submit">Find</button>${[...wanted.keys()].length > 0 && html`<${Link} to="decisions">All<//>`}
  </form>`;
}

function Find() {
  const go = (event) => {
    event.preventDefault();
    const id = event.target.elements.request.value.trim();
    if (id) location.hash = `#/decisions/${inPath(id)}`;
  };
  return html`<form class="find" onSubmit=${go}><label><span class="unseen">Request id</span><input name="request" placeholder="req_…" spellcheck="false" autocomplete="off" /></label><button type="submit">Open</button></form>`;
}

function Newest({ rows }) {
  const failed = (r) => !["ok", "cancelled"].includes(r.outcome);
  const columns = [
    { name: "Asked for", head: true, cell: (r) => html`<${Link} to=${`decisions/${inPath(r.request_id)}`}><${Name} of=${r.requested_model} none="nothing" /><//>` },
    { name: "Answered by", cell: (r) => html`<${Name} of=${r.deployment} none="nobody" />` },
    { name: "Why", cell: (r) => (failed(r) ? html`<${Tag} kind="bad">${r.status} ${r.error_code ?? r.outcome}<//>` : html`<${Tag}>${r.reason ?? "–"}<//>${r.reason && reason(r.reason) ? html` <span class="faint small">${reason(r.reason)}</span>` : ""}`) },
    { name: "Session", cell: (r) => html`<${Link} to=${`sessions/${inPath(r.session_id)}`}><${Name} of=${r.session_id} /><//>` },
    { name: "Input", num: true, value: (r) => r.input_tokens, cell: (r) => short(r.input_tokens) },
    { name: "From cache", num: true, cell: (r) => share(r.cache_read_tokens, r.input_tokens) },
    { name: "First token", num: true, value: (r) => r.ttft_ms, cell: (r) => seconds(r.ttft_ms) },
    { name: "Cost", num: true, value: (r) => r.cost_usd, cell: (r) => html`<span data-exact=${r.cost_usd}>${r.cost_usd === null && failed(r) ? "–" : usd(r.cost_usd)}</span>` },
    { name: "When", num: true, value: (r) => r.received_at, cell: (r) => html`<time datetime=${r.received_at} title=${moment(r.received_at)}>${ago(r.received_at)}</time>` },
  ];
  return html`<${Table} label="The newest requests" columns=${columns} rows=${rows} keyOf=${(r) => r.request_id} />`;
}

const FIELDS = [
  { name: "prompt", label: "Prompt", lines: 3, required: true, hint: "What is the capital of France?" },
  { name: "model", label: "Model", hint: "auto" },
  { name: "mode", label: "Mode", hint: "none" },
  { name: "tools", label: "Tools", options: ["no", "yes"], help: "as an agent with a tool would ask" },
];

const TOOL = { type: "function", function: { name: "look", description: "Looks something up.", parameters: { type: "object", properties: {} } } };

function Try() {
  const [told, setTold] = useState(null);
  const send = async ({ prompt, model, mode, tools }) => {
    const request = { model: model ?? "auto", messages: [{ role: "user", content: prompt }] };
    if (mode) request.metadata = { mode };
    if (tools === "yes") request.tools = [TOOL];
    setTold(null);
    setTold(await post("/admin/route", request));
  };
  return html`<details class="card try"><summary><h2>Try a prompt</h2> <span class="faint">shows whom the gateway would ask; nobody is called, nothing is booked</span></summary>
    <${Again} send=${send} />
    ${told && html`<div role="status"><p><strong><${Name} of=${told.model} /></strong> <${Tag}>${told.reason}<//> ${told.explanation}</p>
      <${Weighed} candidates=${told.candidates.map(plain)} rejected=${told.rejected.map(plain)} />
      <p class="small faint">about ${short(told.request.input_tokens_estimate)} input tokens</p>
      ${told.warnings.map((w) => html`<p class="small warned">${w}</p>`)}</div>`}
  </details>`;
}

/** A form that can be sent again: each answer makes it anew with what was typed. */
function Again({ send }) {
  const [turn, setTurn] = useState(0);
  const [values, setValues] = useState({});
  const go = async (told) => {
    await send(told);
    setValues(told);
    setTurn((n) => n + 1);
  };
  return html`<${Form} key=${turn} fields=${FIELDS} values=${values} submit="Explain" send=${go} />`;
}

const money = (text) => (text === "unpriced" || text === null ? null : Number(text));

/** A candidate as the explain call tells it, in the words of the ledger's. */
const plain = (c) => ({ ...c, cost_usd: money(c.expected_cost_usd), rest_usd: money(c.expected_rest_usd_per_solved) });
