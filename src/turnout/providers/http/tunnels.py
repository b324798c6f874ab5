"""A way through a proxy of the environment to a host that speaks TLS (RFC 9110, 9.3.6)."""

from __future__ import annotations

import asyncio
import re
import ssl

from turnout.errors import UpstreamUnreachable
from turnout.providers.http.addresses import Target
from turnout.providers.http.heads import tunnel_head
from turnout.providers.http.proxies import Proxy

__all__ = ["GOODBYE_S", "Tunnel"]

GOODBYE_S = 1.0
"""How long TLS waits for the other side's goodbye after an end. A cut connection brings none, and is to be noticed."""

MAX_HEAD_BYTES = 16 * 1024

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class Tunnel(asyncio.Protocol):
    """The connection to `proxy` until TLS with `target` begins in it."""

    def __init__(self, target: Target, proxy: Proxy) -> None:
        self._target = target
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._head = b""

    async def lead(self, way: asyncio.Transport, inner: asyncio.Protocol, context: ssl.SSLContext) -> None:
        """Ask the proxy, then have `inner` speak TLS with the host. Raises UpstreamUnreachable where the proxy will
        not, else OSError."""
        try:
            way.write(tunnel_head(self._target, self._proxy))
            self._check(await self._status)
            transport = await self._loop.start_tls(
                way, inner, context, server_hostname=self._target.host, ssl_shutdown_timeout=GOODBYE_S
            )
            if transport is not None:  # else it was closed meanwhile, and `inner` finds itself without one
                inner.connection_made(transport)
        except BaseException:
            way.abort()
            raise

    def data_received(self, data: bytes) -> None:
        self._head += data
        told = _STATUS.match(self._head)
        if b"\r\n\r\n" in self._head or len(self._head) > MAX_HEAD_BYTES:
            # A refusal may have a body. After a 200 the host waits for us to speak.
            whole = told is not None and (told[1] != b"200" or self._head.endswith(b"\r\n\r\n"))
            self._tell(int(told[1]) if told is not None and whole else 0)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's word)
        self._tell(0)

    def _tell(self, status: int) -> None:
        """The proxy's answer; 0 for none, or one that is no HTTP."""
        if not self._status.done():
            self._status.set_result(status)

    def _check(self, status: int) -> None:
        if status == 200:
            return
        told = f"answered {status}" if status else "closed the connection, or answered no HTTP/1.1"
        raise UpstreamUnreachable(
            f"the proxy that {self._proxy.named} names opens no way to the provider: it {told}; correct it, or name "
            "the provider's host in NO_PROXY"
        )
