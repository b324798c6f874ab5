"""Stores for one set of promises: the same tests run against SQLite and PostgreSQL, each with a place of its own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from support.postgres import database
from turnout.store_rules import StoreConfig
from turnout.stores.opening import Stores, open_stores

KINDS = ("sqlite", "postgres")


class House:
    """Where stores of one kind are. `open` may be called again and again, as by several gateways."""

    def __init__(self, kind: str, ledger: str, folder: Path) -> None:
        self.kind = kind
        self.config = StoreConfig(ledger=ledger, folder=str(folder))
        self._opened: list[Stores] = []

    def open(self) -> Stores:
        stores = open_stores(self.config)
        self._opened.append(stores)
        return stores

    def close(self) -> None:
        for stores in self._opened:
            stores.close()


@contextmanager
def house(kind: str, folder: Path) -> Generator[House]:
    """A new and empty one for as long as the block runs."""
    if kind == "sqlite":
        made = House(kind, f"sqlite:///{folder}/ledger.db", folder)
        yield made
        made.close()
        return
    with database() as url:
        made = House(kind, url, folder)
        try:
            yield made
        finally:
            made.close()
