"""Shared state in Valkey or Redis, 7 or newer: every operation one script or command, all of one tick in one batch.

Scripts go by their hash (EVALSHA) and not as a library of functions: a hash cannot be another version's, so two
versions of Turnout share an engine while one takes the other's place; and a script that is not there is said by a code
(NOSCRIPT), a function that is not there only in words. The price is that they are loaded with each connection.

One server has all keys, and remembers when it began (`lua/meet.lua`): a cluster is refused. Time is the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

from redis import exceptions as said
from redis.asyncio.connection import AbstractConnection

from turnout.errors import ConfigError, NoCapacity
from turnout.shared_state import Claim, KeyAdmission, Lease, Lost
from turnout.spend.purses import STEPS
from turnout.stores.shared.address import Address
from turnout.stores.shared.news import Listener
from turnout.stores.shared.purses import DEADLINE_S, LEASE_S, OPEN_S, PURSE_TTL_S, step_us
from turnout.stores.shared.wire import Command, Reply, Wire, talk, told

__all__ = ["LARGEST", "ValkeyShared"]

log = logging.getLogger("turnout")

LARGEST = 2**53 - 1
"""Lua's numbers are doubles, whole up to here: 9,007,199 dollars in nano-dollars. A budget of more is as one of that,
and who has spent more gets nothing. Strings and HINCRBY would reach further and could not compare."""

START_S = 5.0

OLDEST = 7

_MONEY = ("lease", "fill", "add", "look", "bury", "resign")
_PLAIN = ("silent", "meet", "admit", "leave", "put", "count")

_TOGETHER = 100
"""Records that one script writes at most: while it runs the engine serves nobody else. Each command of a batch costs
a reply that is read in Python, so one script is cheaper than so many commands."""

_KEPT_NAMES = 4_096


class _Scripts:
    """The scripts and their hashes. `#!lua` has the engine refuse a script as a whole when it has no memory left."""

    def __init__(self) -> None:
        folder = resources.files("turnout.stores.shared") / "lua"
        money = (folder / "money.lua").read_text()
        text = {name: (folder / f"{name}.lua").read_text() for name in _MONEY + _PLAIN}
        self.sources = [f"#!lua\n{money if name in _MONEY else ''}{body}" for name, body in text.items()]
        hashes = [hashlib.sha1(source.encode()).hexdigest() for source in self.sources]  # noqa: S324 - as the engine does
        self.hash = dict(zip(text, hashes, strict=True))


class ValkeyShared:
    """A `SharedState` at `url` (`address.Address`). One event loop owns it.

    `recently`: whether other gateways may have money of this engine though it knows of none. Then an engine that is met
    for the first time grants nothing for `lease_s`, until they have said so. `prefix` begins every key and channel.
    """

    def __init__(
        self,
        url: str,
        gateway: str,
        *,
        deadline_s: float = DEADLINE_S,
        lease_s: float = LEASE_S,
        open_s: float = OPEN_S,
        ttl_s: float = PURSE_TTL_S,
        recently: bool = True,
        prefix: str = "turnout",
    ) -> None:
        if not gateway or "\n" in gateway:
            raise ConfigError(f"{gateway!r} is no name for a gateway", param="store.shared")
        self.gateway = gateway
        self._address = Address(url)
        self.lease_s = lease_s
        self._lease_us = round(lease_s * 1e6)
        self.open_s = open_s
        self._ttl_ms = round(ttl_s * 1e3)
        self._recently = recently
        self._prefix = prefix
        self._engine_keys = f"{prefix}:epoch", f"{prefix}:leases"
        self._wall_s: Callable[[], float] = time.time  # to see how far it is from the engine's
        self._scripts = _Scripts()
        self._sequence = 0
        self._keys: dict[str, tuple[str, ...]] = {}
        self._claimed: set[str] = set()
        self._wire = Wire(
            self._greeted, deadline_s=deadline_s, scripts=self._scripts.sources, place=self._address.place
        )
        self._news = Listener(self._address.connect, deadline_s=deadline_s)

    @property
    def healthy(self) -> bool:
        return self._wire.healthy

    # Money.

    async def lease(self, claims: Sequence[Claim]) -> list[Lease]:
        self._sequence += 1
        sequence = self._sequence
        self._claimed.update(claim.purse for claim in claims)
        replies = await self._wire.ask([self._claim(claim, sequence) for claim in claims], again=True)
        untold = [n for n, reply in enumerate(replies) if reply[7]]
        if untold:  # the engine does not know what we spent of these, nor when
            anew = await self._wire.ask([self._claim(claims[n], sequence, pieces=True) for n in untold], again=True)
            for n, reply in zip(untold, anew, strict=True):
                replies[n] = reply
        return [_leased(claim.purse, reply) for claim, reply in zip(claims, replies, strict=True)]

    def _claim(self, claim: Claim, sequence: int, *, pieces: bool = False) -> Command:
        step = step_us(claim.window)
        told: list[int] = [part for piece in claim.pieces.items() for part in piece] if pieces else []
        return self._money(
            "lease",
            claim.purse,
            self.gateway,
            sequence,
            _whole(claim.spent),
            _whole(claim.held),
            _whole(claim.want),
            _whole(claim.limit),
            _whole(claim.amount),
            self._lease_us,
            self._ttl_ms,
            step,
            STEPS,
            int(self._wall_s() * 1e6) // step if step else 0,
            int(pieces),
            *told,
        )

    async def fill(
        self,
        purse: str,
        spent: Mapping[str, int],
        *,
        added: Mapping[str, int] | None = None,
        pieces: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        told: list[str | int] = []
        for gateway, total in spent.items():
            parts = (pieces or {}).get(gateway) or {}
            told += [gateway, _whole(total), len(parts)]
            for piece, part in parts.items():
                told += [piece, _whole(part)]
        for entry, amount in (added or {}).items():
            told += [entry, _whole(amount)]
        counts = (STEPS, len(spent), len(added or {}))
        command = self._money("fill", purse, self._lease_us, self._ttl_ms, *counts, *told)
        await self._wire.ask([command], again=True)

    async def add(self, purse: str, nano_usd: int, *, entry: str) -> None:
        command = self._money("add", purse, self._lease_us, self._ttl_ms, entry, _whole(nano_usd))
        await self._wire.ask([command], again=True)

    async def silent(self) -> list[Lost]:
        asked: Command = ("EVALSHA", self._scripts.hash["silent"], 2, *self._engine_keys)
        found: list[tuple[str, str]] = []
        for member in (await self._wire.ask([asked], again=True))[0]:
            gateway, _, purse = member.decode().partition("\n")
            found.append((gateway, purse))
        if not found:
            return []
        looked: list[Command] = [
            self._money("look", purse, self._lease_us, self._ttl_ms, gateway) for gateway, purse in found
        ]
        replies = await self._wire.ask(looked, again=True)
        return [
            Lost(gateway=gateway, purse=purse, amount=reply[0], held=reply[1])
            for (gateway, purse), reply in zip(found, replies, strict=True)
            if reply
        ]

    async def bury(self, lost: Lost, *, counted: int) -> None:
        told = (lost.gateway, lost.amount, lost.held, _whole(counted), STEPS)
        command = self._money("bury", lost.purse, self._lease_us, self._ttl_ms, *told)
        await self._wire.ask([command], again=True)

    # Limits of keys.

    async def admit(self, admission: KeyAdmission) -> float:
        limits = (admission.rpm, admission.tpm, admission.at_once)
        told = ("" if limit is None else limit for limit in limits)
        command = self._gate("admit", admission, admission.tokens, *told, round(self.open_s * 1e3))
        return (await self._wire.ask([command]))[0] / 1e6

    async def leave(self, admission: KeyAdmission, *, used: int) -> None:
        await self._wire.ask([self._gate("leave", admission, admission.tokens, used)])

    # Records, counts, news.

    async def get(self, names: Sequence[str]) -> list[bytes | None]:
        if not names:
            return []
        begins = f"{self._prefix}:record:"
        return (await self._wire.ask([("MGET", *[begins + name for name in names])], again=True))[0]

    async def put(self, records: Mapping[str, bytes], *, ttl_s: float) -> None:
        names, begins = list(records), f"{self._prefix}:record:"
        sha, ttl_ms = self._scripts.hash["put"], _ms(ttl_s)
        commands: list[Command] = []
        for at in range(0, len(names), _TOGETHER):
            some = names[at : at + _TOGETHER]
            keys = [begins + name for name in some]
            commands.append(("EVALSHA", sha, len(some), *keys, ttl_ms, *[records[name] for name in some]))
        await self._wire.ask(commands, again=True)

    async def count(self, by: Mapping[str, Mapping[str, int]], *, ttl_s: float) -> dict[str, dict[str, int]]:
        names, begins = list(by), f"{self._prefix}:count:"
        sha, ttl_ms = self._scripts.hash["count"], _ms(ttl_s)
        commands: list[Command] = []
        for at in range(0, len(names), _TOGETHER):
            some = names[at : at + _TOGETHER]
            told: list[str | int] = [begins + name for name in some]
            told.append(ttl_ms)
            for name in some:
                told.append(len(by[name]))
                for counter, more in by[name].items():
                    told += (counter, more)
            commands.append(("EVALSHA", sha, len(some), *told))
        replies = [flat for each in await self._wire.ask(commands) for flat in each]
        return {
            name: {counter.decode(): int(number) for counter, number in zip(flat[::2], flat[1::2], strict=True)}
            for name, flat in zip(names, replies, strict=True)
        }

    async def first(self, name: str, *, ttl_s: float) -> bool:
        key = f"{self._prefix}:first:{name}"
        reply = await self._wire.ask([("SET", key, self.gateway, "NX", "PX", _ms(ttl_s))])
        return reply[0] is not None

    async def tell(self, topic: str, message: bytes) -> None:
        await self._wire.ask([("PUBLISH", self._channel(topic), self.gateway.encode() + b"\n" + message)])

    def hear(self, topic: str, heard: Callable[[bytes], None], *, missed: Callable[[], None] | None = None) -> None:
        own = self.gateway.encode()

        def hand_on(told: bytes) -> None:
            gateway, _, message = told.partition(b"\n")
            if gateway != own:
                heard(message)

        self._news.hear(self._channel(topic), hand_on, missed)

    # The engine.

    async def start(self) -> None:
        try:
            await self._wire.start(START_S)
            async with asyncio.timeout(START_S):
                await self._news.start()
        except (said.RedisError, OSError, TimeoutError, EOFError) as error:
            await self._close()
            raise ConfigError(
                f"store.shared: {told(error, self._address.place, START_S)}", param="store.shared"
            ) from None
        except BaseException:
            await self._close()
            raise

    async def aclose(self) -> None:
        resigned: list[Command] = [
            self._money("resign", purse, self._lease_us, self._ttl_ms, self.gateway) for purse in self._claimed
        ]
        with contextlib.suppress(NoCapacity):
            if resigned:
                await self._wire.ask(resigned, again=True)
        await self._close()

    async def _close(self) -> None:
        await self._news.aclose()
        await self._wire.aclose()

    async def _greeted(self) -> AbstractConnection:
        """A connection to an engine that knows our scripts and has been told that it may be new."""
        connection = await self._address.connect()
        try:
            await self._greet(connection)
        except BaseException:
            with contextlib.suppress(said.RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        self._recently = True
        await self._news.renew()
        return connection

    async def _greet(self, connection: AbstractConnection) -> None:
        loads: list[Command] = [("SCRIPT", "LOAD", source) for source in self._scripts.sources]
        told_info, *_ = await _all(connection, [("INFO", "server", "memory"), *loads])
        info = _info(told_info)
        version = info.get("redis_version", "0")
        if int(version.partition(".")[0]) < OLDEST:
            raise ConfigError(
                f"store.shared: {self._address.place} is of version {version}; Turnout needs {OLDEST} or newer",
                param="store.shared",
            )
        if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
            log.warning(
                "%s throws keys out when memory is short (maxmemory-policy %s): limits and records may be "
                "forgotten, and budgets stop for %g s; set it to noeviction",
                self._address.place,
                policy,
                self.lease_s,
            )
        sha, mark = self._scripts.hash["meet"], info.get("run_id", "")
        keys = self._engine_keys[0], f"{self._prefix}:server"
        await _all(connection, [("EVALSHA", sha, 2, *keys, mark, self._lease_us, int(self._recently))])

    def _money(self, script: str, purse: str, *told: str | int) -> Command:
        keys = self._keys.get(purse)
        if keys is None:
            if len(self._keys) > _KEPT_NAMES:
                self._keys.clear()
            own = (f"{self._prefix}:{kind}:{purse}" for kind in ("purse", "gone", "pieces"))
            keys = self._keys[purse] = (*self._engine_keys, *own)
        return ("EVALSHA", self._scripts.hash[script], 5, *keys, purse, *told)

    def _gate(self, script: str, admission: KeyAdmission, *told: str | int) -> Command:
        keys = f"{self._prefix}:rates:{admission.key}", f"{self._prefix}:open:{admission.key}"
        return ("EVALSHA", self._scripts.hash[script], 2, *keys, admission.request_id, *told)

    def _channel(self, topic: str) -> bytes:
        return f"{self._prefix}:news:{topic}".encode()


def _leased(purse: str, reply: Reply) -> Lease:
    limit, spent, leased, added, rest, known, opens_us, _ = reply
    return Lease(
        purse=purse,
        limit=limit,
        spent=spent,
        leased=leased,
        added=added,
        rest=rest,
        known=bool(known),
        opens_in_s=opens_us / 1e6,
    )


def _whole(nano_usd: int) -> int:
    return max(-LARGEST, min(LARGEST, nano_usd))


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1e3))


def _info(text: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.decode().splitlines())
    return {name: value for name, _, value in pairs}


async def _all(connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
    """The replies; the first that is an error is raised."""
    replies = await talk(connection, commands)
    for reply in replies:
        if isinstance(reply, said.RedisError):
            raise reply
    return replies
