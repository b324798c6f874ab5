"""Virtual keys in the ledger's SQLite file, and the server's secret that their hashes are keyed with."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import msgspec

from turnout.errors import ConfigError, Internal
from turnout.keys import StoredKey
from turnout.stores.schema import MEMORY, cause_of, data_version, open_database

__all__ = ["SqliteKeys", "file_secret", "told_secret"]

SECRET_VARIABLE = "TURNOUT_SECRET"  # noqa: S105 - the name of a variable


def told_secret(env: Mapping[str, str]) -> bytes | None:
    """The secret of this gateway's hashes as the variable TURNOUT_SECRET tells it."""
    told = env.get(SECRET_VARIABLE)
    return told.encode() if told else None


def file_secret(ledger: str) -> bytes:
    """The secret in a file beside the ledger, made at the first need, readable by its owner alone. Raises
    ConfigError."""
    if ledger == MEMORY:
        return secrets.token_bytes(32)
    file = Path(f"{ledger}.secret")
    try:
        if not file.exists():
            _make_secret(file)
        known = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; or set {SECRET_VARIABLE}") from error
    if len(known) < 32:
        raise ConfigError(f"{file}: holds no secret; restore it, or set {SECRET_VARIABLE}")
    return known


def _make_secret(file: Path) -> None:
    """Whole under its name or not at all: of processes that start together the first makes it for all. Raises
    OSError."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(secrets.token_bytes(32))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()


class SqliteKeys:
    """Keys in the file `path`. Whoever else changes them is noticed by `changed`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._db = open_database(path)
        self._version = data_version(self._db)

    def all(self) -> list[StoredKey]:
        """Every key that was ever made, oldest first; revoked ones too."""
        try:
            rows = self._db.execute("SELECT record FROM keys ORDER BY rowid").fetchall()
        except sqlite3.Error as error:
            raise Internal(f"the keys in {self._path} cannot be read: {cause_of(error)}") from error
        return [msgspec.json.decode(record, type=StoredKey) for (record,) in rows]

    def put(self, stored: StoredKey) -> None:
        """Keep a key, in the place of one of the same name. Raises Internal where it cannot be written."""
        record = msgspec.json.encode(stored).decode()
        try:
            self._db.execute(
                "INSERT INTO keys (name, record) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                (stored.key.name, record),
            )
        except sqlite3.Error as error:
            raise Internal(f"the keys in {self._path} cannot be written: {cause_of(error)}") from error

    def changed(self) -> bool:
        """Whether somebody else has written to the file since this was last asked. Takes microseconds."""
        before, self._version = self._version, data_version(self._db)
        return before != self._version

    def close(self) -> None:
        self._db.close()
