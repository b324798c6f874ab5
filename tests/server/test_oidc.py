"""Signing in to the console by an OpenID provider, over real sockets; and what must not get in."""

import hmac
import json
import logging
import re
from base64 import urlsafe_b64encode
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from server.test_console import Browser as Signed
from support.gateway import gateway, lab
from support.openid import CLIENT, SECRET, OpenId, path_of
from turnout.config import parse_config
from turnout.errors import ConfigError
from turnout.server import oidc

LAB = lab("http://127.0.0.1:9")
CALLBACK = "/console/oidc/callback"


def config(issuer, *, more='admins = ["ann@example.com"]\nviewers = ["*@example.com"]'):
    return (
        '[server]\nadmin_key = "adm-secret"\n[server.oidc]\n'
        f'issuer = "{issuer}"\nclient_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
        f'redirect_uri = "http://127.0.0.1{CALLBACK}"\n{more}\n'
    ) + LAB


class Browser(Signed):
    """As a browser goes through a sign-in: it keeps the cookies that it is given."""

    def __init__(self, url):
        super().__init__(url)
        self.jar = {}

    async def get(self, path, **more):
        cookie = "; ".join(f"{k}={v}" for k, v in self.jar.items()) or None
        status, headers, body = await self.ask("GET", path, cookie=cookie, origin=None, **more)
        return status, headers, body.decode()

    def keep(self, raw):
        for name, morsel in SimpleCookie(raw).items():
            if morsel["max-age"] == "0":
                self.jar.pop(name, None)
            else:
                self.jar[name] = morsel.value


async def begin(browser):
    """The address that the browser is sent to."""
    status, headers, _ = await browser.get("/console/oidc/login")
    assert status == 302, headers
    browser.keep(headers["set-cookie"])
    return headers["location"]


async def at_provider(provider, url):
    """What the provider sends the browser back with."""
    _, headers, _ = provider._answer("/authorize", urlsplit(url).query, {}, "")
    return path_of(headers["location"])


async def sign_in(browser, provider):
    return await browser.get(await at_provider(provider, await begin(browser)))


def told(status, body, *words):
    """A page for people that says all of this."""
    assert "<h1>Not signed in</h1>" in body
    for word in words:
        assert word in body, body
    return status


@pytest.fixture
async def provider():
    async with OpenId() as provider:
        yield provider


@pytest.fixture
async def gw(tmp_path, provider):
    async with gateway(config(provider.url), tmp_path) as gw:
        yield gw


async def test_an_admin_signs_in_by_name_changes_something_and_signs_out(gw, provider):
    assert provider.asked == []  # nobody is asked before somebody wants in
    browser = Browser(gw.url)
    assert json.loads((await browser.get("/console/session"))[2])["oidc"] is True
    url = await begin(browser)
    asked = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
    assert asked["redirect_uri"] == f"http://127.0.0.1{CALLBACK}"
    assert asked["scope"] == "openid email"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    status, headers, body = await browser.get(await at_provider(provider, url))
    assert (status, headers["location"], body) == (303, "/console/", "")
    gw.app.access.leave({})
    browser.cookie = SimpleCookie(headers["set-cookie"])["turnout_session"].value
    assert "HttpOnly; SameSite=Strict" in headers["set-cookie"]
    who = json.loads((await browser.ask("GET", "/console/session"))[2])
    assert (who["role"], who["name"]) == ("admin", "ann@example.com")
    assert (await browser.ask("POST", "/admin/budgets", {"name": "b", "amount_usd": 1}))[0] == 403  # no token yet
    browser.csrf = who["csrf"]
    assert (await browser.ask("POST", "/admin/budgets", {"name": "b", "amount_usd": 1}))[0] == 200
    assert (await browser.ask("POST", "/console/logout", {}))[0] == 200
    assert (await browser.ask("GET", "/admin/keys"))[0] == 401
    assert provider.asked == ["GET /.well-known/openid-configuration", "POST /token", "GET /keys"]


async def enter(gw, provider):
    """Who the next person is here: name and role, or what the page said."""
    browser = Browser(gw.url)
    status, headers, body = await sign_in(browser, provider)
    if status != 303:
        return status, body
    browser.cookie = SimpleCookie(headers["set-cookie"])["turnout_session"].value
    who = json.loads((await browser.ask("GET", "/console/session"))[2])
    return who["name"], who["role"]


async def test_a_domain_looks_and_strangers_stay_out(gw, provider):
    provider.claims["email"] = "Bob@Example.com"
    assert await enter(gw, provider) == ("Bob@Example.com", "viewer")
    for email in ("bob@evil.example", "bob@sub.example.com", "@example.com", "a@b@example.com", "bob@notexample.com"):
        provider.claims["email"] = email
        status, body = await enter(gw, provider)
        assert told(status, body, "may not come in") == 403


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_an_address_that_is_not_verified_is_none(gw, provider, verified):
    provider.claims["email_verified"] = verified
    status, body = await enter(gw, provider)
    assert told(status, body, "no verified address") == 403


