"""The ASGI application: which path is served by whom, and how errors reach the caller."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable

from turnout.call import Call
from turnout.engine import Engine
from turnout.errors import ClientClosed, Internal, MethodNotAllowed, NoCapacity, TurnoutError
from turnout.providers.counting import CountOperation
from turnout.providers.operations import Operation
from turnout.server import views
from turnout.server.admin import admin_at
from turnout.server.admission import Admission
from turnout.server.learning import feedback
from turnout.server.metrics import METRICS, Scrapes
from turnout.server.paths import FEEDBACK, ROUTE, operation_at, shape_of
from turnout.server.wire import (
    Hangup,
    Receive,
    Scope,
    Send,
    read_body,
    request_headers,
    send_body,
    send_json,
    send_reply,
)

__all__ = ["ABORT", "App"]

ABORT = "turnout.abort"
"""Our server's ASGI extension: lets go of a connection whose other side does not read."""

MOST_ADMIN_BYTES = 64 * 1024

log = logging.getLogger("turnout")


class App:
    """One gateway over HTTP. Whoever built `engine` closes it after the server has stopped."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.admission = Admission(most=engine.server.max_concurrency, wait_s=engine.server.queue_s)
        self.scrapes = Scrapes(engine, self.admission)

    def take_over(self, engine: Engine) -> None:
        """Let `engine` serve the requests to come; those that are open keep theirs."""
        self.engine = engine
        self.admission.most, self.admission.wait_s = engine.server.max_concurrency, engine.server.queue_s
        self.scrapes.follow(engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; every error, foreseen or not, leaves in the caller's own API's shape."""
        engine, started_s = self.engine, time.monotonic()
        request_id = f"req_{secrets.token_hex(12)}"
        path: str = scope["path"]
        headers = request_headers(scope)
        operation = operation_at(path)
        shape = operation or shape_of(path, headers)
        try:
            if (administer := admin_at(scope["method"], path)) is not None:
                body = await read_body(receive, headers, MOST_ADMIN_BYTES, engine.server.body_timeout_s)
                query = scope["query_string"].decode("latin-1")
                told = administer(engine, headers, query, body)
                await send_json(send, 200, await told if isinstance(told, Awaitable) else told)
                return
            if path == FEEDBACK:
                only_post(scope)
                body = await read_body(receive, headers, MOST_ADMIN_BYTES, engine.server.body_timeout_s)
                await send_json(send, 200, await feedback(engine, headers, body))
                return
            if path == METRICS:
                body, kind = self.scrapes.page(scope["method"], headers)
                await send_body(send, 200, body, content_type=kind)
                return
            if operation is None and path != ROUTE:
                status, value = views.look(engine, scope["method"], path, headers)
                await send_json(send, status, value if scope["method"] != "HEAD" else None)
                return
            only_post(scope)
            key = engine.keyring.caller(headers)
            await self.admission.enter()  # before the body: bodies are what takes memory
            try:
                limits = engine.server
                call = Call(
                    request_id=request_id,
                    key=key,
                    operation=operation or views.route_operation(headers),
                    body=await read_body(receive, headers, limits.max_body_bytes, limits.body_timeout_s),
                    headers=headers,
                    started_s=started_s,
                )
                hangup = Hangup(receive, idle_s=limits.idle_reader_s, abort=scope.get("extensions", {}).get(ABORT))
                await serve(engine, call, hangup, send, explained=operation is None)
            finally:
                self.admission.leave()
        except ClientClosed:
            return
        except TurnoutError as error:
            engine.state.memory.signals.metrics.refused(error.code)
            await send_error(send, shape, error, request_id)
        except Exception:
            # The last line: a fault of ours must not show a traceback to a caller, nor take the server down.
            log.exception("request %s to %s failed", request_id, path)
            engine.state.memory.signals.metrics.refused(Internal.code)
            fault = Internal(f"the gateway itself failed; its log has the story under {request_id}")
            await send_error(send, shape, fault, request_id)


async def serve(engine: Engine, call: Call, hangup: Hangup, send: Send, *, explained: bool) -> None:
    """Answer one call. Raises TurnoutError."""
    told = [("x-turnout-request-id", call.request_id)]
    if explained:
        await send_json(send, 200, views.explain(engine, call), told)
        return
    async with hangup:
        operation = call.operation
        try:
            if isinstance(operation, CountOperation):
                reply = await engine.pipeline.count(call, operation)
            else:
                reply = await engine.pipeline.run(call)
        except asyncio.CancelledError:
            if hangup.gone:
                raise
            raise going_down() from None
        await send_reply(send, hangup, reply, told, lambda: operation.encode_stream_error(going_down()))


def going_down() -> NoCapacity:
    """What a caller is told whom the gateway's end cuts off."""
    return NoCapacity("the gateway is being restarted; try again", retry_after=1)


def only_post(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise MethodNotAllowed(f"{scope['path']} takes POST, not {scope['method']}")


async def send_error(send: Send, shape: Operation, error: TurnoutError, request_id: str) -> None:
    # OpenAI's and Anthropic's SDKs ask this header before they try again by themselves.
    headers = [("x-turnout-request-id", request_id), ("x-should-retry", "true" if error.retryable else "false")]
    if error.retry_after is not None:
        headers.append(("retry-after", str(math.ceil(error.retry_after))))
    await send_body(send, error.status, shape.encode_error(error), headers)
