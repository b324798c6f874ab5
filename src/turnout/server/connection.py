"""HTTP/1.1 towards callers: one connection, the requests that come over it one by one, and their answers.

httptools parses; what is bounded here is a head's size and time, a body's time, how long an answer is left unread, and
how much is read ahead. Nothing sets a timer of its own: whoever runs the server looks at each connection now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools

from turnout.errors import BodyTimeout, ClientClosed, Compressed, TooLarge, TurnoutError
from turnout.headers import sendable

__all__ = ["Connection", "Handler", "Request", "Served"]

Headers = Iterable[tuple[str, str]]

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers together. The parser itself would take any amount."""

HEAD_S = 10.0

KEEP_ALIVE_S = 75.0
"""Longer than the five seconds after which common clients let an idle connection go: a server that closes first closes
on somebody's request."""

LINGER_S = 0.5
"""A connection that is refused is closed a little later: what is still coming would else reset the answer away."""

READ_AHEAD_BYTES = 64 * 1024
"""Of a body that nobody has asked for yet."""

UNREAD_S = 120.0
"""How long a caller may take nothing of an answer that is already whole: then the connection goes, and it with it."""

MOST_WAITING = 1_000
"""Requests sent ahead on one connection."""

JOINED_BYTES = 64 * 1024
"""An answer up to this size is put behind its head in one piece."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

_STATUS = {status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n" for status in range(100, 600)}
"""Those too that have no phrase: a provider's own status reaches the caller."""

_FRAMING = ("content-length", "transfer-encoding")

_BODILESS = frozenset({204, 304})
"""Their answers tell no length (RFC 9110, 8.6)."""

log = logging.getLogger("turnout")

Handler = Callable[["Request"], Awaitable[None]]
"""Answers one request. What it raises is a fault of ours."""


