"""What writes the ledger to PostgreSQL: one thread, in batches, from memory and from the spool.

A row is in the spool before `take` returns, so it outlives the process; it is also kept in memory, and shipped from
there. While the database is away memory fills to `max_waiting` rows; what comes then is in the spool alone and read
from there later, like what a dead process left. Only what neither takes is lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
from msgspec import Struct
from psycopg import pq

from turnout.catalog.prices import Price
from turnout.spend.ledger import (
    LedgerRow,
    attempts_from_records,
    attempts_to_records,
    from_record,
    price_record,
    to_record,
)
from turnout.spend.spent import BudgetEntry
from turnout.stores.postgres.batches import Batch
from turnout.stores.postgres.database import SILENCE_S, STATEMENT_TIMEOUT_S, Database, Row, cause_of
from turnout.stores.postgres.schema import make_partitions
from turnout.stores.spool import Segment, Spool
from turnout.stores.spooled import HEAD, decode, encode
from turnout.stores.taking import Followers, Losses

__all__ = ["Writer"]

logger = logging.getLogger(__name__)

BATCH = 20_000
"""Rows a transaction."""

MAX_RETRY_S = 5.0

TEND_EVERY_S = 1.0
"""How often the spool's folder is looked at for what dead processes left."""

BEHIND_S = 20.0
"""A question about money waits no longer than this for rows that are in the spool alone."""

LOOK_S = 0.05
"""How soon somebody who waits for such rows is looked at again."""

AHEAD_EVERY_S = 3_600.0

AHEAD = timedelta(days=5)
"""So long before a month begins its partitions are there."""

_SPOILT = ("21", "22", "23", "54")
"""SQLSTATEs of rows that no try will ever write."""


class _Marker(threading.Event):
    """Stands in the queue behind the rows that somebody waits for; those in the spool alone are in the segments
    `before`. `answer`: what is done when all are written and none behind them is, or, with the reason, when that is not
    waited for."""

    def __init__(self, before: frozenset[Segment], answer: Callable[[str | None], None] | None = None) -> None:
        super().__init__()
        self.before = before
        self.answer = answer
        self.patient_until_s = time.monotonic() + BEHIND_S

    def passed(self, why_not: str | None = None) -> None:
        """To be called by the writer, once or more."""
        if self.answer is not None and not self.is_set():
            self.answer(why_not)
        self.set()


class _Item(Struct, gc=False):
    """A row or an entry, the segment that has it too, and the price that it names."""

    what: LedgerRow | BudgetEntry
    segment: Segment | None = None
    price: tuple[str, str] | None = None


