"""All stores of a gateway in PostgreSQL: their tables, and how they are opened."""

from __future__ import annotations

import secrets
from functools import cached_property
from pathlib import Path

import msgspec
import psycopg

from turnout.answers import AnswerStore
from turnout.budget_book import BudgetStore
from turnout.conversations import Conversations
from turnout.errors import ConfigError
from turnout.keys import KeyStore
from turnout.learning import OutcomeArchive
from turnout.spend.journal import Journal
from turnout.spend.ledger import Ledger
from turnout.store_rules import StoreConfig
from turnout.stores.opening import Stores
from turnout.stores.postgres.answers import PostgresAnswers
from turnout.stores.postgres.budgets import PostgresBudgets
from turnout.stores.postgres.conversations import PostgresConversations
from turnout.stores.postgres.database import PLACE, Database, Migrations, open_database
from turnout.stores.postgres.held import Watch
from turnout.stores.postgres.journal import PostgresJournal
from turnout.stores.postgres.keys import PostgresKeys
from turnout.stores.postgres.ledger import PostgresLedger
from turnout.stores.postgres.outcomes import PostgresOutcomes
from turnout.stores.spool import LONE, left_by, left_by_lone, left_to

__all__ = ["STORES_MIGRATIONS", "PostgresStores"]

STATEMENT_TIMEOUT_S = 10.0

STORES_MIGRATIONS: Migrations = (
    (
        "CREATE TABLE changes (room text PRIMARY KEY, version bigint NOT NULL)",
        "INSERT INTO changes (room, version) VALUES ('keys', 0), ('budgets', 0)",
        "CREATE TABLE keys (name text PRIMARY KEY, number bigserial, record text NOT NULL)",
        "CREATE TABLE secrets (name text PRIMARY KEY, secret bytea NOT NULL)",
        "CREATE TABLE budgets (name text PRIMARY KEY, number bigserial, told text NOT NULL)",
        """
        CREATE TABLE responses (
            owner text NOT NULL,
            id text NOT NULL,
            previous text,
            provider text NOT NULL,
            session text NOT NULL,
            items bytea,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (owner, id)
        )
        """,
        "CREATE INDEX responses_created ON responses (created_at)",
        """
        CREATE TABLE answers (
            key bytea PRIMARY KEY,
            expires_s double precision NOT NULL,
            used_s double precision NOT NULL,
            size bigint NOT NULL,
            record bytea NOT NULL
        )
        """,
        # Both questions that eviction asks are answered from these alone.
        "CREATE INDEX answers_expires ON answers (expires_s)",
        "CREATE INDEX answers_used ON answers (used_s DESC, key) INCLUDE (size)",
        """
        CREATE TABLE outcomes (
            number bigserial,
            request_id text NOT NULL,
            model text NOT NULL,
            score double precision NOT NULL,
            source text NOT NULL,
            weight double precision NOT NULL,
            at timestamptz NOT NULL,
            owner text NOT NULL,
            mode text,
            label text,
            predicted double precision,
            features bytea NOT NULL,
            PRIMARY KEY (request_id, model, source)
        )
        """,
        "CREATE INDEX outcomes_at ON outcomes (at, number)",
        "CREATE INDEX outcomes_model ON outcomes (model, at, number)",
        "CREATE UNIQUE INDEX outcomes_number ON outcomes (number)",
        """
        CREATE TABLE asked (
            number bigserial,
            request_id text NOT NULL,
            model text NOT NULL,
            at timestamptz NOT NULL,
            owner text NOT NULL,
            session text NOT NULL,
            thread text NOT NULL,
            step integer NOT NULL,
            tier text,
            reason text,
            mode text,
            predicted double precision,
            features bytea NOT NULL,
            dialect text NOT NULL,
            streamed boolean NOT NULL,
            request bytea,
            answer bytea,
            size bigint NOT NULL,
            PRIMARY KEY (request_id, model)
        )
        """,
        # They are compressed already.
        "ALTER TABLE asked ALTER request SET STORAGE EXTERNAL, ALTER answer SET STORAGE EXTERNAL",
        "CREATE INDEX asked_at ON asked (at DESC, number DESC) INCLUDE (size)",
        "CREATE UNIQUE INDEX asked_number ON asked (number)",
    ),
)


