"""uvicorn as a gateway runs it: says where it listens, ends politely, and does not wait for those who never finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import HANDLED_SIGNALS

from turnout.config import ServerConfig
from turnout.server.app import ABORT, App

__all__ = ["GatewayServer", "listener"]

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers together. The parser itself would take any amount."""

KEEP_ALIVE_S = 75
"""Longer than the five seconds after which common clients let an idle connection go: a server that closes first closes
on somebody's request."""

LINGER_S = 0.5
TICK_S = 0.1
AFTER_CANCEL_S = 5.0
CLOSE = (b"connection", b"close")

log = logging.getLogger("turnout")


class GuardedProtocol(HttpToolsProtocol):
    """Bounds a request's head in bytes and time: uvicorn bounds neither."""

    head_timeout_s = 10.0
    _in_head = True
    _head_bytes = 0
    _patience: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("431 Request Header Fields Too Large", "The request's headers are too large.")
            elif self._patience is None:
                self._wait_for_head()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[typeddict-item]

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_is_here()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(
            self.head_timeout_s, self._refuse, "408 Request Timeout", "The request's headers did not come in time."
        )

    def _head_is_here(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: str, message: str) -> None:
        """Say why and hang up; a little later, so that what is still coming does not reset the answer away."""
        if not self.transport.is_closing():
            self._refused = True
            head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(message)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n{message}".encode("ascii"))
            self.loop.call_later(LINGER_S, self.transport.close)


class GatewayServer(uvicorn.Server):
    """Says where it listens once it does (with port 0 nobody else could know). Keeps the app informed of how late the
    event loop runs, and of its end: a first SIGTERM drains for `server.drain_s`, anything after it ends at once."""

    def __init__(self, config: uvicorn.Config, app: App, announce: Callable[[str], None] | None = None) -> None:
        super().__init__(config)
        self._announce = announce or _say
        self.listening = asyncio.Event()
        self._app = app
        self._due_s = 0.0
        self._drained_at_s: float | None = None

    def address(self) -> str:
        """`http://host:port` of the first socket. Valid once started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set()
            self._announce(self.address())

    async def on_tick(self, counter: int) -> bool:
        now = time.monotonic()
        if counter:
            self._app.admission.tick(now - self._due_s)
        self._due_s = now + TICK_S
        if self._drained_at_s is not None:
            self._drain(now, self._drained_at_s)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        drain_s = self._app.engine.server.drain_s
        if sig == signal.SIGTERM and drain_s > 0 and self._drained_at_s is None:
            # Only noted: no log may be written in a signal handler. The next tick does the rest.
            self._app.draining, self._drained_at_s = True, time.monotonic() + drain_s
        else:
            super().handle_exit(sig, frame)

    def _drain(self, now: float, until: float) -> None:
        """Serve on, but bid every caller good-bye: a kept connection that closes with its answer is not in the way of
        a request when we stop."""
        if CLOSE not in self.config.encoded_headers:
            log.warning("told to end: not ready any more, in %.1f s nothing more is taken", until - now)
            self.config.encoded_headers.append(CLOSE)
            self.server_state.default_headers = list(self.config.encoded_headers)
        if now >= until:
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let answers finish within the grace, cancel the rest and wait until they have settled."""
        await super().shutdown(sockets)
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=AFTER_CANCEL_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's own, but the signal is not raised again afterwards: that would end the process before the
        ledger is written."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _say(address: str) -> None:
    print(f"turnout: listening on {address}", file=sys.stderr, flush=True)


def listener(
    app: App, config: ServerConfig, host: str, port: int, announce: Callable[[str], None] | None = None
) -> GatewayServer:
    """The server for `app`; it does not listen yet. `announce` is told the address once it does, else a person is."""
    return GatewayServer(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,  # its log goes where ours goes
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing of ours asks who called, and a header may lie
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(config.shutdown_grace_s)),
        ),
        app,
        announce,
    )
