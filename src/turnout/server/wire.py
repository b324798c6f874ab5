"""Sending answers, whole or streamed, and noticing a caller who hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Self

import msgspec

from turnout.errors import ClientClosed
from turnout.pipeline import Reply
from turnout.server.connection import Request
from turnout.turns import next_turn

__all__ = ["Hangup", "send_body", "send_json", "send_reply"]

Headers = Iterable[tuple[str, str]]


class Hangup:
    """While entered, a caller who hangs up, or leaves its answer unread for `idle_s` seconds, cancels the task that
    serves it; that ends here, quietly. `gone` says that this is what happened. Raises ClientClosed where it happened
    before."""

    def __init__(self, request: Request, *, idle_s: float) -> None:
        self._request = request
        self._idle_s = idle_s
        self._task: asyncio.Task[Any] | None = None
        self.gone = False

    def __enter__(self) -> Self:
        if self._request.lost:
            raise ClientClosed("the caller hung up before it was served")
        self._task = asyncio.current_task()
        self._request.on_lost, self._request.idle_s = self._lost, self._idle_s
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.over()
        if self.gone and kind is asyncio.CancelledError and self._task is not None:
            self._task.uncancel()
            return True
        return False

    def over(self) -> None:
        """The answer is whole: whoever hangs up now has it."""
        self._request.on_lost = None

    def _lost(self) -> None:
        self.gone = True
        if self._task is not None:
            self._task.cancel()


async def send_reply(
    request: Request, hangup: Hangup, reply: Reply, extra: Headers, shutdown_event: Callable[[], bytes]
) -> None:
    """An answer, whole or streamed. Its books are closed whatever happens; a caller does not wait for those of a whole
    one. `shutdown_event` makes the event that a stream ends with whom the gateway's own end cuts off."""
    if reply.stream is None:
        hangup.over()
        try:
            send_body(request, 200, reply.body or b"", [*reply.headers, *extra])
            await next_turn()
        finally:
            reply.books()
        return
    async with aclosing(reply.stream) as stream:
        request.start(
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
                await request.write(data)
        except asyncio.CancelledError:
            if hangup.gone:
                raise
            await request.write(shutdown_event())
        hangup.over()
        request.finish()
        await next_turn()


def send_json(request: Request, status: int, value: object, headers: Headers = ()) -> None:
    send_body(request, status, msgspec.json.encode(value), headers)


def send_body(
    request: Request, status: int, body: bytes, headers: Headers = (), *, content_type: str = "application/json"
) -> None:
    request.respond(status, body, [("content-type", content_type), *headers])
