// What was said in a request, where it is kept: redacted, and whole for an admin who asks for that.
import { html, useState } from "./dom.js";
import { me, post } from "./api.js";
import { useLoad } from "./live.js";
import { count, inPath, sentence, shown } from "./format.js";
import { Action, Failure, Tag } from "./ui.js";

export function Said({ id }) {
  const path = `/admin/requests/${inPath(id)}/texts`;
  const { data, error } = useLoad(path, 0);
  const [whole, setWhole] = useState(null);
  const told = whole ?? data;
  return html`<section class="card said"><h2>What was said</h2>
    <${Failure} error=${error} />
    ${told?.why && html`<p class="faint small">${sentence(shown(told.why))}.</p>`}
    ${told && !told.why && html`<p class="faint small">${about(told)}</p>
      ${me.role === "admin" && (whole
        ? html`<p><button type="button" onClick=${() => setWhole(null)}>Redact again</button></p>`
        : html`<p><${Action} does=${async () => setWhole(await post(path))}>Show it whole<//></p>`)}
      <ol class="turns">
        ${told.left_out > 0 && html`<li class="faint small">${count(told.left_out)} earlier messages are left out.</li>`}
        ${told.messages.map((message) => html`<${Turn} who=${message.role} parts=${message.parts} />`)}
        ${told.answer.length > 0 && html`<${Turn} who="answer" parts=${told.answer} />`}
      </ol>`}
  </section>`;
}

function about(told) {
  if (told.redacted === null) return "As it was said.";
  const found = Object.entries(told.redacted).map(([kind, n]) => `${n} ${kind.toLowerCase()}`);
  return `Redacted by the shapes that machines write (keys, addresses, card and phone numbers), not names of people or places. ${found.length ? `Taken out: ${found.join(", ")}.` : "Nothing was taken out."}`;
}

function Turn({ who, parts }) {
  return html`<li><h3>${who}</h3>${parts.map((part) => html`<${Piece} part=${part} />`)}</li>`;
}

const KINDS = { tool_call: "calls", tool_result: "result", reasoning: "thinks", refusal: "refuses" };

function Piece({ part }) {
  const label = KINDS[part.kind];
  if (part.text === undefined) return html`<p class="faint small">${part.kind}: not shown</p>`;
  return html`<div>
    ${label && html`<p class="small"><${Tag} kind=${part.error ? "bad" : undefined}>${label}<//> ${part.name && html`<code>${shown(part.name)}</code>`}</p>`}
    ${part.text !== "" && html`<pre tabindex="0" aria-label=${label ?? "text"} role="group">${lines(part.text)}</pre>`}
    ${part.cut > 0 && html`<p class="faint small">${count(part.cut)} characters more</p>`}
  </div>`;
}

/** Line breaks and tabs stay what they are. */
const lines = (text) => text.split(/([\n\t])/).map((piece, n) => (n % 2 ? piece : shown(piece))).join("");
