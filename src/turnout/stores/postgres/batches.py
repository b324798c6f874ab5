"""One transaction of the ledger: rows, their attempts, prices and entries of budgets, each once whatever was written
before.

Rows go by COPY straight into their tables, which is what fresh rows can. Where one of them is there already (a batch
whose commit was not heard of, a spool that was shipped twice) all are copied beside and inserted where they are
missing; attempts only with their request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
import psycopg
from msgspec import Struct
from psycopg.errors import UniqueViolation

from turnout.spend.ledger import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    LedgerRow,
    Record,
    attempts_to_records,
    iso_utc,
    to_record,
)
from turnout.spend.spent import BudgetEntry
from turnout.stores.postgres.database import Row
from turnout.stores.postgres.schema import IN_BATCH, make_partitions, month_of

__all__ = ["Batch", "Written", "fit", "written_of"]

_TEXTS = frozenset(
    {
        *("request_id", "received_at", "key_id", "team", "session_id", "agent", "dialect", "mode", "tags"),
        *("requested_model", "deployment", "provider", "tier", "reason", "outcome", "error_code", "usage_raw"),
        *("price_source", "warnings", "decision", "service_tier", "price", "gateway", "feature", "target"),
    }
)

_INDEXED = tuple(
    COLUMNS.index(name)
    for name in ("key_id", "team", "session_id", "agent", "mode", "deployment", "provider", "tier", "reason", "gateway")
)

_MOST_BYTES = 600
"""Of a text that an index holds: PostgreSQL's takes 2,704 bytes of several together."""

_SURELY_SHORT = _MOST_BYTES // 4
"""Characters that are no more bytes than that, whatever they are."""

_RECEIVED, _TAGS = COLUMNS.index("received_at"), COLUMNS.index("tags")

_ROWS = ("nr", "feature", *COLUMNS)
_ATTEMPTS = ("nr", "received_at", *ATTEMPT_COLUMNS[1:])


def _types(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple("text" if name in _TEXTS else "int8" for name in columns)


def _copy(table: str, columns: Sequence[str]) -> bytes:
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)".encode()


_BESIDE = (
    b"CREATE TEMP TABLE IF NOT EXISTS new_requests (LIKE requests) ON COMMIT DELETE ROWS",
    b"CREATE TEMP TABLE IF NOT EXISTS new_attempts (LIKE attempts) ON COMMIT DELETE ROWS",
)

_INSERT = f"""
    WITH fresh AS (
        INSERT INTO requests ({", ".join(_ROWS)}) SELECT {", ".join(_ROWS)} FROM new_requests ORDER BY nr
        ON CONFLICT (request_id, received_at) DO NOTHING RETURNING nr
    )
    INSERT INTO attempts ({", ".join(_ATTEMPTS)}) SELECT {", ".join(_ATTEMPTS)} FROM new_attempts
    WHERE nr IN (SELECT nr FROM fresh)
    """.encode()  # noqa: S608 - our own column names

_ENTER = (
    b"INSERT INTO budget_entries (id, budget, at, kind, amount_nano_usd) VALUES (%s, %s, %s, %s, %s) "
    b"ON CONFLICT (id, budget) DO NOTHING"
)

_PRICE = b"INSERT INTO prices (digest, price) VALUES (%s, %s) ON CONFLICT DO NOTHING"


class Written(Struct, frozen=True, kw_only=True):
    """A row and its attempts as PostgreSQL takes them."""

    feature: str | None
    record: Record
    attempts: Sequence[Record]


