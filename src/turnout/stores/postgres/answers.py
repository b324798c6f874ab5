"""Answers that may be given again, in PostgreSQL: what one gateway was answered, all can give. The longest unused go
first."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import msgspec
import psycopg

from turnout.answers import Kept
from turnout.stores.postgres.asking import Asking
from turnout.stores.postgres.database import Database, Row, lock_named

__all__ = ["PostgresAnswers"]

USED_WITHIN_S = 60.0
"""An answer that was used so lately is not marked as used again: not every hit has to write."""

UNCOUNTED = 64
"""A gateway adds up to one part in so many of the bound before it counts again what is there."""

_ALONE = f"SELECT pg_try_advisory_xact_lock({lock_named('answers')})".encode()
"""Of several gateways one evicts."""

_KEEP = b"""
    INSERT INTO answers (key, expires_s, used_s, size, record) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET expires_s = excluded.expires_s, used_s = excluded.used_s, size = excluded.size,
        record = excluded.record
    """
_FIND = b"SELECT record, used_s FROM answers WHERE key = %s AND expires_s > %s"
_USED = b"UPDATE answers SET used_s = greatest(used_s, %s) WHERE key = %s"
_EXPIRED = b"DELETE FROM answers WHERE expires_s <= %s"
# Those with whom, counted from the newest use on, the bound is passed.
_TOO_MANY = b"""
    DELETE FROM answers WHERE key IN (
        SELECT key FROM (SELECT key, sum(size) OVER (ORDER BY used_s DESC, key) AS total FROM answers) AS counted
        WHERE total > %s
    )
    """


class PostgresAnswers:
    """Answers (`turnout.answers.AnswerStore`), read and written off the event loop. A failure costs a hit. All of them
    may together be more than the bound by a 64th of it for each gateway."""

    def __init__(self, database: Database) -> None:
        self._asking = Asking(database, "answers")
        self._uncounted: float = float("inf")

    async def find(self, key: bytes, *, now_s: float) -> Kept | None:
        return await self._asking.ask(partial(self._find, key, now_s), None)

    async def keep(self, key: bytes, kept: Kept, *, max_bytes: int) -> None:
        await self._asking.ask(partial(self._keep, key, kept, max_bytes), None)

    def close(self) -> None:
        self._asking.close()

    def _find(self, key: bytes, now_s: float, db: psycopg.Connection[Row]) -> Kept | None:
        found = db.execute(_FIND, (key, now_s)).fetchone()
        if found is None:
            return None
        if now_s - found[1] > USED_WITHIN_S:
            with _carelessly(db):
                db.execute(_USED, (now_s, key))
        return msgspec.msgpack.decode(found[0], type=Kept)

    def _keep(self, key: bytes, kept: Kept, max_bytes: int, db: psycopg.Connection[Row]) -> None:
        size = len(kept.body)
        with _carelessly(db):
            db.execute(_KEEP, (key, kept.expires_s, kept.made_s, size, msgspec.msgpack.encode(kept)))
            self._uncounted += size
            if self._uncounted > max_bytes // UNCOUNTED and _alone(db):
                self._uncounted = 0
                db.execute(_EXPIRED, (kept.made_s,))
                db.execute(_TOO_MANY, (max_bytes,))


@contextmanager
def _carelessly(db: psycopg.Connection[Row]) -> Generator[None]:
    """A transaction that waits for no disk: what a crash of the server takes of answers costs a hit."""
    with db.transaction():
        db.execute(b"SET LOCAL synchronous_commit = off")
        yield


def _alone(db: psycopg.Connection[Row]) -> bool:
    """Whether nobody else evicts, until the end of the transaction."""
    found = db.execute(_ALONE).fetchone()
    return bool(found and found[0])
