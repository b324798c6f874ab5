"""The seam between us and a provider: one request out, one answer back; easy to stand in for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

__all__ = ["Transport", "UpstreamRequest", "UpstreamResponse"]


class UpstreamRequest(Struct, frozen=True, kw_only=True):
    """Header names are lower-case. Timeouts in seconds: until the answer's headers (None: whoever sends watches the
    time), and between two pieces of its body."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    first_byte_timeout_s: float | None = None
    idle_timeout_s: float = 120.0


class UpstreamResponse(Protocol):
    """An answer whose headers are there. Header names are lower-case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> list[tuple[str, str]]: ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamFailure above `limit` bytes or when it breaks off."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises UpstreamFailure when it breaks off, UpstreamTimeout when it stalls."""
        ...

    async def aclose(self) -> None:
        """End the exchange; what the provider still sends is not wanted. May be called twice."""
        ...


class Transport(Protocol):
    """Sends requests. Raises only UpstreamFailure and its kinds (or NoCapacity), with no URL in the message."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse: ...

    async def aclose(self) -> None: ...
