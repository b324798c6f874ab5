// Figures, times and names as people read them.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const cents = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });

/** US dollars; small sums keep three significant figures, null is a cost that nobody knows. */
export function usd(value) {
  if (value === null || value === undefined) return "unpriced";
  const size = Math.abs(value);
  if (size === 0) return "$0.00";
  if (size >= 0.1) return cents.format(value);
  const digits = Math.min(9, 2 - Math.floor(Math.log10(size)));
  return (value < 0 ? "-$" : "$") + size.toFixed(digits);
}

/** The same along an axis, where figures are round. */
export const usdAxis = (value) => (value === 0 || value >= 100 ? `$${whole.format(value)}` : `$${Number(value.toPrecision(2))}`);

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** Tokens in short: 950, 12.4k, 3.1M. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  for (const [size, word] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) {
      const told = value / size;
      return (told >= 100 ? told.toFixed(0) : told.toFixed(1)) + word;
    }
  }
  return whole.format(value);
}

export const share = (part, of) => (of ? percent(part / of) : "–");

export function percent(value) {
  if (value === null || value === undefined) return "–";
  const told = value * 100;
  return (told !== 0 && Math.abs(told) < 10 ? told.toFixed(1) : told.toFixed(0)) + "%";
}

export function seconds(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dated = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const dayOnly = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });

export const time = (at) => clock.format(new Date(at));
export const moment = (at) => dated.format(new Date(at));

/** Every day or hour of a series from its first to `until`, those too in which nothing came: time passed in them. */
export function everyTick(first, until) {
  const hourly = first.length > 10;
  const size = hourly ? 13 : 10;
  const start = Date.parse(hourly ? `${first.slice(0, 13)}:00:00Z` : `${first}T00:00:00Z`);
  const told = [];
  for (let at = start; at <= Date.parse(until) && told.length < 1000; at += hourly ? 3600e3 : 86400e3) {
    told.push(new Date(at).toISOString().slice(0, size) + first.slice(size));
  }
  return told;
}

/** A day or hour of a series, as the ledger names it (UTC). */
export const tick = (at) => (at.length > 10 ? `${at.slice(11, 13)}:00` : dayOnly.format(new Date(`${at}T00:00:00Z`)));

export function ago(at) {
  const passed = (Date.now() - new Date(at).getTime()) / 1000;
  if (passed < 60) return "now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86400) return `${Math.floor(passed / 3600)} h ago`;
  return `${Math.floor(passed / 86400)} d ago`;
}

// What turns the direction of text, joins or hides letters, or moves a terminal's cursor.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** A name that somebody else chose, with what cannot be seen made visible. */
export const shown = (text) =>
  String(text ?? "").replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A name as one part of a path. */
export const inPath = (text) => encodeURIComponent(String(text).toWellFormed?.() ?? String(text));

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const ROUTES = {
  pinned: "goes on with the session's model",
  escalated: "taken up on evidence",
  returned: "back after recovery",
  explicit: "the caller named the model",
  mode: "a declared mode",
  cache_hit: "answered before",
  detour: "a routine step elsewhere",
  predicted: "by what was learned",
  quality: "full quality was asked for",
  agent: "has tools: a frontier model is wanted",
  reasoning: "reasoning was asked for",
  long: "a long context",
  short: "one plain question",
  medium: "short enough for the middle tier",
  hard: "nothing says that less would do",
  explored: "a tier lower this once, to learn",
  thrift: "a budget is used up too fast",
  shadow: "asked beside, to learn",
};

/** What a decision's short code stands for. */
export const reason = (code) => ROUTES[code] ?? null;
