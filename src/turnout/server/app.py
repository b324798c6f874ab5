"""The ASGI application: which path is served by whom, and how errors reach the caller."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time

from turnout.call import Call
from turnout.engine import Engine
from turnout.errors import ClientClosed, Internal, MethodNotAllowed, NoCapacity, TurnoutError
from turnout.providers.counting import CountOperation
from turnout.providers.operations import Operation
from turnout.server import views
from turnout.server.access import Access
from turnout.server.admin import admin_at
from turnout.server.admission import Admission
from turnout.server.console import VISITED, Ask, Browser, console_at
from turnout.server.learning import feedback
from turnout.server.metrics import METRICS, Scrapes
from turnout.server.oidc import SignIn
from turnout.server.paths import FEEDBACK, ROUTE, operation_at, shape_of
from turnout.server.shared_access import SharedAccess
from turnout.server.siblings import Siblings
from turnout.server.wire import (
    Hangup,
    Receive,
    Scope,
    Send,
    read_body,
    request_headers,
    send_body,
    send_json,
    send_page,
    send_reply,
)

__all__ = ["ABORT", "App"]

ABORT = "turnout.abort"
"""Our server's ASGI extension: lets go of a connection whose other side does not read."""

MOST_ADMIN_BYTES = 64 * 1024

MOST_LOGIN_BYTES = 4 * 1024

PRIVATE = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))

log = logging.getLogger("turnout")


class App:
    """One gateway over HTTP. Whoever built `engine` closes it after the server has stopped. `draining`: it was told to
    end, and no new callers should be sent here. Raises ConfigError where a library is missing."""

    def __init__(self, engine: Engine, siblings: Siblings | None = None) -> None:
        self.engine = engine
        self.draining = False
        self.access = Access()
        self.visits = SharedAccess(self.access, engine.state.shared, engine.state.memory.background)
        self.sign_in = SignIn(self.access, engine.state.http)
        self.sign_in.follow(engine.server.oidc)
        self.admission = Admission(most=engine.server.max_concurrency, wait_s=engine.server.queue_s)
        self.scrapes = Scrapes(engine, self.admission, siblings)

    def take_over(self, engine: Engine) -> None:
        """Let `engine` serve the requests to come; those that are open keep theirs."""
        self.sign_in.follow(engine.server.oidc)
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
            if path.startswith("/console"):
                await self._console(scope, receive, send, headers)
                return
            if path.startswith("/admin/") and (errand := admin_at(scope["method"], raw_path(scope))) is not None:
                await self.visits.admit(engine.keyring, headers, address_of(scope), changes=errand.changes)
                body = await read_body(receive, headers, MOST_ADMIN_BYTES, engine.server.body_timeout_s)
                told = await errand.run(engine, scope["query_string"].decode("latin-1"), body)
                await send_json(send, 200, told, PRIVATE)
                return
            if path == FEEDBACK:
                only_post(scope)
                body = await read_body(receive, headers, MOST_ADMIN_BYTES, engine.server.body_timeout_s)
                await send_json(send, 200, await feedback(engine, headers, body))
                return
            if path == METRICS:
                await self.visits.admit(engine.keyring, headers, address_of(scope), changes=False)
                body, kind = self.scrapes.page(scope["method"], headers)
                await send_body(send, 200, body, content_type=kind)
                return
            if operation is None and path != ROUTE:
                status, value = views.look(engine, scope["method"], path, headers, draining=self.draining)
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

    async def _console(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """A file of the console, or a browser that signs in or out. Raises TurnoutError."""
        engine = self.engine
        body = await read_body(receive, headers, MOST_LOGIN_BYTES, engine.server.body_timeout_s)
        browser = Browser(address=address_of(scope), headers=headers, scheme=scope["scheme"])
        query = scope["query_string"].decode("latin-1")
        ask = Ask(method=scope["method"], path=scope["path"], query=query, body=body)
        signs = ask.path.startswith("/console/oidc/")
        if signs or ask.path in VISITED:
            await self.visits.recall(engine.keyring, headers)
        page = await self.sign_in.page(browser, ask) if signs else console_at(self.access, engine.keyring, browser, ask)
        await self.visits.tell(engine.keyring)
        await send_page(send, page.status, page.body, page.headers)


def raw_path(scope: Scope) -> str:
    """The path as it was sent: what is named in it may have a slash of its own, as %2F."""
    return (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0].decode("latin-1")


def address_of(scope: Scope) -> str:
    """Where a connection comes from; a proxy's own address where one stands before us."""
    client = scope.get("client")
    return str(client[0]) if client else ""


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
