"""One connection to Valkey or Redis that many callers share: what is asked in one tick of the event loop goes together.

redis-py connects, signs in, speaks TLS and reads replies; how calls are batched, when they are given up and what
happens while the engine is away is decided here. A batch is on its way at a time; what is asked meanwhile is the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias, cast

from hiredis import pack_command
from msgspec import Struct
from redis import exceptions as said
from redis.asyncio.connection import AbstractConnection

from turnout.errors import ConfigError, NoCapacity

__all__ = ["Command", "Reply", "Wire", "pauses", "talk", "told"]

log = logging.getLogger("turnout")

Command: TypeAlias = tuple[bytes | str | int, ...]
Reply: TypeAlias = Any
"""What RESP has: bytes, int, list or None; or the error that this command alone was answered with."""

BATCH = 512
"""Commands that go together at most: the first of them waits for the last."""

TURNS = 10
"""Into so many parts a deadline is cut. Each is a timer of its own, after which the event loop has looked at its
sockets again: a loop that comes back late has used up one part, and not the engine's whole time."""

FIRST_S, MOST_S = 0.05, 1.0
"""How long it is after a failed attempt to connect until the next, doubled each time and spread by chance."""

_packed = cast("Callable[[Command], bytes]", pack_command)  # its stub knows tuples of one

_DEAD: tuple[type[BaseException], ...] = (
    said.ConnectionError,  # among them: it is loading, it refuses the password
    said.ReadOnlyError,
    said.MasterDownError,
    said.InvalidResponse,
    OSError,
    TimeoutError,
    EOFError,
)
"""After these the connection is of no use: another may lead to a server that can answer."""

_UNFIT = (said.ReadOnlyError, said.MasterDownError)


class _Call(Struct, eq=False):
    """Commands of one caller. `until`: the turn (`Wire._turn`) at which it is given up. `again`: may be sent twice."""

    commands: Sequence[Command]
    answered: asyncio.Future[list[Reply]]
    until: int
    again: bool


