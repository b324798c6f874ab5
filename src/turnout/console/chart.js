// Charts as SVG: their colours are the style sheet's, their figures are in a table for those who cannot see them.
import { html, useState, useEffect, useRef } from "./dom.js";
import { shown } from "./format.js";

const LEFT = 52;
const BOTTOM = 22;
const TOP = 8;

function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}

/** A round number at or above `most`, and lines below it. */
function scale(most) {
  if (!(most > 0)) return { top: 1, lines: [0, 1] };
  const size = 10 ** Math.floor(Math.log10(most));
  const step = [0.25, 0.5, 1, 2, 2.5].find((s) => s * size * 4 >= most) * size || size;
  const lines = [];
  for (let at = 0; at <= most + step * 0.999; at += step) lines.push(at);
  return { top: lines.at(-1), lines };
}

function Frame({ label, height, draw, table, most, format }) {
  const [ref, width] = useWidth();
  const { top, lines } = scale(most);
  const inner = Math.max(0, width - LEFT - 4);
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / top);
  return html`<figure class="chart" ref=${ref}>
    ${width > 0 && html`<svg width=${width} height=${height} role="img" aria-label=${label}>
      ${lines.map((at) => html`<g><line class="grid" x1=${LEFT} x2=${width} y1=${y(at)} y2=${y(at)} /><text class="axis" x=${LEFT - 6} y=${y(at) + 4} text-anchor="end">${format(at)}</text></g>`)}
      ${draw({ inner, y, height, width })}
    </svg>`}
    ${table}
  </figure>`;
}

/** The same figures in words, for screen readers. */
const Hidden = ({ label, names, rows, format }) => html`<div class="unseen"><table><caption>${label}</caption>
  <thead><tr><td></td>${names.map((n) => html`<th scope="col">${shown(n)}</th>`)}</tr></thead>
  <tbody>${rows.map((r) => html`<tr><th scope="row">${r.name}</th>${r.values.map((v) => html`<td>${v === null ? "" : format(v)}</td>`)}</tr>`)}</tbody></table></div>`;

function ticks(count, inner) {
  const every = Math.max(1, Math.ceil(count / Math.max(1, Math.floor(inner / 64))));
  return Array.from({ length: count }, (_, n) => n).filter((n) => n % every === 0);
}

/** Stacked bars. `rows`: [{name, values: [of each of `names`]}]. */
export function Bars({ label, names, rows, format, axis = format, height = 190 }) {
  const most = Math.max(0, ...rows.map((r) => r.values.reduce((a, b) => a + b, 0)));
  const draw = ({ inner, y }) => {
    const slot = inner / Math.max(1, rows.length);
    // Under a narrow bar the last name would end outside.
    const last = (n) => slot < 44 && n === rows.length - 1;
    const wide = Math.min(46, Math.max(2, slot * 0.72));
    return html`<g>${rows.map((row, n) => {
      let sum = 0;
      const x = LEFT + n * slot + (slot - wide) / 2;
      const said = `${row.name}: ${row.values.map((v, i) => v && `${shown(names[i])} ${format(v)}`).filter(Boolean).join(", ") || format(0)}`;
      return html`<g><title>${said}</title><rect class="catch" x=${LEFT + n * slot} y=${TOP} width=${slot} height=${y(0) - TOP} />
        ${row.values.map((value, i) => {
          if (!(value > 0)) return null;
          const from = sum;
          sum += value;
          return html`<rect class=${`c${i}`} x=${x} width=${wide} y=${y(sum)} height=${Math.max(0.5, y(from) - y(sum))} />`;
        })}</g>`;
    })}
    ${ticks(rows.length, inner).map((n) => html`<text class="axis" x=${LEFT + (n + 0.5) * slot} y=${height - 6} text-anchor=${last(n) ? "end" : "middle"} dx=${last(n) ? slot / 2 : 0}>${rows[n].name}</text>`)}</g>`;
  };
  const table = html`<${Hidden} label=${label} names=${names} rows=${rows} format=${format} />`;
  return html`<${Frame} label=${label} height=${height} draw=${draw} table=${table} most=${most} format=${axis} />`;
}

/** Lines over shares of a span (0..1). `lines`: [{name, kind, points: [[x, value]]}]; `marks`: [[x, text]] below. */
export function Lines({ label, lines, marks, format, height = 210 }) {
  const most = Math.max(0, ...lines.flatMap((l) => l.points.map((p) => p[1])));
  const draw = ({ inner, y }) => {
    const at = ([x, value]) => `${(LEFT + x * inner).toFixed(1)},${y(value).toFixed(1)}`;
    return html`<g>${lines.map((l) => html`<polyline class=${`line ${l.kind}`} points=${l.points.map(at).join(" ")}><title>${l.name}</title></polyline>`)}
      ${marks.map(([x, text]) => html`<text class="axis" x=${LEFT + x * inner} y=${height - 6} text-anchor=${x > 0.97 ? "end" : x < 0.03 ? "start" : "middle"}>${text}</text>`)}</g>`;
  };
  const rows = lines.map((l) => ({ name: l.name, values: [l.points.at(-1)?.[1] ?? null] }));
  const table = html`<${Hidden} label=${label} names=${["at its end"]} rows=${rows} format=${format} />`;
  return html`<${Frame} label=${label} height=${height} draw=${draw} table=${table} most=${most} format=${format} />`;
}
