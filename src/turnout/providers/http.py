"""HTTP to providers: the only module that opens upstream sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wreq import Client, HeaderMap, Method, Response, Streamer, exceptions
from wreq.redirect import Policy

from turnout.errors import UpstreamFailure, UpstreamTimeout, UpstreamUnreachable
from turnout.providers.transport import UpstreamRequest

if TYPE_CHECKING:
    from wreq import Request  # a type alone: it does not exist at run time

__all__ = ["LOOPBACK", "HttpTransport"]

CONNECT_TIMEOUT = timedelta(seconds=10)
IDLE_IN_POOL = timedelta(seconds=30)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
METHODS = {"GET": Method.GET, "POST": Method.POST}

_UNREACHABLE = (exceptions.ConnectionError, exceptions.ProxyConnectionError, exceptions.TlsError)
_BROKEN = (
    exceptions.BodyError,
    exceptions.BuilderError,
    exceptions.ConnectionResetError,
    exceptions.DecodingError,
    exceptions.RedirectError,
    exceptions.RequestError,
    exceptions.UpgradeError,
)


class HttpTransport:
    """Keeps connections alive, checks certificates, follows no redirects, undoes no compression (we ask for
    none, so a decompression bomb is only bytes). Proxies of the environment (HTTPS_PROXY, ...) are used, but
    never on the way to this machine."""

    def __init__(self) -> None:
        self._clients: dict[bool, Client] = {}

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFailure. Cancelling it ends the exchange."""
        client = self._client(local=urlsplit(request.url).hostname in LOOPBACK)
        try:
            async with asyncio.timeout(request.first_byte_timeout_s):
                response = await client.request(METHODS[request.method], request.url, **_options(request))
        except (TimeoutError, exceptions.TimeoutError):
            raise UpstreamTimeout(
                f"the provider did not begin to answer within {request.first_byte_timeout_s:g} s"
            ) from None
        except _UNREACHABLE:
            # The library's own words name the URL; they stay out of ours.
            raise UpstreamUnreachable("no connection to the provider; is it up, and is its base_url right?") from None
        except _BROKEN:
            raise UpstreamFailure("the connection to the provider broke off before it answered") from None
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
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise UpstreamFailure(f"the provider's answer is over {limit:,} bytes")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, one piece asked for at a time: a slow reader slows the provider down."""
        streamer = self._streamer = self._response.stream()
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    frame = await anext(streamer, None)
            except (TimeoutError, exceptions.TimeoutError):
                raise UpstreamTimeout(f"the provider sent nothing for {self._idle_s:g} s") from None
            except (*_UNREACHABLE, *_BROKEN):
                raise UpstreamFailure("the connection to the provider broke off in its answer") from None
            if frame is None:
                return
            if not isinstance(frame, HeaderMap):  # trailers say nothing that we need
                yield bytes(frame)

    async def aclose(self) -> None:
        """End the exchange: an unread rest closes the connection, a read one gives it back to the pool."""
        if self._streamer is not None:
            await self._streamer.__aexit__(None, None, None)
        else:
            await self._response.close()


def _options(request: UpstreamRequest) -> Request:
    options: Request = {"headers": dict(request.headers)}
    if request.body:
        options["body"] = request.body
    return options


def _text(value: memoryview | bytes) -> str:
    return bytes(value).decode("latin-1")
