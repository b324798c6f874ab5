"""Engines of shared state, each with as many gateways as a test wants: memory, an SQLite file, a real Valkey."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from support.valkey import shared_valkey
from turnout.shared_state import SharedState
from turnout.stores.shared.memory import MemoryEngine, MemoryShared
from turnout.stores.shared.sqlite import SqliteShared

KINDS = ("memory", "sqlite", "valkey")


class World:
    """One engine. `gateway` gives another gateway in it, `close` ends them all."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._file = str(folder / f"{secrets.token_hex(4)}.db")
        self._engine = MemoryEngine()
        self._prefix = secrets.token_hex(6)
        self._url = shared_valkey() if kind == "valkey" else ""
        self._open: list[SharedState] = []

    async def gateway(self, name: str, *, lease_s: float = 5.0, open_s: float = 600.0) -> SharedState:
        shared = self._made(name, lease_s, open_s)
        self._open.append(shared)
        await shared.start()
        return shared

    def _made(self, name: str, lease_s: float, open_s: float) -> SharedState:
        if self.kind == "memory":
            return MemoryShared(name, self._engine, lease_s=lease_s, open_s=open_s)
        if self.kind == "sqlite":
            return SqliteShared(self._file, name, lease_s=lease_s, open_s=open_s, recently=False)
        from turnout.stores.shared.valkey import ValkeyShared

        return ValkeyShared(
            self._url, name, lease_s=lease_s, open_s=open_s, recently=False, prefix=self._prefix, deadline_s=5.0
        )

    async def close(self) -> None:
        for shared in self._open:
            await shared.aclose()


async def until(true: Callable[[], bool | Awaitable[bool]], within_s: float = 10.0) -> None:
    """Wait for something to come true, however long this machine takes."""
    async with asyncio.timeout(within_s):
        while True:
            now = true()
            if now is True or (not isinstance(now, bool) and await now):
                return
            await asyncio.sleep(0.01)
