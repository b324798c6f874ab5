"""Outcomes in PostgreSQL, and what is kept of their requests: what one gateway saw, all learn from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg

from turnout.errors import Internal
from turnout.learning import Asked
from turnout.routing.outcomes import Outcome
from turnout.stores.outcome_queue import (
    ASKED_COLUMNS,
    MOST_KEPT_BYTES,
    OUTCOME_COLUMNS,
    TEXTS,
    Cell,
    OutcomeQueue,
    asked_of,
    cells_of,
    outcome_of,
    size_of,
)
from turnout.stores.postgres.database import Database, Row, cause_of, is_passing
from turnout.stores.postgres.text import plain

__all__ = ["PostgresOutcomes"]

MOST_FORGOTTEN = 5_000

UNCOUNTED = 64
"""A gateway keeps up to one part in so many of the bound before it counts again what is there."""

_TRIMMING = 0x74757270  # an advisory lock: of several gateways one forgets


def _upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> bytes:
    told = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {told}, number = DEFAULT"
    ).encode()


_ADD = _upsert("outcomes", OUTCOME_COLUMNS, ("request_id", "model", "source"))
_KEEP = _upsert("asked", (*ASKED_COLUMNS, "size"), ("request_id", "model"))

_RECENT = f"SELECT {', '.join(OUTCOME_COLUMNS)} FROM outcomes"  # noqa: S608 - our own column names
_FIND = f"SELECT {', '.join(ASKED_COLUMNS)} FROM asked"  # noqa: S608 - our own column names
_TEXTLESS = ", ".join("NULL" if name in TEXTS else name for name in ASKED_COLUMNS)
_TEXTS = f"SELECT {_TEXTLESS} FROM asked WHERE at >= %s AND size > 0 ORDER BY at, number"  # noqa: S608 - as above
# Those with whom, counted from the newest on, the bound is passed.
_TRIM = b"""
    DELETE FROM asked WHERE number IN (
        SELECT number FROM (
            SELECT number, sum(size) OVER (ORDER BY at DESC, number DESC) AS so_far FROM asked WHERE size > 0
        ) AS counted WHERE so_far > %s
    )
    """
_FORGET = tuple(
    f"DELETE FROM {table} WHERE number IN (SELECT number FROM {table} WHERE at < %s LIMIT {MOST_FORGOTTEN})".encode()  # noqa: S608 - our own names
    for table in ("outcomes", "asked")
)


class PostgresOutcomes(OutcomeQueue):
    """An `OutcomeArchive`. While the database is away rows wait in memory, up to a bound."""

    def __init__(self, database: Database, *, flush_interval_s: float = 0.2) -> None:
        self._database = database
        self._uncounted = float("inf")
        super().__init__(flush_interval_s=flush_interval_s)

    def recent(self, limit: int, model: str | None = None) -> list[Outcome]:
        order = "ORDER BY at DESC, number DESC LIMIT %s"
        if model is None:
            rows = self._read(f"{_RECENT} {order}", (limit,))
        else:
            rows = self._read(f"{_RECENT} WHERE model = %s {order}", (plain(model), limit))
        return [outcome_of(row) for row in rows]

    def since(self, at: datetime) -> list[Outcome]:
        return [outcome_of(row) for row in self._read(f"{_RECENT} WHERE at >= %s ORDER BY at, number", (at,))]

    def find(self, request_id: str) -> Asked | None:
        rows = self._read(f"{_FIND} WHERE request_id = %s ORDER BY at LIMIT 1", (plain(request_id),))
        return asked_of(rows[0]) if rows else None

    def texts_since(self, at: datetime) -> list[Asked]:
        return [asked_of(row) for row in self._read(_TEXTS, (at,))]

    def text(self, request_id: str, model: str) -> Asked | None:
        rows = self._read(f"{_FIND} WHERE request_id = %s AND model = %s", (plain(request_id), plain(model)))
        return asked_of(rows[0]) if rows else None

    def written(self, batch: Sequence[Outcome | Asked]) -> bool:
        try:
            with self._database.transaction() as db:
                self._write(db, batch)
            self._forget()
        except psycopg.Error as error:
            if is_passing(error):
                return False
            self.tell(cause_of(error))
        return True

    def let_go(self) -> None:
        """The database is its owner's."""

    def _read(self, query: str, values: Sequence[Cell]) -> list[Row]:
        self.flush()
        try:
            return self._database.query(query, values)
        except psycopg.Error as error:
            why = self._database.why_not(error)
            raise Internal(f"outcomes in {self._database.place} cannot be read: {why}") from None

    def _write(self, db: psycopg.Connection[Row], batch: Sequence[Outcome | Asked]) -> None:
        """Raises psycopg.Error."""
        outcomes = [_cells(row) for row in batch if isinstance(row, Outcome)]
        asked = [(*(cells := _cells(row)), size_of(cells)) for row in batch if isinstance(row, Asked)]
        with db.cursor() as cursor:
            if outcomes:
                cursor.executemany(_ADD, outcomes)
            if asked:
                cursor.executemany(_KEEP, asked)
        self._uncounted += sum(row[-1] for row in asked)

    def _forget(self) -> None:
        """What is too old, and texts beyond their bound: one gateway at a time. Raises psycopg.Error."""
        oldest, too_many = self.oldest_kept(), self._uncounted > MOST_KEPT_BYTES // UNCOUNTED
        if oldest is None and not too_many:
            return
        with self._database.transaction() as db:
            found = db.execute(b"SELECT pg_try_advisory_xact_lock(%s)", (_TRIMMING,)).fetchone()
            if not found or not found[0]:
                return
            if too_many:
                db.execute(_TRIM, (MOST_KEPT_BYTES,))
                self._uncounted = 0
            if oldest is not None and all(db.execute(sql, (oldest,)).rowcount < MOST_FORGOTTEN for sql in _FORGET):
                self.pruned()


def _cells(row: Outcome | Asked) -> tuple[Cell, ...]:
    return tuple(plain(cell) if isinstance(cell, str) else cell for cell in cells_of(row))
