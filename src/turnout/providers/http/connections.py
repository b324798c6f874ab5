"""One connection to a host: writes a request, takes the answer off the wire. HTTP/1.1 (RFC 9112) by httptools."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Hashable
from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from turnout.errors import UpstreamBroken
from turnout.providers.http.answers import HttpResponse

__all__ = ["Connection"]

MAX_HEAD_BYTES = 128 * 1024
"""Of an answer's head (its 1xx before it included), of its trailers, and of what stands between two pieces."""

JOINED_BELOW = 64 * 1024
"""A body as small as that is copied behind its head; a larger one is handed over beside it."""

IDLE_IN_POOL_S = 30.0
HINT_MARGIN_S = 1.0
"""How much earlier than the host says in `keep-alive: timeout=` a connection is let go: so that it does not close on a
request."""


class Connection(asyncio.Protocol):
    """At most one exchange at a time. `release` is called when it may serve another, `lost` when it is no more.

    A connection is kept only where the answer ended as its head said, the request went out whole, and neither side
    asked for its end; a byte or an end that comes while nothing is asked closes it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        key: Hashable,
        release: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.key = key  # where it leads
        self.idle_s: float | None = None  # how long it may wait for the next request; not known before the first answer
        self.idle_until = 0.0
        self.untouched = False  # of the exchange under way: not a byte of an answer has come
        self._loop = loop
        self._release = release
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = None
        self._answer: HttpResponse | None = None
        self._headers: list[tuple[str, str]] = []
        self._in_head = False
        self._interim = False  # a 1xx, which is not the answer
        self._whole = False
        self._keep = False
        self._closing = False  # we asked for the end ourselves
        self._bodiless = False
        self._surplus = False
        self._between = 0  # bytes since the last that told something
        self._unsent = False

    @property
    def unsent(self) -> bool:
        """Whether a part of the request never left this process: the host cannot have acted on it."""
        return self._unsent

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, method: str, head: bytes, body: bytes, idle_timeout_s: float, *, close: bool) -> HttpResponse:
        """Send a request. `close`: its head says that the connection ends with it."""
        transport = self._transport
        answer = HttpResponse(self, self._loop, idle_timeout_s)
        if transport is None:
            self._answer = answer
            self._break_off()
            return answer
        self._answer = answer
        self._headers = []
        self._in_head = self.untouched = True
        self._interim = self._whole = self._surplus = False
        self._bodiless, self._closing = method == "HEAD", close
        self._between = 0
        if len(body) < JOINED_BELOW:
            transport.write(head + body)
        else:
            # Not `writelines`: asyncio's of 3.12.0 to 3.12.8, 3.13.0 and 3.13.1 does not tell us what is still unsent,
            # and a connection with half a request in it would serve the next one (CVE-2024-12254 is the same fault).
            transport.write(head)
            transport.write(body)
        return answer

    # Line, for the answer

    def abort(self) -> None:
        self._answer = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # so that we hear when all has gone out
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True)  # chunks win over a length (RFC 9112, 6.3)

    def pause_writing(self) -> None:
        self._unsent = True

    def resume_writing(self) -> None:
        self._unsent = False

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._parser is None:  # nobody asked
            self.abort()
            return
        self.untouched = False
        self._between += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._surplus = True
            if not self._whole:
                self._break_off("the provider's answer is no HTTP/1.1")
                return
        if self._whole:
            self._finish()
        elif self._between > MAX_HEAD_BYTES:
            self._break_off(f"the provider's answer has a head of over {MAX_HEAD_BYTES:,} bytes")

    def eof_received(self) -> None:
        """An end in good order: of a body of no told length it is the end, of everything else it comes too soon."""
        answer = self._answer
        told = answer is None or not answer.status or any(name in _FRAMING for name, _ in answer.headers)
        if answer is not None and not told and _in_good_order(self._transport):
            self._answer = None
            answer.end()
        else:
            self._break_off()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, BrokenPipeError):  # it was closed before all was written
            self._unsent = True
        self._break_off()
        self._transport = self._parser = None  # they hold us in turn
        self._lost(self)

    # The parser's callbacks

    def on_message_begin(self) -> None:
        if self._whole:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers say nothing that we need
            self._headers.append((_name(name), value.decode("latin-1").rstrip(" \t")))

    def on_headers_complete(self) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None or self._whole:
            return
        status = parser.get_status_code()
        self._interim = status < 200
        if self._interim:
            self._headers = []
            return
        self._in_head = False
        self._between = 0
        self._keep = parser.should_keep_alive() and not self._closing
        answer.begin(status, self._headers)
        if self._bodiless:
            self._whole = self._surplus = True

    def on_body(self, piece: bytes) -> None:
        if self._answer is not None and not self._whole:
            self._between = 0
            self._answer.take(piece)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._whole = True

    # Inside

    def _finish(self) -> None:
        """The answer is whole: the connection is free, whether or not its reader is at the end."""
        answer, self._answer = self._answer, None
        if answer is None:  # closed in one of its callbacks
            return
        if self.idle_s is None:
            self.idle_s = _idle_s(answer.headers)
        if answer.paused:
            self.resume()
        answer.end()
        if self._keep and not self._surplus and not self._unsent and self.idle_s > 0 and self.open:
            self.idle_until = self._loop.time() + self.idle_s
            self._release(self)
        else:
            self.abort()

    def _break_off(self, why: str = "") -> None:
        answer = self._answer
        self.abort()
        if answer is not None:
            where = "in its answer" if answer.status else "before it answered"
            answer.fail(UpstreamBroken(why or f"the connection to the provider broke off {where}"))


_FRAMING = frozenset({"content-length", "transfer-encoding"})


def _in_good_order(transport: asyncio.Transport | None) -> bool:
    """Whether it was the host that said the end. Over TLS it says goodbye; anybody on the way can end what is beneath
    (RFC 9112, 9.8), and event loops do not tell the one from the other."""
    layer = None if transport is None else transport.get_extra_info("ssl_object")
    if layer is None:
        return True
    try:
        return layer.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # it would wait for more
        return False


@lru_cache(maxsize=1024)
def _name(raw: bytes) -> str:
    return raw.decode("latin-1").lower()


def _idle_s(headers: list[tuple[str, str]]) -> float:
    """How long the host lets a connection wait: what it says, where that is less than our own."""
    for name, value in headers:
        if name == "keep-alive":
            for part in value.replace(" ", "").lower().split(","):
                seconds = part.removeprefix("timeout=")
                if seconds != part and seconds.isdecimal():
                    return min(IDLE_IN_POOL_S, float(seconds) - HINT_MARGIN_S)
    return IDLE_IN_POOL_S
