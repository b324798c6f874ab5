"""A gateway's stores, opened by the URL of the config's `store.ledger`: the one place that knows what a URL means."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

from turnout.answers import AnswerStore
from turnout.budget_book import BudgetStore
from turnout.conversations import Conversations
from turnout.errors import ConfigError
from turnout.keys import KeyStore
from turnout.learning import OutcomeArchive
from turnout.plugging import begun, load
from turnout.spend.journal import Journal, MemoryJournal
from turnout.spend.ledger import Ledger
from turnout.store_rules import StoreConfig, ledger_scheme
from turnout.stores.answers import SqliteAnswers
from turnout.stores.budgets import SqliteBudgets
from turnout.stores.conversations import SqliteConversations
from turnout.stores.journal import FileJournal
from turnout.stores.keys import SqliteKeys, file_secret, told_secret
from turnout.stores.outcomes import SqliteOutcomes
from turnout.stores.schema import MEMORY
from turnout.stores.sqlite import SqliteLedger

__all__ = ["SqliteStores", "Stores", "beside", "open_stores"]


class _Closing(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closing)


class Stores(ABC):
    """The stores of one URL. Each is opened when it is first asked for, and raises ConfigError then."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    @cached_property
    @abstractmethod
    def journal(self) -> Journal: ...

    @cached_property
    @abstractmethod
    def ledger(self) -> Ledger: ...

    @cached_property
    @abstractmethod
    def conversations(self) -> Conversations: ...

    @cached_property
    @abstractmethod
    def keys(self) -> KeyStore: ...

    @cached_property
    @abstractmethod
    def budgets(self) -> BudgetStore: ...

    @cached_property
    @abstractmethod
    def answers(self) -> AnswerStore: ...

    @cached_property
    @abstractmethod
    def outcomes(self) -> OutcomeArchive: ...

    @abstractmethod
    def kept_secret(self) -> bytes:
        """The secret that is kept with the keys, made at the first need. Raises ConfigError or Internal."""

    def secret(self, env: Mapping[str, str]) -> bytes:
        """What the hashes of keys are keyed with: the variable TURNOUT_SECRET, else what is kept with the keys. Raises
        ConfigError or Internal."""
        return told_secret(env) or self.kept_secret()

    def close(self) -> None:
        """Write what waits and let go of all that was opened, the last first."""
        self._opened.close()

    def kept(self, store: T) -> T:
        """`store`, to be closed with the others."""
        self._opened.callback(store.close)
        return store


class SqliteStores(Stores):
    """All of them in one SQLite file, or in memory for `:memory:`."""

    def __init__(self, file: str, gateway: str | None = None) -> None:
        super().__init__()
        self._file = file
        self._gateway = gateway

    @cached_property
    def journal(self) -> Journal:
        return self.kept(MemoryJournal() if self._file == MEMORY else FileJournal(self._file, self._gateway))

    @cached_property
    def ledger(self) -> Ledger:
        # The journal is there first and so is closed after it: what the ledger has not taken stays written down.
        return self.kept(SqliteLedger(self._file, on_written=self.journal.forget))

    @cached_property
    def conversations(self) -> Conversations:
        return self.kept(SqliteConversations(self._file))

    @cached_property
    def keys(self) -> KeyStore:
        return self.kept(SqliteKeys(self._file))

    @cached_property
    def budgets(self) -> BudgetStore:
        return self.kept(SqliteBudgets(self._file))

    @cached_property
    def answers(self) -> AnswerStore:
        return self.kept(SqliteAnswers(self._file))

    @cached_property
    def outcomes(self) -> OutcomeArchive:
        return self.kept(SqliteOutcomes(self._file))

    def kept_secret(self) -> bytes:
        return file_secret(self._file)


def open_stores(store: StoreConfig, gateway: str | None = None, *, serving: bool = False) -> Stores:
    """The stores that a config names, for the process `gateway` where several share their state; none of them is open
    yet. `serving`: for a gateway, which keeps what a database does not have yet in `store.folder`. Raises ConfigError
    for a URL that means nothing here, and where what it takes is not installed."""
    scheme = ledger_scheme(store)
    return _KINDS.get(scheme, _plugged)(store, gateway, serving)


def beside(store: StoreConfig, name: str) -> Path:
    """Where a gateway keeps a file of its own: beside the ledger's file, or in its folder where that is elsewhere."""
    if ledger_scheme(store) == "sqlite":
        ledger = Path(_sqlite_file(store))
        return ledger.with_name(f"{ledger.name}.{name}")
    return Path(store.folder) / name


def _sqlite_file(store: StoreConfig) -> str:
    return store.ledger.removeprefix("sqlite:///")


def _sqlite(store: StoreConfig, gateway: str | None, _: bool) -> Stores:
    return SqliteStores(_sqlite_file(store), gateway)


def _postgres(store: StoreConfig, gateway: str | None, serving: bool) -> Stores:
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError(
            "store.ledger: PostgreSQL needs a driver that is not installed: pip install 'turnout[postgres]'",
            param="store.ledger",
        )
    from turnout.stores.postgres.rooms import PostgresStores

    return PostgresStores(store.ledger, Path(store.folder) if serving else None, gateway, spool_mb=store.spool_mb)


def _plugged(store: StoreConfig, gateway: str | None, serving: bool) -> Stores:
    from turnout.plugins import StorePlugin, StoreSetup

    name, key = ledger_scheme(store), "store.ledger"
    make = load(StorePlugin, name, key).make
    setup = StoreSetup(url=store.ledger, folder=Path(store.folder) if serving else None, gateway=gateway)
    return begun(lambda: make(setup), name, key)


_KINDS: Mapping[str, Callable[[StoreConfig, str | None, bool], Stores]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "postgres": _postgres,
}
