"""Budgets that were made while the gateway ran, in the ledger's SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import msgspec

from turnout.budget_book import StoredBudget
from turnout.errors import Internal
from turnout.stores.schema import cause_of, data_version, open_database

__all__ = ["SqliteBudgets"]

T = TypeVar("T")


class SqliteBudgets:
    """Budgets in the file `path`. Whoever else changes them is noticed by `changed`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._db = open_database(path)
        self._version = data_version(self._db)

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

    def changed(self) -> bool:
        """Whether somebody else has written to the file since this was last asked. Takes microseconds."""
        before, self._version = self._version, data_version(self._db)
        return before != self._version

    def close(self) -> None:
        self._db.close()

    def _do(self, done: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._db)
        except sqlite3.Error as error:
            raise Internal(f"the budgets in {self._path} cannot be {done}: {cause_of(error)}") from error
