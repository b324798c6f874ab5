"""The way into the console over real sockets: keys, cookies, tokens, hosts; and what is served to a browser."""

import json
import re
from http.cookies import SimpleCookie

import pytest

from support.gateway import gateway, lab
from support.hostile_requests import send
from turnout.server import access
from turnout.server.access import Access
from turnout.server.console import files

KEYS = '[server]\nadmin_key = "adm-secret"\nviewer_key = "view-secret"\n[keys.team]\nkey = "sk-team-0123456789"\n'
LAB = lab("http://127.0.0.1:9")
BUDGET = {"name": "made", "amount_usd": 5}


def test_the_page_names_every_module_so_that_none_waits_for_another():
    page = files()["index.html"][2].decode()
    modules = {name for name in files() if name.endswith((".js", ".mjs"))}
    assert set(re.findall(r'(?:href|src)="/console/([^"]+js)"', page)) == modules


class Browser:
    """As much of a browser as signing in takes: it keeps one cookie and the token that the page was told."""

    def __init__(self, url):
        self.port = int(url.rpartition(":")[2])
        self.host = f"127.0.0.1:{self.port}"
        self.cookie, self.csrf = None, None

    async def ask(self, method, path, value=None, **more):
        headers = {"host": self.host, "connection": "close", "origin": f"http://{self.host}"}
        if self.cookie:
            headers["cookie"] = f"theirs=1; turnout_session={self.cookie}"
        if self.csrf and method != "GET":
            headers["x-turnout-csrf"] = self.csrf
        headers |= {name.replace("_", "-"): told for name, told in more.items()}
        body = b"" if value is None else json.dumps(value).encode()
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items() if v is not None)
        raw = await send(
            self.port, f"{method} {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
        )
        top, _, rest = raw.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        told = dict(line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), told, rest

    async def sign_in(self, key, **more):
        status, headers, body = await self.ask("POST", "/console/login", {"key": key}, **more)
        if status == 200:
            self.cookie = SimpleCookie(headers["set-cookie"])["turnout_session"].value
            self.csrf = json.loads(body)["csrf"]
        return status, headers, json.loads(body)


@pytest.fixture
async def gw(tmp_path):
    async with gateway(KEYS + LAB, tmp_path) as gw:
        yield gw


async def test_an_admin_signs_in_changes_something_and_signs_out(gw):
    browser = Browser(gw.url)
    assert (await browser.ask("GET", "/admin/keys"))[0] == 401
    assert json.loads((await browser.ask("GET", "/console/session"))[2])["role"] is None
    status, headers, told = await browser.sign_in("adm-secret")
    assert (status, told["role"]) == (200, "admin")
    assert re.fullmatch(
        r"turnout_session=[\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", headers["set-cookie"]
    )
    assert json.loads((await browser.ask("GET", "/console/session"))[2])["csrf"] == browser.csrf
    status, headers, _ = await browser.ask("GET", "/admin/keys")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert (await browser.ask("POST", "/admin/budgets", BUDGET))[0] == 200
    assert gw.engine.state.memory.budgets.state("made").amount_nano_usd == 5_000_000_000
    assert (await browser.ask("POST", "/console/logout", {}))[0] == 200
    assert (await browser.ask("GET", "/admin/keys"))[0] == 401


