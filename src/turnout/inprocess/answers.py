"""Answers as a program gets them: whole, or as a stream, in the format that was asked in."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import ChatResponse, PartDelta, PartStart, StreamError, StreamEvent, Text
from turnout.dialects.base import Dialect
from turnout.dialects.sse import SseEvent, SseParser
from turnout.errors import InvalidRequest, UpstreamFailure
from turnout.inprocess.home import Home
from turnout.pipeline import Reply
from turnout.streams import AnswerStream

__all__ = ["Answer", "AsyncStream", "Made", "Stream"]

DONE = b"[DONE]"
"""What OpenAI's streams end with; it is no JSON."""


class Made(Struct, frozen=True, kw_only=True):
    """How an answer was made (the answer headers of docs/http.md). `cost_nano_usd` None: no price is known, or a
    stream, whose cost its record tells once it is at its end. `headers` holds the provider's, too: limits, its id."""

    request_id: str
    model: str
    reason: str
    session: str
    cache: str
    attempts: int
    cost_nano_usd: int | None
    warnings: tuple[str, ...]
    headers: Mapping[str, str]

    @property
    def cost_usd(self) -> Decimal | None:
        return None if self.cost_nano_usd is None else Decimal(self.cost_nano_usd) / NANO_PER_USD

    @classmethod
    def of(cls, request_id: str, reply: Reply) -> Made:
        told = dict(reply.headers)
        cost, warnings = told.get("x-turnout-cost-usd", "unpriced"), told.get("x-turnout-warnings")
        return cls(
            request_id=request_id,
            model=told.get("x-turnout-model", ""),
            reason=told.get("x-turnout-reason", ""),
            session=told.get("x-turnout-session", ""),
            cache=told.get("x-turnout-cache", ""),
            attempts=int(told.get("x-turnout-attempts", "0")),
            cost_nano_usd=None if cost == "unpriced" else int(Decimal(cost) * NANO_PER_USD),
            warnings=tuple(warnings.split("; ")) if warnings else (),
            headers=told,
        )


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer. `body`: the bytes as a client would get them. `chat` reads them; None for embeddings."""

    body: bytes
    made: Made
    chat: Dialect | None = None

    def json(self) -> dict[str, Any]:
        """The answer's JSON. Any: its fields are those of the format that was asked in."""
        return msgspec.json.decode(self.body, type=dict[str, Any])

    @property
    def response(self) -> ChatResponse:
        """The same in neutral, typed words: parts, tool calls, usage, the reason of its end. Raises InvalidRequest for
        an answer that is no turn of a conversation."""
        if self.chat is None:
            raise InvalidRequest("this answer is no turn of a conversation; read its json()")
        return self.chat.decode_response(self.body)

    @property
    def text(self) -> str:
        """What it says, without thoughts and tool calls."""
        return "".join(part.text for part in self.response.parts if isinstance(part, Text))


class _Piece(Struct, frozen=True):
    """One event: as JSON in its format (None: it has none), and what it says in neutral words."""

    event: dict[str, Any] | None
    told: tuple[StreamEvent, ...]


