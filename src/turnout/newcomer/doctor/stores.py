"""Where rows are kept and what gateways share: whether it is there and can be written to. Nothing is made or changed
but a file that is gone again at once."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from turnout.errors import ConfigError
from turnout.newcomer.doctor.findings import Finding, fail, failed_by, ok, warn
from turnout.store_rules import LEDGERS, SHARED, StoreConfig, ledger_scheme, scheme_of
from turnout.stores.schema import MEMORY, MIGRATIONS, cause_of, known_version, open_as_it_is

__all__ = ["check_disk", "check_ledger", "check_shared"]

PATIENCE_S = 5.0
LITTLE, TOO_LITTLE = 1024**3, 64 * 1024**2
"""Bytes free: a gateway writes about a kilobyte a request."""

AHEAD = timedelta(minutes=5)


def check_ledger(store: StoreConfig) -> Iterator[Finding]:
    """The ledger by its URL. One that a plug-in keeps is the plug-in's affair."""
    if (scheme := ledger_scheme(store)) != "sqlite":
        if scheme in LEDGERS:
            yield _postgres(store.ledger)
        yield from _folder(Path(store.folder), "store.folder")
        return
    named = store.ledger.removeprefix("sqlite:///")
    if named == MEMORY:
        yield warn(
            "ledger", "in memory: what was spent is forgotten at the end", 'store.ledger = "sqlite:///turnout.db"'
        )
        return
    file = Path(named)
    folder = list(_folder(file.parent, "store.ledger"))
    yield from folder
    if file.exists() and not any(one.state == "fail" for one in folder):
        yield _sqlite(file, datetime.now(UTC))


async def check_shared(store: StoreConfig) -> Finding | None:
    """The engine that several gateways share, where one is named."""
    scheme = scheme_of(store.shared, SHARED, "store.shared")
    if scheme == "memory":
        return None
    if scheme == "sqlite":
        found = list(_folder(Path(store.shared.removeprefix("sqlite:///")).parent, "store.shared"))
        return next((one for one in found if one.state != "ok"), ok("shared state", "a file on this machine"))
    if importlib.util.find_spec("redis") is None:
        return None  # said of the packages
    return await _valkey(store.shared)


def check_disk(folder: Path, free: int) -> Finding:
    """`free`: bytes left where `folder` is."""
    told = f"{free / 1024**3:,.1f} GiB free in {folder.absolute()}"
    if free < TOO_LITTLE:
        return fail("disk", told, "make room: without it nothing is booked, and hard budgets refuse")
    return (
        warn("disk", told, "make room soon: a million requests take about a gigabyte")
        if free < LITTLE
        else ok("disk", told)
    )


def _folder(folder: Path, key: str) -> Iterator[Finding]:
    if not folder.exists():
        # A gateway makes its own folder, but not one for a ledger: a mistyped path would hide there.
        if key == "store.folder":
            return
        yield fail("ledger", f"{key}: there is no folder {folder.absolute()}", f"mkdir -p {folder}")
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield fail(
            "ledger",
            f"{key}: nothing can be written in {folder.absolute()} ({error.strerror})",
            f"chown or chmod {folder}",
        )
        return
    yield ok("ledger", f"{folder.absolute()} can be written to")
    yield check_disk(folder, shutil.disk_usage(folder).free)


def _sqlite(file: Path, now: datetime) -> Finding:
    """An existing ledger, read only."""
    if not os.access(file, os.R_OK | os.W_OK):
        return fail("ledger", f"{file} is not this user's to write", f"chown {file}, or start as its owner")
    try:
        with closing(open_as_it_is(file)) as db:
            version = known_version(db)
            newest = db.execute("SELECT max(received_at) FROM requests").fetchone()[0] if version else None
    except ConfigError as error:
        return failed_by("ledger", f"{file}: {error.message}", "correct store.ledger")
    except sqlite3.Error as error:
        return failed_by("ledger", f"{file}: {cause_of(error)}", "name another file, or restore it")
    if newest and (at := datetime.fromisoformat(newest)) > now + AHEAD:
        return warn(
            "ledger",
            f"its newest row is of {at:%Y-%m-%d %H:%M} UTC, which is yet to come",
            "see whether the clock was set back: budgets go by it",
        )
    return ok("ledger", f"{file} is readable, of schema {version} of {len(MIGRATIONS)}")


def _postgres(url: str) -> Finding:
    if importlib.util.find_spec("psycopg") is None:
        return fail("ledger", "PostgreSQL's driver is not installed", "pip install 'turnout[postgres]'")
    import psycopg

    from turnout.stores.postgres.database import OLDEST, SCHEMA, cause_of, place_of

    try:
        place = place_of(url)
    except ConfigError as error:
        return failed_by("ledger", error.message, "correct store.ledger")
    try:
        with psycopg.connect(url, connect_timeout=int(PATIENCE_S), autocommit=True) as db:
            found = db.execute(
                "SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), "
                "has_database_privilege(current_database(), 'CREATE') OR to_regnamespace(%s) IS NOT NULL",
                (SCHEMA,),
            ).fetchone()
    except psycopg.Error as error:
        return failed_by("ledger", f"{place}: {cause_of(error)}", "mend store.ledger")
    version, standby, may = found or (0, False, False)
    if version < OLDEST:
        return fail("ledger", f"{place} is PostgreSQL {version}", f"Turnout needs {OLDEST} or newer")
    if standby:
        return fail("ledger", f"{place} is a standby, which cannot be written to", "name the primary")
    if not may:
        return fail(
            "ledger", f"{place}: the user may make no schema", f"GRANT CREATE ON DATABASE ..., or make {SCHEMA}"
        )
    return ok("ledger", f"{place} answers: PostgreSQL {version}")


async def _valkey(url: str) -> Finding:
    from redis import exceptions as said

    from turnout.stores.shared.address import Address
    from turnout.stores.shared.wire import told

    try:
        address = Address(url)
    except ConfigError as error:
        return failed_by("shared state", error.message, "correct store.shared")
    try:
        async with asyncio.timeout(PATIENCE_S):
            connection = await address.connect()
            try:
                await connection.send_command("PING")
                await connection.read_response()
            finally:
                await connection.disconnect(nowait=True)
    except (said.RedisError, OSError, TimeoutError, EOFError) as error:
        return failed_by("shared state", told(error, address.place, PATIENCE_S), "mend store.shared")
    return ok("shared state", f"{address.place} answers")
