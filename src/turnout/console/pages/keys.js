// Virtual keys: who may call, how much; made, rotated and revoked here. A secret is shown once.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { me, post, patch, remove } from "../api.js";
import { usd, count, moment, inPath } from "../format.js";
import { Action, Dialog, Empty, Failure, Form, Link, Loading, Name, Table, Tag } from "../ui.js";

const LISTS = ["models", "modes"];
const LIMITS = [
  { name: "team", label: "Team", hint: "core", help: "what budgets may match" },
  { name: "owner", label: "Owner", hint: "ann" },
  { name: "models", label: "Models", hint: "all", help: "names, patterns or tiers, with commas: tier/small, openai/*" },
  { name: "modes", label: "Modes", hint: "all" },
  { name: "rpm", label: "Requests a minute", number: true, hint: "no limit" },
  { name: "tpm", label: "Tokens a minute", number: true, hint: "no limit" },
  { name: "max_concurrency", label: "Requests at once", number: true, hint: "no limit" },
];

const KINDS = { active: "good", revoked: "bad", expired: "warn" };

function toJson(values) {
  const told = { ...values };
  for (const name of LISTS) if (told[name]) told[name] = told[name].split(",").map((v) => v.trim()).filter(Boolean);
  return told;
}

export function Keys() {
  const { data, error, again } = useLoad("/admin/keys");
  const spent = useLoad("/admin/volume?by=key&since=30d&sessions=no&limit=1000", 30000);
  const taken = new Map((spent.data?.data ?? []).map((g) => [g.group, g]));
  const [open, setOpen] = useState(null);
  const [fresh, setFresh] = useState(null);
  const send = async (values) => {
    if (open === "new") {
      setFresh(await post("/admin/keys", toJson(values)));
    } else {
      const empty = { team: null, owner: null, models: [], modes: [], rpm: null, tpm: null, max_concurrency: null };
      await patch(`/admin/keys/${inPath(open.name)}`, { ...empty, ...toJson(values) });
    }
    setOpen(null);
    again();
  };
  const rotate = async (key) => setFresh(await post(`/admin/keys/${inPath(key.name)}/rotate`, { grace_s: 3600 }));
  const make = me.role === "admin" && html`<button type="button" class="primary" onClick=${() => setOpen("new")}>New key</button>`;
  const first = me.open ? html`<p class="warned">With the first key, this gateway and this page are closed to whoever has none. Set <code>server.admin_key</code> in the config first, or you cannot come back in.</p>` : null;
  return html`<div class="page-head"><h1>Keys</h1>${data && data.data.length > 0 && make}</div>
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !data.data.length && html`<${Empty} title="No keys: whoever reaches this address may call"><p>The gateway listens on this machine alone while there are none. The first key closes it to callers without one.</p>${first}${make}<//>`}
    ${data && data.data.length > 0 && html`<section class="card"><${List} rows=${data.data.map((k) => ({ ...k, taken: taken.get(k.name) ?? null }))} onEdit=${setOpen} rotate=${rotate} again=${again} /><p class="faint small">Cost and requests: of the last 30 days. A <${Link} to="budgets">budget<//> that covers a key holds its money.</p></section>`}
    ${open && html`<${Dialog} title=${open === "new" ? "New key" : `Key ${open.name}`} onClose=${() => setOpen(null)}>${open === "new" && first}
      <${Form} submit=${open === "new" ? "Make it" : "Change it"} send=${send} values=${open === "new" ? {} : valuesOf(open)}
        fields=${open === "new" ? [{ name: "name", label: "Name", required: true, hint: "ci", help: "shown in records" }, ...LIMITS] : LIMITS} /><//>`}
    ${fresh && html`<${Secret} told=${fresh} onClose=${() => setFresh(null)} />`}`;
}

const valuesOf = (key) => ({ ...key, models: key.models.join(", "), modes: key.modes.join(", ") });

function Secret({ told, onClose }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard?.writeText(told.key).then(() => setCopied(true), () => {});
  return html`<${Dialog} title=${`The key ${told.name}`} onClose=${onClose}><p>It is shown this once; only a hash of it is kept.</p>
    <p class="secret"><code>${told.key}</code></p><button type="button" class="primary" onClick=${copy}>${copied ? "Copied" : "Copy"}</button><//>`;
}

function List({ rows, onEdit, rotate, again }) {
  const limits = (k) => [k.rpm && `${count(k.rpm)} requests/min`, k.tpm && `${count(k.tpm)} tokens/min`, k.max_concurrency && `${count(k.max_concurrency)} at once`].filter(Boolean).join(", ");
  const columns = [
    { name: "Name", head: true, cell: (k) => html`<${Name} of=${k.name} /> <code class="faint">${k.hint}</code>` },
    { name: "State", cell: (k) => html`<${Tag} kind=${KINDS[k.state]}>${k.state}<//>${k.source === "config" && html` <${Tag}>config<//>`}` },
    { name: "Team", cell: (k) => html`<${Name} of=${k.team} />` },
    { name: "Opens", cell: (k) => ([...k.models, ...k.modes.map((m) => `mode ${m}`)].length ? [...k.models, ...k.modes.map((m) => `mode ${m}`)].map((m) => html`<${Name} of=${m} /> `) : "everything") },
    { name: "Limits", cell: (k) => limits(k) || html`<span class="faint">none</span>` },
    { name: "Cost", num: true, value: (k) => k.taken?.cost_usd ?? 0, cell: (k) => html`<span data-exact=${k.taken?.cost_usd ?? 0}>${usd(k.taken?.cost_usd ?? 0)}</span>` },
    { name: "Requests", num: true, value: (k) => k.taken?.requests ?? 0, cell: (k) => (k.taken ? html`<${Link} to=${`decisions?key=${inPath(k.name)}`}>${count(k.taken.requests)}<//>` : "0") },
    { name: "Made", num: true, value: (k) => k.created_at, cell: (k) => (k.source === "config" ? "–" : moment(k.created_at)) },
    { name: "Do", cell: (k) => (k.source === "store" && k.state === "active" && me.role === "admin" ? html`<div class="deeds"><button type="button" onClick=${() => onEdit(k)}>Change</button>
      <${Action} ask=${`Rotate ${k.name}? The secret so far opens for one hour more.`} does=${() => rotate(k)} done=${again}>Rotate<//>
      <${Action} kind="danger" ask=${`Revoke ${k.name}? It opens nothing from then on, for good.`} does=${() => remove(`/admin/keys/${inPath(k.name)}`)} done=${again}>Revoke<//></div>` : k.source === "config" ? html`<span class="faint small">stands in the config</span>` : "") },
  ];
  return html`<${Table} label="Keys" columns=${columns} rows=${rows} keyOf=${(k) => k.name} />`;
}
