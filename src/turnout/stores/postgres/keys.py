"""Virtual keys in PostgreSQL, and the secret that their hashes are keyed with: one for all gateways."""

from __future__ import annotations

import secrets

import msgspec
import psycopg
from msgspec import Struct

from turnout.errors import Internal
from turnout.keys import StoredKey
from turnout.stores.postgres.database import Database, Row
from turnout.stores.postgres.held import Held, Watch

__all__ = ["PostgresKeys"]

_PUT = "INSERT INTO keys (name, record) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET record = excluded.record"
_KEEP_SECRET = b"INSERT INTO secrets (name, secret) VALUES ('keys', %s) ON CONFLICT (name) DO NOTHING"
_SECRET = b"SELECT secret FROM secrets WHERE name = 'keys'"


class _Content(Struct, frozen=True):
    keys: list[StoredKey]
    secret: bytes | None


class PostgresKeys:
    """A `KeyStore`: keys are held in memory and followed, so that a request waits for no database, and keys that are
    known open while it is away. Raises psycopg.Error when it cannot be read at the start."""

    def __init__(self, database: Database, watch: Watch) -> None:
        self._database = database
        self._held = Held(database, "keys", _read)
        self._watch = watch
        watch.follow(self._held)

    def all(self) -> list[StoredKey]:
        return list(self._held.value.keys)

    def put(self, stored: StoredKey) -> None:
        self._held.write(_PUT, (stored.key.name, msgspec.json.encode(stored).decode()))

    def changed(self) -> bool:
        self._watch.start()
        return self._held.changed()

    def secret(self) -> bytes:
        """The secret that is kept in the database, made by the first who needs one. Raises Internal."""
        if (known := self._held.value.secret) is not None:
            return known
        try:
            with self._database.connection() as db:
                db.execute(_KEEP_SECRET, (secrets.token_bytes(32),))
                found = db.execute(_SECRET).fetchone()
        except psycopg.Error as error:
            raise Internal(
                f"the secret of the keys in {self._database.place} cannot be read: {self._database.why_not(error)}; "
                "or set TURNOUT_SECRET"
            ) from None
        assert found is not None  # noqa: S101 - kept two lines before
        return bytes(found[0])


def _read(db: psycopg.Connection[Row]) -> _Content:
    # Whoever makes a key has made the secret before.
    keys = [
        msgspec.json.decode(record, type=StoredKey)
        for (record,) in db.execute(b"SELECT record FROM keys ORDER BY number")
    ]
    found = db.execute(_SECRET).fetchone()
    return _Content(keys, bytes(found[0]) if found else None)
