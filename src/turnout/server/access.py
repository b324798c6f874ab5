"""Who may look at a gateway and change it: the admin's or viewer's key, or a browser's session that came from one."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from urllib.parse import urlsplit

from msgspec import Struct

from turnout.errors import Forbidden, RateLimited, Unauthorized
from turnout.oidc_rules import OidcRules, Person
from turnout.server.auth import Keyring, Role, presented_key

__all__ = ["COOKIE", "CSRF", "Access", "Kept", "Visitor", "cookie_in", "session_name"]

COOKIE = "turnout_session"

CSRF = "x-turnout-csrf"
"""The header that proves that our own page sent a changing request: no other site can read what stands in it."""

LASTS_S = 12 * 3600.0
IDLE_S = 2 * 3600.0
"""A session ends so long after the sign-in, and so long after it was last used."""

MOST_SESSIONS = 1_000

TOLD_S = 60.0
"""How often others are told that a session is used."""

FREE_FAILURES = 10
LONGEST_WAIT_S = 60.0
FORGIVEN_S = 600.0
"""An address may present so many wrong keys; after each further one it waits, twice as long each time. It begins anew
when it has been quiet for `FORGIVEN_S`."""

MOST_ADDRESSES = 10_000


class _Session(Struct, kw_only=True):
    """`digest` is that of the key it came from, `person` whom an OpenID provider vouched for: a session does not
    outlive what either may do. Times are monotonic."""

    digest: str = ""
    person: Person | None = None
    since_s: float
    used_s: float
    told_s: float


class Kept(Struct, frozen=True, kw_only=True):
    """What other gateways have to know of a session: whose it is, and how many seconds ago it began and was last
    used."""

    digest: str
    person: Person | None
    since_s: float
    used_s: float


class Visitor(Struct, frozen=True, kw_only=True):
    """Who asks. `csrf` is what a browser's session must send with changes, None where a key was presented or none is
    needed; `open`: no key exists at all; `name`: of somebody who signed in by name."""

    role: Role
    name: str | None = None
    csrf: str | None = None
    open: bool = False


class _Failures(Struct):
    count: int = 0
    last_s: float = 0.0


class Access:
    """The browser sessions of one gateway, and how often addresses presented wrong keys. In memory: what outlives it is
    `shared_access.py`'s. Only hashes of session ids are kept. `people`: who else may come in, by an OpenID provider's
    word."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.people: OidcRules | None = None
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._news: OrderedDict[str, Kept | None] = OrderedDict()

    def admit(self, keyring: Keyring, headers: Mapping[str, str], address: str, *, changes: bool) -> Visitor:
        """Who asks, if they may. Raises Unauthorized without a key, RateLimited after many wrong ones, Forbidden for a
        viewer who would change something and for what another site's page sent."""
        if keyring.unlocked:
            check_host(headers)
            if changes:
                check_origin(headers)
            return Visitor(role="admin", open=True)
        key = presented_key(headers)
        if key is not None:
            visitor = Visitor(role=self.role_of(keyring, key, address))
        else:
            visitor = self._by_cookie(keyring, headers)
            if changes:
                check_origin(headers)
                if not hmac.compare_digest((visitor.csrf or "").encode(), headers.get(CSRF, "").encode()):
                    raise Forbidden(f"a change by a browser's session needs the header {CSRF}; load the page again")
        if changes and visitor.role != "admin":
            raise Forbidden("this is a viewer's key: it lets look and change nothing; use the admin key")
        return visitor

    def role_of(self, keyring: Keyring, key: str, address: str) -> Role:
        """What `key` may do. Raises Unauthorized, and RateLimited for an address that has presented many wrong ones."""
        self.hold_back(address)
        role = keyring.role_of(keyring.digest(key))
        if role is None:
            self.failed(address)
            raise Unauthorized("this needs the admin key (server.admin_key in the config)")
        return role

    def enter(self, keyring: Keyring, key: str, address: str) -> tuple[str, Visitor]:
        """A new session's id, which is kept nowhere, and who it is. Raises as `role_of`."""
        role = self.role_of(keyring, key, address)
        name = self._begun(digest=keyring.digest(key))
        return name, Visitor(role=role, csrf=_csrf(name))

    def enter_as(self, person: Person) -> str:
        """A new session's id, for somebody whose role `people` says."""
        return self._begun(person=person)

    def news(self) -> dict[str, Kept | None]:
        """What others are to be told of sessions, by name, since this was last asked; None: it has ended."""
        told = dict(self._news)
        self._news.clear()
        return told

    def take(self, name: str, kept: Kept | None) -> None:
        """A session as other gateways know it; None: there is none."""
        known, now_s = self._sessions.get(name), self._clock()
        if kept is None:
            self._sessions.pop(name, None)
        elif known is None:
            since_s, used_s = now_s - kept.since_s, now_s - kept.used_s
            self._put(
                name,
                _Session(digest=kept.digest, person=kept.person, since_s=since_s, used_s=used_s, told_s=used_s),
            )
        else:
            known.used_s = max(known.used_s, now_s - kept.used_s)

    def _begun(self, *, digest: str = "", person: Person | None = None) -> str:
        name, now_s = secrets.token_urlsafe(32), self._clock()
        session = _Session(digest=digest, person=person, since_s=now_s, used_s=now_s, told_s=now_s)
        self._put(_hash(name), session)
        self._note(_hash(name), Kept(digest=digest, person=person, since_s=0.0, used_s=0.0))
        return name

    def _put(self, name: str, session: _Session) -> None:
        self._sessions[name] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def _note(self, name: str, kept: Kept | None) -> None:
        self._news[name] = kept
        while len(self._news) > MOST_SESSIONS:
            self._news.popitem(last=False)

    def leave(self, headers: Mapping[str, str]) -> None:
        """End the session of these headers, if there is one."""
        name = session_name(headers)
        # Of what is no session nothing is told: anybody may send such a cookie.
        if name is not None and self._sessions.pop(name, None) is not None:
            self._note(name, None)

    def _by_cookie(self, keyring: Keyring, headers: Mapping[str, str]) -> Visitor:
        told = cookie_of(headers)
        session = self._sessions.get(_hash(told)) if told else None
        if told is None or session is None:
            raise Unauthorized("this needs the admin key (server.admin_key in the config)")
        now_s, who = self._clock(), session.person
        if who is None:
            role = keyring.role_of(session.digest)
        else:
            role = self.people.role_of(who) if self.people is not None else None
        if role is None or now_s - session.since_s > LASTS_S or now_s - session.used_s > IDLE_S:
            del self._sessions[_hash(told)]
            raise Unauthorized("this session has ended; sign in again")
        session.used_s = now_s
        if now_s - session.told_s > TOLD_S:
            session.told_s = now_s
            kept = Kept(digest=session.digest, person=who, since_s=now_s - session.since_s, used_s=0.0)
            self._note(_hash(told), kept)
        return Visitor(role=role, csrf=_csrf(told), name=who and (who.email or who.subject))

    def hold_back(self, address: str) -> None:
        """Raises RateLimited for an address that has presented many wrong keys."""
        failures = self._failures.get(address)
        if failures is None:
            return
        quiet_s = self._clock() - failures.last_s
        if quiet_s > FORGIVEN_S:
            del self._failures[address]
            return
        over = failures.count - FREE_FAILURES
        wait_s = min(LONGEST_WAIT_S, 2.0 ** min(over, 10)) if over >= 0 else 0.0
        if quiet_s < wait_s:
            raise RateLimited("too many wrong keys came from here; wait a little", retry_after=wait_s - quiet_s)

    def failed(self, address: str) -> None:
        """Take note of a wrong key, or a sign-in that failed."""
        failures = self._failures.setdefault(address, _Failures())
        failures.count += 1
        failures.last_s = self._clock()
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """The session's id that a browser sent."""
    return cookie_in(headers, COOKIE)


