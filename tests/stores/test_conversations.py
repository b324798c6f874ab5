"""Conversations in SQLite: turns joined in order, each its owner's own, forgotten in time."""

from datetime import UTC, datetime, timedelta

from turnout.conversations import Turn
from turnout.stores import conversations
from turnout.stores.conversations import KEPT_DAYS, SqliteConversations


def turn(name, previous=None, owner="a", items=(b'{"n":1}',)):
    return Turn(owner=owner, id=name, previous=previous, provider="up", session="s", items=items)


async def test_a_conversation_is_found_whole_and_in_order(tmp_path):
    store = SqliteConversations(tmp_path / "t.db")
    await store.keep(turn("r1", items=(b'"q1"', b'"a1"')))
    await store.keep(turn("r2", "r1", items=(b'"q2"', b'"a2"')))
    await store.keep(turn("other"))
    found, items = await store.find("a", "r2")
    assert items == (b'"q1"', b'"a1"', b'"q2"', b'"a2"')
    assert (found.previous, found.provider, found.session) == ("r1", "up", "s")
    assert await store.find("a", "r9") is None
    store.close()


async def test_nobody_reads_anothers(tmp_path):
    store = SqliteConversations(tmp_path / "t.db")
    await store.keep(turn("r1", owner="a"))
    assert await store.find("b", "r1") is None
    store.close()


async def test_what_the_provider_keeps_has_no_items_here(tmp_path):
    store = SqliteConversations(tmp_path / "t.db")
    await store.keep(turn("r1", items=None))
    found, items = await store.find("a", "r1")
    assert (found.items, items) == (None, ())
    store.close()


async def test_it_outlives_a_restart_and_is_forgotten_in_time(tmp_path, monkeypatch):
    store = SqliteConversations(tmp_path / "t.db")
    await store.keep(turn("r1"))
    store.close()
    later = datetime.now(UTC) + timedelta(days=KEPT_DAYS, minutes=1)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    store = SqliteConversations(tmp_path / "t.db")
    assert await store.find("a", "r1") is not None
    monkeypatch.setattr(conversations, "datetime", Later)
    await store.keep(turn("r2"))
    assert await store.find("a", "r1") is None
    assert await store.find("a", "r2") is not None
    store.close()


async def test_a_chain_that_bites_its_tail_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(conversations, "MAX_TURNS", 5)
    store = SqliteConversations(tmp_path / "t.db")
    await store.keep(turn("r1", "r2"))
    await store.keep(turn("r2", "r1"))
    _, items = await store.find("a", "r1")
    assert len(items) == 6
    store.close()