async def test_groups_say_who_may_too(tmp_path, provider):
    more = 'groups_claim = "roles"\nadmin_groups = ["ops"]\nviewer_groups = ["dev"]'
    async with gateway(config(provider.url, more=more), tmp_path) as gw:
        provider.claims = {"roles": ["x", "ops"]}
        assert await enter(gw, provider) == ("u-1", "admin")
        provider.claims = {"roles": "dev"}
        assert await enter(gw, provider) == ("u-1", "viewer")
        provider.claims = {"groups": ["ops"], "email": "ann@example.com", "email_verified": True}
        assert (await enter(gw, provider))[0] == 403


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": [CLIENT, "another"]}, "azp"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "azp"),
        ({"azp": "another"}, "azp"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": 99_999_999_999}, "in the future"),
        ({"sub": None}, "sub"),
    ],
)
async def test_a_token_that_is_not_for_this_sign_in_is_refused(gw, provider, claims, words):
    provider.claims |= claims
    status, body = await enter(gw, provider)
    assert told(status, body, words, "sign in again") == 401


def part(value):
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def forged(claims, alg, secret):
    """A token by hand: the library makes none of these."""
    said = f"{part(json.dumps({'alg': alg, 'kid': 'one'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{said}.{part(hmac.digest(secret, said.encode(), 'sha256')) if secret else ''}"


async def test_a_token_that_the_provider_did_not_sign_is_refused(gw, provider):
    public = provider.key.as_pem(private=False)
    foreign = RSAKey.generate_key(2048, {"kid": "one"})
    unknown = RSAKey.generate_key(2048, {"kid": "nine"})
    genuine = provider.signed

    def bent(claims):
        head, _, tail = genuine(claims).split(".")
        return f"{head}.{genuine({**claims, 'email': 'ann@example.com', 'x': 1}).split('.')[1]}.{tail}"

    for sign in (
        lambda c: forged(c, "none", b""),
        lambda c: forged(c, "None", b""),
        lambda c: forged(c, "HS256", public),
        lambda c: jwt.encode({"alg": "RS256", "kid": "one"}, c, foreign, algorithms=["RS256"]),
        lambda c: jwt.encode({"alg": "RS256", "kid": "nine"}, c, unknown, algorithms=["RS256"]),
        bent,
        lambda _: "no.token",
        lambda _: "",
    ):
        provider.sign = sign
        gw.app.access._failures.clear()
        status, body = await enter(gw, provider)
        assert told(status, body, "sign in again" if "publish" not in body else "") == 401


async def test_a_shared_key_that_is_published_signs_nothing(gw, provider):
    shared = OctKey.generate_key(256, {"kid": "oct"})
    provider.published.append(shared)
    provider.sign = lambda c: jwt.encode({"alg": "HS256", "kid": "oct"}, c, shared, algorithms=["HS256"])
    assert (await enter(gw, provider))[0] == 401


async def test_a_new_key_of_the_provider_is_fetched(gw, provider, monkeypatch):
    assert (await enter(gw, provider))[1] == "admin"
    provider.new_key()
    monkeypatch.setattr(oidc, "KEYS_AGAIN_S", 0.0)
    assert (await enter(gw, provider))[1] == "admin"
    assert provider.asked.count("GET /keys") == 2


async def test_a_sign_in_ends_once_and_in_the_browser_that_began_it(gw, provider):
    browser, other = Browser(gw.url), Browser(gw.url)
    back = await at_provider(provider, await begin(browser))
    status, _, body = await other.get(back)  # a link that somebody sent
    assert told(status, body, "no sign-in of this browser") == 401
    await begin(other)
    status, _, body = await other.get(back)
    assert told(status, body, "no sign-in of this browser") == 401
    assert (await browser.get(back))[0] == 303
    status, _, body = await browser.get(back)  # the cookie is kept against what it was told
    assert told(status, body, "has ended already") == 401
    for query in ("code=x&state=a&state=b", "code=x&state=%C3%A9"):
        assert (await browser.get(f"{CALLBACK}?{query}"))[0] == 401


async def test_a_sign_in_that_took_too_long_is_begun_again(gw, provider):
    browser = Browser(gw.url)
    back = await at_provider(provider, await begin(browser))
    now = gw.app.sign_in._clock
    gw.app.sign_in._clock = lambda: now() + 601
    status, _, body = await browser.get(back)
    assert told(status, body, "took too long") == 401


