"""Budgets that were made while gateways run, in PostgreSQL."""

from __future__ import annotations

import msgspec
import psycopg

from turnout.budget_book import StoredBudget
from turnout.stores.postgres.database import Database, Row
from turnout.stores.postgres.held import Held, Watch

__all__ = ["PostgresBudgets"]

_PUT = "INSERT INTO budgets (name, told) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET told = excluded.told"


class PostgresBudgets:
    """A `BudgetStore`: budgets are held in memory and followed. Raises psycopg.Error when they cannot be read at the
    start."""

    def __init__(self, database: Database, watch: Watch) -> None:
        self._held = Held(database, "budgets", _read)
        self._watch = watch
        watch.follow(self._held)

    def all(self) -> list[StoredBudget]:
        return list(self._held.value)

    def put(self, stored: StoredBudget) -> None:
        self._held.write(_PUT, (stored.name, bytes(stored.told).decode()))

    def remove(self, name: str) -> None:
        self._held.write("DELETE FROM budgets WHERE name = %s", (name,))

    def changed(self) -> bool:
        self._watch.start()
        return self._held.changed()


def _read(db: psycopg.Connection[Row]) -> list[StoredBudget]:
    rows = db.execute(b"SELECT name, told FROM budgets ORDER BY number")
    return [StoredBudget(name=name, told=msgspec.Raw(told.encode())) for name, told in rows]
