"""ASGI by hand: reading a request's body, sending answers, noticing a caller who hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import aclosing
from typing import Any, Self

import msgspec

from turnout.errors import BodyTimeout, ClientClosed, Compressed, TooLarge
from turnout.pipeline import Reply

__all__ = [
    "Hangup",
    "Receive",
    "Scope",
    "Send",
    "read_body",
    "request_headers",
    "send_body",
    "send_json",
    "send_page",
    "send_reply",
]

Scope = MutableMapping[str, Any]  # as the ASGI specification types it
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[str, str]]


def request_headers(scope: Scope) -> dict[str, str]:
    """Header values by lower-case name; of repeated headers the last one counts."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive, headers: dict[str, str], limit: int, timeout_s: float) -> bytes:
    """The whole body. Raises TooLarge, Compressed, BodyTimeout or ClientClosed."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _read_body(receive, headers, limit)
    except TimeoutError:
        raise BodyTimeout(f"the body was not here within {timeout_s:g} s (server.body_timeout_s)") from None


async def _read_body(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Compressed("the body is compressed; send it with no content-encoding")
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body has {int(declared):,} bytes; at most {limit:,} are taken (server.max_body_bytes)")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientClosed("the caller hung up while sending")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body is over {limit:,} bytes (server.max_body_bytes)")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Hangup:
    """While entered, a caller who hangs up, or leaves its answer unread for `idle_s` seconds, cancels the task that
    serves it; that ends here, quietly. `gone` says that this is what happened.

    `over()` must be called before the answer's last byte: after it, ASGI reports a disconnect to everyone.
    """

    def __init__(self, receive: Receive, *, idle_s: float, abort: Callable[[], None] | None = None) -> None:
        self._receive = receive
        self._idle_s = idle_s
        self._abort = abort
        self._watch: asyncio.Task[None] | None = None
        self._check: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._looked_at = -1
        self.sent = 0  # pieces that went out
        self.sending = False  # whether one is on its way
        self.gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is served in a task")
        self._watch = asyncio.create_task(self._wait(task))
        self._check = self._loop.call_later(self._idle_s, self.watch_reader, task)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.over()
        task = asyncio.current_task()
        if self.gone and kind is asyncio.CancelledError and task is not None:
            task.uncancel()
            return True
        return False

    def over(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._check is not None:
            self._check.cancel()

    def watch_reader(self, task: asyncio.Task[Any]) -> None:
        """From now on a piece of the answer that is not taken in time ends the task. Looked at now and then, which
        costs the pieces nothing: one that is still on its way at the second look is late."""
        if self.sending and self._looked_at == self.sent:
            self.gone = True
            task.cancel()
            if self._abort is not None:  # a close would wait for the reader as well
                self._abort()
            return
        self._looked_at = self.sent
        self._check = self._loop.call_later(self._idle_s, self.watch_reader, task)

    async def _wait(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        task.cancel()


async def send_reply(
    send: Send, hangup: Hangup, reply: Reply, extra: Headers, shutdown_event: Callable[[], bytes]
) -> None:
    """An answer, whole or streamed. A stream is closed whatever happens, so that it settles. `shutdown_event` makes the
    event that a stream ends with whom the gateway's own end cuts off."""
    if reply.stream is None:
        hangup.over()
        await send_body(send, 200, reply.body or b"", [*reply.headers, *extra])
        return
    async with aclosing(reply.stream) as stream:
        await _start(
            send,
            200,
            [
                ("content-type", "text/event-stream; charset=utf-8"),
                ("cache-control", "no-cache"),
                ("x-accel-buffering", "no"),
                *reply.headers,
                *extra,
            ],
        )
        try:
            async for data in stream:
                hangup.sending = True
                await send({"type": "http.response.body", "body": data, "more_body": True})
                hangup.sending = False
                hangup.sent += 1
        except asyncio.CancelledError:
            if hangup.gone:
                raise
            await send({"type": "http.response.body", "body": shutdown_event(), "more_body": True})
    hangup.over()
    await send({"type": "http.response.body", "body": b""})


async def send_json(send: Send, status: int, value: object, headers: Headers = ()) -> None:
    await send_body(send, status, msgspec.json.encode(value), headers)


async def send_body(
    send: Send, status: int, body: bytes, headers: Headers = (), *, content_type: str = "application/json"
) -> None:
    await _start(send, status, [("content-type", content_type), ("content-length", str(len(body))), *headers])
    await send({"type": "http.response.body", "body": body})


async def send_page(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A body whose headers say what it is."""
    await _start(send, status, [("content-length", str(len(body))), *headers])
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, headers: Headers) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
