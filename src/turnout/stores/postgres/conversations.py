"""Conversations of the Responses API in PostgreSQL: each turn once, joined to its predecessors; any gateway goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg

from turnout.conversations import Turn
from turnout.stores.conversations import KEPT_DAYS, MAX_TURNS, items_of
from turnout.stores.postgres.asking import Asking
from turnout.stores.postgres.database import Database, Row
from turnout.stores.postgres.text import plain

__all__ = ["PostgresConversations"]

MOST_FORGOTTEN = 2_000
"""Old turns that one keeper deletes on the way: a few milliseconds."""

_KEEP = b"""
    INSERT INTO responses (owner, id, previous, provider, session, items, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (owner, id) DO UPDATE SET previous = excluded.previous, provider = excluded.provider,
        session = excluded.session, items = excluded.items, created_at = excluded.created_at
    """
_CHAIN = b"""
    WITH RECURSIVE chain (id, previous, provider, session, items, depth) AS (
        SELECT id, previous, provider, session, items, 0 FROM responses WHERE owner = %(owner)s AND id = %(id)s
        UNION ALL
        SELECT r.id, r.previous, r.provider, r.session, r.items, chain.depth + 1
        FROM responses AS r JOIN chain ON r.owner = %(owner)s AND r.id = chain.previous WHERE chain.depth < %(most)s
    )
    SELECT previous, provider, session, items FROM chain ORDER BY depth DESC
    """
_FORGET = b"""
    DELETE FROM responses WHERE (owner, id) IN (
        SELECT owner, id FROM responses WHERE created_at < %s LIMIT %s FOR UPDATE SKIP LOCKED
    )
    """


class PostgresConversations:
    """Conversations (`turnout.conversations.Conversations`), read and written off the event loop. While the database is
    away a turn is lost, and none is found: the answers themselves must not fail for it."""

    def __init__(self, database: Database) -> None:
        self._asking = Asking(database, "conversations")
        self._pruned_on: str | None = None

    async def keep(self, turn: Turn) -> None:
        await self._asking.ask(partial(self._keep, turn), None)

    async def find(self, owner: str, response_id: str) -> tuple[Turn, tuple[bytes, ...]] | None:
        return await self._asking.ask(partial(self._find, owner, response_id), None)

    def close(self) -> None:
        self._asking.close()

    def _keep(self, turn: Turn, db: psycopg.Connection[Row]) -> None:
        now = datetime.now(UTC)
        items = None if turn.items is None else b"[" + b",".join(turn.items) + b"]"
        previous = None if turn.previous is None else plain(turn.previous)
        names = plain(turn.owner), plain(turn.id), previous, turn.provider, plain(turn.session)
        db.execute(_KEEP, (*names, items, now))
        today = now.date().isoformat()
        if self._pruned_on != today:
            oldest = now - timedelta(days=KEPT_DAYS)
            if db.execute(_FORGET, (oldest, MOST_FORGOTTEN)).rowcount < MOST_FORGOTTEN:
                self._pruned_on = today

    def _find(self, owner: str, response_id: str, db: psycopg.Connection[Row]) -> tuple[Turn, tuple[bytes, ...]] | None:
        rows = db.execute(_CHAIN, {"owner": plain(owner), "id": plain(response_id), "most": MAX_TURNS}).fetchall()
        if not rows:
            return None
        previous, provider, session, items = rows[-1]
        own = items_of(items)
        turn = Turn(owner=owner, id=response_id, previous=previous, provider=provider, session=session, items=own)
        return turn, () if own is None else tuple(item for row in rows for item in items_of(row[3]) or ())
