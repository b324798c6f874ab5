"""The ASGI application: which path is served by whom, and how errors reach the caller."""

from __future__ import annotations

import logging
import math
import secrets
import time

from turnout.engine import Engine
from turnout.errors import ClientClosed, Internal, MethodNotAllowed, TurnoutError
from turnout.pipeline import Call
from turnout.providers.counting import CountOperation
from turnout.providers.operations import Operation
from turnout.server import views
from turnout.server.paths import ROUTE, operation_at, shape_of
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

__all__ = ["App"]

log = logging.getLogger("turnout")


class App:
    """One gateway over HTTP. Whoever built `engine` closes it after the server has stopped."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; every error, foreseen or not, leaves in the caller's own API's shape."""
        started_s = time.monotonic()
        request_id = f"req_{secrets.token_hex(12)}"
        path: str = scope["path"]
        headers = request_headers(scope)
        operation = operation_at(path)
        shape = operation or shape_of(path, headers)
        try:
            if operation is None and path != ROUTE:
                status, value = views.look(self._engine, scope["method"], path, headers)
                await send_json(send, status, value if scope["method"] != "HEAD" else None)
                return
            only_post(scope)
            call = Call(
                request_id=request_id,
                key_id=self._engine.keyring.caller(headers),
                operation=operation or views.route_operation(headers),
                body=await read_body(receive, headers, self._engine.max_body_bytes),
                headers=headers,
                started_s=started_s,
            )
            await self._serve(call, receive, send, explained=operation is None)
        except ClientClosed:
            return
        except TurnoutError as error:
            await send_error(send, shape, error, request_id)
        except Exception:
            # The last line: a fault of ours must not show a traceback to a caller, nor take the server down.
            log.exception("request %s to %s failed", request_id, path)
            fault = Internal(f"the gateway itself failed; its log has the story under {request_id}")
            await send_error(send, shape, fault, request_id)

    async def _serve(self, call: Call, receive: Receive, send: Send, *, explained: bool) -> None:
        told = [("x-turnout-request-id", call.request_id)]
        if explained:
            await send_json(send, 200, views.explain(self._engine, call), told)
            return
        async with Hangup(receive) as hangup:
            pipeline, operation = self._engine.pipeline, call.operation
            counts = isinstance(operation, CountOperation)
            reply = await (pipeline.count(call, operation) if counts else pipeline.run(call))
            await send_reply(send, hangup, reply, told)


def only_post(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise MethodNotAllowed(f"{scope['path']} takes POST, not {scope['method']}")


async def send_error(send: Send, shape: Operation, error: TurnoutError, request_id: str) -> None:
    headers = [("x-turnout-request-id", request_id)]
    if error.retry_after is not None:
        headers.append(("retry-after", str(math.ceil(error.retry_after))))
    await send_body(send, error.status, shape.encode_error(error), headers)
