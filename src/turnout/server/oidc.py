"""Signing in to the console by an OpenID provider: the authorization code flow with PKCE, state and nonce.

What belongs to one sign-in is a random word in a cookie of that browser; state, nonce and verifier are hashes of it: so
nothing is kept here for those who never come back, and any gateway of several can end what another began.
Sources: OpenID Connect Core 1.0, 3.1; RFC 7636 (PKCE); RFC 9207 (the issuer in the answer); RFC 9700 (best practice).
"""

from __future__ import annotations

import asyncio
import hmac
import html
import logging
import re
import secrets
import time
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import msgspec

from turnout.config import OidcConfig
from turnout.errors import (
    ConfigError,
    Forbidden,
    MethodNotAllowed,
    NoCapacity,
    PathNotFound,
    TurnoutError,
    Unauthorized,
    UpstreamFailure,
)
from turnout.oidc_rules import CALLBACK, Person, safe_url
from turnout.providers.transport import Transport, UpstreamRequest
from turnout.server.access import Access, cookie_in
from turnout.server.console import HEADERS, Ask, Browser, Page, session_cookie

__all__ = ["BEGIN", "SignIn"]

log = logging.getLogger("turnout")

BEGIN = "/console/oidc/login"

FLOW = "turnout_oidc"
"""The cookie of a sign-in that is under way."""

FLOW_LASTS_S = 600
FRESH_S = 3600.0
"""How long what the provider says of itself, and its keys, are believed."""

KEYS_AGAIN_S = 30.0
"""How soon they are asked for again for the sake of a key that is not among them."""

PATIENCE_S = 10.0
LARGEST = 1024 * 1024
MOST_ENDED = 10_000

