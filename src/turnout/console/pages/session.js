// One session as a timeline: what each step took, who answered and why; and what a person can do about it.
import { html, useState } from "../dom.js";
import { useLoad } from "../live.js";
import { post, me } from "../api.js";
import { usd, count, short, share, time, moment, seconds, inPath, shown, reason } from "../format.js";
import { Action, Dialog, Failure, Figure, Figures, Form, Legend, Link, Loading, Name, PartsBar, Tag, words } from "../ui.js";
import { Bars } from "../chart.js";
import { Carried } from "../carried.js";
import { PARTS } from "./tokens.js";

export function Session({ id }) {
  const path = `/admin/sessions/${inPath(id)}`;
  const { data, error, again } = useLoad(path, 5000);
  return html`<p class="crumb"><${Link} to="sessions">Sessions<//></p>
    <div class="page-head"><h1><${Name} of=${id} /></h1>${data && html`<${Deeds} path=${path} live=${data.live} done=${again} />`}</div>
    <${Failure} error=${error} data=${data} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<${State} live=${data.live} />
      ${data.total && html`<${Sums} total=${data.total} />`}
      ${data.steps.length > 1 && html`<${Contexts} steps=${data.steps} />`}
      ${data.context && html`<${Carried} id=${id} />`}
      <${Timeline} steps=${data.steps} cut=${data.cut} />`}`;
}

function State({ live }) {
  return live.filter((s) => s.state !== "running").map((s) => html`<p class="notice warn" role="status"><strong>${s.state}</strong>${s.brake === "by_hand" ? "" : html` by the brake ${words(s.brake)}`}: ${shown(s.why)}</p>`);
}

/** What can be done. A session of the past alone can be paused too: its next request is refused then. */
function Deeds({ path, live, done }) {
  const [open, setOpen] = useState(null);
  if (me.role !== "admin") return null;
  const held = live.some((s) => s.state === "paused");
  const send = async (values) => {
    await post(`${path}/${open}`, values);
    setOpen(null);
    done();
  };
  const limits = [
    { name: "max_session_usd", label: "US dollars", number: true, hint: "as it is" },
    { name: "max_session_steps", label: "Steps", number: true, hint: "as it is" },
    { name: "max_session_tokens", label: "Tokens", number: true, hint: "as it is", help: "0 takes a limit away. What it has taken since it was last resumed counts." },
  ];
  const why = [
    { name: "by", label: "Your name", hint: "an admin" },
    { name: "why", label: "Why", hint: "told to the agent, with the 403" },
  ];
  return html`<div class="deeds">
    ${held && html`<${Action} kind="primary" does=${() => post(`${path}/resume`)} done=${done}>Resume<//>`}
    ${!held && live.every((s) => s.state !== "blocked") && html`<button type="button" onClick=${() => setOpen("pause")}>Pause</button>`}
    ${live.length > 0 && html`<button type="button" onClick=${() => setOpen("limits")}>Raise its limits</button>`}
    ${open === "pause" && html`<${Dialog} title="Pause this session" onClose=${() => setOpen(null)}><p>Its next request is refused with 403 until somebody resumes it. What is being answered now is answered.</p><${Form} submit="Pause" fields=${why} send=${send} /><//>`}
    ${open === "limits" && html`<${Dialog} title="Limits of this session" onClose=${() => setOpen(null)}><${Form} submit="Set limits" fields=${limits} values=${live[0].limits} send=${send} /><//>`}
  </div>`;
}

function Sums({ total: t }) {
  return html`<${Figures}>
    <${Figure} label="Cost" exact=${t.cost_usd} value=${usd(t.cost_usd)} note=${t.unpriced ? `${t.unpriced} steps have no price` : ""} />
    <${Figure} label="Requests" exact=${t.requests} value=${count(t.requests)} note=${t.errors ? html`<${Tag} kind="bad">${t.errors} failed<//>` : "none failed"} />
    <${Figure} label="Input tokens" exact=${t.input_tokens} value=${short(t.input_tokens)} note=${`${share(t.cache_read_tokens, t.input_tokens)} read from a cache`} />
    <${Figure} label="Output tokens" exact=${t.output_tokens} value=${short(t.output_tokens)} />
    <${Figure} label="From" value=${moment(t.first_at)} note=${`to ${moment(t.last_at)}`} />
    <${Figure} label="Feature" value=${html`<${Name} of=${t.feature} />`} note=${html`key <${Name} of=${t.key} />`} />
  <//>`;
}

