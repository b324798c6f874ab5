"""An answer while it comes: what was received waits here until somebody reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from turnout.errors import UpstreamBroken, UpstreamFailure, UpstreamTimeout

__all__ = ["HttpResponse", "Line"]

MOST_UNREAD = 256 * 1024
"""Bytes that may wait for a reader before the provider is made to wait."""


class Line(Protocol):
    """What an answer asks of the connection that it comes on."""

    def abort(self) -> None:
        """Close at once: the provider is to stop."""
        ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class HttpResponse:
    """An UpstreamResponse, and its own iterator of pieces. The connection tells it what came (`begin`, `take`, `end`,
    `fail`); whoever waits for it is woken by a future, and nothing else is made for a piece. Not thread-safe.

    A cancelled wait closes the connection, and so does `aclose` before the end.
    """

    __slots__ = (
        "_failure",
        "_idle_s",
        "_line",
        "_loop",
        "_paused",
        "_pieces",
        "_since",
        "_timer",
        "_unread",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop, idle_timeout_s: float) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._line: Line | None = line  # None: nothing more will come on it
        self._loop = loop
        self._idle_s = idle_timeout_s
        self._pieces: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._failure: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._since = 0.0  # when the waiting began
        self._timer: asyncio.TimerHandle | None = None

    @property
    def paused(self) -> bool:
        """Whether the provider is made to wait."""
        return self._paused

    # What the connection tells

    def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def take(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._unread > MOST_UNREAD and not self._paused and self._line is not None:
            self._paused = True
            self._line.pause()
        waiter = self._waiter  # `_wake`, without the call: this is run for each piece
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def end(self) -> None:
        """The body is whole."""
        self._line = None
        self._settle()

    def fail(self, failure: UpstreamFailure) -> None:
        """Nothing more comes. What came before is still handed out."""
        if self._line is not None:
            self._line, self._failure = None, failure
            self._settle()

    # What a reader asks

    async def begun(self) -> None:
        """Wait for the headers. Raises UpstreamBroken. Whoever calls watches the time."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._more()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamFailure above `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit:
                await self.aclose()
                raise UpstreamFailure(f"the provider's answer is over {limit:,} bytes")
            parts.append(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; what waits is one piece. A slow reader slows the provider down."""
        return self

    def __aiter__(self) -> HttpResponse:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._line is None:
                raise StopAsyncIteration
            self._watch()
            await self._more()
        pieces = self._pieces
        self._pieces, self._unread = [], 0
        if self._paused:
            self._paused = False
            if self._line is not None:
                self._line.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """End the exchange: an unread rest closes the connection, a read one has given it back to the pool."""
        if self._line is not None:
            self._hang_up(UpstreamBroken("this answer was closed"))
        self._pieces.clear()

    # Inside

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:  # nobody wants it any more
            self._hang_up(UpstreamBroken("this answer was given up"))
            raise
        finally:
            self._waiter = None

    def _hang_up(self, failure: UpstreamFailure) -> None:
        line = self._line
        if line is not None:
            self.fail(failure)
            line.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def _watch(self) -> None:
        """Time a wait that begins now: by one timer that is set anew when it is up, not at each piece."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():  # whoever reads is busy: the next wait sets a new one
            return
        left = self._since + self._idle_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._time_is_up)
        else:
            self._hang_up(UpstreamTimeout(f"the provider sent nothing for {self._idle_s:g} s"))