class _Pieces:
    """Bytes of a streamed answer to events, errors among them as exceptions. Pure."""

    def __init__(self, chat: Dialect) -> None:
        self._parser = SseParser()
        self._decoder = chat.stream_decoder()
        self.ready: deque[_Piece | UpstreamFailure] = deque()

    def feed(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            self._take(event)

    def close(self) -> None:
        for event in self._parser.close():
            self._take(event)
        self._add(None, self._decoder.close())

    def _take(self, event: SseEvent) -> None:
        told = self._decoder.feed(event.raw)
        has_json = event.data and event.data != DONE
        self._add(msgspec.json.decode(event.data, type=dict[str, Any]) if has_json else None, told)

    def _add(self, event: dict[str, Any] | None, told: list[StreamEvent]) -> None:
        for one in told:
            if isinstance(one, StreamError):
                # The code is the provider's word, or ours for what befell it; either way the answer is not whole.
                self.ready.append(UpstreamFailure(one.message, upstream_status=one.status, upstream_code=one.code))
                return
        if event is not None or told:
            self.ready.append(_Piece(event, tuple(told)))


Opener = Callable[[], Awaitable[tuple[str, Reply]]]
Ender = Callable[[AnswerStream], Awaitable[None]]


class AsyncStream:
    """A streamed answer: `async with gateway.chat.stream(...) as stream`, then its events, or its text. Leaving early
    stops the provider. Raises UpstreamFailure where the answer breaks off after it began, and TurnoutError on entering
    as a call does. `made` is there once it is entered."""

    def __init__(self, chat: Dialect, opener: Opener, ender: Ender) -> None:
        self._opener = opener
        self._ender = ender
        self._pieces = _Pieces(chat)
        self._texts: set[int] = set()
        self._bytes: AnswerStream | None = None
        self._made: Made | None = None

    @property
    def made(self) -> Made:
        if self._made is None:
            raise RuntimeError("a stream is entered first: with gateway.chat.stream(...) as stream")
        return self._made

    async def __aenter__(self) -> Self:
        request_id, reply = await self._opener()
        self._made, self._bytes = Made.of(request_id, reply), reply.stream
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next event's JSON. Any: its fields are those of the format that was asked in."""
        while (piece := await self.piece()) is not None:
            if piece.event is not None:
                return piece.event
        raise StopAsyncIteration

    async def text(self) -> AsyncGenerator[str]:
        """The pieces of what it says, without thoughts and tool calls."""
        while (piece := await self.piece()) is not None:
            if words := self.words(piece):
                yield words

    async def piece(self) -> _Piece | None:
        """The next event, None at the end."""
        _ = self.made  # entered?
        ready = self._pieces.ready
        while not ready and self._bytes is not None:
            try:
                self._pieces.feed(await anext(self._bytes))
            except StopAsyncIteration:
                self._pieces.close()
                await self.aclose()
        if not ready:
            return None
        piece = ready.popleft()
        if isinstance(piece, UpstreamFailure):
            ready.clear()
            while self._bytes is not None and await anext(self._bytes, None) is not None:
                pass  # nothing follows an error; its end says that it was one, and not a caller who left
            await self.aclose()
            raise piece
        return piece

    def words(self, piece: _Piece) -> str:
        """What a piece adds to the text."""
        words: list[str] = []
        for told in piece.told:
            if isinstance(told, PartStart) and isinstance(told.part, Text):
                self._texts.add(told.index)
                words.append(told.part.text)
            elif isinstance(told, PartDelta) and told.index in self._texts:
                words.append(told.text)
        return "".join(words)

    async def aclose(self) -> None:
        """End it, and close its books. May be called twice."""
        if (stream := self._bytes) is not None:
            self._bytes = None
            await self._ender(stream)


class Stream:
    """An AsyncStream for callers that block: `with gateway.chat.stream(...) as stream`."""

    def __init__(self, home: Home, stream: AsyncStream) -> None:
        self._home = home
        self._stream = stream
        home.when_forgotten(self, stream.aclose)

    @property
    def made(self) -> Made:
        return self._stream.made

    def __enter__(self) -> Self:
        self._home.run(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        """The next event's JSON. Any: its fields are those of the format that was asked in."""
        while (piece := self._home.run(self._stream.piece())) is not None:
            if piece.event is not None:
                return piece.event
        raise StopIteration

    def text(self) -> Generator[str]:
        """The pieces of what it says, without thoughts and tool calls."""
        while (piece := self._home.run(self._stream.piece())) is not None:
            if words := self._stream.words(piece):
                yield words

    def close(self) -> None:
        """End it, and close its books. May be called twice."""
        self._home.run(self._stream.aclose())
