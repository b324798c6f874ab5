"""Where Valkey or Redis is, from a URL: one server, a socket, or the primary that Sentinels name."""

from __future__ import annotations

import contextlib
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from redis import exceptions as said
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from turnout.errors import ConfigError

__all__ = ["Address"]

SENTINEL_PORT = 26_379

_BARE = {"socket_timeout": None, "socket_connect_timeout": None, "protocol": 2}
"""Deadlines are the wire's, and RESP2 has all we ask for."""


class Address:
    """`valkey://[user:password@]host[:port][/database]`, `valkeys://` with TLS (`?ssl_ca_certs=FILE` and whatever else
    redis-py knows), `unix:///path`, `valkey+sentinel://[user:password@]host[:port],host[:port]/SERVICE[/database]`;
    `redis` for `valkey` means the same. Raises ConfigError."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._service: str | None = None
        self._sentinels: list[tuple[str, int]] = []
        try:
            if scheme.endswith("+sentinel"):
                rest = self._sentinels_of(rest)
            # What redis-py calls them: Valkey speaks the same protocol.
            plain = scheme.removesuffix("+sentinel").replace("valkey", "redis")
            told = dict(cast("dict[str, Any]", parse_url(f"{plain}://{rest}")))
        except ValueError:
            # The message may hold what stands in the URL, the password too.
            raise _wrong("is no URL of Valkey or Redis: see docs/guides/scale.md") from None
        self._kind: type[AbstractConnection] = told.pop("connection_class", Connection)
        self._options: dict[str, Any] = {**told, **_BARE}
        try:
            self._made("localhost", 1)
        except TypeError:
            raise _wrong("has an option that redis-py does not know") from None
        self.place = f"Valkey at {self._name()}"

    async def connect(self) -> AbstractConnection:
        """A fresh connection, signed in. Raises what redis-py does."""
        host, port = await self._primary()
        connection = self._made(host, port)
        try:
            await connection.connect()
        except BaseException:
            with contextlib.suppress(said.RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        return connection

    async def _primary(self) -> tuple[str, int]:
        if self._service is None:
            return self._options.get("host", "localhost"), self._options.get("port", 6379)
        sentinel = Sentinel(self._sentinels, protocol=2)
        try:
            return await sentinel.discover_master(self._service)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    def _made(self, host: str, port: int) -> AbstractConnection:
        options: dict[str, Any] = {**self._options, "retry": Retry(NoBackoff(), 0)}
        if not issubclass(self._kind, UnixDomainSocketConnection):
            options |= {"host": host, "port": port}
        return self._kind(**options)

    def _sentinels_of(self, rest: str) -> str:
        """Take the Sentinels and the service out; what is left reads as one server's URL."""
        split = urlsplit(f"sentinel://{rest}")
        user, at, hosts = split.netloc.rpartition("@")
        service, _, database = split.path.lstrip("/").partition("/")
        if not service:
            raise _wrong("names no service of its Sentinels: valkey+sentinel://HOST:PORT,HOST:PORT/SERVICE")
        self._service = unquote(service)
        for each in hosts.split(","):
            one = urlsplit(f"//{each}")
            self._sentinels.append((one.hostname or "localhost", one.port or SENTINEL_PORT))
        return f"{user}{at}localhost/{database}{f'?{split.query}' if split.query else ''}"

    def _name(self) -> str:
        if self._service is not None:
            return f"{self._service} of Sentinels {', '.join(f'{host}:{port}' for host, port in self._sentinels)}"
        if path := self._options.get("path"):
            return str(path)
        tls = " (TLS)" if issubclass(self._kind, SSLConnection) else ""
        return f"{self._options.get('host', 'localhost')}:{self._options.get('port', 6379)}{tls}"


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"store.shared {what}", param="store.shared")