async def test_a_change_by_a_session_needs_the_token_that_only_our_page_knows(gw):
    browser = Browser(gw.url)
    await browser.sign_in("adm-secret")
    for more in (
        {"x_turnout_csrf": None},
        {"x_turnout_csrf": "wrong"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ):
        status, _, body = await browser.ask("POST", "/admin/budgets", BUDGET, **more)
        assert (status, json.loads(body)["error"]["code"]) == (403, "forbidden")
    assert not gw.engine.state.memory.budgets.rules
    # Looking needs none, nor does a key, which no other site can send.
    assert (await browser.ask("GET", "/admin/budgets"))[0] == 200
    key = {"authorization": "Bearer adm-secret", "x_turnout_csrf": None, "cookie": None}
    assert (await browser.ask("POST", "/admin/budgets", BUDGET, **key))[0] == 200


async def test_a_viewer_looks_at_everything_and_changes_nothing(gw):
    browser = Browser(gw.url)
    _, _, told = await browser.sign_in("view-secret")
    assert told["role"] == "viewer"
    for path in ("keys", "budgets", "usage", "overview", "sessions", "models", "requests", "history", "outcomes"):
        assert (await browser.ask("GET", f"/admin/{path}"))[0] == 200, path
    asked = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    assert (await browser.ask("POST", "/admin/route", asked))[0] == 200  # calls nobody
    for method, path in (
        ("POST", "/admin/budgets"), ("PATCH", "/admin/budgets/x"), ("DELETE", "/admin/budgets/x"),
        ("POST", "/admin/keys"), ("DELETE", "/admin/keys/team"), ("POST", "/admin/sessions/x/pause"),
    ):  # fmt: skip
        for headers in ({}, {"cookie": None, "authorization": "Bearer view-secret"}):
            status, _, body = await browser.ask(method, path, {}, **headers)
            assert status == 403, (path, body)
            assert b"viewer" in body


async def test_keys_of_callers_open_no_console(gw):
    assert (await Browser(gw.url).sign_in("sk-team-0123456789"))[0] == 401
    status, _, _ = await Browser(gw.url).ask("GET", "/admin/overview", authorization="Bearer sk-team-0123456789")
    assert status == 401


async def test_the_cookie_is_sent_by_tls_alone_where_tls_is_spoken(gw):
    _, headers, _ = await Browser(gw.url).sign_in("adm-secret", x_forwarded_proto="https")
    assert headers["set-cookie"].endswith("; Secure")


async def test_guessing_is_slowed(gw):
    browser = Browser(gw.url)
    for _ in range(access.FREE_FAILURES):
        assert (await browser.sign_in("guess"))[0] == 401
    status, headers, _ = await browser.sign_in("adm-secret")
    assert (status, headers["retry-after"]) == (429, "1")
    # Nor is the other door quicker.
    assert (await browser.ask("GET", "/admin/keys", authorization="Bearer guess"))[0] == 429


async def test_a_session_ends_with_time_and_with_its_key(gw):
    now = [0.0]
    gw.app.access = gw.app.visits.access = Access(clock=lambda: now[0])
    browser = Browser(gw.url)
    await browser.sign_in("adm-secret")
    for passed, status in ((access.IDLE_S - 1, 200), (access.IDLE_S * 2 - 2, 200), (access.IDLE_S * 3, 401)):
        now[0] = passed
        assert (await browser.ask("GET", "/admin/keys"))[0] == status
    await browser.sign_in("adm-secret")
    gw.engine.keyring._roles = {gw.engine.keyring.digest("another"): "admin"}
    status, _, body = await browser.ask("GET", "/admin/keys")
    assert status == 401
    assert b"has ended" in body
    assert browser.cookie not in repr(vars(gw.app.access))


async def test_without_keys_this_machines_own_names_are_answered_alone(tmp_path):
    """DNS rebinding: a page of evil.example whose name was made to point at 127.0.0.1."""
    async with gateway(LAB, tmp_path) as gw:
        browser = Browser(gw.url)
        for path in ("/admin/keys", "/console", "/console/session"):
            for host, status in (("evil.example", 403), (f"evil.example:{browser.port}", 403), ("[", 403)):
                assert (await browser.ask("GET", path, host=host))[0] == status, (path, host)
            for host in (browser.host, f"localhost:{browser.port}", "[::1]:80", "turnout:8787", "my.localhost"):
                assert (await browser.ask("GET", path, host=host))[0] == 200, (path, host)
        status, _, body = await browser.ask("GET", "/console/session")
        assert json.loads(body) | {"version": ""} == {
            "role": "admin", "name": None, "csrf": None, "open": True, "oidc": False, "version": "",
        }  # fmt: skip
        # What another site's page may send all the same.
        plain = {"origin": "https://evil.example", "content_type": "text/plain"}
        assert (await browser.ask("POST", "/admin/keys", {"name": "theirs"}, **plain))[0] == 403
        assert (await browser.ask("POST", "/admin/budgets", BUDGET))[0] == 200


async def test_the_page_and_its_files(gw):
    browser = Browser(gw.url)
    status, headers, body = await browser.ask("GET", "/console")
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    named = set(re.findall(rb'"/console/([^"]+)"', body))
    assert b"app.js" in named
    for name in files():
        status, headers, _ = await browser.ask("GET", f"/console/{name}")
        assert status == 200
        assert (await browser.ask("GET", f"/console/{name}", if_none_match=headers["etag"]))[0] == 304
    assert {name.decode() for name in named} <= set(files())
    for path in ("/console/nothing", "/console/../server/auth.py", "/console/%2e%2e/config.py", "/console/__init__.py"):
        assert (await browser.ask("GET", path))[0] == 404
    assert (await browser.ask("POST", "/console", {}))[0] == 405
    assert (await browser.ask("GET", "/console/login"))[0] == 405


def test_nothing_in_the_files_writes_markup_or_asks_elsewhere():
    for name, (_, _, body) in files().items():
        text = body.decode()
        if name.startswith("vendor/"):
            continue
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), name
        assert not re.search(r"https?://(?!www\.w3\.org)", text), name
        if name.endswith(".js"):
            assert text.startswith("// "), name
            assert len(text.splitlines()) < 300, name
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", text), name