class Served:
    """What all connections of a server have in common. `closing`: every answer bids its caller good-bye."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False


class Request:
    """One request, and the way to answer it: `respond`, or `start`, `write` and `finish`. Header names are lower-case,
    of repeated ones the last counts. `on_begun` is called when an answer in pieces begins (`streams` from then on),
    `on_lost` when the caller hangs up, or leaves an answer unread for `idle_s` seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.method = ""
        self.path = ""
        self.raw_path = ""
        self.query = ""
        self.headers: dict[str, str] = {}
        self.keep_alive = True
        self.chunked = True
        self.expects = False
        self.on_lost: Callable[[], None] | None = None
        self.idle_s = float("inf")
        self.on_begun: Callable[[], None] | None = None
        self.started = self.answered = self.streams = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._most: int | None = None
        self._whole = False
        self._waiter: asyncio.Future[None] | None = None
        self.due_s = float("inf")

    @property
    def address(self) -> str:
        """Where the connection comes from; a proxy's own address where one stands before us."""
        return self._connection.peer

    @property
    def lost(self) -> bool:
        """Whether the caller has hung up."""
        return self._connection.lost

    # ---- The body --------------------------------------------------------------------------------------------------

    async def body(self, limit: int, timeout_s: float) -> bytes:
        """The whole body, once. Raises TooLarge, Compressed, BodyTimeout or ClientClosed."""
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise Compressed("the body is compressed; send it with no content-encoding")
        declared = self.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(f"the body has {int(declared):,} bytes; at most {limit:,} are taken (server.max_body_bytes)")
        self._most = limit
        if not self._whole:
            await self._rest(timeout_s)
        if self._size > limit:
            raise self._too_large()
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _rest(self, timeout_s: float) -> None:
        if self.lost:
            raise ClientClosed("the caller hung up while sending")
        loop = asyncio.get_running_loop()
        if self.expects:
            self.expects = False
            self._connection.go_on()
        self._waiter, self.due_s = loop.create_future(), loop.time() + timeout_s
        self._connection.resume()
        try:
            await self._waiter
        except TimeoutError:
            raise BodyTimeout(f"the body was not here within {timeout_s:g} s (server.body_timeout_s)") from None
        finally:
            self._waiter, self.due_s = None, float("inf")

    def take(self, piece: bytes) -> None:
        """More of the body has come."""
        if self.answered:
            return  # nobody asks for it any more
        self._size += len(piece)
        self._pieces.append(piece)
        if self._most is None:
            if self._size > READ_AHEAD_BYTES:
                self._connection.pause()
        elif self._size > self._most:
            self._pieces.clear()
            self._tell(self._too_large())

    def complete(self) -> None:
        """All of it is here."""
        self._whole = True
        self._tell(None)

    def hung_up(self) -> None:
        """Tell whoever serves this that nobody waits for it; once."""
        told, self.on_lost = self.on_lost, None
        if told is not None:
            told()

    def fail(self, error: TurnoutError | TimeoutError) -> None:
        """The rest will not come, or not in time."""
        self._tell(error)

    def _tell(self, error: TurnoutError | TimeoutError | None) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over {self._most:,} bytes (server.max_body_bytes)")

    # ---- The answer ------------------------------------------------------------------------------------------------

    def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """A whole answer. Raises ValueError for headers that cannot be sent; then nothing has been."""
        head = self._head(status, headers, "" if status in _BODILESS else f"content-length: {len(body)}\r\n")
        self._connection.send(head, b"" if self.method == "HEAD" else body)
        self._done()

    def start(self, status: int, headers: Headers) -> None:
        """An answer that comes in pieces."""
        if not self.chunked:  # HTTP/1.0 takes what comes until the end
            self.keep_alive = False
        self._connection.send(self._head(status, headers, "transfer-encoding: chunked\r\n" if self.chunked else ""))
        self.streams = True
        if self.on_begun is not None:
            self.on_begun()

    def write(self, data: bytes) -> bool:
        """One piece. False where the caller does not take them as they come: who goes on waits for `drain` first."""
        if not data or self.lost:
            return True
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        return not self._connection.full

    async def drain(self) -> None:
        """Until the caller has taken most of what was written."""
        await self._connection.drain()

    def finish(self) -> None:
        """The last piece has gone."""
        if self.chunked:
            self._connection.send(b"0\r\n\r\n")
        self._done()

    def abort(self) -> None:
        """Let go of the connection at once: a close would wait for a reader who does not read."""
        self._connection.transport.abort()

    def _head(self, status: int, headers: Headers, length: str) -> bytes:
        told = [f"{name}: {value}\r\n" for name, value in headers]
        if not sendable("".join([line[:-2] for line in told])):
            raise ValueError("a header holds what no header may")
        if not self.keep_alive or self._connection.served.closing or (self.expects and not self._whole):
            # Who was not asked for its body may send it or not: what comes next is then not told apart from it.
            self.keep_alive = False
            told.append("connection: close\r\n")
        head = f"{_STATUS[status]}{''.join(told)}{length}\r\n".encode("latin-1")
        self.started = True
        return head

    def _done(self) -> None:
        self.answered = True
        self._pieces.clear()
        self._connection.answered(self)


class _Refused(ValueError):
    """A request that is not to be served, and why."""