def session_name(headers: Mapping[str, str]) -> str | None:
    """What the session that a browser sent is kept under: a hash of its id."""
    told = cookie_of(headers)
    return _hash(told) if told else None


def cookie_in(headers: Mapping[str, str], wanted: str) -> str | None:
    """The value of a browser's cookie."""
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted and value:
            return value
    return None


def check_host(headers: Mapping[str, str]) -> None:
    """A gateway without keys is for this machine: a page whose own name was made to point here (DNS rebinding) would
    read it else. Addresses and names without a dot cannot be somebody's domain. Raises Forbidden."""
    name = _name_of(headers.get("host", ""))
    if "." not in name or name.endswith(".localhost") or _is_address(name):
        return
    raise Forbidden(
        f"this gateway has no keys and answers to this machine's own names, not to {name[:100]!r}; "
        "open it by its address, or set server.admin_key"
    )


def check_origin(headers: Mapping[str, str]) -> None:
    """A changing request that a browser sends for a page says which site the page is of. Raises Forbidden."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise Forbidden(f"this came from a page of another site ({origin[:100]!r})")


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return "." + host  # no name of ours


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _hash(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _csrf(name: str) -> str:
    """The token of a session: of its id, which our own page cannot read, so that it is kept nowhere."""
    return _hash(f"csrf {name}")
