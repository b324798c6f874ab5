"""A streamed answer on its way to the caller: it settles whatever happens; another model may finish it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from msgspec.structs import replace

from turnout.call import Call
from turnout.chat import Part, Usage, collect
from turnout.context import Outcome, RequestContext
from turnout.conversations import Answered, answer_in, keeps
from turnout.delivery.attempts import Delivered
from turnout.delivery.board import Flight
from turnout.providers.exchange import Exchange
from turnout.providers.splice import Splice, text_in
from turnout.routing.tokens import approximate
from turnout.shadow import Shadow

__all__ = ["AnswerStream", "Books", "Drains", "Replay", "SettlingStream", "usage_so_far"]

SAMPLE_BYTES = 16 * 1024
"""Kept of what a caller got, to estimate its tokens where the provider never counts them."""

WHOLE_BYTES = 4 * 1024 * 1024
"""Kept where another model may have to go on, or the answer may be given again: a longer one is neither."""


class AnswerStream(Protocol):
    """A streamed answer's bytes. Whoever takes one must close it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class Replay:
    """The stream of an answer that is there already. An AnswerStream; its books are closed."""

    def __init__(self, body: bytes) -> None:
        self._rest = [body]

    def __aiter__(self) -> Replay:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()

    async def aclose(self) -> None:
        self._rest.clear()


class Books(Protocol):
    """What a stream needs of whoever opened it."""

    drains: Drains
    shadow: Shadow

    async def keep(self, ctx: RequestContext, call: Call, exchange: Exchange, answered: Answered | None) -> None: ...

    async def go_on(self, ctx: RequestContext, call: Call, stream: SettlingStream) -> Delivered[Exchange] | None: ...

    def settle(
        self,
        ctx: RequestContext,
        outcome: Outcome,
        *,
        exchange: Exchange | None = None,
        flight: Flight | None = None,
        stream: SettlingStream | None = None,
    ) -> None: ...

    @property
    def keeps_whole(self) -> bool:
        """Whether streams may be continued, and so must be remembered as they go."""
        ...


