"""Budgets that were made while the gateway ran, in the ledger's SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from turnout.errors import Internal
from turnout.stores.schema import cause_of, open_database

__all__ = ["SqliteBudgets", "StoredBudget"]

T = TypeVar("T")


class StoredBudget(Struct, frozen=True, kw_only=True):
    """A budget by its name; `told` is what a config's table of a budget would say, as JSON."""

    name: str
    told: msgspec.Raw


class SqliteBudgets:
    """Budgets in the file `path`. One process keeps a ledger's budgets, so nobody else changes them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._db = open_database(path)

    def all(self) -> list[StoredBudget]:
        """Every budget, oldest first. Raises Internal where they cannot be read."""
        rows: list[tuple[str, str]] = self._do(
            "read", lambda db: db.execute("SELECT name, told FROM budgets ORDER BY rowid").fetchall()
        )
        return [StoredBudget(name=name, told=msgspec.Raw(told.encode())) for name, told in rows]

    def put(self, stored: StoredBudget) -> None:
        """Keep a budget, in the place of one of the same name. Raises Internal where it cannot be written."""
        values = stored.name, bytes(stored.told).decode()
        statement = (
            "INSERT INTO budgets (name, told) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET told = excluded.told"
        )
        self._do("written", lambda db: db.execute(statement, values))

    def remove(self, name: str) -> None:
        """Raises Internal where it cannot be written."""
        self._do("written", lambda db: db.execute("DELETE FROM budgets WHERE name = ?", (name,)))

    def close(self) -> None:
        self._db.close()

    def _do(self, done: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._db)
        except sqlite3.Error as error:
            raise Internal(f"the budgets in {self._path} cannot be {done}: {cause_of(error)}") from error
