"""Newer prices, fetched while the gateway runs, where the config asks for it; never without."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from turnout.catalog.catalog import PriceTable, read_table
from turnout.catalog.genai_prices import faults_in, table_from_json
from turnout.errors import UpstreamFailure
from turnout.providers.transport import Transport, UpstreamRequest

__all__ = ["PriceSource", "fetch_prices", "refreshing"]

log = logging.getLogger("turnout")

PATIENCE_S = 30.0
LARGEST_TABLE = 32 * 1024 * 1024
"""The table has 0.4 MB (November 2026)."""


class PriceSource(Struct, frozen=True, kw_only=True):
    """Where newer prices are fetched from, where they are kept, and the seconds between two looks."""

    url: str
    file: Path
    every_s: float


async def fetch_prices(source: PriceSource, transport: Transport, now: datetime) -> bool:
    """Fetch the table and keep it; True where it differs from the one before. What cannot be fetched or is not to be
    trusted is logged, and the table before stays."""
    old = read_table(source.file)
    try:
        async with asyncio.timeout(PATIENCE_S):
            body = await _get(source.url, transport)
        new = table_from_json(body, old, f"genai-prices of {now.astimezone(UTC):%Y-%m-%d}")
    except (UpstreamFailure, TimeoutError) as error:
        log.warning("prices were not refreshed: %s; the ones before stay", error or "no answer in time")
        return False
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        log.warning("prices were not refreshed: what is at prices.url is no price table (%s)", error)
        return False
    if faults := faults_in(new, old):
        log.warning("prices were not refreshed: %s (%d faults); look at prices.url", faults[0], len(faults))
        return False
    if new.providers == old.providers:
        return False
    await asyncio.to_thread(_keep, source.file, new)
    return True


async def _get(url: str, transport: Transport) -> bytes:
    request = UpstreamRequest(method="GET", url=url, headers=[], first_byte_timeout_s=PATIENCE_S)
    response = await transport.send(request)
    try:
        body = await response.read(LARGEST_TABLE)
    finally:
        await response.aclose()
    if response.status != 200:
        raise UpstreamFailure(f"prices.url answered with status {response.status}")
    return body


def _keep(file: Path, table: PriceTable) -> None:
    """Written whole and then put in place: a reader never sees half a table."""
    half = file.with_name(file.name + ".new")
    half.write_bytes(msgspec.json.encode(table))
    half.replace(file)


@contextlib.asynccontextmanager
async def refreshing(
    source: PriceSource | None, transport: Transport, changed: Callable[[], Awaitable[None]]
) -> AsyncGenerator[None]:
    """While entered, prices are fetched at once and then every so often; `changed` is called after a new table is in
    place. None: nothing is fetched."""
    task = None if source is None else asyncio.create_task(_again_and_again(source, transport, changed))
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _again_and_again(source: PriceSource, transport: Transport, changed: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            if await fetch_prices(source, transport, datetime.now(UTC)):
                log.warning("new prices are in place: requests from now on are priced by them")
                await changed()
        except OSError as error:
            log.warning("prices could not be kept at %s: %s", source.file, error)
        await asyncio.sleep(source.every_s)
