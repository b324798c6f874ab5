"""The ledger in PostgreSQL: written by one thread of each gateway, read by any.

The request path puts a row into the spool and into memory, and waits for nothing (`writer`). Questions are those of
SQLite's ledger, asked in PostgreSQL's words; sums are kept beside the rows (`sums`) by one gateway at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from msgspec import structs
from psycopg import ClientCursor
from psycopg.adapt import Buffer, Loader

from turnout.errors import ConfigError, Internal, InvalidRequest
from turnout.spend.ledger import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    LedgerRow,
    attempts_from_records,
    from_record,
    iso_utc,
)
from turnout.spend.spent import Asked, BudgetEntry, Past, Question, answer
from turnout.spend.volume import Volume
from turnout.spend.wanted import Wanted
from turnout.stores.finding import find_query
from turnout.stores.postgres.database import Row, cause_of, open_database
from turnout.stores.postgres.schema import LEDGER_MIGRATIONS
from turnout.stores.postgres.spending import spending_query
from turnout.stores.postgres.sums import roll
from turnout.stores.postgres.text import plain
from turnout.stores.postgres.words import translated
from turnout.stores.postgres.writer import Writer
from turnout.stores.questions import LedgerQuestions, Value
from turnout.stores.spending import past_of, spent_of_record
from turnout.stores.spool import Spool
from turnout.stores.spooled import HEAD
from turnout.stores.usage import usage_query

__all__ = ["PostgresLedger"]

logger = logging.getLogger(__name__)

ROLL_EVERY = 20_000
"""Rows of this gateway after which the sums are brought up though nobody asks."""

ROLL_WAIT_S = 10.0
"""Beyond that sums are told as they are."""

ROLL_RETRY_S = 5.0
"""Sums that failed are tried again after so long."""

MAX_WAITING = 20_000
"""Rows in memory; more wait in the spool alone."""

_SELECT = f"SELECT nr, {', '.join(COLUMNS)} FROM requests"  # noqa: S608 - our own column names
_ATTEMPTS = (
    f"SELECT nr, {', '.join(ATTEMPT_COLUMNS[1:])} FROM attempts "  # noqa: S608
    "WHERE nr = ANY(?1) AND received_at >= ?2 AND received_at <= ?3 ORDER BY nr, number"
)


class _Number(Loader):
    """Sums of integers are integers, means are floats."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


