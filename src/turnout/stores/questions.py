"""What a ledger is asked in the same words wherever its rows are kept: SQL of both stores, and what its rows mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from turnout.spend.focus import Charged
from turnout.spend.ledger import iso_utc
from turnout.spend.spent import BudgetEntry
from turnout.spend.volume import PastRun, StepSum, Summed
from turnout.stores.charges import CHARGES_QUERY
from turnout.stores.sums import MEASURES, PAST_QUERY, STEPS_QUERY, sessions_query, span_of, sums_query

__all__ = ["LedgerQuestions", "Value"]

Value = str | int | None | list[int] | list[str]
"""What stands for a `?` of a query."""

_A_MOMENT = timedelta(milliseconds=1)
"""What lies before a time that is no longer meant."""

_ENTRIES = "SELECT id, budget, at, kind, amount_nano_usd FROM budget_entries WHERE at >= ?1 ORDER BY at, id, budget"


class LedgerQuestions(ABC):
    """The questions of a `Ledger` that need no more of a store than an answer to SQL (`_query`), when the rows appended
    before are written (`_read`), or when they are summed too (`_summed`). Each raises Internal."""

    @abstractmethod
    def _query(self, query: str, values: Sequence[Value]) -> Sequence[Sequence[Any]]: ...

    @abstractmethod
    def _read(self, query: str, values: Sequence[Value]) -> Sequence[Sequence[Any]]: ...

    @abstractmethod
    def _summed(self, query: str, values: Sequence[Value]) -> Sequence[Sequence[Any]]: ...

    def sums(self, since: datetime, until: datetime, by: str, *, sessions: bool = True) -> list[Summed]:
        span = span_of(by)
        times = iso_utc(since)[:span], iso_utc(until - _A_MOMENT)[:span]
        names = ("group", "deployment", "tier", *MEASURES)
        volumes = [dict(zip(names, row, strict=True)) for row in self._summed(sums_query(by), times)]
        if sessions and (query := sessions_query(by)):
            told = {row[0]: row[1:] for row in self._query(query, (iso_utc(since), iso_utc(until)))}
            for volume in volumes:
                if (found := told.get(volume["group"])) is not None:
                    volume |= {"sessions": found[0], "growth_per_step": found[1]}
        return [msgspec.convert(volume, Summed) for volume in volumes]

    def steps(self, since: datetime, until: datetime) -> list[StepSum]:
        rows = self._summed(STEPS_QUERY, (iso_utc(since)[:10], iso_utc(until - _A_MOMENT)[:10]))
        return [msgspec.convert(dict(zip(StepSum.__struct_fields__, r, strict=True)), StepSum) for r in rows]

    def past_sessions(self, since: datetime, until: datetime, limit: int, *, name: str | None = None) -> list[PastRun]:
        rows = self._summed(PAST_QUERY, (iso_utc(since), iso_utc(until), name, limit))
        return [msgspec.convert(dict(zip(PastRun.__struct_fields__, r, strict=True)), PastRun) for r in rows]

    def charges(self, since: datetime, until: datetime) -> list[Charged]:
        """What each deployment was paid a day, by key, mode and tags; whole days of UTC."""
        rows = self._read(CHARGES_QUERY, (iso_utc(since), iso_utc(until)))
        return [msgspec.convert(dict(zip(Charged.__struct_fields__, r, strict=True)), Charged) for r in rows]

    def price(self, digest: str) -> str | None:
        """The JSON of a price that was applied; None for an unknown digest."""
        found = self._read("SELECT price FROM prices WHERE digest = ?1", (digest,))
        return str(found[0][0]) if found else None

    def _entries(self, since: datetime) -> list[BudgetEntry]:
        """What was entered since `since` and is written, oldest first."""
        rows = self._query(_ENTRIES, (iso_utc(since),))
        return [msgspec.convert(dict(zip(BudgetEntry.__struct_fields__, r, strict=True)), BudgetEntry) for r in rows]