class Connection(asyncio.Protocol):
    """One caller's connection. One request is served at a time; further ones wait where they came."""

    head_s = HEAD_S

    def __init__(self, served: Served) -> None:
        self.served = served
        self.transport: asyncio.Transport
        self.peer = ""
        self.lost = False
        self.full = False
        self._loop = asyncio.get_running_loop()
        self._parser = self._new_parser()
        self._url = b""
        self._in_head = True
        self._head_bytes = 0
        self._refused = self._paused = self._mute = self._ends = False
        self._retold = False  # the parser is told a head again
        self._coming: Request | None = None
        self._serving: Request | None = None
        self._waiting: deque[Request] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._full_s = float("inf")
        self._unread: int = -1
        self._due_s = self._loop.time() + self.head_s
        self._idle = False

    # ---- What asyncio tells ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self.served.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost = True
        self.served.connections.discard(self)
        self.resume_writing()
        hung_up = ClientClosed("the caller hung up while sending")
        for request in (self._serving, self._coming, *self._waiting):
            if request is not None:
                request.fail(hung_up)
        if self._serving is not None:
            self._serving.hung_up()
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._idle:
            self._idle, self._head_bytes, self._due_s = False, 0, self._loop.time() + self.head_s
        self._head_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            why = error.__context__  # what one of the methods below raised
            self._refuse(400, str(why) if isinstance(why, _Refused) else "Invalid HTTP request received.")
            return
        under_way = self._in_head or self._coming is not None
        if self._head_bytes > MAX_HEAD_BYTES and under_way:
            self._refuse(431, "The request's headers are too large.")
        elif self._serving is None and not under_way:
            self._rest()

    def pause_writing(self) -> None:
        self.full, self._full_s = True, self._loop.time()

    def resume_writing(self) -> None:
        self.full, self._full_s, self._unread = False, float("inf"), -1
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._serving is None:
            self._next()

    # ---- What the parser tells -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if not self._retold:
            self._in_head, self._url = True, b""
            self._coming = Request(self)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._coming is not None and self._in_head:  # behind a body nothing is said that counts (RFC 9110, 6.5.1)
            key, headers = name.decode("latin-1").lower(), self._coming.headers
            if key == "host" and key in headers:
                raise _Refused("A request has one Host header (RFC 9112, 3.2).")
            headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        request = self._coming
        if request is None or self._retold:
            return
        self._in_head, self._head_bytes, self._due_s = False, 0, float("inf")
        url = httptools.parse_url(self._url)
        raw = url.path
        path = raw.decode("ascii")
        request.raw_path = path
        request.path = unquote(path) if "%" in path else path
        request.query = (url.query or b"").decode("latin-1")
        request.method = self._parser.get_method().decode("ascii")
        request.chunked = self._parser.get_http_version() == "1.1"
        if request.chunked and "host" not in request.headers:
            raise _Refused("A request of HTTP/1.1 has a Host header (RFC 9112, 3.2).")
        request.keep_alive = request.chunked and self._parser.should_keep_alive()
        request.expects = request.chunked and request.headers.get("expect", "").lower() == "100-continue"
        if self._serving is None and not self._waiting and not self.full:
            self._begin(request)
            return
        if len(self._waiting) >= MOST_WAITING:
            raise _Refused("Too many requests are sent ahead.")
        self._waiting.append(request)
        self.pause()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._coming is not None:
            self._coming.take(body)

    def on_message_complete(self) -> None:
        request = self._coming
        if request is None or (self._parser.should_upgrade() and not self._retold):
            return
        self._coming, self._head_bytes = None, 0
        request.complete()
        if request is self._serving:
            self.resume()  # else nobody would notice that the caller hangs up
        elif self._ends:
            self.transport.close()

    # ---- What a request asks ---------------------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes = b"") -> None:
        """Write; what nobody takes any more is dropped."""
        if self.lost or self._mute:
            return
        if len(body) <= JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    async def drain(self) -> None:
        """Until the caller has taken most of what was written."""
        self._drained = self._loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def go_on(self) -> None:
        """The caller waits to be asked for its body."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause(self) -> None:
        if not self._paused and not self.lost:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.lost:
            self._paused = False
            self.transport.resume_reading()

    def answered(self, request: Request) -> None:
        """The next request's turn; of those that wait only when this one's books are closed (`_serve`), for it may need
        what this one holds."""
        self._serving = None
        if self.lost or self._mute:
            return
        if request.keep_alive:
            if not self._waiting:
                self._next()
            return
        self._waiting.clear()
        if self._coming is not request or self._refused:
            self.transport.close()
            return
        # Its body is still coming, which would reset the answer away.
        self._ends, self._due_s = True, self._loop.time() + LINGER_S
        self.resume()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # ---- What the server asks --------------------------------------------------------------------------------------

    def look(self, now_s: float) -> None:
        """Called some ten times a second: whatever is overdue ends."""
        if now_s >= self._due_s:
            self._due_s = float("inf")
            self._overdue()
        serving = self._serving
        if serving is None:
            if self.full or self.transport.is_closing():
                self._look_at_unread(now_s)
            return
        if now_s >= serving.due_s:
            serving.fail(TimeoutError())
        if now_s - self._full_s >= serving.idle_s:
            self._full_s = float("inf")
            serving.hung_up()
            self.transport.abort()

    def shutdown(self) -> None:
        """Close as soon as nobody is being answered."""
        if self._serving is None:
            self.transport.close()
        else:
            self._serving.keep_alive = False

    # ---- Its own ---------------------------------------------------------------------------------------------------

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # Some clients send a line break behind a body.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _feed(self, data: bytes) -> None:
        """Raises HttpParserError."""
        rest: bytes | memoryview = data
        while True:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[cast("int", upgrade.args[0]) :]
                self._stay()
            else:
                return

    def _stay(self) -> None:
        """Nothing else is spoken here: who asks for another protocol (Java's client does for HTTP/2 by itself) is
        served in this one (RFC 9110, 7.8). The parser takes what follows such a head for the other protocol, so a new
        one is told how long the body is, and goes on with it."""
        request = self._coming
        if request is None:
            return
        told = [f"{name}: {request.headers[name]}\r\n" for name in _FRAMING if name in request.headers]
        close = "" if request.keep_alive else "connection: close\r\n"
        self._parser, self._retold = self._new_parser(), True
        try:
            self._parser.feed_data(f"POST / HTTP/1.1\r\n{''.join(told)}{close}\r\n".encode("latin-1"))
        finally:
            self._retold = False

    def _next(self) -> None:
        """Serve whoever waits. Not while answers are left unread: they would fill our memory."""
        if self.lost or self._refused or self._ends or self.transport.is_closing():
            return
        if self.full:
            self.pause()
            return
        if self._waiting:
            self._begin(self._waiting.popleft())
        if not self._waiting:
            self.resume()
        if self._serving is None:
            self._rest()

    def _rest(self) -> None:
        """Nobody is served. In the midst of a next head, or of an answered request's body, it is not idle."""
        if self._ends or self.full or self._waiting:
            return
        self._idle = not self._in_head and self._coming is None
        self._due_s = self._loop.time() + (KEEP_ALIVE_S if self._idle else self.head_s)

    def _overdue(self) -> None:
        # Who has said nothing is told nothing: it would be taken for the answer to what it may be saying now.
        if self._in_head and self._coming is not None and not self._refused:
            self._refuse(408, "The request's headers did not come in time.")
        else:
            self.transport.close()

    def _look_at_unread(self, now_s: float) -> None:
        """A close, too, waits for a reader."""
        left: int = self.transport.get_write_buffer_size()
        if left != self._unread:  # the caller takes some
            self._unread, self._full_s = left, now_s
        elif now_s - self._full_s >= UNREAD_S:
            self.transport.abort()

    def _begin(self, request: Request) -> None:
        self._serving = request
        task = self._loop.create_task(self._serve(request))
        self.served.tasks.add(task)
        task.add_done_callback(self.served.tasks.discard)

    async def _serve(self, request: Request) -> None:
        status = 500
        try:
            await self.served.handler(request)
        except asyncio.CancelledError:
            status = 503  # the server ends
            raise
        except Exception:  # a fault of ours ends one request, not the server
            log.exception("a request to %s failed", request.path)
        finally:
            if not request.answered and not self.lost:
                self._leave(request, status)
            if self._waiting and self._serving is None:
                self._next()

    def _leave(self, request: Request, status: int) -> None:
        """Nobody will answer this any more, or answer it to its end."""
        if request.started:
            self.transport.close()
            return
        request.keep_alive = False
        kind = ("content-type", "text/plain; charset=utf-8")
        request.respond(status, _PHRASES[status].encode("ascii"), [kind])

    def _refuse(self, status: int, message: str) -> None:
        """Say why and hang up."""
        if self.transport.is_closing():
            return
        self._refused = True
        serving = self._serving
        if serving is not None and (serving is not self._coming or serving.started):
            serving.keep_alive = False  # the answer that is owed is the last: nothing is said in its midst
            return
        if self._waiting:  # what is said would be taken for the first one's answer
            self.transport.close()
            return
        self._mute = True
        head = (
            f"{_STATUS[status]}content-type: text/plain\r\ncontent-length: {len(message)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(f"{head}{message}".encode("ascii"))
        if serving is not None:
            serving.fail(ClientClosed("what the caller sent is no body"))
        self._due_s = self._loop.time() + LINGER_S