class PostgresLedger(LedgerQuestions):
    """A `Ledger` in the PostgreSQL database at `url`, several gateways to one.

    `spool`: the folder where rows wait that the database does not have yet, up to `spool_mb` megabytes; without one
    they wait in memory, as for who only looks. `on_written` is told, in the writer's thread, which requests are in the
    database now. Raises ConfigError, with the cause and the next step, for a database that cannot be opened or is not a
    ledger of this version or an older one, and for a spool that cannot be written.
    """

    def __init__(
        self,
        url: str,
        *,
        spool: Path | None = None,
        spool_mb: int = 1_024,
        spool_owner: str = "alone",
        flush_interval_s: float = 0.1,
        max_waiting: int = MAX_WAITING,
        on_written: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self._database = open_database(url, "ledger", LEDGER_MIGRATIONS)
        self._unsummed = ROLL_EVERY  # nobody knows: look at the first chance
        self._roll = threading.Event()
        kept = None if spool is None else _open_spool(spool, spool_mb, spool_owner)
        self._writer = Writer(
            self._database,
            kept,
            flush_interval_s=flush_interval_s,
            max_waiting=max_waiting,
            on_written=on_written,
            on_rows=self._count,
        )
        self._summing = threading.Thread(target=self._sum, name="turnout-sums", daemon=True)
        self._summing.start()

    @property
    def healthy(self) -> bool:
        return self._writer.healthy

    @property
    def last_error(self) -> str | None:
        return self._writer.losses.last_error

    @property
    def dropped(self) -> int:
        return self._writer.losses.rows

    @property
    def waiting(self) -> int:
        return self._writer.waiting

    def append(self, row: LedgerRow) -> None:
        self._writer.take(row)

    def enter(self, entry: BudgetEntry) -> None:
        self._writer.take(entry)

    def flush(self, timeout_s: float = 5.0) -> bool:
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        self._writer.close(timeout_s)
        self._roll.set()
        self._summing.join(timeout_s)
        self._database.close()

    def get(self, request_id: str) -> LedgerRow | None:
        rows = self._rows(self._read(f"{_SELECT} WHERE request_id = ?1 ORDER BY nr", (request_id,)))
        return rows[0] if rows else None

    def recent(self, limit: int, session: str | None = None) -> list[LedgerRow]:
        return self.find(limit, Wanted(session=session))

    def find(self, limit: int, wanted: Wanted) -> list[LedgerRow]:
        if not 1 <= limit <= 10_000:
            raise InvalidRequest(f"limit = {limit}: choose 1 to 10000", param="limit")
        end, values = find_query(wanted, limit, number="nr")
        return self._rows(self._read(f"{_SELECT} {end}", values))

    def ask_spending(self, questions: Sequence[Question]) -> Asked:
        told: Future[Past] = Future()
        since = min(question.since for question in questions)

        def past(why_not: str | None) -> Past:
            if why_not:
                raise Internal(f"the ledger {self._database.place} cannot say what was spent: {why_not}")
            return self._past(questions, since)

        heard = self._writer.ask(lambda why_not: answer(told, lambda: past(why_not)))
        return Asked(told=told, later=lambda: past_of(heard()))

    def usage(self, since: datetime, until: datetime, by: str) -> list[Volume]:
        query, path = usage_query(by)
        name = None if path is None else path.removeprefix('$."').removesuffix('"')
        rows = self._read(query, (iso_utc(since), iso_utc(until), name))
        return [msgspec.convert(dict(zip(Volume.__struct_fields__, r, strict=True)), Volume) for r in rows]

    def _past(self, questions: Sequence[Question], since: datetime) -> Past:
        spent = tuple([spent_of_record(r) for r in self._query(*spending_query(q))] for q in questions)
        return Past(spent=spent, entries=self._entries(since))

    def _caught_up(self) -> bool:
        """Wait for the rows appended before. While the database fails a reader does not wait: it is told so."""
        return not self._writer.closing.is_set() and not self._writer.failing and self.flush()

    def _read(self, query: str, values: Sequence[Value]) -> list[Row]:
        self._caught_up()
        return self._query(query, values)

    def _summed(self, query: str, values: Sequence[Value]) -> list[Row]:
        """As `_read`, of the sums, which are brought up to the newest row first."""
        if self._caught_up():
            end = time.monotonic() + ROLL_WAIT_S
            with suppress(psycopg.Error):
                while time.monotonic() < end and self._rolled(wait_s=ROLL_WAIT_S):
                    pass
        return self._query(query, values)

    def _query(self, query: str, values: Sequence[Value]) -> list[Row]:
        named = {f"v{n}": plain(value) if isinstance(value, str) else value for n, value in enumerate(values, 1)}
        for last in (False, True):
            try:
                with self._database.connection() as db:
                    return _ask(db, translated(query), named)
            except psycopg.Error as error:
                # A connection that broke since it was last used says nothing of the next.
                if last or error.sqlstate is not None:
                    why = self._writer.losses.last_error if self._writer.failing else cause_of(error)
                    raise Internal(f"the ledger {self._database.place} cannot be read: {why}") from None
        return []

    def _rows(self, records: Sequence[Row]) -> list[LedgerRow]:
        if not records:
            return []
        received = 1 + COLUMNS.index("received_at")
        times = [record[received] for record in records]
        attempts: dict[int, list[Any]] = {}
        for nr, *attempt in self._query(_ATTEMPTS, ([record[0] for record in records], min(times), max(times))):
            attempts.setdefault(nr, []).append(("", *attempt))
        try:
            return [
                structs.replace(from_record(record[1:]), attempt_log=attempts_from_records(attempts.get(record[0], [])))
                for record in records
            ]
        except msgspec.MsgspecError as error:
            raise Internal(f"the ledger {self._database.place} holds a row that is not Turnout's: {error}") from error

    def _count(self, rows: int) -> None:
        self._unsummed += rows
        if self._unsummed >= ROLL_EVERY:
            self._roll.set()

    def _sum(self) -> None:
        """The thread that sums. What fails now is done the next time: the rows themselves are safe."""
        behind = False
        while True:
            self._roll.wait()
            self._roll.clear()
            if self._writer.closing.is_set():
                return
            try:
                while not self._writer.closing.is_set() and self._rolled():
                    pass
            except psycopg.Error as error:
                if not behind:
                    logger.warning("the sums of the ledger %s are behind: %s", self._database.place, cause_of(error))
                behind = True
                self._writer.closing.wait(ROLL_RETRY_S)
                self._roll.set()
            else:
                behind, self._unsummed = False, 0

    def _rolled(self, *, wait_s: float = 0.0) -> bool:
        """As `roll`, which has a connection, and so its time, for each."""
        with self._database.connection() as db:
            return roll(db, wait_s=wait_s)


def _open_spool(folder: Path, megabytes: int, owner: str) -> Spool:
    try:
        return Spool(folder, HEAD, owner=owner, most_bytes=megabytes << 20)
    except OSError as error:
        raise ConfigError(
            f"store.folder: {folder}: {error.strerror}; rows wait there while PostgreSQL is away: name a folder that "
            "this user may write",
            param="store.folder",
        ) from error


def _ask(db: psycopg.Connection[Row], query: bytes, values: Mapping[str, Value]) -> list[Row]:
    # Values are put into the text: the planner then sees which months are meant.
    with ClientCursor(db) as cursor:
        cursor.adapters.register_loader("numeric", _Number)
        return cursor.execute(query, values).fetchall()
