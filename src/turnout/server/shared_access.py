"""Browsers' sessions of the console over several gateways: whoever signs in or out at one has done so at all.

What is kept together of a session is who it is and when it was last used, under the hash of its id and with a seal of
the gateways' own secret: who reads what gateways share cannot enter with it, and who writes there cannot make one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from turnout.background import Background
from turnout.errors import NoCapacity
from turnout.oidc_rules import Person
from turnout.server.access import LASTS_S, Access, Kept, Visitor, session_name
from turnout.server.auth import Keyring, presented_key
from turnout.shared_state import SharedState

__all__ = ["SharedAccess"]

log = logging.getLogger("turnout")

AGAIN_S = 1.0
"""How often it is tried to tell what the others do not know."""

MOST_UNTOLD = 2_000
"""Of beginnings, uses and ends that wait to be told; the oldest are given up."""


class _Record(Struct, frozen=True, kw_only=True, array_like=True):
    """Times are UTC seconds."""

    digest: str
    person: Person | None
    since: float
    used: float


class _Sealed(Struct, frozen=True, kw_only=True, array_like=True):
    record: bytes
    seal: str


class SharedAccess:
    """`access` as several gateways have it in common; without `shared` it is as it is. While the engine is away each
    goes by what it heard last; what could not be told is told in the `background` when it is back."""

    def __init__(
        self,
        access: Access,
        shared: SharedState | None,
        background: Background,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.access = access
        self._shared = shared
        self._background = background
        self._wall = wall
        self._untold: dict[str, bytes] = {}
        self._tries_again = False

    async def admit(self, keyring: Keyring, headers: Mapping[str, str], address: str, *, changes: bool) -> Visitor:
        """As `Access.admit`, wherever the session began."""
        if presented_key(headers) is None:
            await self.recall(keyring, headers)
        visitor = self.access.admit(keyring, headers, address, changes=changes)
        await self.tell(keyring)
        return visitor

    async def recall(self, keyring: Keyring, headers: Mapping[str, str]) -> None:
        """Have the session of these headers as all gateways have it. Never fails."""
        name = session_name(headers)
        if self._shared is None or name is None:
            return
        try:
            found, ended = await self._shared.get([_kept_as(name), _ended_as(name)])
        except NoCapacity:
            return
        found = self._untold.get(_kept_as(name), found)
        ended = self._untold.get(_ended_as(name), ended)
        told = _opened(keyring, name, found) if found is not None and ended is None else None
        if told is None:
            self.access.take(name, None)
            return
        ago_s = self._wall() - told.since, self._wall() - told.used
        self.access.take(name, Kept(digest=told.digest, person=told.person, since_s=ago_s[0], used_s=ago_s[1]))

    async def tell(self, keyring: Keyring) -> None:
        """Let the others know of sessions that began, were used or ended here; where that fails, again until it does
        not. Raises NoCapacity where they do not know of an end yet."""
        news = self.access.news()
        if self._shared is None or not news:
            return
        now = self._wall()
        records = {
            _ended_as(name) if kept is None else _kept_as(name): b""
            if kept is None
            else _sealed(
                keyring,
                name,
                _Record(digest=kept.digest, person=kept.person, since=now - kept.since_s, used=now - kept.used_s),
            )
            for name, kept in news.items()
        }
        self._untold |= records
        while len(self._untold) > MOST_UNTOLD:
            del self._untold[next(iter(self._untold))]
        try:
            await self._put(self._shared)
        except NoCapacity as error:
            if not self._tries_again:
                self._tries_again = True
                self._background.begin(self._put_again(self._shared))
            if None in news.values():
                raise NoCapacity(
                    "you are signed out here; the other gateways do not know yet, and are told as soon as what they "
                    "share is back: leave this one running",
                    retry_after=1,
                ) from error
            log.warning("a console session is known to this gateway alone for now: %s", error.message)

    async def _put(self, shared: SharedState) -> None:
        told = dict(self._untold)
        await shared.put(told, ttl_s=LASTS_S)
        self._untold = {name: record for name, record in self._untold.items() if told.get(name) is not record}

    async def _put_again(self, shared: SharedState) -> None:
        try:
            while self._untold:
                await asyncio.sleep(AGAIN_S)
                with contextlib.suppress(NoCapacity):
                    await self._put(shared)
        finally:
            self._tries_again = False


def _kept_as(name: str) -> str:
    return f"console:{name}"


def _ended_as(name: str) -> str:
    # Beside the record, not in its place: who notes a use at the same time must not bring it back.
    return f"console-ended:{name}"


def _sealed(keyring: Keyring, name: str, record: _Record) -> bytes:
    told = _encode(record)
    return _encode(_Sealed(record=told, seal=_seal(keyring, name, told)))


def _opened(keyring: Keyring, name: str, told: bytes) -> _Record | None:
    """None for what no gateway of ours wrote."""
    try:
        sealed = _sealed_decoder.decode(told)
        if not hmac.compare_digest(sealed.seal.encode(), _seal(keyring, name, sealed.record).encode()):
            return None
        return _record_decoder.decode(sealed.record)
    except msgspec.MsgspecError:
        return None


def _seal(keyring: Keyring, name: str, record: bytes) -> str:
    return keyring.digest(f"console {name} {record.hex()}")


_encode = msgspec.msgpack.Encoder().encode
_sealed_decoder = msgspec.msgpack.Decoder(_Sealed)
_record_decoder = msgspec.msgpack.Decoder(_Record)
