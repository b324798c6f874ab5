"""The ledger in one SQLite file, written by one thread.

A request's thread only puts its row on a queue. The writer wakes every `flush_interval_s`, takes all that waits
and writes it in one transaction (WAL, synchronous=NORMAL): a killed process loses what came in since the last
flush and nothing before; a power cut may take the newest transactions too, and never the file. When the disk
fails, rows wait in memory up to `max_waiting` and are tried again, at longer and longer intervals.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import structs

from turnout.catalog.prices import Price
from turnout.errors import ConfigError, Internal, InvalidRequest
from turnout.spend.ledger import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    LedgerRow,
    Record,
    attempts_from_records,
    attempts_to_records,
    from_record,
    iso_utc,
    price_record,
    to_record,
)
from turnout.spend.spent import Asked, BudgetEntry, Past, Question, answer, minute_of
from turnout.spend.volume import Volume
from turnout.spend.wanted import Wanted
from turnout.stores.finding import find_query
from turnout.stores.questions import LedgerQuestions, Value
from turnout.stores.schema import BUSY_TIMEOUT_S, LOCKED, MEMORY, cause_of, code_of, identity_of, open_database
from turnout.stores.spending import past_of, spending_query, spent_of_record
from turnout.stores.sums import roll
from turnout.stores.taking import Followers, Losses
from turnout.stores.usage import usage_query

__all__ = ["SqliteLedger"]

logger = logging.getLogger(__name__)

BATCH = 2_000
"""Rows a transaction: enough that its cost vanishes, few enough that a flush behind them need not wait long."""

MAX_RETRY_S = 5.0

ROLL_EVERY = 20_000
"""Rows after which the sums are brought up though nobody asks: so that whoever does need not wait for many."""

ROLL_WAIT_S = 10.0
"""Beyond that sums are told as they are: an old file of millions is being summed for the first time."""

LOCK_PATIENCE_S = 5.0
"""Others write to the file too: so long one may hold its lock before that is a fault that budgets must hear of."""

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM requests"  # noqa: S608 - our own column names
# Not INSERT OR IGNORE: that would also swallow a row with a hole where none may be.
_INSERT = (
    f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (request_id) DO NOTHING"
)

_INSERT_ATTEMPT = (
    f"INSERT INTO attempts ({', '.join(ATTEMPT_COLUMNS)}) VALUES ({', '.join('?' * len(ATTEMPT_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (request_id, number) DO NOTHING"
)
_SELECT_ATTEMPTS = f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempts WHERE request_id = ? ORDER BY number"  # noqa: S608

_ENTRY_COLUMNS = BudgetEntry.__struct_fields__
_INSERT_ENTRY = (
    f"INSERT INTO budget_entries ({', '.join(_ENTRY_COLUMNS)}) VALUES (?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (id, budget) DO NOTHING"
)
_PASSING = LOCKED | {sqlite3.SQLITE_FULL}


class _Marker(threading.Event):
    """Stands in the queue behind the rows that somebody waits for; `sums`: until they are summed too; `answer`: what is
    done when they are written and none behind them is."""

    def __init__(self, *, sums: bool = False, answer: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.sums = sums
        self.answer = answer

    def passed(self) -> None:
        """To be called by the writer, once or more."""
        if self.answer is not None and not self.is_set():
            self.answer()
        self.set()


_Queued = LedgerRow | BudgetEntry | _Marker


class SqliteLedger(LedgerQuestions):
    """A `Ledger` in the SQLite file `path`, or in memory alone for `:memory:`.

    The file is made if there is none; its folder is not. Raises ConfigError, with the path and the next step,
    for a file that cannot be opened or is not a ledger of this version or an older one. `patience_s`: how long a lock
    may be another's before the ledger is not healthy. `on_written` is told, in the
    writer's thread, which requests are on disk now.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        flush_interval_s: float = 0.1,
        max_waiting: int = 100_000,
        patience_s: float = LOCK_PATIENCE_S,
        on_written: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self._patience_s = patience_s
        self._locked_s: float | None = None
        self._on_written = on_written
        self._path = str(path)
        self._interval = flush_interval_s
        self._max_waiting = max_waiting
        self._queue: deque[_Queued] = deque()
        self._asked: deque[_Marker] = deque()
        self._followers = Followers()
        # Rows taken from the queue whose transaction has not succeeded yet. The writer's own.
        self._batch: list[_Queued] = []
        self._unsummed = ROLL_EVERY  # nobody knows: look at the first chance
        self._losses = Losses(self._path, logger)
        self._failing = False
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._deadline = float("inf")
        self._write_db: sqlite3.Connection | None = open_database(self._path)
        # A database in memory belongs to its connection, so there reads and writes share one and take turns.
        self._read_db = self._write_db if self._path == MEMORY else open_database(self._path)
        self._file = identity_of(self._path)
        self._read_lock = threading.Lock()
        self._write_lock = self._read_lock if self._path == MEMORY else threading.Lock()
        self._writer = threading.Thread(target=self._run, name="turnout-ledger", daemon=True)
        self._writer.start()

    @property
    def healthy(self) -> bool:
        return not self._failing

    @property
    def last_error(self) -> str | None:
        return self._losses.last_error

    @property
    def dropped(self) -> int:
        return self._losses.rows

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._batch)

    def append(self, row: LedgerRow) -> None:
        self._followers.tell(row)
        if len(self._queue) >= self._max_waiting or self._closing.is_set():
            self._losses.drop(
                1, "the ledger is closed" if self._closing.is_set() else "too many rows wait to be written"
            )
            return
        self._queue.append(row)

    def enter(self, entry: BudgetEntry) -> None:
        self._followers.tell(entry)
        self._queue.append(entry)

    def flush(self, timeout_s: float = 5.0) -> bool:
        return self._await(_Marker(), timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        if self._closing.is_set():
            return
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        self._wake.set()
        # The writer stops at the deadline by itself; SQLite may keep it a little longer on a lock.
        self._writer.join(timeout_s + BUSY_TIMEOUT_S + 1)
        with self._read_lock:
            self._read_db.close()

    def get(self, request_id: str) -> LedgerRow | None:
        rows = self._read(f"{_SELECT} WHERE request_id = ?", (request_id,))
        return self._rows(rows)[0] if rows else None

    def recent(self, limit: int, session: str | None = None) -> list[LedgerRow]:
        return self.find(limit, Wanted(session=session))

    def find(self, limit: int, wanted: Wanted) -> list[LedgerRow]:
        if not 1 <= limit <= 10_000:
            raise InvalidRequest(f"limit = {limit}: choose 1 to 10000", param="limit")
        end, values = find_query(wanted, limit, number="rowid")
        return self._rows(self._read(f"{_SELECT} {end}", values))

    def ask_spending(self, questions: Sequence[Question]) -> Asked:
        told: Future[Past] = Future()
        since = min(question.since for question in questions)
        marker = _Marker(answer=lambda: answer(told, lambda: self._known(questions, since, marker)))
        heard = self._followers.follow()
        if self._writer.is_alive() and not self._closing.is_set():
            self._asked.append(marker)
            self._queue.append(marker)
            self._wake.set()
        else:
            answer(told, self._closed)
        return Asked(told=told, later=lambda: past_of(heard()))

    def _closed(self) -> Past:
        """What waits may be written while it is read, or be lost: nobody knows."""
        raise Internal(f"the ledger {self._path} cannot say what was spent: it is closed")

    def _known(self, questions: Sequence[Question], since: datetime, marker: _Marker) -> Past:
        """What is written, and what the disk has not taken yet of what came before `marker`."""
        past = self._past(questions, since)
        waiting = [*self._batch, *self._queue.copy()]  # of a drain that succeeded, none of it
        before = waiting[: waiting.index(marker)] if marker in waiting else []
        more = past_of(item for item in before if not isinstance(item, _Marker))
        first = minute_of(since)
        for spent in past.spent:
            spent.extend(s for s in more.spent[0] if s.at >= first)
        return Past(spent=past.spent, entries=[*past.entries, *(e for e in more.entries if e.at >= since)])

    def _past(self, questions: Sequence[Question], since: datetime) -> Past:
        spent = tuple([spent_of_record(r) for r in self._query(*spending_query(q))] for q in questions)
        return Past(spent=spent, entries=self._entries(since))

    def usage(self, since: datetime, until: datetime, by: str) -> list[Volume]:
        query, path = usage_query(by)
        rows = self._read(query, (iso_utc(since), iso_utc(until), path))
        return [msgspec.convert(dict(zip(Volume.__struct_fields__, r, strict=True)), Volume) for r in rows]

    def _read(self, query: str, values: Sequence[Value]) -> list[Record]:
        # While the disk fails, a reader gets what is there and does not wait for it.
        if not self._closing.is_set() and not self._failing:
            self.flush()
        return self._query(query, values)

    def _summed(self, query: str, values: Sequence[Value]) -> list[Record]:
        """As `_read`, of the sums, which are brought up to the newest row first."""
        if not self._closing.is_set() and not self._failing:
            self._await(_Marker(sums=True), ROLL_WAIT_S)
        return self._query(query, values)

    def _query(self, query: str, values: Sequence[Value]) -> list[Record]:
        try:
            with self._read_lock:
                return self._read_db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            why = self._losses.last_error if self._failing else cause_of(error)
            raise Internal(f"the ledger {self._path} cannot be read: {why}") from error

    def _rows(self, records: Sequence[Record]) -> list[LedgerRow]:
        try:
            rows = [from_record(r) for r in records]
            return [
                structs.replace(
                    row, attempt_log=attempts_from_records(self._query(_SELECT_ATTEMPTS, (row.request_id,)))
                )
                for row in rows
            ]
        except msgspec.MsgspecError as error:
            raise Internal(f"the ledger {self._path} holds a row that is not Turnout's: {error}") from error

    def _await(self, marker: _Marker, timeout_s: float) -> bool:
        if not self._writer.is_alive():
            return not self._queue and not self._batch
        self._queue.append(marker)
        self._wake.set()
        return marker.wait(timeout_s)

    # The writer's thread.

    def _run(self) -> None:
        wait = self._interval
        while True:
            self._wake.wait(wait)
            self._wake.clear()
            # Read before the rows are: what was appended before closing is in the queue by now.
            closing = self._closing.is_set()
            wait = self._interval if self._drain() else min(max(wait, self._interval) * 2, MAX_RETRY_S)
            left = self._deadline - time.monotonic()
            if closing and ((not self._batch and not self._queue) or left <= 0):
                break
            if closing:
                wait = min(wait, max(left, 0.001))
        self._end()

    def _drain(self) -> bool:
        """Write all that waits; False when the disk would not take it."""
        while True:
            while self._queue and len(self._batch) < BATCH and not _asks(self._batch):
                self._batch.append(self._queue.popleft())
            if not self._batch:
                return True
            try:
                self._write(self._batch)
            except (sqlite3.Error, ConfigError) as error:
                self._failed(error)
                while self._asked:  # they are not made to wait for a disk
                    self._asked.popleft().passed()
                return False
            self._recovered()
            written = [row.request_id for row in self._batch if isinstance(row, LedgerRow)]
            self._on_written(written)
            markers = [item for item in self._batch if isinstance(item, _Marker)]
            self._batch.clear()
            self._unsummed += len(written)
            if self._unsummed >= ROLL_EVERY or any(marker.sums for marker in markers):
                self._roll()
            for marker in markers:
                marker.passed()
                if marker in self._asked:
                    self._asked.remove(marker)

    def _write(self, batch: Sequence[_Queued]) -> None:
        """One transaction. Raises sqlite3.Error when it failed as a whole, ConfigError when the file, opened
        anew, is no ledger any more."""
        entries = [item for item in batch if isinstance(item, BudgetEntry)]
        prices = {price_record(r.price) for r in batch if isinstance(r, LedgerRow) and isinstance(r.price, Price)}
        records = [found for row in batch if isinstance(row, LedgerRow) and (found := self._record(row)) is not None]
        if not records and not entries:
            return
        if self._write_db is None or self._moved():
            self._reopen()
        try:
            self._insert(records, entries, prices)
        except (sqlite3.IntegrityError, ValueError):
            # One row that no try will ever write (lone surrogates) must not hold up the others.
            self._insert([], entries, prices)
            for record, attempts in records:
                try:
                    self._insert([(record, attempts)], [])
                except (sqlite3.IntegrityError, ValueError) as error:
                    self._losses.drop(1, f"request {record[0]!a} cannot be written ({type(error).__name__})")

    def _insert(
        self,
        records: Sequence[tuple[Record, list[Record]]],
        entries: Sequence[BudgetEntry],
        prices: Iterable[tuple[str, str]] = (),
    ) -> None:
        db = self._write_db
        if db is None:
            return
        with self._write_lock:
            db.execute("BEGIN IMMEDIATE")
            try:
                # A loss before the row that says that there was one.
                db.executemany(_INSERT_ENTRY, [_entry_record(entry) for entry in entries])
                db.executemany("INSERT INTO prices (digest, price) VALUES (?, ?) ON CONFLICT DO NOTHING", list(prices))
                db.executemany(_INSERT, [record for record, _ in records])
                db.executemany(_INSERT_ATTEMPT, [attempt for _, attempts in records for attempt in attempts])
                db.execute("COMMIT")
            finally:
                # After a success, or a full disk that SQLite rolled back by itself, there is none to end.
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _roll(self) -> None:
        """Sum what is not summed yet. What fails now is done the next time: the rows themselves are safe."""
        try:
            if self._write_db is not None:
                with self._write_lock:
                    roll(self._write_db)
            self._unsummed = 0
        except sqlite3.Error as error:
            logger.warning("the sums of the ledger %s are behind: %s", self._path, cause_of(error))

    def _record(self, row: LedgerRow) -> tuple[Record, list[Record]] | None:
        """The row and its attempts as SQLite takes them; None, and counted as lost, for one that is none."""
        try:
            return to_record(row), attempts_to_records(row)
        except (TypeError, ValueError, OverflowError) as error:
            self._losses.drop(1, f"request {row.request_id!a} cannot be written ({type(error).__name__})")
            return None

    def _moved(self) -> bool:
        """Whether the name now means another file or none: SQLite would go on writing to one nobody finds."""
        return self._path != MEMORY and identity_of(self._path) != self._file

    def _reopen(self) -> None:
        """Open the file anew: it was damaged, moved away or replaced."""
        # All old connections go first: the last one to close deletes the WAL by its name.
        self._disconnect()
        with self._read_lock:
            self._read_db.close()
            self._write_db = open_database(self._path)
            self._read_db = open_database(self._path)
        self._file = identity_of(self._path)

    def _disconnect(self) -> None:
        if self._write_db is not None:
            self._write_db.close()
            self._write_db = None

    def _failed(self, error: sqlite3.Error | ConfigError) -> None:
        if code_of(error) in LOCKED:
            self._locked_s = time.monotonic() if self._locked_s is None else self._locked_s
            if time.monotonic() - self._locked_s < self._patience_s:
                return
        said = error.message if isinstance(error, ConfigError) else f"{self._path}: {cause_of(error)}"
        waits = f"Rows wait in memory, up to {self._max_waiting:,}."
        self._losses.say(f"the ledger cannot be written: {said}. {waits}", again=self._failing)
        self._failing = True
        # A connection that met damage stays damaged; one that met a lock or a full disk is as good as ever.
        if self._path != MEMORY and code_of(error) not in _PASSING:
            self._disconnect()

    def _recovered(self) -> None:
        if self._failing:
            logger.warning("the ledger %s is written again", self._path)
        self._failing, self._locked_s = False, None

    def _end(self) -> None:
        lost = sum(isinstance(row, LedgerRow) for row in (*self._batch, *self._queue))
        if lost:
            self._losses.drop(lost, "the ledger was closed before the disk took them")
        while self._asked:
            self._asked.popleft().passed()
        if self._path != MEMORY:
            self._disconnect()


def _asks(batch: Sequence[_Queued]) -> bool:
    """Whether a question stands at its end: what is behind it must not be written before it is answered."""
    return bool(batch) and isinstance(last := batch[-1], _Marker) and last.answer is not None


def _entry_record(entry: BudgetEntry) -> Record:
    return entry.id, entry.budget, iso_utc(entry.at), entry.kind, entry.amount_nano_usd
