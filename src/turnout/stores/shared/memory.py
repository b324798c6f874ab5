"""Shared state in memory: of one process, or in tests of several gateways that share one `MemoryEngine`.

It is what the other implementations are held against.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from turnout.errors import NoCapacity
from turnout.shared_state import Claim, KeyAdmission, Lease, Lost
from turnout.stores.shared.gates import Gate
from turnout.stores.shared.purses import LEASE_S, OPEN_S, PURSE_TTL_S, Moment, Purse

__all__ = ["MemoryEngine", "MemoryShared"]

SWEEP = 1_000
"""Things kept beyond twice as many as last time are looked through for old ones."""


AWAY = "the engine of the shared state is away; wait for it"

T = TypeVar("T")


class _Shelf(Generic[T]):
    """Things by name, each kept until its time."""

    def __init__(self) -> None:
        self._things: dict[str, tuple[T, float]] = {}
        self._look_at = SWEEP

    def get(self, name: str, now_s: float) -> T | None:
        thing, until_s = self._things.get(name, (None, 0.0))
        return thing if until_s > now_s else None

    def put(self, name: str, thing: T, now_s: float, ttl_s: float) -> None:
        if len(self._things) >= self._look_at:
            for old in [old for old, (_, until_s) in self._things.items() if until_s <= now_s]:
                del self._things[old]
            self._look_at = 2 * len(self._things) + SWEEP
        self._things[name] = thing, now_s + ttl_s

    def values(self) -> list[T]:
        return [thing for thing, _ in self._things.values()]

    def items(self) -> list[tuple[str, T]]:
        return [(name, thing) for name, (thing, _) in self._things.items()]


class MemoryEngine:
    """What gateways of one process share. `now_s` is its clock; a purse that nobody claims of for `ttl_s` is
    forgotten. `away`: it answers nobody."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic, ttl_s: float = PURSE_TTL_S) -> None:
        self.now_s = now_s
        self.ttl_s = ttl_s
        self.away = False
        self.listeners: list[tuple[str, asyncio.AbstractEventLoop, str, Callable[[bytes], None]]] = []
        self._epoch, self._opens_s = 0, float("-inf")
        self._empty()

    def forget_everything(self, lease_s: float) -> None:
        """As an engine does that was restarted: whoever has money of it is still to say so."""
        self._epoch += 1
        self._opens_s = self.now_s() + lease_s
        self._empty()

    def _empty(self) -> None:
        self.purses: _Shelf[Purse] = _Shelf()
        self.gates: _Shelf[Gate] = _Shelf()
        self.records: _Shelf[bytes] = _Shelf()
        self.counts: _Shelf[dict[str, int]] = _Shelf()
        self.firsts: _Shelf[bool] = _Shelf()

    def at(self, lease_s: float) -> Moment:
        return Moment(
            now_s=self.now_s(),
            wall_us=time.time_ns() // 1_000,
            lease_s=lease_s,
            epoch=str(self._epoch),
            opens_s=self._opens_s,
        )


class MemoryShared:
    """A gateway's `SharedState` in an engine of its own, or in one that others have too."""

    def __init__(
        self, gateway: str, engine: MemoryEngine | None = None, *, lease_s: float = LEASE_S, open_s: float = OPEN_S
    ) -> None:
        self.gateway = gateway
        self._engine = engine or MemoryEngine()
        self.lease_s = lease_s
        self.open_s = open_s
        self._sequence = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard: list[tuple[str, Callable[[bytes], None]]] = []

    @property
    def healthy(self) -> bool:
        return not self._engine.away

    # Money.

    async def lease(self, claims: Sequence[Claim]) -> list[Lease]:
        engine = self._asked()
        self._sequence += 1
        return [self._purse(claim.purse).lease(self.gateway, self._sequence, claim, engine) for claim in claims]

    async def fill(
        self,
        purse: str,
        spent: Mapping[str, int],
        *,
        added: Mapping[str, int] | None = None,
        pieces: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        engine = self._asked()
        self._purse(purse).fill(spent, added or {}, pieces or {}, engine)

    async def add(self, purse: str, nano_usd: int, *, entry: str) -> None:
        self._asked()
        self._purse(purse).added.setdefault(entry, nano_usd)

    async def silent(self) -> list[Lost]:
        engine = self._asked()
        return [lost for name, purse in self._engine.purses.items() for lost in purse.lost(name, engine)]

    async def bury(self, lost: Lost, *, counted: int) -> None:
        self._purse(lost.purse).bury(lost, counted, self._asked())

    # Limits of keys.

    async def admit(self, admission: KeyAdmission) -> float:
        now_s = self._asked().now_s
        gate = self._engine.gates.get(admission.key, now_s) or Gate()
        wait_s = gate.admit(admission, now_s, self.open_s)
        self._engine.gates.put(admission.key, gate, now_s, gate.until_s(now_s) - now_s)
        return wait_s

    async def leave(self, admission: KeyAdmission, *, used: int) -> None:
        now_s = self._asked().now_s
        gate = self._engine.gates.get(admission.key, now_s)
        if gate is not None:
            gate.leave(admission, used, now_s)
            self._engine.gates.put(admission.key, gate, now_s, gate.until_s(now_s) - now_s)

    # Records, counts, news.

    async def get(self, names: Sequence[str]) -> list[bytes | None]:
        now_s = self._asked().now_s
        return [self._engine.records.get(name, now_s) for name in names]

    async def put(self, records: Mapping[str, bytes], *, ttl_s: float) -> None:
        now_s = self._asked().now_s
        for name, record in records.items():
            self._engine.records.put(name, record, now_s, ttl_s)

    async def count(self, by: Mapping[str, Mapping[str, int]], *, ttl_s: float) -> dict[str, dict[str, int]]:
        now_s, totals = self._asked().now_s, dict[str, dict[str, int]]()
        for name, added in by.items():
            counts = dict(self._engine.counts.get(name, now_s) or {})
            for counter, more in added.items():
                counts[counter] = counts.get(counter, 0) + more
            self._engine.counts.put(name, counts, now_s, ttl_s)
            totals[name] = dict(counts)
        return totals

    async def first(self, name: str, *, ttl_s: float) -> bool:
        now_s = self._asked().now_s
        if self._engine.firsts.get(name, now_s) is not None:
            return False
        self._engine.firsts.put(name, True, now_s, ttl_s)
        return True

    async def tell(self, topic: str, message: bytes) -> None:
        self._asked()
        for gateway, loop, of, heard in self._engine.listeners:
            if of == topic and gateway != self.gateway:
                loop.call_soon_threadsafe(heard, message)

    def hear(self, topic: str, heard: Callable[[bytes], None], *, missed: Callable[[], None] | None = None) -> None:
        del missed  # while the engine is away nobody tells anything
        self._heard.append((topic, heard))
        if self._loop is not None:
            self._engine.listeners.append((self.gateway, self._loop, topic, heard))

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine.listeners += [(self.gateway, self._loop, topic, heard) for topic, heard in self._heard]

    async def aclose(self) -> None:
        self._engine.listeners[:] = [each for each in self._engine.listeners if each[0] != self.gateway]
        if not self._engine.away:
            for purse in self._engine.purses.values():
                purse.resign(self.gateway)

    def _asked(self) -> Moment:
        if self._engine.away:
            raise NoCapacity(AWAY)
        return self._engine.at(self.lease_s)

    def _purse(self, name: str) -> Purse:
        now_s = self._engine.now_s()
        purse = self._engine.purses.get(name, now_s) or Purse()
        self._engine.purses.put(name, purse, now_s, self._engine.ttl_s)
        return purse
