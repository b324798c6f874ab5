"""Conversations of the Responses API in the ledger's SQLite file: each turn once, joined to its predecessors."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Raw

from turnout.conversations import Turn
from turnout.stores.schema import open_database

__all__ = ["KEPT_DAYS", "MAX_TURNS", "SqliteConversations", "items_of"]

logger = logging.getLogger(__name__)

KEPT_DAYS = 30
"""As long as OpenAI keeps responses (platform.openai.com/docs/guides/conversation-state)."""

MAX_TURNS = 10_000
"""No conversation is longer: a bound on a chain that a fault made endless."""

_KEEP = """
    INSERT OR REPLACE INTO responses (owner, id, previous, provider, session, items, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    """
_CHAIN = """
    WITH RECURSIVE chain (id, previous, provider, session, items, depth) AS (
        SELECT id, previous, provider, session, items, 0 FROM responses WHERE owner = ?1 AND id = ?2
        UNION ALL
        SELECT r.id, r.previous, r.provider, r.session, r.items, chain.depth + 1
        FROM responses AS r JOIN chain ON r.owner = ?1 AND r.id = chain.previous WHERE chain.depth < ?3
    )
    SELECT id, previous, provider, session, items FROM chain ORDER BY depth DESC
    """


class SqliteConversations:
    """Conversations (`turnout.conversations.Conversations`) in the file `path`, read and written off the event loop.

    Raises ConfigError for a file that cannot be opened. A turn that cannot be written is logged and lost: the answer
    itself must not fail for it.
    """

    def __init__(self, path: str | Path) -> None:
        self._db = open_database(str(path))
        self._lock = threading.Lock()
        self._pruned_on: str | None = None

    async def keep(self, turn: Turn) -> None:
        try:
            await asyncio.to_thread(self._keep, turn)
        except sqlite3.Error as error:
            logger.warning("response %s was not kept: %s", turn.id, error)

    async def find(self, owner: str, response_id: str) -> tuple[Turn, tuple[bytes, ...]] | None:
        try:
            return await asyncio.to_thread(self._find, owner, response_id)
        except sqlite3.Error as error:
            logger.warning("response %s could not be looked up: %s", response_id, error)
            return None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _keep(self, turn: Turn) -> None:
        now = datetime.now(UTC)
        items = None if turn.items is None else b"[" + b",".join(turn.items) + b"]"
        row = (turn.owner, turn.id, turn.previous, turn.provider, turn.session, items, now.isoformat())
        with self._lock:
            self._db.execute(_KEEP, row)
            today = now.date().isoformat()
            if self._pruned_on != today:
                self._pruned_on = today
                oldest = (now - timedelta(days=KEPT_DAYS)).isoformat()
                self._db.execute("DELETE FROM responses WHERE created_at < ?", (oldest,))

    def _find(self, owner: str, response_id: str) -> tuple[Turn, tuple[bytes, ...]] | None:
        with self._lock:
            rows = self._db.execute(_CHAIN, (owner, response_id, MAX_TURNS)).fetchall()
        if not rows:
            return None
        _, previous, provider, session, items = rows[-1]
        own = items_of(items)
        turn = Turn(owner=owner, id=response_id, previous=previous, provider=provider, session=session, items=own)
        return turn, () if own is None else tuple(item for row in rows for item in items_of(row[4]) or ())


def items_of(stored: bytes | None) -> tuple[bytes, ...] | None:
    """A turn's items as they are kept, each by itself."""
    if stored is None:
        return None
    return tuple(bytes(item) for item in msgspec.json.decode(stored, type=list[Raw]))
