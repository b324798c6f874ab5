"""Outcomes in PostgreSQL, and what is kept of their requests: what one gateway saw, all learn from."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from turnout.errors import Internal
from turnout.learning import Asked
from turnout.routing.outcomes import Outcome
from turnout.stores.outcome_queue import (
    ASKED_COLUMNS,
    MOST_KEPT_BYTES,
    OUTCOME_COLUMNS,
    Cell,
    OutcomeQueue,
    cells_of,
    size_of,
)
from turnout.stores.postgres.database import Database, Row, cause_of, is_passing, lock_named
from turnout.stores.postgres.text import plain

__all__ = ["PostgresOutcomes"]

MOST_FORGOTTEN = 5_000

UNCOUNTED = 64
"""A gateway keeps up to one part in so many of the bound before it counts again what is there."""

_ALONE = f"SELECT pg_try_advisory_xact_lock({lock_named('outcomes')})".encode()
"""Of several gateways one forgets."""


def _upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> bytes:
    told = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {told}, number = DEFAULT"
    ).encode()


_ADD = _upsert("outcomes", OUTCOME_COLUMNS, ("request_id", "model", "source"))
_KEEP = _upsert("asked", (*ASKED_COLUMNS, "size"), ("request_id", "model"))

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

    number = "number"

    def __init__(self, database: Database, *, flush_interval_s: float = 0.2) -> None:
        self._database = database
        self._uncounted = float("inf")
        super().__init__(flush_interval_s=flush_interval_s)

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

    def read(self, query: str, values: Sequence[Cell]) -> list[Row]:
        try:
            return self._database.query(query.replace("?", "%s"), _plain(values))
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
            found = db.execute(_ALONE).fetchone()
            if not found or not found[0]:
                return
            if too_many:
                db.execute(_TRIM, (MOST_KEPT_BYTES,))
                self._uncounted = 0
            if oldest is not None and all(db.execute(sql, (oldest,)).rowcount < MOST_FORGOTTEN for sql in _FORGET):
                self.pruned()


def _cells(row: Outcome | Asked) -> tuple[Cell, ...]:
    return _plain(cells_of(row))


def _plain(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    return tuple(plain(cell) if isinstance(cell, str) else cell for cell in cells)
