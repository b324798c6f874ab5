"""One transaction of the ledger: rows, their attempts, prices and entries of budgets, each once whatever was written
before.

Rows go by COPY straight into their tables, which is what fresh rows can. Where one of them is there already (a batch
whose commit was not heard of, a spool that was shipped twice) all are copied beside and inserted where they are
missing; attempts only with their request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import psycopg
from msgspec import Struct
from psycopg.errors import UniqueViolation

from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.spend.spent import BudgetEntry
from turnout.stores.postgres.database import Row
from turnout.stores.postgres.lines import ATTEMPTS, NULL, ROWS, Lines, exact_lines, line_bytes, lines_of
from turnout.stores.postgres.schema import IN_BATCH, make_partitions, month_of
from turnout.stores.postgres.text import plain

__all__ = ["Batch"]

PIECE = 200
"""Rows that are made lines and sent at a time: the server takes them while the next are made, and no single step holds
Python's lock for long."""


def _copy(table: str, columns: Sequence[str]) -> bytes:
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN (NULL '{NULL}')".encode()


_BESIDE = (
    b"CREATE TEMP TABLE IF NOT EXISTS new_requests (LIKE requests) ON COMMIT DELETE ROWS",
    b"CREATE TEMP TABLE IF NOT EXISTS new_attempts (LIKE attempts) ON COMMIT DELETE ROWS",
)

_INSERT = f"""
    WITH fresh AS (
        INSERT INTO requests ({", ".join(ROWS)}) SELECT {", ".join(ROWS)} FROM new_requests ORDER BY nr
        ON CONFLICT (request_id, received_at) DO NOTHING RETURNING nr
    )
    INSERT INTO attempts ({", ".join(ATTEMPTS)}) SELECT {", ".join(ATTEMPTS)} FROM new_attempts
    WHERE nr IN (SELECT nr FROM fresh)
    """.encode()  # noqa: S608 - our own column names

_ENTER = (
    b"INSERT INTO budget_entries (id, budget, at, kind, amount_nano_usd) "
    b"SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[]) "
    b"ON CONFLICT (id, budget) DO NOTHING"
)

_PRICE = b"INSERT INTO prices (digest, price) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING"


class Batch(Struct, kw_only=True):
    """What is written as one. `exact`: rows are made to fit cell by cell, because PostgreSQL refused one. `unfit`: is
    told of a row that cannot be written at all, and why; it may be told twice."""

    rows: Sequence[LedgerRow] = ()
    entries: Sequence[BudgetEntry] = ()
    prices: Iterable[tuple[str, str]] = ()
    exact: bool = False
    unfit: Callable[[LedgerRow, Exception], None] = lambda _row, _error: None

    def write(self, db: psycopg.Connection[Row], made: set[str]) -> None:
        """Write all of it, or nothing. `made`: months that have partitions; this adds to them. Raises psycopg.Error,
        and UnicodeEncodeError for a text that is none where it is not `exact`."""
        spans = _spans([str(row.received_at) for row in self.rows])
        months = {month for since, _ in spans if (month := month_of(since))}
        if missing := months - made:
            make_partitions(db, missing)
            made |= missing
        try:
            self._write(db, spans, beside=False)
        except UniqueViolation:
            self._write(db, spans, beside=True)

    def _write(self, db: psycopg.Connection[Row], spans: Sequence[tuple[str, str]], *, beside: bool) -> None:
        with db.transaction(), db.cursor() as cursor:
            # A loss before the row that says that there was one.
            if self.entries:
                cursor.execute(_ENTER, _columns(self.entries))
            if prices := sorted(self.prices):
                cursor.execute(_PRICE, ([digest for digest, _ in prices], [price for _, price in prices]))
            if not self.rows:
                return
            first = _number(cursor, spans, len(self.rows))
            if not beside:
                self._copy(cursor, first, "requests", "attempts")
                return
            for statement in _BESIDE:
                cursor.execute(statement)
            self._copy(cursor, first, "new_requests", "new_attempts")
            cursor.execute(_INSERT)

    def _copy(self, cursor: psycopg.Cursor[Row], first: int, rows: str, attempts: str) -> None:
        pieces: list[bytes] = []
        with cursor.copy(_copy(rows, ROWS)) as copy:
            for begun in range(0, len(self.rows), PIECE):
                lines = self._lines(self.rows[begun : begun + PIECE])
                numbered = list(enumerate(lines, first + begun))
                copy.write(line_bytes((nr, line.row) for nr, line in numbered))
                pieces.append(line_bytes((nr, attempt) for nr, line in numbered for attempt in line.attempts))
        with cursor.copy(_copy(attempts, ATTEMPTS)) as copy:
            for piece in pieces:
                copy.write(piece)

    def _lines(self, rows: Sequence[LedgerRow]) -> list[Lines]:
        make = exact_lines if self.exact else lines_of
        lines: list[Lines] = []
        for row in rows:
            try:
                lines.append(make(row))
            except (TypeError, ValueError, OverflowError) as error:
                self.unfit(row, error)
        return lines


def _columns(entries: Sequence[BudgetEntry]) -> tuple[list[str] | list[int], ...]:
    return (
        [plain(entry.id) for entry in entries],
        [plain(entry.budget) for entry in entries],
        [iso_utc(entry.at) for entry in entries],
        [entry.kind for entry in entries],
        [entry.amount_nano_usd for entry in entries],
    )


def _spans(times: Sequence[str]) -> list[tuple[str, str]]:
    """The first and the last of these times in each hour that has some."""
    hours = {at[:13] for at in times}
    if len(hours) == 1:  # nearly always
        return [(min(times), max(times))]
    spans: dict[str, tuple[str, str]] = {}
    for at in times:
        since, until = spans.get(at[:13], (at, at))
        spans[at[:13]] = min(since, at), max(until, at)
    return list(spans.values())


def _number(cursor: psycopg.Cursor[Row], spans: Sequence[tuple[str, str]], rows: int) -> int:
    """Take a number for this batch, and leave it for whoever sums; the first row's."""
    found = cursor.execute(
        b"WITH taken AS MATERIALIZED (SELECT nextval('batches') AS batch) "
        b"INSERT INTO unsummed (batch, since, until, size) "
        b"SELECT batch, since, until, %s FROM taken, unnest(%s::text[], %s::text[]) AS s (since, until) "
        b"RETURNING batch",
        (rows, [since for since, _ in spans], [until for _, until in spans]),
    ).fetchone()
    assert found is not None  # noqa: S101 - RETURNING of at least one row
    return found[0] * IN_BATCH
