// The console's frame: who is signed in, which page is shown, light or dark, live or paused.
import { html, render, useState, useEffect, useRef } from "./dom.js";
import { me, whoAmI, signOut, whenSignedOut } from "./api.js";
import { useLive, pause } from "./live.js";
import { time } from "./format.js";
import { Login } from "./pages/login.js";
import { Overview } from "./pages/overview.js";
import { Tokens } from "./pages/tokens.js";
import { Sessions } from "./pages/sessions.js";
import { Session } from "./pages/session.js";
import { Decisions } from "./pages/decisions.js";
import { Decision } from "./pages/decision.js";
import { Models } from "./pages/models.js";
import { Budgets } from "./pages/budgets.js";
import { Keys } from "./pages/keys.js";

const PAGES = [
  { at: "", name: "Overview", page: Overview },
  { at: "tokens", name: "Tokens", page: Tokens },
  { at: "sessions", name: "Sessions", page: Sessions, one: Session },
  { at: "decisions", name: "Decisions", page: Decisions, one: Decision },
  { at: "models", name: "Models", page: Models },
  { at: "budgets", name: "Budgets", page: Budgets },
  { at: "keys", name: "Keys", page: Keys },
];

function useRoute() {
  const read = () => location.hash.replace(/^#\/?/, "");
  const [route, setRoute] = useState(read());
  useEffect(() => {
    const changed = () => setRoute(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const [path, query = ""] = route.split("?", 2);
  const [at, ...rest] = path.split("/");
  let id = null;
  try {
    id = rest.length ? decodeURIComponent(rest.join("/")) : null;
  } catch {
    id = rest.join("/");
  }
  return { found: PAGES.find((p) => p.at === at) ?? PAGES[0], id, query };
}

const LOOKS = { auto: "Auto", light: "Light", dark: "Dark" };

function useLook() {
  const [look, setLook] = useState(localStorage.getItem("turnout-look") ?? "auto");
  useEffect(() => {
    if (look === "auto") delete document.documentElement.dataset.look;
    else document.documentElement.dataset.look = look;
    localStorage.setItem("turnout-look", look);
  }, [look]);
  return [look, setLook];
}

function Live() {
  const live = useLive();
  return html`<div class="live">
    <button type="button" aria-pressed=${live.paused} onClick=${() => pause(!live.paused)}>
      <span class=${`pulse ${live.paused ? "off" : ""}`} aria-hidden="true"></span>${live.paused ? "Paused" : "Live"}</button>
    <span class="faint read">${live.last ? `as of ${time(live.last)}` : ""}</span>
  </div>`;
}

function Shell({ onSignOut }) {
  const { found, id, query } = useRoute();
  const [look, setLook] = useLook();
  const main = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${found.name} · Turnout`;
    if (first.current) first.current = false;
    else main.current.focus();
    scrollTo(0, 0);
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [found, id]);
  const View = id !== null && found.one ? found.one : found.page;
  return html`<a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); main.current.focus(); }}>To the content</a>
    <header class="top">
      <a class="brand" href="#/"><img src="/console/icon.svg" alt="" width="26" height="26" />Turnout</a>
      <nav aria-label="Pages"><ul>${PAGES.map((p) => html`<li><a href=${`#/${p.at}`} aria-current=${p === found ? "page" : undefined}>${p.name}</a></li>`)}</ul></nav>
      <div class="tools">
        <${Live} />
        <label class="look"><span class="unseen">Colours</span>
          <select value=${look} onChange=${(e) => setLook(e.target.value)}>${Object.entries(LOOKS).map(([value, name]) => html`<option value=${value} selected=${value === look}>${name}</option>`)}</select></label>
        ${me.open
          ? html`<span class="who" title="No key is set: whoever reaches this address is an admin. Set server.admin_key.">no keys set</span>`
          : html`<span class="who">${me.name ? `${me.name} (${me.role})` : me.role}</span><button type="button" class="plain" onClick=${onSignOut}>Sign out</button>`}
      </div>
    </header>
    <main id="main" ref=${main} tabindex="-1"><${View} key=${`${found.at}/${id}?${query}`} id=${id} query=${query} /></main>`;
}

function App() {
  const [state, setState] = useState("asking");
  const [why, setWhy] = useState(null);
  useEffect(() => {
    whenSignedOut(() => setState("out"));
    whoAmI().then(() => setState(me.role ? "in" : "out"), (error) => {
      setWhy(error);
      setState("out");
    });
  }, []);
  if (state === "asking") return html`<p class="brand coming"><img src="/console/icon.svg" alt="" width="26" height="26" />Turnout</p>`;
  if (state === "out") return html`<${Login} why=${why} onIn=${() => setState("in")} />`;
  return html`<${Shell} onSignOut=${() => signOut().finally(() => setState("out"))} />`;
}

// What the page itself brought stands there until now, and the program begins with the same.
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