class Batch(Struct, kw_only=True):
    """What is written as one."""

    rows: Sequence[Written] = ()
    entries: Sequence[BudgetEntry] = ()
    prices: Iterable[tuple[str, str]] = ()

    def write(self, db: psycopg.Connection[Row], made: set[str]) -> None:
        """Write all of it, or nothing. `made`: months that have partitions; this adds to them. Raises psycopg.Error."""
        months = {month for row in self.rows if (month := month_of(str(row.record[_RECEIVED])))}
        if missing := months - made:
            make_partitions(db, missing)
            made |= missing
        try:
            self._write(db, beside=False)
        except UniqueViolation:
            self._write(db, beside=True)

    def _write(self, db: psycopg.Connection[Row], *, beside: bool) -> None:
        with db.transaction(), db.cursor() as cursor:
            # A loss before the row that says that there was one.
            for entry in self.entries:
                cursor.execute(_ENTER, (*map(_clean, (entry.id, entry.budget)), iso_utc(entry.at), entry.kind,
                                        entry.amount_nano_usd))  # fmt: skip
            for price in self.prices:
                cursor.execute(_PRICE, price)
            if not self.rows:
                return
            first = self._number(cursor)
            if not beside:
                self._copy(cursor, first, "requests", "attempts")
                return
            for statement in _BESIDE:
                cursor.execute(statement)
            self._copy(cursor, first, "new_requests", "new_attempts")
            cursor.execute(_INSERT)

    def _number(self, cursor: psycopg.Cursor[Row]) -> int:
        """Take a number for this batch, and leave it for whoever sums; the first row's."""
        spans: dict[str, tuple[str, str]] = {}
        for row in self.rows:
            at = str(row.record[_RECEIVED])
            since, until = spans.get(at[:13], (at, at))
            spans[at[:13]] = min(since, at), max(until, at)
        found = cursor.execute(
            b"WITH taken AS MATERIALIZED (SELECT nextval('batches') AS batch) "
            b"INSERT INTO unsummed (batch, since, until) "
            b"SELECT batch, since, until FROM taken, unnest(%s::text[], %s::text[]) AS s (since, until) "
            b"RETURNING batch",
            ([since for since, _ in spans.values()], [until for _, until in spans.values()]),
        ).fetchone()
        assert found is not None  # noqa: S101 - RETURNING of at least one row
        return found[0] * IN_BATCH

    def _copy(self, cursor: psycopg.Cursor[Row], first: int, rows: str, attempts: str) -> None:
        with cursor.copy(_copy(rows, _ROWS)) as copy:
            copy.set_types(_types(_ROWS))
            for nr, row in enumerate(self.rows, first):
                copy.write_row((nr, row.feature, *row.record))
        with cursor.copy(_copy(attempts, _ATTEMPTS)) as copy:
            copy.set_types(_types(_ATTEMPTS))
            for nr, row in enumerate(self.rows, first):
                at = row.record[_RECEIVED]
                for attempt in row.attempts:
                    copy.write_row((nr, at, *attempt[1:]))


def written_of(row: LedgerRow) -> Written:
    """A row as PostgreSQL takes it, but for NUL and half surrogate pairs, which are rare enough to be met when it
    refuses them (`fit`). Of a text that an index holds 600 bytes are kept, and a hash of the rest. Raises TypeError,
    ValueError or OverflowError for a row that cannot be written."""
    written = Written(feature=row.tags.get("feature"), record=to_record(row), attempts=attempts_to_records(row))
    return fit(written) if _is_long(written) else written


def _is_long(row: Written) -> bool:
    record = row.record
    for at in _INDEXED:
        cell = record[at]
        if cell.__class__ is str and len(cell) > _SURELY_SHORT:  # type: ignore[arg-type]
            return True
    # PostgreSQL's JSON has no NUL either, and says so only when somebody reads it.
    return (row.feature is not None and len(row.feature) > _SURELY_SHORT) or "\\u0000" in str(record[_TAGS])


def fit(row: Written) -> Written:
    """The same with nothing that PostgreSQL refuses in a text."""
    cells = [_cell(cell) for cell in row.record]
    for at in _INDEXED:
        if isinstance(cell := cells[at], str):
            cells[at] = _short(cell)
    told = msgspec.json.decode(str(cells[_TAGS]), type=dict[str, str])
    tags = {_clean(name): _clean(value) for name, value in told.items()}
    cells[_TAGS] = msgspec.json.encode(tags).decode()
    feature = tags.get("feature")
    return Written(
        feature=None if feature is None else _short(feature),
        record=tuple(cells),
        attempts=[tuple(map(_cell, attempt)) for attempt in row.attempts],
    )


def _cell(cell: str | int | None) -> str | int | None:
    return _clean(cell) if isinstance(cell, str) else cell


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _short(text: str) -> str:
    if len(text) <= _SURELY_SHORT or len(text.encode()) <= _MOST_BYTES:
        return text
    kept = text.encode()[: _MOST_BYTES - 40].decode("utf-8", "ignore")
    return f"{kept}~{hashlib.sha256(text.encode()).hexdigest()[:32]}"
