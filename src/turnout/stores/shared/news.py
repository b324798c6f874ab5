"""What others tell, heard on a connection of its own, which is made anew whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from redis import exceptions as said
from redis.asyncio.connection import AbstractConnection

from turnout.stores.shared.wire import pauses

__all__ = ["Listener"]

PING_S = 5.0
"""A connection that is silent for so long is asked whether it still is one; twice, and it is none."""

_BROKEN = (said.RedisError, OSError, TimeoutError, EOFError)


class Listener:
    """Channels and who hears them."""

    def __init__(self, connect: Callable[[], Awaitable[AbstractConnection]], *, deadline_s: float) -> None:
        self._connect = connect
        self._deadline_s = deadline_s
        self._heard: dict[bytes, list[Callable[[bytes], None]]] = {}
        self._missed: list[Callable[[], None]] = []
        self._connection: AbstractConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._subscribing: set[asyncio.Task[None]] = set()

    def hear(self, channel: bytes, heard: Callable[[bytes], None], missed: Callable[[], None] | None = None) -> None:
        """Call `heard` with what is published there from now on; `missed` whenever it was not listened for a while,
        and is again."""
        if missed is not None:
            self._missed.append(missed)
        new = channel not in self._heard
        self._heard.setdefault(channel, []).append(heard)
        if new and self._reading is not None:
            task = asyncio.create_task(self._subscribe_too(channel))
            self._subscribing.add(task)
            task.add_done_callback(self._subscribing.discard)

    async def start(self) -> None:
        """Connect and subscribe. Raises what redis-py does."""
        self._connection = await self._subscribed()
        self._reading = asyncio.create_task(self._read())

    async def renew(self) -> None:
        """Another server may be the one to listen to: leave this one, and subscribe anew."""
        if self._connection is not None:
            with contextlib.suppress(*_BROKEN):
                await self._connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        tasks = [*self._subscribing, *([self._reading] if self._reading is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._reading = None
        await self._drop()

    async def _subscribed(self) -> AbstractConnection:
        connection = await self._connect()
        try:
            if self._heard:
                await connection.send_command("SUBSCRIBE", *self._heard, check_health=False)
                for _ in self._heard:
                    await connection.read_response()
        except BaseException:
            with contextlib.suppress(*_BROKEN):
                await connection.disconnect(nowait=True)
            raise
        return connection

    async def _subscribe_too(self, channel: bytes) -> None:
        if self._connection is not None:
            # Where it is broken the reader sees that too, and subscribes to all.
            with contextlib.suppress(*_BROKEN):
                await self._connection.send_command("SUBSCRIBE", channel, check_health=False)

    async def _read(self) -> None:
        """Hand on what comes, for ever."""
        while True:
            with contextlib.suppress(*_BROKEN):
                await self._read_on()
            await self._drop()
            waits = pauses()
            while self._connection is None:
                with contextlib.suppress(*_BROKEN):
                    async with asyncio.timeout(max(1.0, self._deadline_s)):
                        self._connection = await self._subscribed()
                        break
                await asyncio.sleep(next(waits))
            for missed in self._missed:
                asyncio.get_running_loop().call_soon(missed)

    async def _read_on(self) -> None:
        """Until the connection breaks."""
        asked = False
        while self._connection is not None:
            told: Any = await self._connection.read_response(timeout=PING_S)
            if told is not None:
                asked = False
                self._hand_on(told)
            elif asked:
                return
            else:
                asked = True
                await self._connection.send_command("PING", check_health=False)

    def _hand_on(self, told: Any) -> None:
        if isinstance(told, list) and len(told) == 3 and told[0] == b"message":
            loop = asyncio.get_running_loop()
            for heard in self._heard.get(told[1], ()):
                loop.call_soon(heard, told[2])

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*_BROKEN):
                await connection.disconnect(nowait=True)
