"""Conversations in SQLite and PostgreSQL: turns joined in order, each its owner's own, forgotten in time."""

from datetime import UTC, datetime, timedelta

from turnout.conversations import Turn
from turnout.stores import conversations
from turnout.stores.conversations import KEPT_DAYS
from turnout.stores.postgres import conversations as postgres


def turn(name, previous=None, owner="a", items=(b'{"n":1}',)):
    return Turn(owner=owner, id=name, previous=previous, provider="up", session="s", items=items)


async def test_a_conversation_is_found_whole_and_in_order(stores_at):
    store = stores_at.open().conversations
    await store.keep(turn("r1", items=(b'"q1"', b'"a1"')))
    await store.keep(turn("r2", "r1", items=(b'"q2"', b'"a2"')))
    await store.keep(turn("other"))
    found, items = await store.find("a", "r2")
    assert items == (b'"q1"', b'"a1"', b'"q2"', b'"a2"')
    assert (found.previous, found.provider, found.session) == ("r1", "up", "s")
    assert await store.find("a", "r9") is None


async def test_nobody_reads_anothers(stores_at):
    store = stores_at.open().conversations
    await store.keep(turn("r1", owner="a"))
    assert await store.find("b", "r1") is None


async def test_what_the_provider_keeps_has_no_items_here(stores_at):
    store = stores_at.open().conversations
    await store.keep(turn("r1", items=None))
    found, items = await store.find("a", "r1")
    assert (found.items, items) == (None, ())


async def test_it_outlives_a_restart_and_is_forgotten_in_time(stores_at, monkeypatch):
    store = stores_at.open().conversations
    await store.keep(turn("r1"))
    later = datetime.now(UTC) + timedelta(days=KEPT_DAYS, minutes=1)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    store = stores_at.open().conversations
    assert await store.find("a", "r1") is not None
    for module in (conversations, postgres):
        monkeypatch.setattr(module, "datetime", Later)
    await store.keep(turn("r2"))
    assert await store.find("a", "r1") is None
    assert await store.find("a", "r2") is not None


async def test_a_chain_that_bites_its_tail_ends(stores_at, monkeypatch):
    for module in (conversations, postgres):
        monkeypatch.setattr(module, "MAX_TURNS", 5)
    store = stores_at.open().conversations
    await store.keep(turn("r1", "r2"))
    await store.keep(turn("r2", "r1"))
    _, items = await store.find("a", "r1")
    assert len(items) == 6


async def test_a_text_that_not_every_database_takes_breaks_no_conversation(stores_at):
    store = stores_at.open().conversations
    await store.keep(turn("r\0"))
    await store.keep(turn("r2", "r\0"))
    assert (await store.find("a", "r2"))[1] == (b'{"n":1}', b'{"n":1}')
