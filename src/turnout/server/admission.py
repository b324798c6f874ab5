"""How many requests are served at once: a limit that follows the event loop's own lateness, and a short queue."""

from __future__ import annotations

import asyncio
from collections import deque

from turnout.errors import NoCapacity

__all__ = ["Admission"]

LEAST = 32
"""The limit never falls below this: a gateway that serves nobody helps nobody."""

LATE_S, PUNCTUAL_S = 0.25, 0.05
"""Above the first lateness of the event loop the limit falls, below the second it rises. A gateway's own scarce thing
is its one processor: how late the loop runs says directly how scarce. The latency of providers says nothing of us."""

FEWER, MORE = 0.8, 1.1


class Admission:
    """At most `limit` requests at once whose answers have not begun, and `most` in all; up to `most` wait for `wait_s`
    seconds, then they are told to come again. A stream that has begun costs little and lasts long: how many there are
    says nothing of how busy we are.

    The limit moves between `LEAST` and `most`: down by a fifth while the loop runs late, up by a tenth while it is
    punctual (AIMD's shape; the rise is proportional because a step comes only ten times a second).
    """

    def __init__(self, *, most: int = 2_000, wait_s: float = 1.0) -> None:
        self.most = most
        self.wait_s = wait_s
        self.limit = float(most)
        self.in_flight = 0
        self.streaming = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(not turn.done() for turn in self._waiting)

    async def enter(self) -> None:
        """Take a place. Raises NoCapacity when none was free in time; whoever got one must `leave`."""
        if self._has_room and not self._waiting:
            self.in_flight += 1
            return
        if len(self._waiting) >= self.most:
            raise _full(self.wait_s)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self.wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place came in the very moment that nobody wanted it any more
            else:
                turn.cancel()  # passed over when its turn comes
            if isinstance(error, TimeoutError):
                raise _full(self.wait_s) from None
            raise

    def begun(self) -> None:
        """One that has a place streams its answer from now on."""
        self.streaming += 1
        self._admit()

    def leave(self, *, streamed: bool = False) -> None:
        """Give the place back; the one who waits the longest gets it. `streamed`: it had `begun`."""
        self.in_flight -= 1
        self.streaming -= streamed
        self._admit()

    def tick(self, late_s: float) -> None:
        """Called some ten times a second with how late the event loop was."""
        if late_s > LATE_S:
            self.limit = max(LEAST, min(self.limit, self.in_flight - self.streaming) * FEWER)
        elif late_s < PUNCTUAL_S and self.limit < self.most:
            self.limit = min(self.most, self.limit * MORE)
            self._admit()

    @property
    def _has_room(self) -> bool:
        return self.in_flight - self.streaming < self.limit and self.in_flight < self.most

    def _admit(self) -> None:
        while self._waiting and self._has_room:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


def _full(wait_s: float) -> NoCapacity:
    return NoCapacity(
        f"the gateway is busy: no place within {wait_s:g} s; try again, or raise server.max_concurrency",
        retry_after=max(1.0, wait_s),
    )
