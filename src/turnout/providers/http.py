"""HTTP to providers: the only module that opens upstream sockets."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wreq import Client, HeaderMap, Method, Response, Streamer, exceptions
from wreq.redirect import Policy

from turnout import __version__
from turnout.errors import UpstreamBroken, UpstreamFailure, UpstreamTimeout, UpstreamUnreachable
from turnout.providers.transport import UpstreamRequest

if TYPE_CHECKING:
    from wreq import Request  # a type alone: it does not exist at run time

__all__ = ["HttpTransport", "is_loopback"]

CONNECT_TIMEOUT = timedelta(seconds=10)
IDLE_IN_POOL = timedelta(seconds=30)
RESCHEDULED_S = 1.0
"""How exactly a pause within a whole answer is timed: setting a timer anew for each piece costs more than the piece."""

METHODS = {"GET": Method.GET, "POST": Method.POST}

_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header value may hold (RFC 9110, 5.5). The library would answer it with a bare RuntimeError."""

_UNREACHABLE = (exceptions.ConnectionError, exceptions.ProxyConnectionError, exceptions.TlsError)
_BROKEN = (
    exceptions.BodyError,
    exceptions.ConnectionResetError,
    exceptions.DecodingError,
    exceptions.RedirectError,
    exceptions.RequestError,
    exceptions.UpgradeError,
)


class HttpTransport:
    """Keeps connections alive, checks certificates, follows no redirects, undoes no compression (we ask for
    none, so a decompression bomb is only bytes). Proxies of the environment (HTTPS_PROXY, ...) are used, but
    never on the way to this machine. Certificates are checked against the library's own list of authorities, or
    against those in the file that SSL_CERT_FILE names: a company that looks into TLS has its own."""

    def __init__(self) -> None:
        self._clients: dict[bool, Client] = {}

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFailure. Cancelling it ends the exchange."""
        client = self._client(local=is_loopback(request.url))
        if any(_UNSENDABLE.search(value) for _, value in request.headers):
            raise UpstreamFailure("a header for the provider holds a line break or the like; look at its api_key")
        try:
            calling = client.request(METHODS[request.method], request.url, **_options(request))
            if request.first_byte_timeout_s is None:
                response = await calling
            else:
                async with asyncio.timeout(request.first_byte_timeout_s):
                    response = await calling
        except (TimeoutError, exceptions.TimeoutError):
            raise UpstreamTimeout(
                f"the provider did not begin to answer within {request.first_byte_timeout_s or 0:g} s"
            ) from None
        except exceptions.BuilderError:
            raise UpstreamUnreachable("the provider's base_url is no http or https URL; correct it") from None
        except _UNREACHABLE:
            # The library's own words name the URL; they stay out of ours.
            raise UpstreamUnreachable("no connection to the provider; is it up, and is its base_url right?") from None
        except _BROKEN:
            raise UpstreamBroken("the connection to the provider broke off before it answered") from None
        return HttpResponse(response, request.idle_timeout_s)

    async def aclose(self) -> None:
        """Let go of the pools: idle connections close with them."""
        self._clients.clear()

    def _client(self, *, local: bool) -> Client:
        if local not in self._clients:
            self._clients[local] = Client(
                redirect=Policy.none(),
                gzip=False,
                brotli=False,
                zstd=False,
                deflate=False,
                connect_timeout=CONNECT_TIMEOUT,
                pool_idle_timeout=IDLE_IN_POOL,
                no_proxy=local,
                user_agent=f"turnout/{__version__}",
                tls_verify=_authorities(local=local),
            )
        return self._clients[local]


class HttpResponse:
    """An answer whose headers are there. An UpstreamResponse."""

    def __init__(self, response: Response, idle_timeout_s: float) -> None:
        self._response = response
        self._streamer: Streamer | None = None
        self._idle_s = idle_timeout_s
        self.status = response.status.as_int()
        self.headers = [(_text(name).lower(), _text(value)) for name, value in response.headers]

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamFailure above `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self._idle_s) as patience:
                seen = clock()
                while (chunk := await self._next()) is not None:
                    size += len(chunk)
                    if size > limit:
                        raise UpstreamFailure(f"the provider's answer is over {limit:,} bytes")
                    parts.append(chunk)
                    if (now := clock()) - seen > RESCHEDULED_S:
                        patience.reschedule(now + self._idle_s)
                        seen = now
        except TimeoutError:
            raise self._stalled() from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, one piece asked for at a time: a slow reader slows the provider down."""
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    chunk = await self._next()
            except TimeoutError:
                raise self._stalled() from None
            if chunk is None:
                return
            yield chunk

    async def _next(self) -> bytes | None:
        """The next piece, None at the end."""
        if self._streamer is None:
            self._streamer = self._response.stream()
        try:
            frame = await anext(self._streamer, None)
        except exceptions.TimeoutError:
            raise self._stalled() from None
        except (*_UNREACHABLE, *_BROKEN):
            raise UpstreamBroken("the connection to the provider broke off in its answer") from None
        # Trailers, which come last, say nothing that we need.
        return None if frame is None or isinstance(frame, HeaderMap) else bytes(frame)

    def _stalled(self) -> UpstreamTimeout:
        return UpstreamTimeout(f"the provider sent nothing for {self._idle_s:g} s")

    async def aclose(self) -> None:
        """End the exchange: an unread rest closes the connection, a read one gives it back to the pool."""
        if self._streamer is not None:
            await self._streamer.__aexit__(None, None, None)
        else:
            await self._response.close()


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine: `localhost`, 127.0.0.0/8 or ::1. False for what is no URL."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, or brackets without an address in them
        return False


def _authorities(*, local: bool) -> Path | bool:
    """Whom to believe certificates from; True for the library's own list."""
    named = os.environ.get("SSL_CERT_FILE")
    if named and Path(named).is_file():
        return Path(named)
    if named and not local:  # this machine's servers speak plain HTTP as a rule: they need not fall with it
        raise UpstreamUnreachable("SSL_CERT_FILE names no file, so no certificate can be checked; correct or unset it")
    return True


def _options(request: UpstreamRequest) -> Request:
    options: Request = {"headers": dict(request.headers)}
    if request.body:
        options["body"] = request.body
    return options


def _text(value: memoryview | bytes) -> str:
    return bytes(value).decode("latin-1")
