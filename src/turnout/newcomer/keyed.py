"""Whether callers need a key, seen without opening a store as a gateway does: that would make or migrate it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from turnout.config import Config
from turnout.errors import ConfigError
from turnout.store_rules import LEDGERS, scheme_of
from turnout.stores.schema import MEMORY

__all__ = ["has_keys"]

PATIENCE_S = 5


def has_keys(config: Config) -> bool:
    """Whether a virtual key was ever made, in the config or in its store. Raises ConfigError where the store cannot be
    read."""
    if config.keys:
        return True
    url = config.store.ledger
    if scheme_of(url, LEDGERS, "store.ledger") == "sqlite":
        return _in_file(url.removeprefix("sqlite:///"))
    return _in_postgres(url)


def _in_file(file: str) -> bool:
    if file == MEMORY or not Path(file).exists():
        return False
    try:
        uri = f"{Path(file).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE_S)) as db:
            there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchone()
            return bool(there and db.execute("SELECT 1 FROM keys LIMIT 1").fetchone())
    except sqlite3.Error as error:
        raise ConfigError(f"store.ledger: {file} is no ledger ({error})", param="store.ledger") from None


def _in_postgres(url: str) -> bool:
    try:
        import psycopg
    except ImportError:
        raise ConfigError(
            "store.ledger: PostgreSQL's driver is not installed: pip install 'turnout[postgres]'", param="store.ledger"
        ) from None
    from turnout.stores.postgres.database import SCHEMA, cause_of

    try:
        with psycopg.connect(url, connect_timeout=PATIENCE_S, autocommit=True) as db:
            db.execute(
                "SELECT set_config('search_path', %s || ', ' || current_setting('search_path'), false)", (SCHEMA,)
            )
            there = db.execute("SELECT to_regclass('keys') IS NOT NULL").fetchone()
            return bool(there and there[0] and db.execute("SELECT 1 FROM keys LIMIT 1").fetchone())
    except psycopg.Error as error:
        raise ConfigError(f"store.ledger: {cause_of(error)}", param="store.ledger") from None
