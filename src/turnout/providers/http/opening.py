"""Opening a connection: addresses raced, a proxy's tunnel, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any

from turnout.providers.http.addresses import Target
from turnout.providers.http.connections import Connection
from turnout.providers.http.proxies import Proxy
from turnout.providers.http.tunnels import GOODBYE_S, Tunnel

__all__ = ["open_connection"]

NEXT_ADDRESS_S = 0.25
"""How long an address is tried alone before the next is tried beside it (RFC 8305, 5)."""

KEPT_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A model may think for minutes: what stands on the way must not forget the connection, and a dead host is noticed."""

Address = tuple[int, int, int, str, Any]
"""What getaddrinfo gives: family, type, protocol, name, where."""


async def open_connection(
    target: Target, proxy: Proxy | None, connection: Connection, context: Callable[[], ssl.SSLContext]
) -> None:
    """Connect `connection` to `target`. Raises OSError, ValueError for a name that is none, or UpstreamUnreachable."""
    if proxy is None:
        await _opened(target, connection, context() if target.tls else None)
        return
    outer = context() if proxy.tls else None
    if not target.tls:
        await _opened(proxy, connection, outer)
        return
    inner = context()  # before anything is opened: there may be none
    tunnel = Tunnel(target, proxy)
    await tunnel.lead(await _opened(proxy, tunnel, outer), connection, inner)


async def _opened(to: Target | Proxy, protocol: asyncio.Protocol, context: ssl.SSLContext | None) -> asyncio.Transport:
    sock = await _connected(to.host, to.port)
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            sock=sock,
            ssl=context,
            server_hostname=to.host if context else None,
            ssl_shutdown_timeout=GOODBYE_S if context else None,
        )
    except BaseException:
        sock.close()
        raise
    return transport


async def _connected(host: str, port: int) -> socket.socket:
    """A socket to the first of the host's addresses that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    found: Sequence[Address] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families = {family for family, *_ in found}
    # Kinds of addresses in turn (RFC 8305, 4): where one does not work at all, the other is not behind all of it.
    kinds = sorted(([a for a in found if a[0] == f] for f in families), key=lambda kind: found.index(kind[0]))
    addresses = [a for a in chain.from_iterable(zip_longest(*kinds)) if a is not None]
    if not addresses:
        raise OSError("the name has no addresses")
    return await (_attempt(addresses[0]) if len(addresses) == 1 else _race(addresses))


async def _race(addresses: Sequence[Address]) -> socket.socket:
    """The first to answer; each is given a start before the next is tried. Raises the last's OSError."""
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_attempt(waiting.pop(0))))
            done, _ = await asyncio.wait(
                running, timeout=NEXT_ADDRESS_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if task.exception() is None:
                    running.remove(task)
                    return task.result()
                running.remove(task)
                failure = task.exception()
    finally:
        await _drop(running)
    raise failure or OSError("no address answered")


async def _drop(tasks: set[asyncio.Task[socket.socket]]) -> None:
    """End the attempts that are not wanted; one that has come through meanwhile is closed."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            (await task).close()


async def _attempt(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEPT_ALIVE:
            if hasattr(socket, name):  # not on every system
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
