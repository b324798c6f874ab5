// Budgets: how each stands, and making, changing and taking away those that are not the config's.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { me, post, patch, remove } from "../api.js";
import { usd, inPath } from "../format.js";
import { Action, Dialog, Empty, Failure, Form, Loading, Name, Tag } from "../ui.js";
import { BudgetBar } from "../course.js";

const COVERS = ["everything", "tag", "key", "team", "mode", "model", "provider", "session"];

const OTHERS = [
  { name: "amount_usd", label: "Amount in US dollars", number: true, required: true },
  { name: "period", label: "Period", hint: "month", help: "day, week, month, lifetime, or a rolling window: 24h, 30d" },
  { name: "timezone", label: "Time zone", hint: "UTC", help: "where a day begins" },
  { name: "covers", label: "Covers", options: COVERS },
  { name: "value", label: "Of this name", hint: "feature=search", help: "not needed where it covers everything" },
  { name: "on_exhausted", label: "When it is used up", options: ["block", "pause", "small", "warn"], help: "block and pause refuse, small leaves the rest to small models, warn only counts" },
  { name: "pacing", label: "Pacing", options: ["thrift", "strict", "off"] },
];

export function Budgets() {
  const { data, error, again } = useLoad("/admin/budgets", 5000);
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const send = async ({ name, covers, value, ...told }) => {
    if (covers !== "everything" && !value) throw new Error(`Say which ${covers} it covers.`);
    const wanted = { ...told, match: covers === "everything" ? {} : { [covers]: value } };
    if (open === "new") await post("/admin/budgets", { name, ...wanted });
    else await patch(`/admin/budgets/${inPath(open.name)}`, wanted);
    close();
    again();
  };
  const make = me.role === "admin" && html`<button type="button" class="primary" onClick=${() => setOpen("new")}>New budget</button>`;
  return html`<div class="page-head"><h1>Budgets</h1>${data && data.data.length > 0 && make}</div>
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !data.data.length && html`<${Empty} title="No budget holds the spending"><p>A budget is checked before every call with the worst that it may cost, so it holds.</p>${make}<//>`}
    <div class="cards">${data?.data.map((b) => html`<${Card} key=${b.name} b=${b} onEdit=${() => setOpen(b)} done=${again} />`)}</div>
    ${open && html`<${Dialog} title=${open === "new" ? "New budget" : `Budget ${open.name}`} onClose=${close}>
      <${Form} submit=${open === "new" ? "Make it" : "Change it"} send=${send} values=${valuesOf(open)}
        fields=${open === "new" ? [{ name: "name", label: "Name", required: true, hint: "search" }, ...OTHERS] : OTHERS} /><//>`}`;
}

function valuesOf(open) {
  if (open === "new") return {};
  const [covers, value] = Object.entries(open.match)[0] ?? ["everything", ""];
  return { amount_usd: open.own_amount_usd, period: open.period_text, timezone: open.timezone, covers, value, on_exhausted: open.on_exhausted, pacing: open.pacing };
}

function Card({ b, onEdit, done }) {
  const [adding, setAdding] = useState(false);
  const path = `/admin/budgets/${inPath(b.name)}`;
  const covers = Object.entries(b.match);
  const add = async ({ usd: amount }) => {
    await post(`${path}/add`, { usd: amount });
    setAdding(false);
    done();
  };
  return html`<section class="card budget"><h2><${Name} of=${b.name} /></h2>
    <p class="small faint">${covers.length ? covers.map(([k, v]) => html`${k} <${Name} of=${v} /> `) : "covers everything"} · by ${b.period_text} · ${b.timezone} · when used up: ${b.on_exhausted} · pacing: ${b.pacing}</p>
    <${BudgetBar} budget=${b} />
    <div class="deeds">
      ${me.role === "admin" && html`<button type="button" onClick=${() => setAdding(true)}>Add money</button>`}
      ${b.source === "store" && me.role === "admin" && html`<button type="button" onClick=${onEdit}>Change</button>
        <${Action} kind="danger" ask=${`Take the budget ${b.name} away? Nothing holds this spending then.`} does=${() => remove(path)} done=${done}>Take away<//>`}
      ${b.source === "config" && html`<span class="small faint"><${Tag}>config<//> it stands in the config file: change it there, the file is read again when it changes</span>`}
    </div>
    ${adding && html`<${Dialog} title=${`More money for ${b.name}`} onClose=${() => setAdding(false)}><p>For the current period alone${b.end ? "" : ""}; ${usd(b.left_usd)} are left now.</p>
      <${Form} submit="Add" send=${add} fields=${[{ name: "usd", label: "US dollars", number: true, required: true }]} /><//>`}
  </section>`;
}
