"""A ledger that is also a file of JSON lines, one a request, for tools that read such files. The rest is in SQLite.

[store]
ledger = "jsonl:///var/lib/turnout/requests.jsonl"
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec

from turnout.plugins import API, Ledger, LedgerRow, SqliteLedger, SqliteStores, StorePlugin, Stores, StoreSetup


class JsonlLedger(SqliteLedger):
    """Writes each row that it takes to a file, too: into a buffer, so that no request waits for the disk."""

    def __init__(self, database: str, lines: Path, journal: SqliteStores) -> None:
        super().__init__(database, on_written=journal.journal.forget)
        self._lines = lines.open("ab")

    def append(self, row: LedgerRow) -> None:
        super().append(row)
        told = {"request_id": row.request_id, "at": row.received_at, "model": row.deployment, "outcome": row.outcome}
        self._lines.write(msgspec.json.encode({**told, "cost_nano_usd": row.cost_nano_usd}) + b"\n")

    def flush(self, timeout_s: float = 5.0) -> bool:
        self._lines.flush()
        return super().flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        super().close(timeout_s)
        self._lines.close()


class JsonlStores(SqliteStores):
    """Keys, budgets, conversations, answers and outcomes as SqliteStores has them."""

    def __init__(self, lines: Path, gateway: str | None) -> None:
        super().__init__(f"{lines}.db", gateway)
        self._lines_file = lines

    @cached_property
    def ledger(self) -> Ledger:
        return self.kept(JsonlLedger(f"{self._lines_file}.db", self._lines_file, self))


def make(setup: StoreSetup) -> Stores:
    return JsonlStores(Path(setup.url.removeprefix("jsonl://")), setup.gateway)


PLUGIN = StorePlugin(api=API, make=make)
