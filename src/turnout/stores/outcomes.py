"""Outcomes in the ledger's SQLite file, and what is kept of their requests; written off the event loop, in batches."""

from __future__ import annotations

import logging
import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from turnout.errors import Internal
from turnout.learning import Asked
from turnout.routing.outcomes import Outcome
from turnout.spend.ledger import iso_utc
from turnout.stores.schema import cause_of, open_database

__all__ = ["MOST_KEPT_BYTES", "SqliteOutcomes"]

logger = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Rows that wait for the disk; beyond that new ones are lost: they are worth less than memory."""

MOST_KEPT_BYTES = 256 * 1024 * 1024
"""Of requests and answers whose text is kept, compressed. The oldest go first."""

BATCH = 500

TRIES = 3

OUTCOME_COLUMNS = tuple(Outcome.__struct_fields__)
ASKED_COLUMNS = tuple(Asked.__struct_fields__)
TEXTLESS_COLUMNS = tuple("NULL" if name in {"request", "answer"} else name for name in ASKED_COLUMNS)

_ADD = (
    f"INSERT OR REPLACE INTO outcomes ({', '.join(OUTCOME_COLUMNS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * len(OUTCOME_COLUMNS))})"
)
_KEEP = (
    f"INSERT OR REPLACE INTO asked ({', '.join(ASKED_COLUMNS)}, size) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * (len(ASKED_COLUMNS) + 1))})"
)
_RECENT = f"SELECT {', '.join(OUTCOME_COLUMNS)} FROM outcomes"  # noqa: S608 - our own column names
_FIND = f"SELECT {', '.join(ASKED_COLUMNS)} FROM asked"  # noqa: S608 - our own column names
_TEXTS = f"SELECT {', '.join(TEXTLESS_COLUMNS)} FROM asked WHERE at >= ? AND size > 0 ORDER BY at, rowid"  # noqa: S608
# Those with whom, counted from the newest on, the bound is passed.
_TRIM = """
    DELETE FROM asked WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, sum(size) OVER (ORDER BY at DESC, rowid DESC) AS so_far FROM asked WHERE size > 0
        ) WHERE so_far > ?
    )
    """

Cell = str | int | float | bytes | None


class SqliteOutcomes:
    """An `OutcomeStore` in the file `path`, or in memory for `:memory:`. Raises ConfigError for a file that cannot be
    opened. What the disk does not take after a few tries is logged and lost."""

    def __init__(
        self, path: str | Path, *, flush_interval_s: float = 0.2, most_kept_bytes: int = MOST_KEPT_BYTES
    ) -> None:
        self._path = str(path)
        self._db = open_database(self._path)
        self._lock = threading.Lock()
        self._interval_s = flush_interval_s
        self._most_kept_bytes = most_kept_bytes
        self._waiting: deque[Outcome | Asked] = deque()
        self._keep_days = 90
        self._pruned_on: str | None = None
        self._lost = False
        self._wake, self._closing = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._run, name="turnout-outcomes", daemon=True)
        self._writer.start()

    def add(self, outcome: Outcome) -> None:
        self._take(outcome)

    def keep(self, asked: Asked) -> None:
        self._take(asked)

    def keep_for(self, days: int) -> None:
        self._keep_days, self._pruned_on = days, None

    def recent(self, limit: int, model: str | None = None) -> list[Outcome]:
        order = "ORDER BY at DESC, rowid DESC LIMIT ?"
        if model is None:
            rows = self._read(f"{_RECENT} {order}", (limit,))
        else:
            rows = self._read(f"{_RECENT} WHERE model = ? {order}", (model, limit))
        return [msgspec.convert(dict(zip(OUTCOME_COLUMNS, row, strict=True)), Outcome) for row in rows]

    def since(self, at: datetime) -> list[Outcome]:
        """Every outcome since `at`, oldest first. Raises Internal."""
        rows = self._read(f"{_RECENT} WHERE at >= ? ORDER BY at, rowid", (iso_utc(at),))
        return [msgspec.convert(dict(zip(OUTCOME_COLUMNS, row, strict=True)), Outcome) for row in rows]

    def find(self, request_id: str) -> Asked | None:
        rows = self._read(f"{_FIND} WHERE request_id = ? ORDER BY at LIMIT 1", (request_id,))
        return _asked(rows[0]) if rows else None

    def texts_since(self, at: datetime) -> list[Asked]:
        """Every request since `at` whose text is kept, oldest first; without the text: `text` has that. Raises
        Internal."""
        return [_asked(row) for row in self._read(_TEXTS, (iso_utc(at),))]

    def text(self, request_id: str, model: str) -> Asked | None:
        """One of those, whole. Raises Internal."""
        rows = self._read(f"{_FIND} WHERE request_id = ? AND model = ?", (request_id, model))
        return _asked(rows[0]) if rows else None

    def flush(self) -> None:
        """Write what waits, now."""
        self._drain()

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._writer.join(5)
        with self._lock:
            self._db.close()

    def _take(self, row: Outcome | Asked) -> None:
        if len(self._waiting) >= MOST_WAITING or self._closing.is_set():
            self._tell("too many wait to be written")
            return
        self._waiting.append(row)
        self._wake.set()

    def _read(self, query: str, values: Sequence[Cell]) -> list[Sequence[Cell]]:
        self.flush()
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Internal(f"outcomes in {self._path} cannot be read: {cause_of(error)}") from error

    def _run(self) -> None:
        """The writer's thread: asleep until there is something, then a little longer, so that more comes with it."""
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(self._interval_s)
            self._wake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        with self._lock:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                for last in (False,) * (TRIES - 1) + (True,):
                    try:
                        self._write(batch)
                        break
                    except sqlite3.Error as error:
                        if last:
                            self._tell(cause_of(error))

    def _write(self, batch: Sequence[Outcome | Asked]) -> None:
        """One transaction. Raises sqlite3.Error."""
        now = datetime.now(UTC)
        asked = [row for row in batch if isinstance(row, Asked)]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_ADD, [_cells(row) for row in batch if isinstance(row, Outcome)])
            self._db.executemany(_KEEP, [(*(cells := _cells(row)), _size(cells)) for row in asked])
            if any(row.request is not None for row in asked):
                self._db.execute(_TRIM, (self._most_kept_bytes,))
            today = now.date().isoformat()
            if self._pruned_on != today:
                oldest = iso_utc(now - timedelta(days=self._keep_days))
                self._db.execute("DELETE FROM outcomes WHERE at < ?", (oldest,))
                self._db.execute("DELETE FROM asked WHERE at < ?", (oldest,))
                self._pruned_on = today
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _tell(self, why: str) -> None:
        if not self._lost:
            logger.error("outcomes are lost, and nothing else: %s", why)
        self._lost = True


def _cells(row: Outcome | Asked) -> tuple[Cell, ...]:
    return tuple(_cell(name, value) for name, value in zip(row.__struct_fields__, msgspec.structs.astuple(row)))  # noqa: B905


def _cell(name: str, value: object) -> Cell:
    if isinstance(value, datetime):
        return iso_utc(value)
    if name in {"request", "answer"} and isinstance(value, bytes):
        return zlib.compress(value, 1)
    if isinstance(value, str):  # a lone surrogate of a caller's must not hold up the batch
        return value.encode("utf-8", "replace").decode()
    return value if isinstance(value, int | float | bytes) else None


def _size(cells: Sequence[Cell]) -> int:
    """Bytes of a request's text and its answer's, as they are kept; 0 where they are not."""
    texts = dict(zip(ASKED_COLUMNS, cells, strict=True))
    return sum(len(text) for name in ("request", "answer") if isinstance(text := texts[name], bytes))


def _asked(row: Sequence[Cell]) -> Asked:
    fields = dict(zip(ASKED_COLUMNS, row, strict=True))
    for name in ("request", "answer"):
        if isinstance(text := fields[name], bytes):
            fields[name] = zlib.decompress(text)
    return msgspec.convert(fields, Asked, strict=False)