class PostgresStores(Stores):
    """All of them in the database at `url`. `folder`: where this gateway keeps what the database does not have yet;
    None for a command that looks, which keeps nothing. `gateway`: its name where several share their state.
    `spool_mb`: how much may wait there. Raises ConfigError for a name that says that a gateway is one by itself."""

    def __init__(
        self, url: str, folder: Path | None, gateway: str | None = None, *, spool_mb: int = StoreConfig().spool_mb
    ) -> None:
        super().__init__()
        if gateway is not None and gateway.startswith(LONE):
            raise ConfigError(
                f"{gateway!r} is no name for a gateway that shares its state: what one alone leaves in store.folder "
                f"begins with {LONE}; choose another",
                param="store.shared",
            )
        self._url = url
        self._folder = folder
        self._spool_mb = spool_mb
        self._owner = gateway or f"{LONE}{secrets.token_hex(6)}"
        self._gateway = gateway

    @cached_property
    def journal(self) -> Journal:
        # Rows that a dead process settled come first: else they would count as lost, and then once more.
        spool = self._own("spool")

        def unsettled(name: str) -> int:
            if name:
                return left_by(spool, name)
            # Of several, those that live have segments too: only those of one by itself may be its rows.
            return left_to(spool, self._owner) if self._gateway is None else left_by_lone(spool)

        return self.kept(PostgresJournal(str(self._own("ledger")), self._gateway, unsettled, lambda: self._database))

    @cached_property
    def ledger(self) -> Ledger:
        if self._folder is None:
            return self.kept(PostgresLedger(self._url))
        # The journal is there first and so is closed after it: what the ledger has not taken stays written down.
        return self.kept(
            PostgresLedger(
                self._url,
                spool=self._own("spool"),
                spool_mb=self._spool_mb,
                spool_owner=self._owner,
                on_written=self.journal.forget,
            )
        )

    @cached_property
    def conversations(self) -> Conversations:
        return self.kept(PostgresConversations(self._database))

    @cached_property
    def keys(self) -> KeyStore:
        return self._keys

    @cached_property
    def budgets(self) -> BudgetStore:
        try:
            return PostgresBudgets(self._database, self._watch)
        except (psycopg.Error, msgspec.MsgspecError) as error:
            raise self._unread("budgets", error) from None

    @cached_property
    def answers(self) -> AnswerStore:
        return self.kept(PostgresAnswers(self._database))

    @cached_property
    def outcomes(self) -> OutcomeArchive:
        return self.kept(PostgresOutcomes(self._database))

    def kept_secret(self) -> bytes:
        return self._keys.secret()

    @cached_property
    def _database(self) -> Database:
        return self.kept(open_database(self._url, "stores", STORES_MIGRATIONS, statement_timeout_s=STATEMENT_TIMEOUT_S))

    @cached_property
    def _watch(self) -> Watch:
        return self.kept(Watch(self._database))

    @cached_property
    def _keys(self) -> PostgresKeys:
        try:
            return PostgresKeys(self._database, self._watch)
        except (psycopg.Error, msgspec.MsgspecError) as error:
            raise self._unread("keys", error) from None

    def _own(self, name: str) -> Path:
        folder = self._folder or Path()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"store.folder: {folder}: {error.strerror}; a gateway keeps there what the database does not have yet",
                param="store.folder",
            ) from error
        return folder / name

    def _unread(self, room: str, error: Exception) -> ConfigError:
        why = self._database.why_not(error) if isinstance(error, psycopg.Error) else f"one is not understood ({error})"
        return ConfigError(f"{PLACE}: {self._database.place}: the {room} cannot be read: {why}", param=PLACE)
