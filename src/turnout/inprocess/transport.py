"""A gateway as the transport of httpx or httpx2: the official SDKs run on it with no socket between.

Neither library is imported here, nor needed: a transport is known by its methods, and what it answers is made of the
classes of the library that asks.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Struct

from turnout.errors import MethodNotAllowed, PathNotFound, TurnoutError
from turnout.headers import error_headers
from turnout.inprocess.core import Core
from turnout.inprocess.home import Home
from turnout.server.learning import feedback
from turnout.server.paths import FEEDBACK, ROUTE, operation_at, shape_of
from turnout.server.views import look, route_operation
from turnout.streams import AnswerStream

__all__ = ["AsyncTransport", "SyncTransport"]

T = TypeVar("T")

JSON = ("content-type", "application/json")

LISTINGS = ("/v1/models", "/v1beta/models")
"""What may be looked at; health, metrics and admin are a server's."""


class Request(Struct, frozen=True, kw_only=True):
    """A request of a client; `headers` has lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Response(Struct, frozen=True, kw_only=True):
    """What a client gets: `body`, or `stream`, which it must close."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    stream: AnswerStream | None = None


async def respond(core: Core, request: Request) -> Response:
    """The answer to a client's request; an error has the shape of the API that was asked."""
    try:
        return await _served(core, request)
    except TurnoutError as error:
        shape = operation_at(request.path) or shape_of(request.path, request.headers)
        return Response(status=error.status, headers=[JSON, *error_headers(error)], body=shape.encode_error(error))


async def _served(core: Core, request: Request) -> Response:
    path, headers = request.path, request.headers
    if path.startswith(LISTINGS) and request.method == "GET":
        status, told = look(await core.engine(), "GET", path, headers)
        return Response(status=status, headers=[JSON], body=msgspec.json.encode(told))
    operation = operation_at(path)
    if operation is None and path not in {FEEDBACK, ROUTE}:
        raise PathNotFound(f"a gateway without a server has nothing at {path}; the API is under /v1")
    if request.method != "POST":
        raise MethodNotAllowed(f"{path} takes POST, not {request.method}")
    if operation is None:
        told = await (_routed(core, request) if path == ROUTE else _fed_back(core, request))
        return Response(status=200, headers=[JSON], body=msgspec.json.encode(told))
    request_id, reply = await core.run(operation, request.body, headers)
    told_headers = [*reply.headers, ("x-turnout-request-id", request_id)]
    if reply.stream is None:
        return Response(status=200, headers=[JSON, *told_headers], body=reply.body or b"")
    kind = ("content-type", "text/event-stream; charset=utf-8")
    return Response(status=200, headers=[kind, *told_headers], stream=reply.stream)


async def _fed_back(core: Core, request: Request) -> object:
    return await feedback(await core.engine(), request.headers, request.body)


async def _routed(core: Core, request: Request) -> object:
    return await core.explain(route_operation(request.headers), request.body, request.headers)


class Body:
    """A streamed answer's bytes for a client, which waits for each as long as it would at a socket."""

    def __init__(self, core: Core, stream: AnswerStream, asked: Asked) -> None:
        self._core = core
        self._stream = stream
        self._asked = asked

    async def piece(self) -> bytes:
        """The next bytes; empty at the end."""
        return await self._asked.in_time(anext(self._stream, b""))

    async def aclose(self) -> None:
        await self._core.end(self._stream)


class Asked:
    """A request in a client library's words, and the words of that library for what becomes of it."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self.library = importlib.import_module(type(request).__module__.partition(".")[0])
        self._read_s: float | None = request.extensions.get("timeout", {}).get("read")

    def read(self, body: bytes) -> Request:
        return Request(
            method=self._request.method,
            path=self._request.url.path,
            headers={name.lower(): value for name, value in self._request.headers.items()},
            body=body,
        )

    async def in_time(self, work: Awaitable[T]) -> T:
        """What `work` gives within the client's own patience. Raises the library's ReadTimeout."""
        patience = asyncio.timeout(self._read_s)
        try:
            async with patience:
                return await work
        except TimeoutError:
            if not patience.expired():
                raise
            message = f"the gateway had nothing to say for {self._read_s:g} s"
            raise self.library.ReadTimeout(message, request=self._request) from None


class AsyncTransport:
    """`httpx.AsyncClient(transport=...)` or httpx2's, on the gateway's own event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def handle_async_request(self, request: Any) -> Any:
        """Any: requests and answers are of the library that asks."""
        asked = Asked(request)
        told = await self.answered(asked, await request.aread())
        if told.stream is None:
            return asked.library.Response(told.status, headers=told.headers, content=told.body)
        stream = _async_stream(asked.library.AsyncByteStream)(Body(self._core, told.stream, asked))
        return asked.library.Response(told.status, headers=told.headers, stream=stream)

    async def answered(self, asked: Asked, body: bytes) -> Response:
        return await asked.in_time(respond(self._core, asked.read(body)))

    def body(self, stream: AnswerStream, asked: Asked) -> Body:
        return Body(self._core, stream, asked)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Its client is closed; the gateway stays, for others may use it."""


class SyncTransport:
    """`httpx.Client(transport=...)` or httpx2's: an AsyncTransport for clients that block."""

    def __init__(self, home: Home, transport: AsyncTransport) -> None:
        self._home = home
        self._transport = transport

    def handle_request(self, request: Any) -> Any:
        """Any: requests and answers are of the library that asks."""
        asked = Asked(request)
        told = self._home.run(self._transport.answered(asked, request.read()))
        if told.stream is None:
            return asked.library.Response(told.status, headers=told.headers, content=told.body)
        body = self._transport.body(told.stream, asked)
        stream = _sync_stream(asked.library.SyncByteStream)(self._home, body)
        self._home.when_forgotten(stream, body.aclose)
        return asked.library.Response(told.status, headers=told.headers, stream=stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Its client is closed; the gateway stays, for others may use it."""


class _AsyncBytes:
    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._body.piece():
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


class _SyncBytes:
    def __init__(self, home: Home, body: Body) -> None:
        self._home = home
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._home.run(self._body.piece()):
            yield piece

    def close(self) -> None:
        self._home.run(self._body.aclose())


@cache
def _async_stream(base: type) -> Any:
    """The class of streams that a library takes for its own: it asks of whose kind they are."""
    return type("TurnoutStream", (_AsyncBytes, base), {})


@cache
def _sync_stream(base: type) -> Any:
    return type("TurnoutStream", (_SyncBytes, base), {})
