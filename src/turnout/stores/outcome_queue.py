"""What all stores of outcomes have in common: rows wait in memory, and one thread writes them in batches."""

from __future__ import annotations

import logging
import threading
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec

from turnout.learning import Asked
from turnout.routing.outcomes import Outcome

__all__ = [
    "ASKED_COLUMNS",
    "MOST_KEPT_BYTES",
    "OUTCOME_COLUMNS",
    "Cell",
    "OutcomeQueue",
    "cells_of",
    "size_of",
]

logger = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Rows that wait for the disk; beyond that new ones are lost: they are worth less than memory."""

MOST_KEPT_BYTES = 256 * 1024 * 1024
"""Of requests and answers whose text is kept, compressed. The oldest go first."""

BATCH = 500

RETRY_S = 2.0

OUTCOME_COLUMNS = tuple(Outcome.__struct_fields__)
ASKED_COLUMNS = tuple(Asked.__struct_fields__)

TEXTS = frozenset({"request", "answer"})

_TEXTS_AT = tuple(ASKED_COLUMNS.index(name) for name in TEXTS)

_OUTCOMES = f"SELECT {', '.join(OUTCOME_COLUMNS)} FROM outcomes"  # noqa: S608 - our own column names
_ASKED = f"SELECT {', '.join(ASKED_COLUMNS)} FROM asked"  # noqa: S608 - our own column names
_TEXTLESS = f"SELECT {', '.join('NULL' if name in TEXTS else name for name in ASKED_COLUMNS)} FROM asked"  # noqa: S608 - as above

Cell = str | int | float | bytes | datetime | None


class OutcomeQueue(ABC):
    """What an `OutcomeArchive` does wherever its rows are kept: rows are taken, and asked for. `written` and `read` are
    the rest, which knows the store; `number`: its column that tells rows of the same moment apart, by which came
    first."""

    number: ClassVar[str]

    def __init__(self, *, flush_interval_s: float) -> None:
        self._lock = threading.Lock()
        self._interval_s = flush_interval_s
        self._waiting: deque[Outcome | Asked] = deque()
        self._keep_days = 90
        self._pruned_on: str | None = None
        self._lost = False
        self._wake, self._closing = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._run, name="turnout-outcomes", daemon=True)
        self._writer.start()

    @abstractmethod
    def written(self, batch: Sequence[Outcome | Asked]) -> bool:
        """Write these; False where they are to be tried again later. Raises nothing: what is lost is told (`tell`).
        Called by one thread at a time."""

    @abstractmethod
    def read(self, query: str, values: Sequence[Cell]) -> Sequence[Sequence[Cell]]:
        """The rows of a query, `?` standing for each value. Raises Internal with the cause and the next step."""

    @abstractmethod
    def let_go(self) -> None:
        """Close the store itself."""

    def recent(self, limit: int, model: str | None = None) -> list[Outcome]:
        chosen, values = ("", ()) if model is None else ("WHERE model = ?", (model,))
        order = f"ORDER BY at DESC, {self.number} DESC LIMIT ?"
        return [outcome_of(row) for row in self._told(f"{_OUTCOMES} {chosen} {order}", (*values, limit))]

    def since(self, at: datetime) -> list[Outcome]:
        return [outcome_of(row) for row in self._told(f"{_OUTCOMES} WHERE at >= ? ORDER BY at, {self.number}", (at,))]

    def find(self, request_id: str) -> Asked | None:
        rows = self._told(f"{_ASKED} WHERE request_id = ? ORDER BY at LIMIT 1", (request_id,))
        return asked_of(rows[0]) if rows else None

    def texts_since(self, at: datetime) -> list[Asked]:
        query = f"{_TEXTLESS} WHERE at >= ? AND size > 0 ORDER BY at, {self.number}"
        return [asked_of(row) for row in self._told(query, (at,))]

    def text(self, request_id: str, model: str) -> Asked | None:
        rows = self._told(f"{_ASKED} WHERE request_id = ? AND model = ?", (request_id, model))
        return asked_of(rows[0]) if rows else None

    def add(self, outcome: Outcome) -> None:
        self._take(outcome)

    def keep(self, asked: Asked) -> None:
        self._take(asked)

    def keep_for(self, days: int) -> None:
        self._keep_days, self._pruned_on = days, None

    def flush(self) -> None:
        """Write what waits, now."""
        with self._lock:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not self.written(batch):
                    self._waiting.extendleft(reversed(batch))
                    return

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._writer.join(5)
        if self._waiting:
            self.tell(f"{len(self._waiting)} could not be written before the end")
        with self._lock:
            self.let_go()

    def tell(self, why: str) -> None:
        """Say once that outcomes are lost."""
        if not self._lost:
            logger.error("outcomes are lost, and nothing else: %s", why)
        self._lost = True

    def oldest_kept(self) -> datetime | None:
        """Before when rows are to be forgotten; None where that was done today (`pruned`)."""
        now = datetime.now(UTC)
        return None if self._pruned_on == now.date().isoformat() else now - timedelta(days=self._keep_days)

    def pruned(self) -> None:
        """What is too old was forgotten for today."""
        self._pruned_on = datetime.now(UTC).date().isoformat()

    def _told(self, query: str, values: Sequence[Cell]) -> Sequence[Sequence[Cell]]:
        self.flush()
        return self.read(query, values)

    def _take(self, row: Outcome | Asked) -> None:
        if len(self._waiting) >= MOST_WAITING or self._closing.is_set():
            self.tell("too many wait to be written")
            return
        self._waiting.append(row)
        if not self._wake.is_set():  # to set it takes a lock, and the writer comes anyway
            self._wake.set()

    def _run(self) -> None:
        """The writer's thread: asleep until there is something, then a little longer, so that more comes with it."""
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(self._interval_s)
            self._wake.clear()
            self.flush()
            if self._waiting and not self._closing.wait(RETRY_S):
                self._wake.set()
        self.flush()


def cells_of(row: Outcome | Asked) -> tuple[Cell, ...]:
    """A row's values as stores keep them; texts are compressed."""
    return tuple(map(_cell, row.__struct_fields__, msgspec.structs.astuple(row)))


def size_of(cells: Sequence[Cell]) -> int:
    """Bytes of a request's text and its answer's, as they are kept; 0 where they are not."""
    return sum(len(text) for i in _TEXTS_AT if isinstance(text := cells[i], bytes))


def asked_of(row: Sequence[Cell]) -> Asked:
    """What `cells_of` was told."""
    fields = dict(zip(ASKED_COLUMNS, row, strict=True))
    for name in TEXTS:
        if isinstance(text := fields[name], bytes):
            fields[name] = zlib.decompress(text)
    return msgspec.convert(fields, Asked, strict=False)


def outcome_of(row: Sequence[Cell]) -> Outcome:
    """What `cells_of` was told."""
    return msgspec.convert(dict(zip(OUTCOME_COLUMNS, row, strict=True)), Outcome)


def _cell(name: str, value: object) -> Cell:
    if value is None:
        return None
    if isinstance(value, str):  # a lone surrogate of a caller's must not hold up the batch
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if name in TEXTS and isinstance(value, bytes):
        return zlib.compress(value, 1)
    return value if isinstance(value, int | float | bytes | datetime) else None
