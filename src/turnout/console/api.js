// The gateway's own JSON: asked with the browser's session, errors told in the gateway's words.

/** `role`: admin or viewer; null until someone has signed in. */
export const me = { role: null, name: null, csrf: null, open: false, oidc: false, version: "" };

export class Problem extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function ask(method, path, value) {
  const headers = { accept: "application/json" };
  if (value !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && me.csrf) headers["x-turnout-csrf"] = me.csrf;
  let response;
  try {
    const body = value === undefined ? undefined : JSON.stringify(value);
    response = await fetch(path, { method, headers, body, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new Problem("The gateway does not answer. Is it still running?", 0);
  }
  const told = await response.json().catch(() => null);
  if (response.ok) return told;
  const said = told?.error?.message ?? `The gateway answered ${response.status} without saying why.`;
  if (response.status === 401 && path !== "/console/login") onSignedOut();
  throw new Problem(said, response.status, Number(response.headers.get("retry-after")) || null);
}

let onSignedOut = () => {};
export const whenSignedOut = (told) => { onSignedOut = told; };

export const get = (path) => ask("GET", path);
export const post = (path, value = {}) => ask("POST", path, value);
export const patch = (path, value) => ask("PATCH", path, value);
export const remove = (path) => ask("DELETE", path);

/** Who we are, once the session is known; `role` stays null where nobody is signed in. */
export async function whoAmI() {
  Object.assign(me, await get("/console/session"));
  return me;
}

export async function signIn(key) {
  Object.assign(me, await post("/console/login", { key }));
  return me;
}

export async function signOut() {
  await post("/console/logout");
  Object.assign(me, { role: null, name: null, csrf: null, open: false });
}
