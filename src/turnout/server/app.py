"""The gateway over HTTP: which path is served by whom, and how errors reach the caller."""

from __future__ import annotations

import asyncio
import logging
import time

from turnout.call import Call
from turnout.engine import Engine
from turnout.errors import ClientClosed, Internal, MethodNotAllowed, NoCapacity, TurnoutError
from turnout.headers import error_headers
from turnout.ids import Ids
from turnout.providers.counting import CountOperation
from turnout.providers.operations import Operation
from turnout.server import views
from turnout.server.access import Access
from turnout.server.admin import admin_at
from turnout.server.admission import Admission
from turnout.server.connection import Request
from turnout.server.console import VISITED, Ask, Browser, console_at
from turnout.server.learning import feedback
from turnout.server.metrics import METRICS, Scrapes
from turnout.server.oidc import SignIn
from turnout.server.paths import FEEDBACK, ROUTE, operation_at, shape_of
from turnout.server.shared_access import SharedAccess
from turnout.server.siblings import Siblings
from turnout.server.wire import Hangup, send_body, send_json, send_reply

__all__ = ["App"]

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
        self._ids = Ids()

    def take_over(self, engine: Engine) -> None:
        """Let `engine` serve the requests to come; those that are open keep theirs."""
        self.sign_in.follow(engine.server.oidc)
        self.engine = engine
        self.admission.most, self.admission.wait_s = engine.server.max_concurrency, engine.server.queue_s
        self.scrapes.follow(engine)

    async def __call__(self, request: Request) -> None:
        """One request; every error, foreseen or not, leaves in the caller's own API's shape."""
        engine, started_s = self.engine, time.monotonic()
        request_id = f"req_{self._ids.ordered()}"
        operation = operation_at(request.path)
        try:
            if operation is None and request.path != ROUTE:
                await self._other(engine, request)
                return
            only_post(request)
            key = engine.keyring.caller(request.headers)
            await self.admission.enter()  # before the body: bodies are what takes memory
            request.on_begun = self.admission.begun
            try:
                limits = engine.server
                call = Call(
                    request_id=request_id,
                    key=key,
                    operation=operation or views.route_operation(request.headers),
                    body=await request.body(limits.max_body_bytes, limits.body_timeout_s),
                    headers=request.headers,
                    started_s=started_s,
                )
                await serve(engine, call, request, explained=operation is None)
            finally:
                self.admission.leave(streamed=request.streams)
        except ClientClosed:
            return
        except Exception as error:
            if not isinstance(error, TurnoutError):
                # The last line: a fault of ours must not show a traceback to a caller, nor take the server down.
                log.exception("request %s to %s failed", request_id, request.path)
                error = Internal(f"the gateway itself failed; its log has the story under {request_id}")
            engine.state.memory.signals.metrics.refused(error.code)
            send_error(request, operation or shape_of(request.path, request.headers), error, request_id)

    async def _other(self, engine: Engine, request: Request) -> None:
        """What is no call of a model: the console, the admin API, feedback, metrics, lists. Raises TurnoutError."""
        path, headers, body_s = request.path, request.headers, engine.server.body_timeout_s
        if path.startswith("/console"):
            await self._console(engine, request)
        elif path.startswith("/admin/") and (errand := admin_at(request.method, request.raw_path)) is not None:
            await self.visits.admit(engine.keyring, headers, request.address, changes=errand.changes)
            body = await request.body(MOST_ADMIN_BYTES, body_s)
            send_json(request, 200, await errand.run(engine, request.query, body), PRIVATE)
        elif path == FEEDBACK:
            only_post(request)
            body = await request.body(MOST_ADMIN_BYTES, body_s)
            send_json(request, 200, await feedback(engine, headers, body))
        elif path == METRICS:
            await self.visits.admit(engine.keyring, headers, request.address, changes=False)
            body, kind = self.scrapes.page(request.method, headers)
            send_body(request, 200, body, content_type=kind)
        else:
            status, value = views.look(engine, request.method, path, headers, draining=self.draining)
            send_json(request, status, value if request.method != "HEAD" else None)

    async def _console(self, engine: Engine, request: Request) -> None:
        """A file of the console, or a browser that signs in or out. Raises TurnoutError."""
        headers = request.headers
        body = await request.body(MOST_LOGIN_BYTES, engine.server.body_timeout_s)
        browser = Browser(address=request.address, headers=headers)
        ask = Ask(method=request.method, path=request.path, query=request.query, body=body)
        signs = ask.path.startswith("/console/oidc/")
        if signs or ask.path in VISITED:
            await self.visits.recall(engine.keyring, headers)
        page = await self.sign_in.page(browser, ask) if signs else console_at(self.access, engine.keyring, browser, ask)
        await self.visits.tell(engine.keyring)
        request.respond(page.status, page.body, page.headers)


async def serve(engine: Engine, call: Call, request: Request, *, explained: bool) -> None:
    """Answer one call. Raises TurnoutError."""
    told = [("x-turnout-request-id", call.request_id)]
    if explained:
        send_json(request, 200, views.explain(engine, call), told)
        return
    with Hangup(request, idle_s=engine.server.idle_reader_s) as hangup:
        operation = call.operation
        try:
            if isinstance(operation, CountOperation):
                reply = await engine.pipeline.count(call, operation)
            else:
                reply = await engine.pipeline.answer(call)
        except asyncio.CancelledError:
            if hangup.gone:
                raise
            raise going_down() from None
        await send_reply(request, hangup, reply, told, lambda: operation.encode_stream_error(going_down()))


def going_down() -> NoCapacity:
    """What a caller is told whom the gateway's end cuts off."""
    return NoCapacity("the gateway is being restarted; try again", retry_after=1)


def only_post(request: Request) -> None:
    if request.method != "POST":
        raise MethodNotAllowed(f"{request.path} takes POST, not {request.method}")


def send_error(request: Request, shape: Operation, error: TurnoutError, request_id: str) -> None:
    if request.started:  # a stream that breaks off is closed: nothing else can be said on it
        return
    headers = [("x-turnout-request-id", request_id), *error_headers(error)]
    send_body(request, error.status, shape.encode_error(error), headers)
