"""The console's files, and how a browser signs in and out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from turnout import __version__
from turnout.errors import MethodNotAllowed, PathNotFound, Unauthorized
from turnout.server.access import COOKIE, LASTS_S, Access, Visitor, check_host, check_origin
from turnout.server.auth import Keyring
from turnout.server.reading import decoded

__all__ = ["HEADERS", "VISITED", "Ask", "Browser", "Page", "console_at", "files", "session_cookie"]

FOLDER = Path(__file__).parent.parent / "console"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

HEADERS: tuple[tuple[str, str], ...] = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
"""What every answer below /console says to a browser."""

VISITED = frozenset({"/console/login", "/console/logout", "/console/session"})
"""Where it matters whose session a browser has: files are everybody's."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class Page(Struct, frozen=True, kw_only=True):
    """An answer to a browser."""

    status: int = 200
    headers: list[tuple[str, str]]
    body: bytes = b""


class Ask(Struct, frozen=True, kw_only=True):
    """What a browser asks for."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""


class _Login(Struct, forbid_unknown_fields=True):
    key: str


class Browser(Struct, frozen=True, kw_only=True):
    """Who asks: the address and the headers. TLS is spoken before us if at all, and a proxy's word for it is taken: a
    lie only keeps the liar's own browser from sending its cookie."""

    address: str
    headers: Mapping[str, str]

    @property
    def secure(self) -> bool:
        return self.headers.get("x-forwarded-proto") == "https"


def console_at(access: Access, keyring: Keyring, browser: Browser, ask: Ask) -> Page:
    """The answer to a request below /console. Raises Unauthorized, Forbidden, RateLimited, InvalidRequest,
    PathNotFound and MethodNotAllowed."""
    method, path = ask.method, ask.path
    if keyring.unlocked:
        check_host(browser.headers)
    if path in {"/console/login", "/console/logout"}:
        if method != "POST":
            raise MethodNotAllowed(f"{path} takes POST, not {method}")
        check_origin(browser.headers)
        return _login(access, keyring, browser, ask.body) if path == "/console/login" else _logout(access, browser)
    if method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(f"{path} takes GET, not {method}")
    if path == "/console/session":
        return _session(access, keyring, browser)
    return _file(path, browser.headers.get("if-none-match"))


def _session(access: Access, keyring: Keyring, browser: Browser) -> Page:
    """Who is signed in; nobody is no error: the page asks at its start."""
    try:
        return _told(access, access.admit(keyring, browser.headers, browser.address, changes=False))
    except Unauthorized:
        return _told(access, None)


def _login(access: Access, keyring: Keyring, browser: Browser, body: bytes) -> Page:
    told = decoded(body, _Login, '{"key": "the admin key"}')
    if keyring.unlocked:
        return _told(access, Visitor(role="admin", open=True))
    access.leave(browser.headers)
    name, visitor = access.enter(keyring, told.key, browser.address)
    return _told(access, visitor, session_cookie(name, secure=browser.secure))


def _logout(access: Access, browser: Browser) -> Page:
    access.leave(browser.headers)
    cookie = session_cookie("", secure=browser.secure, lasts_s=0)
    return Page(headers=[cookie, *_plain("application/json")], body=b"{}")


def session_cookie(name: str, *, secure: bool, lasts_s: float = LASTS_S) -> tuple[str, str]:
    """The header that gives a browser its session. No script reads it, no other site's page sends it."""
    only = "; Secure" if secure else ""
    return "set-cookie", f"{COOKIE}={name}; Path=/; Max-Age={lasts_s:.0f}; HttpOnly; SameSite=Strict{only}"


def _told(access: Access, visitor: Visitor | None, *more: tuple[str, str]) -> Page:
    told = {
        "role": visitor.role if visitor else None,
        "csrf": visitor.csrf if visitor else None,
        "name": visitor.name if visitor else None,
        "open": visitor.open if visitor else False,
        "oidc": access.people is not None,
        "version": __version__,
    }
    return Page(headers=[*more, *_plain("application/json")], body=msgspec.json.encode(told))


def _plain(kind: str) -> list[tuple[str, str]]:
    return [("content-type", kind), ("cache-control", "no-store"), *HEADERS]


def _file(path: str, known: str | None) -> Page:
    """One of the files that ship. A browser asks each time whether it is still the one that it has."""
    name = "index.html" if path in {"/console", "/console/"} else path.removeprefix("/console/")
    found = files().get(name)
    if found is None:
        raise PathNotFound(f"nothing is served at {path}; the console is at /console")
    kind, tag, body = found
    headers = [("content-type", kind), ("cache-control", "no-cache"), ("etag", tag), *HEADERS]
    return Page(status=304, headers=headers) if known == tag else Page(headers=headers, body=body)


@cache
def files() -> Mapping[str, tuple[str, str, bytes]]:
    """Type, tag and content of every file of the console, by its path: what is not among them is not served."""
    found: dict[str, tuple[str, str, bytes]] = {}
    for file in FOLDER.rglob("*"):
        if file.suffix in TYPES and file.is_file():
            body = file.read_bytes()
            name = file.relative_to(FOLDER).as_posix()
            found[name] = TYPES[file.suffix], f'"{sha256(body).hexdigest()[:20]}"', body
    return found