async def test_nobody_is_sent_anywhere_else(gw, provider):
    browser = Browser(gw.url)
    status, headers, _ = await browser.get(
        "/console/oidc/login?next=https://evil.example&redirect_uri=https://evil.example"
    )
    assert "evil" not in headers["location"]
    browser.keep(headers["set-cookie"])
    back = await at_provider(provider, headers["location"])
    status, headers, _ = await browser.get(f"{back}&next=https://evil.example")
    assert (status, headers["location"]) == (303, "/console/")


async def test_what_the_provider_says_of_a_refusal_is_text(gw, provider):
    browser = Browser(gw.url)
    state = parse_qs(urlsplit(await begin(browser)).query)["state"][0]
    status, headers, body = await browser.get(
        f"{CALLBACK}?state={state}&error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E"
    )
    assert told(status, body, "access_denied &lt;script&gt;") == 403
    assert "default-src 'none'" in headers["content-security-policy"]


async def test_an_answer_of_another_issuer_is_refused(gw, provider):
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    for more in ("", "&iss=https://evil.example"):
        browser = Browser(gw.url)
        status, _, body = await browser.get(await at_provider(provider, await begin(browser)) + more)
        assert told(status, body, "(iss)") == 401


async def test_a_provider_that_is_another_or_sends_us_elsewhere_is_not_followed(gw, provider):
    for metadata, words in (
        ({"issuer": "https://evil.example"}, "calls itself"),
        ({"token_endpoint": "http://evil.example/token"}, "token_endpoint"),
        ({"jwks_uri": None}, "jwks_uri"),
    ):
        provider.metadata = metadata
        status, _, body = await Browser(gw.url).get("/console/oidc/login")
        assert told(status, body, words) == 503
    assert set(provider.asked) == {"GET /.well-known/openid-configuration"}


async def test_a_provider_that_is_away_is_said_to_be(tmp_path):
    async with gateway(config("http://127.0.0.1:9"), tmp_path) as gw:
        status, _, body = await Browser(gw.url).get("/console/oidc/login")
        assert told(status, body, "does not answer") == 503


async def test_who_is_taken_out_of_the_config_is_out_at_once(gw, provider):
    browser = Browser(gw.url)
    _, headers, _ = await sign_in(browser, provider)
    browser.cookie = SimpleCookie(headers["set-cookie"])["turnout_session"].value
    assert (await browser.ask("GET", "/admin/keys"))[0] == 200
    other = config(provider.url, more='admins = ["eve@example.com"]')
    gw.app.sign_in.follow(parse_config(other, {}).server.oidc)
    assert (await browser.ask("GET", "/admin/keys"))[0] == 401


async def test_many_failed_sign_ins_are_made_to_wait(gw, provider):
    provider.claims["aud"] = "another"
    seen = [(await enter(gw, provider))[0] for _ in range(12)]
    assert set(seen[:10]) == {401}
    assert 429 in seen


async def test_nothing_secret_is_logged(gw, provider, caplog):
    caplog.set_level(logging.DEBUG)
    await enter(gw, provider)
    provider.claims["aud"] = "another"
    await enter(gw, provider)
    for secret in (SECRET, "eyJ", "turnout_session="):
        assert secret not in caplog.text


async def test_where_it_is_not_set_up_nothing_is_there(tmp_path):
    async with gateway('[server]\nadmin_key = "a"\n' + LAB, tmp_path) as gw:
        assert (await Browser(gw.url).get("/console/oidc/login"))[0] == 404


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"issuer": "http://sso.example"}, "server.oidc.issuer"),
        ({"redirect_uri": "https://gw.example/console/"}, "server.oidc.redirect_uri"),
        ({"redirect_uri": f"http://gw.example{CALLBACK}"}, "server.oidc.redirect_uri"),
        ({"scopes": ["email"]}, "openid must be among"),
        ({"admins": ["*"]}, "server.oidc.admins"),
        ({"viewers": ["a*@example.com"]}, "server.oidc.viewers"),
        ({"admins": []}, "lets nobody in"),
    ],
)
def test_a_config_that_cannot_work_is_refused(more, words):
    told = {
        "issuer": "https://sso.example",
        "client_id": "c",
        "redirect_uri": f"https://gw.example{CALLBACK}",
        "admins": ["ann@example.com"],
        **more,
    }
    toml = '[server]\nadmin_key = "a"\n[server.oidc]\n' + "".join(f"{k} = {json.dumps(v)}\n" for k, v in told.items())
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(toml, {})


def test_it_takes_an_admin_key_beside_it():
    toml = config("https://sso.example").replace('admin_key = "adm-secret"', "")
    with pytest.raises(ConfigError, match="beside it"):
        parse_config(toml.replace("http://127.0.0.1/", "https://gw.example/"), {})
