"""The journal of a gateway whose ledger is in PostgreSQL: files of its own, and a claim that all machines see."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from turnout.errors import ConfigError
from turnout.spend.ledger import Ledger
from turnout.stores.journal import FileJournal
from turnout.stores.postgres.database import Database, Row, lock_named

__all__ = ["PostgresJournal"]

CLAIM_S = 10.0
"""A start waits no longer than this for a server that is silent."""

NOTICED_S, AGAIN_S = 1.0, 0.05
"""A server takes a moment to notice that the process before is gone, which a restart must not stumble over."""

_LOCK = lock_named("budgets")


class PostgresJournal(FileJournal):
    """A `FileJournal` at `path`. One that keeps a database's budgets alone holds an advisory lock there, several that
    share their state a shared one: so nobody keeps them alone beside others, wherever its files are. A server that
    restarts forgets its locks; until a gateway starts again nobody asks."""

    def __init__(
        self,
        path: str,
        gateway: str | None,
        unsettled: Callable[[str], int],
        database: Callable[[], Database],
    ) -> None:
        super().__init__(path, gateway, unsettled)
        self._database = database
        self._shares = gateway is not None
        self._lock: psycopg.Connection[Row] | None = None

    def claim(self, ledger: Ledger) -> None:
        if self.claimed:
            return
        self._lock = self._locked_database()
        try:
            super().claim(ledger)
        except BaseException:
            self._unlock()
            raise

    def close(self) -> None:
        super().close()
        self._unlock()

    def _locked_database(self) -> psycopg.Connection[Row]:
        database = self._database()
        try:
            db = database.connect()
            try:
                got = self._lock_in(database, db)
            except BaseException:
                db.close()
                raise
        except psycopg.Error as error:
            raise ConfigError(f"store.ledger: {database.why_not(error)}", param="store.ledger") from None
        if not got:
            db.close()
            raise ConfigError(
                "store.ledger: another Turnout keeps the budgets of this database: two would each spend the whole "
                "amount; let all of them share their state (store.shared), or end that process",
                param="store.ledger",
            )
        return db

    def _lock_in(self, database: Database, db: psycopg.Connection[Row]) -> bool:
        function = "pg_try_advisory_lock_shared" if self._shares else "pg_try_advisory_lock"
        until_s = time.monotonic() + NOTICED_S
        while True:
            with database.within(db, CLAIM_S):
                got = db.execute(f"SELECT {function}({_LOCK})".encode()).fetchone()
            if (got and got[0]) or time.monotonic() >= until_s:
                return bool(got and got[0])
            time.sleep(AGAIN_S)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