function Contexts({ steps }) {
  const rows = steps.slice(-200).map((s, n) => ({ name: String(steps.length > 200 ? steps.length - 200 + n + 1 : n + 1), values: PARTS.map((part) => s.parts[part]) }));
  return html`<section class="card"><h2>Context by step</h2><${Legend} names=${PARTS} />
    <${Bars} label="Tokens of the context at each request" names=${PARTS.map(words)} rows=${rows} format=${short} /></section>`;
}

function Timeline({ steps, cut }) {
  const most = Math.max(1, ...steps.map((s) => s.input_tokens ?? 0));
  const agents = [...new Set(steps.map((s) => s.agent))];
  if (!steps.length) return html`<p>No request of it is in the ledger.</p>`;
  return html`<section class="card"><h2>Timeline</h2>
    ${cut && html`<p class="faint small">The last ${count(steps.length)} requests.</p>`}
    <ol class="timeline">${steps.map((s, n) => html`<${Step} key=${s.request_id} s=${s} n=${n} most=${most} agent=${agents.length > 1 ? agents.indexOf(s.agent) + 1 : null} before=${steps[n - 1]} />`)}</ol></section>`;
}

function Step({ s, n, most, agent, before }) {
  const moved = before && before.deployment && s.deployment && before.deployment !== s.deployment && before.agent === s.agent;
  const failed = !["ok", "cancelled"].includes(s.outcome);
  const loops = s.warnings.filter((w) => w.startsWith("brake "));
  // What stays as it is from step to step is told where it begins.
  const others = s.warnings.filter((w) => !w.startsWith("brake ") && !before?.warnings.includes(w));
  return html`<li class=${failed ? "failed" : moved ? "moved" : ""}>
    <div class="when"><span class="nth">${n + 1}</span><time datetime=${s.received_at}>${time(s.received_at)}</time></div>
    <div class="what">
      <p><${Link} to=${`decisions/${inPath(s.request_id)}`}><${Name} of=${s.deployment} none="nobody answered" /><//>
        ${s.reason && html` <${Tag}>${s.reason}<//>`}${agent && html` <${Tag}>agent ${agent}<//>`}${moved && html` <${Tag} kind="warn">moved<//>`}
        ${failed && html` <${Tag} kind="bad">${s.status} ${s.error_code ?? s.outcome}<//>`}${s.outcome === "cancelled" && html` <${Tag}>hung up<//>`}
        ${s.attempts > 1 && html` <${Tag} kind="warn">${s.attempts} attempts<//>`}</p>
      ${s.input_tokens === null ? html`<p class="small faint">${s.attempts ? "no answer" : "refused before anybody was asked"}</p>` : html`<${PartsBar} parts=${s.parts} whole=${most} label="context" />
      <p class="small faint">${short(s.input_tokens)} in, ${share(s.cache_read_tokens, s.input_tokens)} from cache, ${short(s.output_tokens)} out, first token ${seconds(s.ttft_ms)}, whole ${seconds(s.duration_ms)}${s.reason && reason(s.reason) ? `; ${reason(s.reason)}` : ""}</p>`}
      ${loops.map((w) => html`<p class="small warned">⟲ ${shown(w)}</p>`)}
      ${others.map((w) => html`<p class="small warned">${shown(w)}</p>`)}
    </div>
    <div class="money" data-exact=${s.cost_usd}>${s.cost_usd === null ? (failed ? "" : "unpriced") : usd(s.cost_usd)}</div>
  </li>`;
}
