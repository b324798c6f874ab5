"""Outcomes in the ledger's SQLite file, and what is kept of their requests; written off the event loop, in batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from turnout.errors import Internal
from turnout.learning import Asked
from turnout.routing.outcomes import Outcome
from turnout.spend.ledger import iso_utc
from turnout.stores.outcome_queue import (
    ASKED_COLUMNS,
    MOST_KEPT_BYTES,
    OUTCOME_COLUMNS,
    Cell,
    OutcomeQueue,
    cells_of,
    size_of,
)
from turnout.stores.schema import LOCKED, cause_of, code_of, open_database

__all__ = ["SqliteOutcomes"]

TRIES = 3

_ADD = (
    f"INSERT OR REPLACE INTO outcomes ({', '.join(OUTCOME_COLUMNS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * len(OUTCOME_COLUMNS))})"
)
_KEEP = (
    f"INSERT OR REPLACE INTO asked ({', '.join(ASKED_COLUMNS)}, size) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * (len(ASKED_COLUMNS) + 1))})"
)
# Those with whom, counted from the newest on, the bound is passed.
_TRIM = """
    DELETE FROM asked WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, sum(size) OVER (ORDER BY at DESC, rowid DESC) AS so_far FROM asked WHERE size > 0
        ) WHERE so_far > ?
    )
    """


class SqliteOutcomes(OutcomeQueue):
    """An `OutcomeArchive` in the file `path`, or in memory for `:memory:`. Raises ConfigError for a file that cannot be
    opened. What the disk does not take after a few tries is logged and lost, what a lock keeps off it waits."""

    number = "rowid"

    def __init__(self, path: str | Path, *, flush_interval_s: float = 0.2) -> None:
        self._path = str(path)
        self._db = open_database(self._path)
        super().__init__(flush_interval_s=flush_interval_s)

    def written(self, batch: Sequence[Outcome | Asked]) -> bool:
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                self._write(batch)
                break
            except sqlite3.Error as error:
                if last:
                    if code_of(error) in LOCKED:
                        return False
                    self.tell(cause_of(error))
        return True

    def let_go(self) -> None:
        self._db.close()

    def read(self, query: str, values: Sequence[Cell]) -> list[Sequence[Cell]]:
        try:
            with self._lock:
                return self._db.execute(query, _plain(values)).fetchall()
        except sqlite3.Error as error:
            raise Internal(f"outcomes in {self._path} cannot be read: {cause_of(error)}") from error

    def _write(self, batch: Sequence[Outcome | Asked]) -> None:
        """One transaction. Raises sqlite3.Error."""
        asked = [_cells(row) for row in batch if isinstance(row, Asked)]
        oldest = self.oldest_kept()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_ADD, [_cells(row) for row in batch if isinstance(row, Outcome)])
            sizes = list(map(size_of, asked))
            self._db.executemany(_KEEP, [(*cells, size) for cells, size in zip(asked, sizes, strict=True)])
            if any(sizes):
                self._db.execute(_TRIM, (MOST_KEPT_BYTES,))
            if oldest is not None:
                self._db.execute("DELETE FROM outcomes WHERE at < ?", (iso_utc(oldest),))
                self._db.execute("DELETE FROM asked WHERE at < ?", (iso_utc(oldest),))
                self.pruned()
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _cells(row: Outcome | Asked) -> tuple[Cell, ...]:
    return _plain(cells_of(row))


def _plain(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Times as text: SQLite has no type for them."""
    return tuple(iso_utc(cell) if isinstance(cell, datetime) else cell for cell in cells)
