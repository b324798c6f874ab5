"""A provider on loopback that fails in every way we could think of: one row a fault, over raw sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from support.upstream import Script
from support.wire import says

TEXT = "Paris."


@dataclass
class Exchange:
    """One request and how to answer it. `good` is what a healthy provider would say."""

    writer: asyncio.StreamWriter
    good: Script
    streaming: bool
    drip_s: float

    def head(self, status: int = 200, *, kind: str | None = None, length: int | None = None, more: str = "") -> None:
        """Status line and headers; a body without a length ends with the connection."""
        sized = "" if length is None else f"content-length: {length}\r\n"
        told = kind or self.good.content_type
        self.writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: {told}\r\n{sized}{more}\r\n".encode())

    def whole(self, body: bytes, status: int = 200, *, kind: str | None = None, more: str = "") -> None:
        self.head(status, kind=kind, length=len(body), more=more)
        self.writer.write(body)

    def events(self) -> list[bytes]:
        """The good answer in pieces: events of a stream, or halves of a body."""
        if self.good.chunks is not None:
            return self.good.chunks
        half = len(self.good.body) // 2
        return [self.good.body[:half], self.good.body[half:]]

    @property
    def good_body(self) -> bytes:
        return b"".join(self.events())

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]
FAULTS: dict[str, Fault] = {}
"""What a provider may do, by name. After a fault the connection is closed."""


def fault(name: str) -> Callable[[Fault], Fault]:
    def named(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return named


async def forever() -> None:
    await asyncio.Event().wait()


@fault("reset before headers")
async def _(x: Exchange) -> None:
    x.reset()


@fault("closed before headers")
async def _(x: Exchange) -> None:
    del x


@fault("reset after headers")
async def _(x: Exchange) -> None:
    x.head(length=1000)
    await x.writer.drain()
    await asyncio.sleep(0.01)
    x.reset()


@fault("hang before headers")
async def _(x: Exchange) -> None:
    del x
    await forever()


@fault("hang after headers")
async def _(x: Exchange) -> None:
    x.head(length=1000)
    await forever()


@fault("one byte at a time")
async def _(x: Exchange) -> None:
    x.head(length=len(x.good_body))
    for byte in x.good_body:
        x.writer.write(bytes([byte]))
        await x.writer.drain()
        await asyncio.sleep(x.drip_s)


def _status(status: int, more: str = "", body: object = None) -> Fault:
    async def answer(x: Exchange) -> None:
        told = body or {"type": "error", "error": {"message": "http://internal.example says no", "type": f"e{status}"}}
        x.whole(json.dumps(told).encode(), status, kind="application/json", more=more)

    return answer


for _code in (400, 401, 429, 500, 502, 503, 529):
    FAULTS[f"{_code}"] = _status(_code)
FAULTS["429 with retry-after"] = _status(429, "retry-after: 30\r\n")


@fault("HTML error page")
async def _(x: Exchange) -> None:
    x.whole(b"<html><body>502 Bad Gateway at http://internal.example</body></html>", 502, kind="text/html")


@fault("HTML page with 200")
async def _(x: Exchange) -> None:
    x.whole(b"<html><body>Please log in</body></html>", kind="text/html")


@fault("HTML page with blank lines")
async def _(x: Exchange) -> None:
    x.whole(
        b"<html>\n\n<img src='data:image/png;base64,x'>\n\ndata: http://internal.example\n\n</html>", kind="text/html"
    )


@fault("half an event first")
async def _(x: Exchange) -> None:
    x.whole(x.events()[0][:-20] + b"\n\n")


@fault("truncated JSON")
async def _(x: Exchange) -> None:
    x.whole(x.good_body[: len(x.good_body) // 3] if not x.streaming else x.events()[0][:-20])


@fault("empty body")
async def _(x: Exchange) -> None:
    x.whole(b"")


@fault("wrong content type")
async def _(x: Exchange) -> None:
    x.whole(x.good_body, kind="text/plain")


@fault("gzip body")
async def _(x: Exchange) -> None:
    x.whole(gzip.compress(x.good_body), more="content-encoding: gzip\r\n")


ERROR: Mapping[str, Any] = {
    "type": "error",
    "error": {"message": "overloaded", "type": "overloaded_error", "code": "overloaded_error"},
}


@fault("200 with an error object")
async def _(x: Exchange) -> None:
    x.whole(json.dumps(ERROR).encode(), kind="application/json")


@fault("error event first")
async def _(x: Exchange) -> None:
    x.whole(b"event: error\ndata: " + json.dumps(ERROR).encode() + b"\n\n")


@fault("duplicate events")
async def _(x: Exchange) -> None:
    events = x.events()
    x.whole(b"".join([*events[:-1], *events[-1:] * 3]) if x.streaming else x.good_body)


@fault("50 MB event")
async def _(x: Exchange) -> None:
    x.head(length=None, more="connection: close\r\n")
    for _n in range(50):
        x.writer.write((b"data: " if not _n else b"") + b" " * 1_000_000)
        await x.writer.drain()


@fault("wrong usage")
async def _(x: Exchange) -> None:
    body = x.good_body
    for right, wrong in (
        (b'"prompt_tokens": 1000', b'"prompt_tokens": -5'),
        (b'"completion_tokens": 10', b'"completion_tokens": "9"'),
    ):
        body = body.replace(right, wrong)
    body = body.replace(b'"input_tokens": 600', b'"input_tokens": 1e300').replace(
        b'"output_tokens": 10', b'"output_tokens": null'
    )
    x.whole(body)


@fault("absurd usage")
async def _(x: Exchange) -> None:
    x.whole(re.sub(rb'(_tokens"): \d+', rb"\1: 9000000000000000000", x.good_body))


# Only streams can fail so.


@fault("reset mid-event")
async def _(x: Exchange) -> None:
    await _begin(x)
    x.writer.write(x.events()[-1][:10])
    await x.writer.drain()
    await asyncio.sleep(0.02)
    x.reset()


@fault("hang mid-stream")
async def _(x: Exchange) -> None:
    await _begin(x)
    await forever()


@fault("error event midway")
async def _(x: Exchange) -> None:
    await _begin(x)
    x.writer.write(b"event: error\ndata: " + json.dumps(ERROR).encode() + b"\n\n")


@fault("missing terminator")
async def _(x: Exchange) -> None:
    await _begin(x)


async def _begin(x: Exchange) -> None:
    """The first events of a good stream, and a moment in which they arrive."""
    x.head(more="connection: close\r\n")
    events = x.events()
    x.writer.write(b"".join(events[: max(1, len(events) // 2)]))
    await x.writer.drain()
    await asyncio.sleep(0.02)


MIDWAY = frozenset({"reset mid-event", "hang mid-stream", "error event midway", "missing terminator"})
"""Faults after the first event: nobody can take over unseen."""

HARMLESS = frozenset({"wrong content type", "duplicate events", "wrong usage", "absurd usage"})
"""What is wrong and can be lived with: the answer is there."""


class HostileUpstream:
    """`async with HostileUpstream("chat", "reset mid-event") as up`: every request meets the fault, or whatever `fault`
    is set to by then; None is a healthy answer. `tls` is what it identifies itself with."""

    def __init__(
        self, dialect: str, fault: str | None = None, *, drip_s: float = 0.05, tls: ssl.SSLContext | None = None
    ) -> None:
        self.fault = fault
        self.choose: Callable[[], str | None] = lambda: self.fault
        self.requests = 0
        self.open = 0
        self._dialect = dialect
        self._drip_s = drip_s
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        streaming = bool(json.loads(await reader.readexactly(length)).get("stream"))
        self.requests += 1
        x = Exchange(writer, says(self._dialect, TEXT, streaming=streaming), streaming, self._drip_s)
        name = self.choose()
        if name is None or name == "closed just as it is reused":
            x.whole(x.good_body)
            await writer.drain()
            if name is None:
                return True
            # The next request finds the connection closing: it was idle, and both sides move at once.
            await reader.read(1)
            x.reset()
            return False
        working = asyncio.ensure_future(FAULTS[name](x))
        gone = asyncio.ensure_future(_gone(reader))
        try:
            await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not writer.transport.is_closing():
                await writer.drain()
        finally:
            for each in (working, gone):
                each.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)
        return False


async def _gone(reader: asyncio.StreamReader) -> None:
    """Until the other side hangs up."""
    await reader.read(1)


def refused_url() -> str:
    """A URL at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