class Wire:
    """`connect` gives a fresh connection, ready to be asked. `deadline_s` holds for each call: seconds
    for the engine, not for an event loop that is late itself."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[AbstractConnection]],
        *,
        deadline_s: float,
        scripts: Sequence[str] = (),
        place: str = "the engine",
    ) -> None:
        self._connect = connect
        self._deadline_s = deadline_s
        self._scripts = scripts
        self._place = place
        self._connection: AbstractConnection | None = None
        self._calls: list[_Call] = []
        self._some = asyncio.Event()
        self._carrier: asyncio.Task[None] | None = None
        self._away = False
        self._turn = 0
        """Parts of a deadline that the engine was waited for, in all."""
        self._begun_s = 0.0
        """Of the next part: many quick answers, one behind the other, add up to what the last in the queue waits."""
        self.last_error: str | None = None

    @property
    def healthy(self) -> bool:
        return self.last_error is None

    async def start(self, within_s: float) -> None:
        """Connect. Raises what went wrong."""
        async with asyncio.timeout(within_s):
            self._connection = await self._connect()
        self._carrier = asyncio.create_task(self._carry())
        self._carrier.add_done_callback(self._ended)

    async def ask(self, commands: Sequence[Command], *, again: bool = False) -> list[Reply]:
        """The replies, in the order of the commands; an error reply raises. `again`: these may be executed twice, so
        they are sent anew when a connection breaks. Raises NoCapacity."""
        if self._away or self._carrier is None:
            raise self._refused()
        loop = asyncio.get_running_loop()
        call = _Call(commands, loop.create_future(), self._turn + TURNS, again)
        self._calls.append(call)
        self._some.set()
        replies = await call.answered
        for reply in replies:
            if isinstance(reply, said.RedisError):
                self.last_error = told(reply, self._place)
                raise NoCapacity(self.last_error, retry_after=1) from None
        return replies

    async def aclose(self) -> None:
        if self._carrier is not None:
            self._carrier.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._carrier
            self._carrier = None
        self.last_error = self.last_error or "the shared state is closed: this gateway is ending"
        self._refuse(self._calls)
        await self._drop()

    def _ended(self, carrier: asyncio.Task[None]) -> None:
        """Nobody may wait for a carrier that is no more; that it failed is a fault of ours."""
        if not carrier.cancelled() and (error := carrier.exception()) is not None:
            log.error("the connection to %s failed", self._place, exc_info=error)
            self.last_error = f"the connection to {self._place} failed by a fault of ours; restart this gateway"
        self._refuse_all()

    async def _carry(self) -> None:
        """Take what waits to the engine and bring the replies back, for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._calls:
                batch = self._next()
                try:
                    await self._exchange(batch)
                except _DEAD as error:
                    await self._lost(batch, error)
            self._begun_s = 0.0  # nobody waits

    def _next(self) -> list[_Call]:
        """What still waits, as much as goes together."""
        batch: list[_Call] = []
        size = taken = 0
        for call in self._calls:
            if size >= BATCH:
                break
            taken += 1
            if call.answered.done():
                continue
            if call.until <= self._turn:
                call.answered.set_exception(NoCapacity(self._late(), retry_after=1))
                continue
            batch.append(call)
            size += len(call.commands)
        del self._calls[:taken]
        return batch

    async def _exchange(self, batch: list[_Call]) -> None:
        """Send a batch and hand out its replies. Scripts that the engine has forgotten are loaded, and what asked for
        them is sent once more: it was not executed."""
        connection = self._connection
        if not batch:
            return
        if connection is None:
            raise said.ConnectionError("there is no connection")
        commands = [command for call in batch for command in call.commands]
        async with self._patience(batch[0].until - self._turn):
            replies = await talk(connection, commands)
            forgotten = [n for n, reply in enumerate(replies) if isinstance(reply, said.NoScriptError)]
            if forgotten:
                await talk(connection, [("SCRIPT", "LOAD", script) for script in self._scripts])
                anew = await talk(connection, [commands[n] for n in forgotten])
                for n, reply in zip(forgotten, anew, strict=True):
                    replies[n] = reply
        # What is no primary any more executes nothing: see whether there is another.
        unfit = next((reply for reply in replies if isinstance(reply, _UNFIT)), None)
        if unfit is not None:
            raise unfit
        self.last_error = None
        at = 0
        for call in batch:
            mine = replies[at : at + len(call.commands)]
            at += len(call.commands)
            if not call.answered.done():
                call.answered.set_result(mine)

    async def _lost(self, batch: list[_Call], error: BaseException) -> None:
        """The connection is of no use. Try another at once, and while that fails refuse whoever asks."""
        self.last_error = told(error, self._place, self._deadline_s)
        await self._drop()
        late = isinstance(error, TimeoutError)
        again = [] if late else [call for call in batch if call.again]
        self._refuse([call for call in batch if late or not call.again])
        for call in again:
            call.again = False
        self._calls = again + self._calls
        turns = self._calls[0].until - self._turn if self._calls else TURNS
        waits = pauses()
        if late:  # an engine that does not answer is not asked again by those who wait already
            self._refuse_all()
        while not await self._found(turns):
            self._refuse_all()
            turns = TURNS
            await asyncio.sleep(next(waits))
        self._away = False

    async def _found(self, turns: int) -> bool:
        try:
            async with self._patience(turns):
                self._connection = await self._connect()
        except (said.RedisError, ConfigError, *_DEAD) as error:
            self.last_error = told(error, self._place, self._deadline_s)
            return False
        self.last_error = None
        return True

    @contextlib.asynccontextmanager
    async def _patience(self, turns: int) -> AsyncGenerator[None]:
        """Raises TimeoutError when the engine was waited for that many parts of a deadline."""
        loop, part_s = asyncio.get_running_loop(), self._deadline_s / TURNS
        last, at_s = self._turn + turns, loop.time()

        def pass_on() -> None:
            nonlocal timer, at_s
            self._turn, self._begun_s, at_s = self._turn + 1, 0.0, loop.time()
            if self._turn >= last:
                limit.reschedule(at_s)
            else:
                timer = loop.call_later(part_s, pass_on)

        timer = loop.call_later(part_s - self._begun_s, pass_on)
        try:
            async with asyncio.timeout(None) as limit:
                yield
        finally:
            timer.cancel()
            self._begun_s = min(part_s, self._begun_s + loop.time() - at_s)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(said.RedisError, OSError):
                await connection.disconnect(nowait=True)

    def _refuse_all(self) -> None:
        self._away = True
        waiting, self._calls = self._calls, []
        self._refuse(waiting)

    def _refuse(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            if not call.answered.done():
                call.answered.set_exception(self._refused())

    def _late(self) -> str:
        return told(TimeoutError(), self._place, self._deadline_s)

    def _refused(self) -> NoCapacity:
        return NoCapacity(self.last_error or f"{self._place} is not connected yet", retry_after=1)


def pauses() -> Iterator[float]:
    """Seconds from each failed attempt to connect to the next, without end."""
    most_s = FIRST_S
    while True:
        yield most_s * random.uniform(0.5, 1.0)  # noqa: S311 - so that gateways do not come together
        most_s = min(MOST_S, 2 * most_s)


async def talk(connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
    """All commands at once, then all replies; the error of one command is its reply."""
    # Packed by hiredis: redis-py does it in Python, and that was a third of what a claim cost.
    await connection.send_packed_command(b"".join(map(_packed, commands)), check_health=False)
    replies: list[Reply] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disconnect_on_error=False))
        except said.ResponseError as error:
            replies.append(error)
    return replies


_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (said.BusyLoadingError, "is still loading its data; wait until it has"),
    (said.AuthenticationError, "refuses the user or password; mend them in store.shared"),
    (said.NoPermissionError, "lets this user do too little; grant it all commands on keys and channels turnout:*"),
    (said.ReadOnlyError, "is a replica and takes no writes; name the primary, or its Sentinels, in store.shared"),
    (said.MasterDownError, "is a replica that has lost its primary; name the primary in store.shared"),
    (said.OutOfMemoryError, "has no memory left; raise its maxmemory"),
    (said.ClusterError, "is part of a cluster; name one that is not, in store.shared"),
)


def told(error: BaseException, place: str, deadline_s: float = 0.0) -> str:
    """One sentence with the cause and the next step. Says nothing that came from the URL but the place."""
    if isinstance(error, ConfigError):
        return error.message
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return f"{place} {words}"
    if isinstance(error, (TimeoutError, said.TimeoutError)):
        return f"{place} did not answer within {deadline_s:g} s; see whether it is overloaded or stopped"
    if isinstance(error, (said.ConnectionError, OSError, EOFError)):
        cause = _system(error)
        return f"{place} cannot be reached{f' ({cause})' if cause else ''}; start it, or mend store.shared"
    return f"{place} refuses a command ({error}); see whether it is Valkey or Redis 7 or newer"


def _system(error: BaseException | None) -> str:
    """What the system said of a connection that failed."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return ""
