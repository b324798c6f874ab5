"""The client: one request out, one answer back, over a connection that waits or a new one."""

from __future__ import annotations

import asyncio
import os
import ssl

from turnout.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from turnout.providers.http.addresses import Target, target_of
from turnout.providers.http.answers import HttpResponse
from turnout.providers.http.connections import Connection
from turnout.providers.http.heads import head_of
from turnout.providers.http.opening import open_connection
from turnout.providers.http.pool import Pool
from turnout.providers.http.proxies import Proxy, proxy_for
from turnout.providers.http.tls import client_context
from turnout.providers.transport import UpstreamRequest

__all__ = ["HttpTransport"]

CONNECT_TIMEOUT_S = 10.0
"""For the name, the connection, the proxy's tunnel and TLS together."""

REPEATABLE = frozenset({"GET", "HEAD"})


class HttpTransport:
    """HTTP/1.1, in clear and over TLS. Keeps connections alive, checks certificates, follows no redirects, keeps no
    cookies, undoes no compression (we ask for none, so a decompression bomb is only bytes). Proxies of the environment
    (HTTPS_PROXY, ...) are used, but never on the way to this machine. Certificates are checked against the system's
    list of authorities, or against those in the file that SSL_CERT_FILE names: a company that looks into TLS has its
    own. Proxies and authorities are read from the environment once.
    """

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._context: ssl.SSLContext | None = None
        self._proxies: dict[tuple[bool, str, int], Proxy | None] = {}

    async def send(self, request: UpstreamRequest) -> HttpResponse:
        """Raises UpstreamUnreachable, UpstreamTimeout, UpstreamBroken or UpstreamFailure. Cancelling it ends the
        exchange."""
        if request.first_byte_timeout_s is None:
            return await self._send(request)
        try:
            async with asyncio.timeout(request.first_byte_timeout_s):
                return await self._send(request)
        except TimeoutError:
            raise UpstreamTimeout(
                f"the provider did not begin to answer within {request.first_byte_timeout_s:g} s"
            ) from None

    async def aclose(self) -> None:
        """Let go of the pool: idle connections close with it."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            await asyncio.sleep(0)  # they close in the loop's next turn

    async def _send(self, request: UpstreamRequest) -> HttpResponse:
        try:
            target = target_of(request.url)
        except ValueError:
            raise UpstreamUnreachable("the provider's base_url is no http or https URL; correct it") from None
        origin = (target.tls, target.host, target.port)
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(target, os.environ)
        proxy = self._proxies[origin]
        head = head_of(request, target, proxy)
        pool = self._pool
        if pool is None:
            pool = self._pool = Pool(asyncio.get_running_loop())
        waiting = pool.take(origin)
        if waiting is not None:
            try:
                return await _exchange(waiting, request, head)
            except UpstreamBroken:
                if not _may_repeat(waiting, request):
                    raise
        return await _exchange(await self._opened(target, proxy, pool.new(origin)), request, head)

    async def _opened(self, target: Target, proxy: Proxy | None, connection: Connection) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await open_connection(target, proxy, connection, self._tls)
        except ssl.SSLCertVerificationError:
            raise UpstreamUnreachable(
                "the provider's certificate is not to be trusted: out of date, for another name, or by an authority "
                "that is not known; name a file with that authority in SSL_CERT_FILE"
            ) from None
        except (OSError, ValueError):  # TimeoutError is one of the first; a name that cannot be one is the second
            # The system's own words name the address; they stay out of ours.
            raise UpstreamUnreachable("no connection to the provider; is it up, and is its base_url right?") from None
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = client_context(os.environ)
        return self._context


async def _exchange(connection: Connection, request: UpstreamRequest, head: bytes) -> HttpResponse:
    """The answer, begun. Raises UpstreamBroken."""
    answer = connection.begin(
        request.method, head, request.body, request.idle_timeout_s, close=_CLOSE in request.headers
    )
    await answer.begun()
    return answer


_CLOSE = ("connection", "close")


def _may_repeat(connection: Connection, request: UpstreamRequest) -> bool:
    """Whether a request that a waiting connection was closed on, before a byte of the answer, is sent again at once.

    RFC 9110, 9.2.2: by itself a client repeats only what may be done twice, or what was surely not done. A POST that
    went out whole may be under way, and charged, though mostly the host had closed meanwhile and never saw it: Go,
    hyper, urllib3 and aiohttp do not repeat it either (curl does). Whoever sent it may: delivery does so at once, in
    its books (`delivery/retry.py`). One that went out in part cannot have been understood, so it is repeated here.
    """
    return connection.untouched and (connection.unsent or request.method in REPEATABLE)
