"""Whether callers need a key, seen without opening a store of ours as a gateway does: that makes or migrates it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from turnout.config import Config
from turnout.errors import ConfigError
from turnout.store_rules import LEDGERS, StoreConfig, ledger_scheme
from turnout.stores.opening import open_stores
from turnout.stores.schema import MEMORY, cause_of, open_as_it_is

__all__ = ["has_keys"]

PATIENCE_S = 5


def has_keys(config: Config) -> bool:
    """Whether a virtual key was ever made, in the config or in its store. Raises ConfigError where the store cannot be
    read."""
    if config.keys:
        return True
    url, scheme = config.store.ledger, ledger_scheme(config.store)
    if scheme == "sqlite":
        return _in_file(url.removeprefix("sqlite:///"))
    return _in_postgres(url) if scheme in LEDGERS else _in_plugin(config.store)


def _in_file(file: str) -> bool:
    if file == MEMORY or not Path(file).exists():
        return False
    try:
        with closing(open_as_it_is(file)) as db:
            there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchone()
            return bool(there and db.execute("SELECT 1 FROM keys LIMIT 1").fetchone())
    except sqlite3.Error as error:
        raise ConfigError(f"store.ledger: {file}: {cause_of(error)}", param="store.ledger") from None


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


def _in_plugin(store: StoreConfig) -> bool:
    """Asked as every command does: only the plug-in knows what is in its store."""
    with closing(open_stores(store)) as stores:
        return bool(stores.keys.all())
