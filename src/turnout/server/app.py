"""The ASGI application: which path is served by whom, and how errors reach the caller."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Mapping

from turnout.dialects import DIALECTS
from turnout.dialects.base import Dialect
from turnout.engine import Engine
from turnout.errors import ClientClosed, Internal, MethodNotAllowed, TurnoutError
from turnout.pipeline import Call
from turnout.server import views
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

CHAT_PATHS: Mapping[str, str] = {
    "/v1/chat/completions": "openai-chat",
    "/chat/completions": "openai-chat",
    "/v1/messages": "anthropic-messages",
}
"""Where each wire format is spoken. An error on any other path takes OpenAI's shape."""


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
        dialect = DIALECTS[CHAT_PATHS.get(path, "openai-chat")]
        try:
            await self._dispatch(scope, receive, send, dialect=dialect, request_id=request_id, started_s=started_s)
        except ClientClosed:
            return
        except TurnoutError as error:
            await send_error(send, dialect, error, request_id)
        except Exception:
            # The last line: a fault of ours must not show a traceback to a caller, nor take the server down.
            log.exception("request %s to %s failed", request_id, path)
            fault = Internal(f"the gateway itself failed; its log has the story under {request_id}")
            await send_error(send, dialect, fault, request_id)

    async def _dispatch(
        self, scope: Scope, receive: Receive, send: Send, *, dialect: Dialect, request_id: str, started_s: float
    ) -> None:
        engine, method, path = self._engine, scope["method"], scope["path"]
        headers = request_headers(scope)
        if path in CHAT_PATHS or path == "/v1/route":
            if method != "POST":
                raise MethodNotAllowed(f"{path} takes POST, not {method}")
            call = Call(
                request_id=request_id,
                key_id=engine.keyring.caller(headers),
                dialect=dialect if path in CHAT_PATHS else views.route_dialect(headers),
                body=await read_body(receive, headers, engine.max_body_bytes),
                headers=headers,
                started_s=started_s,
            )
            if path == "/v1/route":
                await send_json(send, 200, views.explain(engine, call), [("x-turnout-request-id", request_id)])
                return
            async with Hangup(receive) as hangup:
                reply = await engine.pipeline.run(call)
                await send_reply(send, hangup, reply, [("x-turnout-request-id", request_id)])
            return
        status, value = views.look(engine, method, path, headers)
        await send_json(send, status, value if method != "HEAD" else None)


async def send_error(send: Send, dialect: Dialect, error: TurnoutError, request_id: str) -> None:
    headers = [("x-turnout-request-id", request_id)]
    if error.retry_after is not None:
        headers.append(("retry-after", str(math.ceil(error.retry_after))))
    await send_body(send, error.status, dialect.encode_error(error), headers)
