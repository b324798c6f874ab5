// The models: are they well, how fast, how good as far as was learned, what do they cost.
import { html } from "../dom.js";
import { useLoad } from "../live.js";
import { usd, count, short, percent, seconds, ago, shown } from "../format.js";
import { Empty, Failure, Loading, Name, Table, Tag } from "../ui.js";

const BREAKER = { closed: ["good", "well"], open: ["bad", "closed off"], half_open: ["warn", "on trial"] };
const ORDER = ["open", "half_open", "closed"];

const worst = (m) => [...m.places].sort((a, b) => ORDER.indexOf(a.breaker) - ORDER.indexOf(b.breaker))[0];

export function Models() {
  const { data, error } = useLoad("/admin/models");
  const week = useLoad("/admin/overview?since=7d", 30000);
  const used = new Map((week.data?.by_model ?? []).map((m) => [m.model, m]));
  return html`<div class="page-head"><h1>Models</h1></div>
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !data.data.length && html`<${Empty} title="No model is set up"><p>Add <code>[providers.NAME]</code> to the config, or set a provider's usual key variable.</p><//>`}
    ${data && data.data.length > 0 && html`${data.data.flatMap((m) => m.alarms.map((why) => html`<p class="notice warn"><${Name} of=${m.model} />: ${shown(why)}</p>`))}
      <section class="card"><${List} rows=${data.data.map((m) => ({ ...m, week: used.get(m.model) ?? null }))} /><p class="faint small">Prices in US dollars for a million tokens. First token and tokens a second: moving averages of recent answers. Success: how often answers were good, of the last 200 outcomes that were heard of. Writes: mean output tokens an answer.${data.data.some(shipped) ? html` Some prices came with the gateway, of the version named; <code>[prices] refresh = true</code> keeps them current.` : ""}</p></section>`}`;
}

function Health({ m }) {
  const place = worst(m);
  const [kind, said] = BREAKER[place.breaker];
  const more = [place.why && place.breaker !== "closed" ? place.why.replaceAll("_", " ") : null, place.closed_for_s > 0 ? `${Math.ceil(place.closed_for_s)} s more` : null];
  return html`<${Tag} kind=${kind}>${said}<//>${more.some(Boolean) && html` <span class="faint">${more.filter(Boolean).join(", ")}</span>`}${m.places.length > 1 && html` <span class="faint">${m.places.filter((p) => p.breaker === "closed").length} of ${m.places.length} places</span>`}`;
}

const best = (m, field) => m.places.map((p) => p[field]).find((v) => v !== null) ?? null;
const price = (m, field) => (m.price && m.price[field] !== null ? usd(m.price[field]) : "–");

const DATED = / of (\d{4}-\d\d-\d\d)$/;

/** Where a price is from, and how old the list is: told of one that was fetched, known of one that came along by its version. */
function From({ price }) {
  const day = DATED.exec(price.source)?.[1];
  return html`<span class="faint">${shown(price.source)}${day ? html`<br />${ago(`${day}T00:00:00Z`)}` : ""}</span>`;
}

const shipped = (m) => m.price && m.price.source !== "config" && !DATED.test(m.price.source);

function List({ rows }) {
  const columns = [
    { name: "Model", head: true, cell: (m) => html`<${Name} of=${m.model} />` },
    { name: "Tier", value: (m) => m.tier, cell: (m) => m.tier ?? "–" },
    { name: "Health", cell: (m) => html`<${Health} m=${m} />` },
    { name: "7 days", num: true, value: (m) => m.week?.cost_usd, cell: (m) => (m.week ? html`<span data-exact=${m.week.cost_usd}>${usd(m.week.cost_usd)}</span>` : "–") },
    { name: "Requests", num: true, value: (m) => m.week?.requests, cell: (m) => (m.week ? count(m.week.requests) : "–") },
    { name: "Errors", num: true, cell: (m) => percent(Math.max(...m.places.map((p) => p.error_rate))) },
    { name: "First token", num: true, value: (m) => best(m, "ttft_s"), cell: (m) => (best(m, "ttft_s") === null ? "–" : seconds(best(m, "ttft_s") * 1000)) },
    { name: "Tokens/s", num: true, value: (m) => best(m, "tokens_per_s"), cell: (m) => (best(m, "tokens_per_s") === null ? "–" : count(best(m, "tokens_per_s"))) },
    { name: "Success", num: true, value: (m) => m.observed, cell: (m) => html`<span title=${m.predicted === null ? "" : `predicted ${percent(m.predicted)}`}>${m.outcomes ? percent(m.observed) : "–"}</span>${m.outcomes ? html` <span class="faint">of ${m.outcomes}</span>` : ""}` },
    { name: "Writes", num: true, value: (m) => m.output_per_answer, cell: (m) => (m.output_per_answer === null ? "–" : html`${short(m.output_per_answer)} <span class="faint">of ${short(m.answers)}</span>`) },
    { name: "Input $/M", num: true, value: (m) => m.price?.input, cell: (m) => price(m, "input") },
    { name: "Cache $/M", num: true, value: (m) => m.price?.cache_read, cell: (m) => price(m, "cache_read") },
    { name: "Output $/M", num: true, value: (m) => m.price?.output, cell: (m) => price(m, "output") },
    { name: "Price from", cell: (m) => (m.price ? html`<${From} price=${m.price} />` : html`<${Tag} kind="warn">unpriced<//>`) },
  ];
  return html`<${Table} label="Models" columns=${columns} rows=${rows} keyOf=${(m) => m.model} />`;
}
