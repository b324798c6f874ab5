"""Connections that wait for their next request."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from turnout.providers.http.connections import IDLE_IN_POOL_S, Connection

__all__ = ["Pool"]


class Pool:
    """By `key`: where they lead. The one used last is taken first, so that what a rush left over grows old and is let
    go. Their number has no bound of its own: only as many are opened as requests are under way, and those are bounded
    where they come in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[Hashable, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def new(self, key: Hashable) -> Connection:
        """One that will come back here by itself."""
        return Connection(self._loop, key, self._put, self._remove)

    def take(self, key: Hashable) -> Connection | None:
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.open and connection.idle_until > self._loop.time():
                return connection
            connection.abort()
        return None

    def close(self) -> None:
        """Let go of those that wait; of the others when they are done."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()

    def _put(self, connection: Connection) -> None:
        if self._closed:
            connection.abort()
            return
        self._idle.setdefault(connection.key, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(IDLE_IN_POOL_S, self._sweep)

    def _remove(self, connection: Connection) -> None:
        """It was closed, by whichever side."""
        idle = self._idle.get(connection.key)
        if idle and connection in idle:
            idle.remove(connection)

    def _sweep(self) -> None:
        now, self._sweeper = self._loop.time(), None
        for key, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_until <= now:
                    connection.abort()
            left = [connection for connection in idle if connection.idle_until > now]
            if left:
                self._idle[key] = left
            else:
                del self._idle[key]
        if self._idle:
            self._sweeper = self._loop.call_later(IDLE_IN_POOL_S, self._sweep)
