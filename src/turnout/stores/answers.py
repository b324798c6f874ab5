"""Answers that may be given again, in memory or in the ledger's SQLite file. The longest unused go first."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from turnout.answers import Kept
from turnout.errors import ConfigError
from turnout.stores.schema import open_database

__all__ = ["MemoryAnswers", "SqliteAnswers"]

logger = logging.getLogger(__name__)

_KEEP = "INSERT OR REPLACE INTO answers (key, expires_s, used_s, size, record) VALUES (?, ?, ?, ?, ?)"
_FIND = "SELECT record FROM answers WHERE key = ? AND expires_s > ?"
_USED = "UPDATE answers SET used_s = max(used_s, ?) WHERE key = ?"
_EXPIRED = "DELETE FROM answers WHERE expires_s <= ?"
# Those with whom, counted from the newest use on, the bound is passed.
_TOO_MANY = """
    DELETE FROM answers WHERE key IN (
        SELECT key FROM (SELECT key, sum(size) OVER (ORDER BY used_s DESC, key) AS total FROM answers) WHERE total > ?
    )
    """
_TOTAL = "SELECT ifnull(sum(size), 0) FROM answers"


class MemoryAnswers:
    """Answers (`turnout.answers.AnswerStore`) of this process. One event loop owns it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, key: bytes, *, now_s: float) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.expires_s <= now_s:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept

    async def keep(self, key: bytes, kept: Kept, *, max_bytes: int) -> None:
        if key in self._kept:
            self._forget(key)
        self._kept[key] = kept
        self._bytes += len(kept.body)
        # What expired is not looked for: it is the longest unused soon enough, and is never given out.
        while self._bytes > max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        self._bytes -= len(self._kept.pop(key).body)


class SqliteAnswers:
    """Answers (`turnout.answers.AnswerStore`) in the file `path`, read and written off the event loop. They outlive a
    restart. The file is opened at the first use, for most gateways keep none. A failure is logged: it costs a hit."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    async def find(self, key: bytes, *, now_s: float) -> Kept | None:
        try:
            return await asyncio.to_thread(self._find, key, now_s)
        except (sqlite3.Error, ConfigError, msgspec.MsgspecError) as error:
            logger.warning("no answer could be looked up: %s", error)
            return None

    async def keep(self, key: bytes, kept: Kept, *, max_bytes: int) -> None:
        try:
            await asyncio.to_thread(self._keep, key, kept, max_bytes)
        except (sqlite3.Error, ConfigError) as error:
            logger.warning("an answer was not kept: %s", error)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = open_database(self._path)
        return self._db

    def _find(self, key: bytes, now_s: float) -> Kept | None:
        with self._lock:
            db = self._open()
            row = db.execute(_FIND, (key, now_s)).fetchone()
            if row is None:
                return None
            db.execute(_USED, (now_s, key))
        return msgspec.msgpack.decode(row[0], type=Kept)

    def _keep(self, key: bytes, kept: Kept, max_bytes: int) -> None:
        record = msgspec.msgpack.encode(kept)
        with self._lock:
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                db.execute(_EXPIRED, (kept.made_s,))
                db.execute(_KEEP, (key, kept.expires_s, kept.made_s, len(kept.body), record))
                if db.execute(_TOTAL).fetchone()[0] > max_bytes:
                    db.execute(_TOO_MANY, (max_bytes,))
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
