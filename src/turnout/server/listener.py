"""The listening server: says where it listens, ends politely, and does not wait for those who never finish."""

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

from turnout.errors import ConfigError
from turnout.server.app import App
from turnout.server.connection import Connection, Served

__all__ = ["GatewayServer", "address_of", "listening_socket"]

BACKLOG = 2048

TICK_S = 0.1

AFTER_CANCEL_S = 5.0

HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger("turnout")


class GatewayServer:
    """Serves `app` until it is told to end. Tells `announce`, else a person, where it listens once it does (with port 0
    nobody else could know). Keeps the app informed of how late the event loop runs, and of its end: a first SIGTERM
    drains for `server.drain_s`, anything after it ends at once, a second SIGINT without patience."""

    def __init__(self, app: App, host: str, port: int, announce: Callable[[str], None] | None = None) -> None:
        self.listening = asyncio.Event()
        self.should_exit = False
        self._app = app
        self._host, self._port = host, port
        self._announce = announce or _say
        self._served = Served(app)
        self._server: asyncio.Server
        self._impatient = False
        self._drained_at_s: float | None = None

    def address(self) -> str:
        """`http://host:port` of the first socket. Valid once it listens."""
        return address_of(self._server.sockets[0])

    async def serve(self, given: socket.socket | None = None) -> None:
        """Until a signal, or `should_exit`, ends it; on the socket that is `given`. Raises ConfigError where nobody can
        listen there."""
        with self._signals():
            await self._start(given)
            try:
                await self._watch()
            finally:
                await self._stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal's handler
        """Only notes what was asked: no log may be written in a signal handler. The next tick does the rest."""
        drain_s = self._app.engine.server.drain_s
        if sig == signal.SIGTERM and drain_s > 0 and self._drained_at_s is None:
            self._app.draining, self._drained_at_s = True, time.monotonic() + drain_s
        elif self.should_exit and sig == signal.SIGINT:
            self._impatient = True
        else:
            self.should_exit = True

    @property
    def _open(self) -> bool:
        return bool(self._served.connections or self._served.tasks)

    async def _start(self, given: socket.socket | None) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(self._served)

        try:
            if given is None:
                self._server = await loop.create_server(connection, self._host, self._port, backlog=BACKLOG)
            else:
                self._server = await loop.create_server(connection, sock=given, backlog=BACKLOG)
        except OSError as error:
            raise _taken(self._host, self._port, error) from error
        self.listening.set()
        self._announce(self.address())

    async def _watch(self) -> None:
        """Look ten times a second at the loop's lateness, at what is overdue, and at whether to end."""
        clock = asyncio.get_running_loop().time
        while not self.should_exit:
            due_s = clock() + TICK_S
            await asyncio.sleep(TICK_S)
            self._app.admission.tick(clock() - due_s)
            self._look()
            if self._drained_at_s is not None:
                self._drain(time.monotonic(), self._drained_at_s)

    def _look(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for connection in tuple(self._served.connections):
            connection.look(now_s)

    def _drain(self, now: float, until: float) -> None:
        """Serve on, but bid every caller good-bye: a kept connection that closes with its answer is not in the way of
        a request when we stop."""
        if not self._served.closing:
            log.warning("told to end: not ready any more, in %.1f s nothing more is taken", until - now)
            self._served.closing = True
        if now >= until:
            self.should_exit = True

    async def _stop(self) -> None:
        """Stop accepting, let answers finish within the grace, cancel the rest and wait until they have settled."""
        self._server.close()
        for connection in tuple(self._served.connections):
            connection.shutdown()
        until = time.monotonic() + self._app.engine.server.shutdown_grace_s
        while self._open and not self._impatient and time.monotonic() < until:
            await asyncio.sleep(TICK_S / 4)
            self._look()
        if tasks := list(self._served.tasks):
            log.warning("%d requests are cut off: they took longer than server.shutdown_grace_s", len(tasks))
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=AFTER_CANCEL_S)
        for connection in tuple(self._served.connections):
            connection.transport.close()

    @contextlib.contextmanager
    def _signals(self) -> Generator[None, None, None]:
        """Ours while it serves; afterwards they are whose they were."""
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


def listening_socket(host: str, port: int) -> socket.socket:
    """One that several processes can accept from. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise _taken(host, port, error) from error
    made.setblocking(False)
    return made


def address_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _taken(host: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"server.host = {host}, port {port}: cannot listen ({error.strerror or error}); choose another port, or end "
        "what has it",
        param="server.port",
    )