class SettlingStream:
    """A streamed answer's bytes. `aclose` settles whatever happened: read to its end, broken, or no longer wanted
    before a single byte was read (an async generator that never began would run no `finally`).

    `delivered` is what the caller got, from its beginning, as far as it is kept; `delivered_bytes` all of it.
    """

    def __init__(self, books: Books, ctx: RequestContext, call: Call, begun: Delivered[Exchange]) -> None:
        self._books = books
        self._ctx = ctx
        self._call = call
        self._exchange = begun.answer
        self._flight = begun.flight
        self._chunks: AsyncGenerator[bytes] = begun.answer.stream()
        self._splice: Splice | None = None
        self._keeping = keeps(ctx.dialect, ctx.outline.fields)
        self._outcome: Outcome = "cancelled"
        self._room = WHOLE_BYTES if books.keeps_whole or ctx.cache == "miss" else SAMPLE_BYTES
        self._told = False
        self._reading: asyncio.Future[bytes] | None = None
        self.delivered = bytearray()
        self.delivered_bytes = 0

    @property
    def text(self) -> str:
        """What the caller got to read, in the part that is kept."""
        chat = self._call.operation.chat
        return text_in(chat, bytes(self.delivered)) if chat else ""

    @property
    def parts(self) -> tuple[Part, ...] | None:
        """What the answer is made of; None where too little of it is kept, or it was cut off."""
        chat = self._call.operation.chat
        if chat is None or not self.delivered_whole:
            return None
        decoder = chat.stream_decoder()
        try:
            return collect([*decoder.feed(bytes(self.delivered)), *decoder.close()]).parts
        except ValueError:
            return None

    @property
    def usage(self) -> Usage | None:
        return self._exchange.usage

    @property
    def delivered_whole(self) -> bool:
        return len(self.delivered) == self.delivered_bytes

    def __aiter__(self) -> SettlingStream:
        return self

    async def __anext__(self) -> bytes:
        while True:
            try:
                chunk = await (self._shielded() if self._exchange.bills_on else anext(self._chunks))
            except StopAsyncIteration:
                chunk = await self._ending()
            else:
                chunk = self._splice.feed(chunk) if self._splice else chunk
            if chunk:
                break
        self._note(chunk)
        if self._keeping and (answered := answer_in(chunk)) is not None:
            # Kept before the caller has the end: the next request may come at once.
            await self._books.keep(self._ctx, self._call, self._exchange, answered)
        return chunk

    async def _shielded(self) -> bytes:
        """The next piece; reading goes on though the caller leaves, for `aclose` may have it drained."""
        self._reading = asyncio.ensure_future(anext(self._chunks))
        return await asyncio.shield(self._reading)

    async def _ending(self) -> bytes:
        """After the provider's last byte: the error's event, nothing where another model has taken over, or
        StopAsyncIteration."""
        error = self._exchange.farewell()
        if error is None or self._told:
            self._outcome = "error" if self._exchange.error else "ok"
            # While the caller waits: from the end that it gets to the books there is no time for its next request.
            await self._exchange.aclose()
            raise StopAsyncIteration
        taken_over = await self._books.go_on(self._ctx, self._call, self)
        if taken_over is None:
            self._told = True
            return error
        self._flight.failed("broken")
        await self._exchange.aclose()
        chat = self._call.operation.chat
        if chat is not None:
            self._splice = Splice(chat, bytes(self.delivered), include_usage=self._ctx.outline.include_usage)
        self._exchange, self._flight = taken_over.answer, taken_over.flight
        self._chunks = self._exchange.stream()
        return b""

    def _note(self, chunk: bytes) -> None:
        self.delivered_bytes += len(chunk)
        if self._room > 0:
            self.delivered += chunk[: self._room]
            self._room -= len(chunk)

    async def aclose(self) -> None:
        if self._outcome == "cancelled" and self._exchange.bills_on and self._books.drains.take(self):
            return
        await self.end()

    async def drain(self) -> None:
        """Read what the provider bills anyway, so that it can be booked; nobody gets it."""
        try:
            if self._reading is not None:
                self._note(await self._reading)
            async for chunk in self._chunks:
                self._note(chunk)
        except StopAsyncIteration:
            pass

    async def end(self) -> None:
        """Let the provider go and close the books."""
        first = self._ctx.outcome == "open"
        try:
            if self._reading is not None and not self._reading.done():
                self._reading.cancel()
                await asyncio.gather(self._reading, return_exceptions=True)
            await self._chunks.aclose()
            await self._exchange.aclose()
        finally:
            self._books.settle(self._ctx, self._outcome, exchange=self._exchange, flight=self._flight, stream=self)
        if first:
            self._books.shadow.served(self._ctx, self._call, lambda: self.parts)


class Drains:
    """Streams that nobody reads any more and that are billed all the same: read on in the background, so many at once
    and for so long. `aclose` ends them all."""

    def __init__(self, *, at_once: int = 64, longest_s: float = 60.0) -> None:
        self._at_once = at_once
        self._longest_s = longest_s
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, stream: SettlingStream) -> bool:
        """Drain `stream` in the background; False where too many are drained already."""
        if len(self._tasks) >= self._at_once:
            return False
        task = asyncio.create_task(self._drain(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self, stream: SettlingStream) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._longest_s):
                    await stream.drain()
        finally:
            await stream.end()


def usage_so_far(ctx: RequestContext, source: SettlingStream | Exchange) -> Usage:
    """Usage where the provider did not report all (a cut or cancelled stream): the request's size, and of the text
    that the caller got as many tokens as its beginning lets expect, where the provider had not counted more
    (Anthropic's first event counts one token, whatever follows)."""
    told = source.usage or Usage()
    if told.input is None:  # then what was cached of it says nothing either
        told = Usage(input=ctx.input_tokens_estimate, output=told.output, service_tier=told.service_tier, raw=told.raw)
    return replace(told, output=max(told.output or 0, _delivered_tokens(source)))


def _delivered_tokens(stream: SettlingStream | Exchange) -> int:
    if isinstance(stream, Exchange):
        return round(approximate(text)) if (text := stream.text) else 0
    if not stream.delivered:
        return 0
    return round(approximate(stream.text) * stream.delivered_bytes / len(stream.delivered))
