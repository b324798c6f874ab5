"""HTTP to providers: the only module that opens upstream sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, ConnectTimeoutError, RequestError, RequestTimeoutError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from turnout.errors import UpstreamFailure, UpstreamTimeout, UpstreamUnreachable
from turnout.providers.transport import UpstreamRequest

__all__ = ["HttpTransport"]

CONNECT_TIMEOUT = timedelta(seconds=10)
IDLE_IN_POOL = timedelta(seconds=30)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class HttpTransport:
    """Keeps connections alive, checks certificates, follows no redirects, undoes no compression (we ask for
    none, so a decompression bomb is only bytes). Proxies of the environment (HTTPS_PROXY, ...) are used, but
    never on the way to this machine."""

    def __init__(self) -> None:
        self._direct: Client | None = None
        self._proxied: Client | None = None

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFailure. Cancelling it ends the exchange."""
        builder = self._client(request.url).request(request.method, request.url)
        for name, value in request.headers:
            builder = builder.header(name, value)
        # A buffer would hold server-sent events back until it is full.
        builder = builder.body_bytes(request.body).streamed_read_buffer_limit(0)
        pending = builder.build_streamed()
        try:
            async with asyncio.timeout(request.first_byte_timeout_s):
                response = await pending.__aenter__()
        except TimeoutError:
            await pending.__aexit__(None, None, None)
            raise UpstreamTimeout(
                f"the provider did not begin to answer within {request.first_byte_timeout_s:g} s"
            ) from None
        except RequestError as error:
            raise _failure(error) from None
        return HttpResponse(pending, response, request.idle_timeout_s)

    async def aclose(self) -> None:
        for client in (self._direct, self._proxied):
            if client is not None:
                await client.close()
        self._direct = self._proxied = None

    def _client(self, url: str) -> Client:
        if urlsplit(url).hostname in LOOPBACK:
            if self._direct is None:
                self._direct = _builder().no_proxy().build()
            return self._direct
        if self._proxied is None:
            self._proxied = _builder().build()
        return self._proxied


class HttpResponse:
    """An answer whose headers are there. An UpstreamResponse."""

    def __init__(self, pending: StreamRequest, response: Response, idle_timeout_s: float) -> None:
        self._pending: StreamRequest | None = pending
        self._reader = response.body_reader
        self._idle_s = idle_timeout_s
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.headers.items()]

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
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    chunk = await self._reader.read_chunk()
            except TimeoutError:
                raise UpstreamTimeout(f"the provider sent nothing for {self._idle_s:g} s") from None
            except RequestError as error:
                raise _failure(error) from None
            if chunk is None:
                return
            yield bytes(chunk)

    async def aclose(self) -> None:
        """End the exchange: an unread rest closes the connection, a read one gives it back to the pool."""
        pending, self._pending = self._pending, None
        if pending is not None:
            await pending.__aexit__(None, None, None)


def _builder() -> ClientBuilder:
    return (
        ClientBuilder()
        .follow_redirects(enable=False)
        .error_for_status(enable=False)
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_IN_POOL)
        .tcp_nodelay(enabled=True)
    )


def _failure(error: RequestError) -> UpstreamFailure:
    """Our error for pyreqwest's. Its own message names the URL, so it stays in the cause."""
    if isinstance(error, ConnectTimeoutError):
        return UpstreamUnreachable("the provider did not accept a connection in time; is its base_url right?")
    if isinstance(error, ConnectError):
        return UpstreamUnreachable("no connection to the provider; is it running, and is its base_url right?")
    if isinstance(error, RequestTimeoutError):
        return UpstreamTimeout("the provider took too long")
    return UpstreamFailure("the connection to the provider broke off")
