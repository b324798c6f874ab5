// What a session's conversations carry for nothing, where the config has them looked at.
import { html } from "./dom.js";
import { useLoad } from "./live.js";
import { usd, count, short, inPath, sentence, shown } from "./format.js";
import { Failure, Name, Table, Tag, words } from "./ui.js";

const MOST = 20;

export function Carried({ id }) {
  const { data, error } = useLoad(`/admin/sessions/${inPath(id)}/context`, 30000);
  return html`<section class="card"><h2>Carried for nothing</h2><${Failure} error=${error} data=${data} />
    ${data?.data.map((told) => html`<${Conversation} told=${told} named=${data.data.length > 1} />`)}
    ${data && html`<p class="faint small">${sentence(data.notes)}.</p>`}</section>`;
}

function Conversation({ told, named }) {
  const found = told.findings.slice(0, MOST);
  return html`${named && html`<h3>Agent <${Name} of=${told.agent} /></h3>`}
    <p class="small faint">${count(told.requests)} requests, ${short(told.billed_tokens)} tokens sent${told.billed_usd === null ? "" : `, ${usd(told.billed_usd)} for input`}; ${short(told.tools_tokens)} tokens of tools in each.</p>
    ${found.length ? html`<${Findings} rows=${found} />` : html`<p>Nothing was found.</p>`}
    ${told.findings.length > MOST && html`<p class="faint small">${count(told.findings.length - MOST)} more are in <code>GET /admin/sessions/ID/context</code>.</p>`}`;
}

function Findings({ rows }) {
  const columns = [
    { name: "What", head: true, cell: (f) => html`${words(f.kind)}${f.tool && html` <${Name} of=${f.tool} />`}${f.step !== null && html` <span class="faint">step ${f.step + 1}</span>`}` },
    { name: "Sure", cell: (f) => shown(f.basis) },
    { name: "Tokens", num: true, value: (f) => f.tokens, cell: (f) => short(f.tokens) },
    { name: "Sent", num: true, value: (f) => f.billed_tokens, cell: (f) => short(f.billed_tokens) },
    { name: "It cost", num: true, value: (f) => f.gross_usd, cell: (f) => usd(f.gross_usd) },
    { name: "Saved without", num: true, value: (f) => f.net_usd, cell: (f) => usd(f.net_usd) },
    { name: "Verdict", cell: (f) => (f.verdict ? html`<${Tag} kind=${f.verdict === "worth it" ? "good" : "plain"}>${f.verdict}<//>` : "–") },
  ];
  return html`<${Table} label="Carried for nothing" columns=${columns} rows=${rows} />`;
}