class Writer:
    """Takes rows from any thread and writes them. `on_written` is told, in the writer's thread, which requests are in
    the database now, `on_rows` how many."""

    def __init__(
        self,
        database: Database,
        spool: Spool | None,
        *,
        flush_interval_s: float,
        max_waiting: int,
        on_written: Callable[[Iterable[str]], None],
        on_rows: Callable[[int], None],
    ) -> None:
        self._database = database
        self._spool = spool
        self._interval = flush_interval_s
        self._max_waiting = max_waiting
        self._on_written = on_written
        self._on_rows = on_rows
        self._queue: deque[_Item | _Marker] = deque()
        self._found: deque[_Item] = deque()
        self._batch: list[_Item] = []
        self._markers: list[_Marker] = []
        self._asked: deque[_Marker] = deque()
        self._kept_back = False
        self._followers = Followers()
        self._db: psycopg.Connection[Row] | None = None
        self._made: set[str] = set()
        self._tended = self._looked_ahead = float("-inf")
        self.losses = Losses(database.place, logger)
        self.failing = False
        self.closing = threading.Event()
        self._wake = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="turnout-ledger", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether rows are safe: in the database, or in the spool until they are."""
        return not self.failing or (self._spool is not None and self._spool.taking)

    @property
    def waiting(self) -> int:
        in_memory = len(self._queue) + len(self._batch) + len(self._found)
        return in_memory if self._spool is None else max(in_memory, self._spool.waiting)

    def take(self, what: LedgerRow | BudgetEntry) -> None:
        """Into the spool and into memory: microseconds, never waiting for the database, never raising."""
        self._followers.tell(what)
        if self.closing.is_set():
            self.losses.drop(1, "the ledger is closed")
            return
        full = len(self._queue) >= self._max_waiting and isinstance(what, LedgerRow)
        segment = None
        if self._spool is not None and (record := _encoded(what)) is not None:
            segment = self._spool.write(record, spilled=full)
        if not full:
            self._queue.append(_Item(what, segment))
        elif segment is None:
            why = self._spool.error if self._spool is not None else None
            self.losses.drop(1, why or "too many rows wait to be written")

    def flush(self, timeout_s: float) -> bool:
        marker = _Marker(self._backlog())
        if not self._thread.is_alive():
            return not self._left() and not marker.before
        self._queue.append(marker)
        self._wake.set()
        return marker.wait(timeout_s)

    def ask(self, answer: Callable[[str | None], None]) -> Callable[[], list[LedgerRow | BudgetEntry]]:
        """Have `answer` called, in the writer's thread, when what was taken before this, and what dead processes left,
        is written and nothing after it is; with the reason while the database fails, or where that takes longer than
        `BEHIND_S`. Returns what, called once, tells all that was taken since."""
        heard = self._followers.follow()
        marker = _Marker(self._backlog(), answer)
        if self._thread.is_alive() and not self.closing.is_set():
            self._asked.append(marker)
            self._queue.append(marker)
            self._wake.set()
        else:
            marker.passed("the ledger is closed")
        return heard

    def close(self, timeout_s: float) -> None:
        if self.closing.is_set():
            return
        self._deadline = time.monotonic() + timeout_s
        self.closing.set()
        self._wake.set()
        self._thread.join(timeout_s + 1)
        if self._spool is not None and not self._thread.is_alive():
            self._spool.close()

    # The writer's thread.

    def _run(self) -> None:
        wait = self._interval
        while True:
            self._wake.wait(wait)
            self._wake.clear()
            # Read before the rows are: what was appended before closing is in the queue by now.
            closing = self.closing.is_set()
            adopted = self._tend()
            if not self._drain():
                wait = min(max(wait, self._interval) * 2, MAX_RETRY_S)
            elif adopted:
                wait = 0.0  # there may be more
            else:
                wait = min(self._interval, LOOK_S) if self._kept_back else self._interval
            left = self._deadline - time.monotonic()
            if closing and (not self._left() or left <= 0):
                break
            if closing:
                wait = min(wait, max(left, 0.001))
        self._end()

    def _left(self) -> bool:
        return bool(self._queue or self._batch or self._found)

    def _backlog(self) -> frozenset[Segment]:
        return frozenset() if self._spool is None else self._spool.backlog()

    def _tend(self) -> bool:
        """Look after the spool, and after next month's partitions; whether something was adopted."""
        now = time.monotonic()
        adopted = False
        if self._spool is not None and now - self._tended >= TEND_EVERY_S:
            self._spool.revive()
            adopted = not self.failing and self._adopt()
            if not adopted:
                self._tended = now
        if self._db is not None and not self.failing and now - self._looked_ahead >= AHEAD_EVERY_S:
            self._looked_ahead = now
            months = {(datetime.now(UTC) + after).strftime("%Y-%m") for after in (timedelta(0), AHEAD)}
            try:
                with self._database.within(self._db, STATEMENT_TIMEOUT_S + SILENCE_S):
                    make_partitions(self._db, months - self._made)
                self._made |= months
            except psycopg.Error:  # a row that needs them will make them
                self._disconnect_if_broken()
        return adopted

    def _adopt(self) -> bool:
        """Put in line what a dead process left in one segment; False where there is none."""
        if self._spool is None or self._found or self.closing.is_set():
            return False
        segment = self._spool.adopt()
        self._read(segment)
        return segment is not None

    def _spilled(self) -> Segment | None:
        """A segment of rows that are in nobody's memory: none that came after a question that waits."""
        segment = None if self._spool is None else self._spool.spilled()
        # Looked at after it was chosen: what is asked later comes after all that is in it.
        asked = self._asked[0] if self._asked else None
        return None if asked is not None and segment not in asked.before else segment

    def _read(self, segment: Segment | None) -> None:
        """Put what a segment holds in line."""
        if segment is None or self._spool is None:
            return
        try:
            head, records = segment.read()
        except OSError as error:
            lost = segment.spilled
            self._spool.put_aside(segment)
            self.losses.say(
                f"the spool's {segment.path} cannot be read: {error.strerror}; it is left there and tried again, check "
                "the disk"
            )
            if lost:  # whatever a later try may find: nothing counts on it
                self.losses.drop(lost, f"the spool's {segment.path.name} cannot be read ({error.strerror})")
            return
        for record in records:
            try:
                what, price = decode(record, head or HEAD)
            except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
                self.losses.drop(1, f"a record of {segment.path.name} is not Turnout's ({type(error).__name__})")
                segment.records -= 1
            else:
                self._found.append(_Item(what, segment, price))
        if not segment.records:
            self._spool.shipped(segment, 0)

    def _drain(self) -> bool:
        """Write all that waits, but for what is not in reach yet (`_kept_back`); False when the database would not take
        it."""
        while True:
            self._fill()
            if not self._batch and not self._markers:
                return True
            written = bool(self._batch)
            try:
                self._write(self._batch)
            except psycopg.Error as error:
                self._failed(error)
                self._answer(self.losses.last_error)  # they are not made to wait for a database
                return False
            if written:
                self._recovered()
            self._shipped(self._batch)
            self._batch = []
            passed = self._pass()
            if not (written or passed or self._found):
                return True

    def _pass(self) -> bool:
        """The rows before these markers are written, or in the spool alone; whether one of them waits no longer."""
        markers, self._markers = self._markers, []
        self._kept_back = passed = False
        for marker in markers:
            why_not = "rows still wait in the spool; try again" if self._is_behind(marker) else None
            patient = not self.closing.is_set() and time.monotonic() < marker.patient_until_s
            if why_not and marker.answer is None:
                self._queue.append(marker)
            elif why_not and patient and not marker.is_set():
                self._markers.append(marker)  # nothing that came after it is written before it is answered
            else:
                marker.passed(why_not)
                passed = True
                if marker in self._asked:
                    self._asked.remove(marker)
                continue
            self._kept_back = True
        return passed

    def _is_behind(self, marker: _Marker) -> bool:
        """Whether rows that it waits for are in the spool alone."""
        if self._spool is None:
            return False
        if any(map(self._spool.holds, marker.before)):
            return True
        return marker.answer is not None and (bool(self._found) or self._adopt())

    def _answer(self, why_not: str | None) -> None:
        while self._asked:
            self._asked.popleft().passed(why_not)

    def _fill(self) -> None:
        if self.failing and self._batch:
            return  # tried again as it is: what waits in memory stays within its bound
        while self._queue and len(self._batch) < BATCH and not any(marker.answer for marker in self._markers):
            item = self._queue.popleft()
            if isinstance(item, _Marker):
                self._markers.append(item)
            else:
                self._batch.append(item)
        if self._spool is not None and not self._found and len(self._batch) < BATCH:
            self._read(self._spilled())
        while self._found and len(self._batch) < BATCH:
            self._batch.append(self._found.popleft())

    def _shipped(self, batch: Sequence[_Item]) -> None:
        if self._spool is not None:
            for segment, count in Counter(item.segment for item in batch).items():
                if segment is not None:
                    self._spool.shipped(segment, count)
        rows = [item.what.request_id for item in batch if isinstance(item.what, LedgerRow)]
        self._on_written(rows)
        self._on_rows(len(rows))

    def _write(self, batch: Sequence[_Item]) -> None:
        """One transaction. Raises psycopg.Error when it failed as a whole."""
        rows = [item.what for item in batch if isinstance(item.what, LedgerRow)]
        entries = [item.what for item in batch if isinstance(item.what, BudgetEntry)] if len(rows) < len(batch) else []
        if not rows and not entries:
            return
        prices = _prices_of(batch)
        unfit: dict[int, str] = {}

        def refuse(row: LedgerRow, error: Exception) -> None:
            unfit[id(row)] = f"request {row.request_id!a} cannot be written ({type(error).__name__})"

        db = self._db or self._database.connect()
        self._db = db
        with self._database.within(db, STATEMENT_TIMEOUT_S + SILENCE_S):
            try:
                Batch(rows=rows, entries=entries, prices=prices, unfit=refuse).write(db, self._made)
            except (psycopg.Error, UnicodeEncodeError) as error:
                if not _spoilt(error):
                    raise
                # One row that no try will ever write must not hold up the others.
                Batch(entries=entries, prices=prices).write(db, self._made)
                self._write_what_can_be(db, rows, refuse)
        for why in unfit.values():
            self.losses.drop(1, why)

    def _write_what_can_be(
        self, db: psycopg.Connection[Row], rows: Sequence[LedgerRow], unfit: Callable[[LedgerRow, Exception], None]
    ) -> None:
        try:
            Batch(rows=rows, exact=True, unfit=unfit).write(db, self._made)
        except psycopg.Error as error:
            if not _spoilt(error):
                raise
            if len(rows) == 1:
                self.losses.drop(1, f"request {rows[0].request_id!a} cannot be written ({cause_of(error)})")
                return
            half = len(rows) // 2
            self._write_what_can_be(db, rows[:half], unfit)
            self._write_what_can_be(db, rows[half:], unfit)

    def _failed(self, error: psycopg.Error) -> None:
        waits = "in memory" if self._spool is None else "in the spool"
        said = (
            f"the ledger {self._database.place} cannot be written: {self._database.why_not(error)}. Rows wait {waits}."
        )
        if self._spool is not None and self._spool.error:
            said = f"{said} And {self._spool.error}."
        self.losses.say(said, again=self.failing)
        self.failing = True
        self._disconnect_if_broken()

    def _recovered(self) -> None:
        if self.failing:
            logger.warning("the ledger %s is written again", self._database.place)
        self.failing = False

    def _end(self) -> None:
        lost = sum(
            isinstance(item, _Item) and item.segment is None and isinstance(item.what, LedgerRow)
            for item in (*self._batch, *self._queue)
        )
        if lost:
            self.losses.drop(lost, "the ledger was closed before the database took them")
        self._answer("the ledger was closed before its rows were written")
        self._disconnect()

    def _disconnect_if_broken(self) -> None:
        db = self._db
        if db is not None and (db.closed or db.info.transaction_status != pq.TransactionStatus.IDLE):
            self._disconnect()

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _encoded(what: LedgerRow | BudgetEntry) -> bytes | None:
    """The bytes for the spool; None for what cannot be written."""
    try:
        return encode(what)
    except (TypeError, ValueError, OverflowError):
        # What MessagePack does not hold a database may, made to fit (an integer beyond 64 bits).
        with suppress(TypeError, ValueError, OverflowError):
            if isinstance(what, LedgerRow):
                attempts = attempts_from_records(attempts_to_records(what))
                return encode(msgspec.structs.replace(from_record(to_record(what)), attempt_log=attempts))
    return None


def _prices_of(batch: Sequence[_Item]) -> set[tuple[str, str]]:
    """The prices that rows name. Many rows share one, and to look one up by what it says takes a microsecond."""
    told = {item.price for item in batch if item.price is not None}
    prices = {
        id(item.what.price): item.what.price
        for item in batch
        if isinstance(item.what, LedgerRow) and item.what.price is not None
    }
    return told | {price_record(price) for price in prices.values() if isinstance(price, Price)}


def _spoilt(error: psycopg.Error | UnicodeEncodeError) -> bool:
    """Whether it is a row's fault."""
    if isinstance(error, psycopg.Error):
        return isinstance(error, psycopg.DataError) or (error.sqlstate or "").startswith(_SPOILT)
    return True
