"""Which model servers run on this machine: a short look at the usual loopback ports, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from turnout.errors import UpstreamFailure
from turnout.providers.http import is_loopback
from turnout.providers.registry import ProviderRow
from turnout.providers.transport import Transport, UpstreamRequest

__all__ = ["Discovered", "decode_models", "discover_local"]

PATIENCE_S = 0.3
MAX_LIST_BYTES = 1024 * 1024


class Discovered(Struct, frozen=True):
    """A server that answered, and its models."""

    provider: str
    models: tuple[str, ...]


class _Model(Struct):
    id: str


class _List(Struct):
    data: list[_Model]


def decode_models(body: bytes) -> tuple[str, ...]:
    """Model names of an OpenAI-style list; empty for anything else: some other program may own the port."""
    try:
        return tuple(m.id for m in msgspec.json.decode(body, type=_List).data if m.id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last: nested beyond sense
        return ()


async def discover_local(rows: Sequence[ProviderRow], transport: Transport) -> list[Discovered]:
    """The servers among `rows` that answer within 0.3 s and have models. Rows beyond loopback are not asked."""
    asked = [row for row in rows if is_loopback(row.base_url)]
    found = await asyncio.gather(*(_ask(row, transport) for row in asked))
    return [Discovered(row.name, models) for row, models in zip(asked, found, strict=True) if models]


async def _ask(row: ProviderRow, transport: Transport) -> tuple[str, ...]:
    url = row.base_url.rstrip("/") + "/models"
    request = UpstreamRequest(method="GET", url=url, headers=[], first_byte_timeout_s=PATIENCE_S)
    try:
        async with asyncio.timeout(PATIENCE_S):
            response = await transport.send(request)
            try:
                body = await response.read(MAX_LIST_BYTES)
            finally:
                await response.aclose()
    except (UpstreamFailure, TimeoutError):
        return ()
    return decode_models(body) if response.status == 200 else ()