_WORD = re.compile(r"(\d{9,12})\.[A-Za-z0-9_-]{43}")

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class SignIn:
    """The sign-ins of one gateway. Asks nobody before somebody wants to sign in. Raises ConfigError where the library
    is missing."""

    def __init__(self, access: Access, transport: Transport, clock: Callable[[], float] = time.time) -> None:
        self._access = access
        self._transport = transport
        self._clock = clock
        self._told: OidcConfig | None = None
        self._found: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None
        self._asking = asyncio.Lock()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def follow(self, told: OidcConfig | None) -> None:
        """Go by this config from now on. Raises ConfigError."""
        if told is not None and find_spec("joserfc") is None:
            raise ConfigError("server.oidc needs joserfc: pip install 'turnout[oidc]'", param="server.oidc")
        if told != self._told:
            self._found = self._keys = None
        self._told = self._access.people = told

    async def page(self, browser: Browser, ask: Ask) -> Page:
        """The answer to a request below /console/oidc: what goes wrong is told on a page, for people."""
        try:
            if self._told is None or ask.path not in {BEGIN, CALLBACK}:
                raise PathNotFound(f"nothing is served at {ask.path}; the console is at /console")
            if ask.method != "GET":
                raise MethodNotAllowed(f"{ask.path} takes GET, not {ask.method}")
            return await (self._begin(self._told) if ask.path == BEGIN else self._end(self._told, browser, ask.query))
        except TurnoutError as error:
            return _refusal(error)

    async def _begin(self, told: OidcConfig) -> Page:
        found = await self._metadata(told)
        word = f"{self._clock():.0f}.{secrets.token_urlsafe(32)}"
        asked = {
            "response_type": "code",
            "client_id": told.client_id,
            "redirect_uri": told.redirect_uri,
            "scope": " ".join(told.scopes),
            "state": _made("state", word),
            "nonce": _made("nonce", word),
            "code_challenge": _digest(_made("verifier", word)),
            "code_challenge_method": "S256",
        }
        where: str = found["authorization_endpoint"]
        url = f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}"
        return _sent(302, url, _flow_cookie(told, word, FLOW_LASTS_S))

    async def _end(self, told: OidcConfig, browser: Browser, query: str) -> Page:
        self._access.hold_back(browser.address)
        try:
            person = await self._person(told, browser.headers, query)
            check_role(told, person)
        except (Unauthorized, Forbidden):
            self._access.failed(browser.address)
            raise
        self._access.leave(browser.headers)
        name = self._access.enter_as(person)
        log.info("signed in to the console: %s (%s)", ascii(person.email or person.subject), told.role_of(person))
        secure = browser.secure or told.redirect_uri.startswith("https:")
        # Only ever to our own page: nothing that came with the request says where.
        return _sent(303, "/console/", _flow_cookie(told, "", 0), session_cookie(name, secure=secure))

    async def _person(self, told: OidcConfig, headers: Mapping[str, str], query: str) -> Person:
        """Whom the provider vouches for in answer to this browser's own question. Raises Unauthorized and Forbidden."""
        got = {name: values[0] for name, values in parse_qs(query).items() if len(values) == 1}
        word = self._word(headers, got.get("state", ""))
        found = await self._metadata(told)
        if got.get("iss", None if found.get("authorization_response_iss_parameter_supported") else told.issuer) != (
            told.issuer
        ):
            raise Unauthorized("the answer is not of the provider that was asked (iss); sign in again")
        if "error" in got:
            said = " ".join((got["error"], got.get("error_description", ""))).strip()
            raise Forbidden(f"the sign-in provider refused: {said[:300]}")
        if not got.get("code"):
            raise Unauthorized("the sign-in provider sent no code; sign in again")
        token = await self._token(told, found, got["code"], _made("verifier", word))
        return await self._proved(told, found, token, _made("nonce", word))

    def _word(self, headers: Mapping[str, str], state: str) -> str:
        """The word of the sign-in that `state` belongs to: this browser's, young, not ended. Raises Unauthorized."""
        word = cookie_in(headers, FLOW) or ""
        begun = _WORD.fullmatch(word)
        if begun is None or not hmac.compare_digest(_made("state", word).encode(), state.encode()):
            raise Unauthorized("no sign-in of this browser is under way, or another was begun since; sign in again")
        age_s = self._clock() - int(begun[1])
        if not -FLOW_LASTS_S <= age_s <= FLOW_LASTS_S:
            raise Unauthorized("this sign-in took too long; sign in again")
        if state in self._ended:
            raise Unauthorized("this sign-in has ended already; sign in again")
        self._ended[state] = None
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        return word

    async def _token(self, told: OidcConfig, found: dict[str, Any], code: str, verifier: str) -> str:
        """The ID token for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": told.redirect_uri,
            "client_id": told.client_id,
            "code_verifier": verifier,
        }
        headers = [("content-type", "application/x-www-form-urlencoded")]
        if told.client_secret is not None:
            secret = told.client_secret.reveal()
            if "client_secret_basic" in found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
                # Both form-encoded before (RFC 6749, 2.3.1).
                pair = f"{quote(told.client_id, safe='')}:{quote(secret, safe='')}"
                headers.append(("authorization", f"Basic {b64encode(pair.encode()).decode()}"))
            else:
                form["client_secret"] = secret
        answer = await self._ask(
            "POST", found["token_endpoint"], headers, urlencode(form).encode(), codes=(200, 400, 401)
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            said = answer.get("error")
            why = f": {said[:100]}" if isinstance(said, str) else ""
            log.warning("the sign-in provider gave no ID token for a code%s", ascii(why))
            raise Unauthorized(f"the sign-in provider gave no ID token{why}; sign in again")
        return token

    async def _proved(self, told: OidcConfig, found: dict[str, Any], token: str, nonce: str) -> Person:
        from turnout.server.id_tokens import UnknownKey, person_in

        try:
            return person_in(token, await self._jwks(found, FRESH_S), told, nonce)
        except UnknownKey:
            keys = await self._jwks(found, KEYS_AGAIN_S)
        try:
            return person_in(token, keys, told, nonce)
        except UnknownKey:
            raise Unauthorized("the sign-in provider's token is signed with a key that it does not publish") from None

    async def _metadata(self, told: OidcConfig) -> dict[str, Any]:
        """What the issuer says of itself. Raises NoCapacity where it says it of another, or sends us where others read
        along."""
        async with self._asking:
            if self._found is None or time.monotonic() - self._found[0] > FRESH_S:
                url = f"{told.issuer.rstrip('/')}/.well-known/openid-configuration"
                found = await self._ask("GET", url)
                if found.get("issuer") != told.issuer:
                    raise NoCapacity(
                        f"the sign-in provider calls itself {str(found.get('issuer'))[:200]!r}: write that into "
                        "server.oidc.issuer if it is the right one"
                    )
                for name in _ENDPOINTS:
                    if not isinstance(found.get(name), str) or not safe_url(found[name]):
                        raise NoCapacity(f"the sign-in provider names no https address as its {name}")
                self._found = time.monotonic(), found
            return self._found[1]

    async def _jwks(self, found: dict[str, Any], younger_s: float) -> dict[str, Any]:
        """The provider's keys, fetched again where they are older than that."""
        async with self._asking:
            if self._keys is None or time.monotonic() - self._keys[0] > younger_s:
                self._keys = time.monotonic(), await self._ask("GET", found["jwks_uri"])
            return self._keys[1]

    async def _ask(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
        *,
        codes: tuple[int, ...] = (200,),
    ) -> dict[str, Any]:
        """A JSON object of the provider's. Raises NoCapacity."""
        request = UpstreamRequest(
            method=method,
            url=url,
            headers=[("accept", "application/json"), *(headers or [])],
            body=body,
            first_byte_timeout_s=PATIENCE_S,
            idle_timeout_s=PATIENCE_S,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                response = await self._transport.send(request)
                try:
                    raw = await response.read(LARGEST)
                finally:
                    await response.aclose()
        except (UpstreamFailure, TimeoutError):
            raise NoCapacity(
                "the sign-in provider does not answer; is server.oidc.issuer right, and is it up?"
            ) from None
        if response.status not in codes:
            raise NoCapacity(f"the sign-in provider answered with status {response.status}; look at server.oidc")
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            raise NoCapacity("the sign-in provider answered with something that is no JSON object") from None


def check_role(told: OidcConfig, person: Person) -> None:
    """Raises Forbidden for somebody who is nobody here."""
    if told.role_of(person) is None:
        who = person.email or "who signed in (the provider says no verified address)"
        log.warning("sign-in refused: %s is neither among admins nor viewers", ascii(who))
        raise Forbidden(
            f"{who} may not come in here: server.oidc names neither this address nor a group of it; "
            "ask whoever runs the gateway"
        )


def _made(what: str, word: str) -> str:
    """One of the values of a sign-in. They tell nothing of the word nor of each other."""
    return _digest(f"{what} {word}")


def _digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def _flow_cookie(told: OidcConfig, word: str, lasts_s: int) -> tuple[str, str]:
    """Lax, unlike the session's: it must come along when the provider sends the browser back."""
    secure = "; Secure" if told.redirect_uri.startswith("https:") else ""
    return "set-cookie", f"{FLOW}={word}; Path=/console/oidc; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}"


def _sent(status: int, url: str, *more: tuple[str, str]) -> Page:
    return Page(status=status, headers=[("location", url), *more, ("cache-control", "no-store"), *HEADERS])


def _refusal(error: TurnoutError) -> Page:
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Not signed in · Turnout</title>
<link rel="icon" href="/console/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/console/style.css"><link rel="stylesheet" href="/console/parts.css"></head>
<body><main class="login"><h1>Not signed in</h1><p class="notice bad" role="alert">{html.escape(error.message)}</p>
<p><a href="/console/">To the sign-in</a></p></main></body></html>
"""
    kind = ("content-type", "text/html; charset=utf-8")
    return Page(status=error.status, headers=[kind, ("cache-control", "no-store"), *HEADERS], body=body.encode())
