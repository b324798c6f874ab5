// Signing in with the admin's or a viewer's key, or by name where the gateway has an OpenID provider.
import { html } from "../dom.js";
import { me, signIn } from "../api.js";
import { Form, Failure } from "../ui.js";

export function Login({ why, onIn }) {
  const send = async ({ key }) => {
    await signIn(key);
    onIn();
  };
  return html`<main class="login">
    <img src="/console/icon.svg" alt="" width="44" height="44" />
    <h1>Turnout</h1>
    <${Failure} error=${why} />
    ${me.oidc && html`<a class="button" href="/console/oidc/login">Sign in with your organisation</a><p class="or">or</p>`}
    <${Form} submit="Sign in" send=${send} fields=${[{ name: "key", label: "Admin or viewer key", secret: true, required: true }]} />
    <p class="faint">It is <code>server.admin_key</code> of the gateway's config; <code>server.viewer_key</code> lets look and change nothing. Keys of callers do not open this page.</p>
  </main>`;
}
