"""The smaller stores in PostgreSQL when the server ends and comes back, when it is silent, and when news get lost."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest

from stores.test_answers import kept
from stores.test_conversations import turn
from stores.test_keys_and_budgets import budget, key, until
from stores.test_outcomes import outcome
from support.postgres import database, own_server
from turnout.errors import ConfigError, Internal
from turnout.store_rules import StoreConfig
from turnout.stores.opening import beside, open_stores
from turnout.stores.postgres import asking, held, rooms
from turnout.stores.postgres import database as database_module
from turnout.stores.postgres.database import Database


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(asking, "PAUSE_S", 0.05)
    monkeypatch.setattr(held, "RETRY_S", 0.05)
    with own_server() as made:
        yield made


@pytest.fixture
def opened(tmp_path):
    """Opens stores by their URL, and closes them at the end."""
    made = []

    def opening(url):
        made.append(open_stores(StoreConfig(ledger=url, folder=str(tmp_path))))
        return made[-1]

    yield opening
    for stores in made:
        stores.close()


def test_keys_that_are_known_open_while_the_server_is_away_and_changes_are_heard_of_after(server, opened, caplog):
    one, two = opened(server.url()), opened(server.url())
    assert one.keys.all() == two.keys.all() == one.budgets.all() == []
    one.keys.put(key("before"))
    until(two.keys.changed)
    server.stop()
    assert two.keys.all() == [key("before")]
    with pytest.raises(Internal, match=r"the keys in postgresql://.* cannot be written: no server answers; check host"):
        one.keys.put(key("meanwhile"))
    with pytest.raises(Internal, match=r"the budgets in postgresql://.* cannot be written"):
        one.budgets.put(budget("meanwhile"))
    until(lambda: "is not heard of" in caplog.text)
    assert not two.keys.changed()
    server.start()
    one.keys.put(key("after"))
    until(two.keys.changed)
    assert [stored.key.name for stored in two.keys.all()] == ["before", "after"]
    until(lambda: "are followed again" in caplog.text)
    assert caplog.text.count("is not heard of") == 1


async def test_conversations_and_answers_are_lost_while_the_server_is_away_and_nothing_else(server, opened, caplog):
    stores = opened(server.url())
    await stores.conversations.keep(turn("r1"))
    await stores.answers.keep(b"k", kept(), max_bytes=1000)
    server.stop()
    for _ in range(3):
        assert await stores.conversations.find("a", "r1") is None
        await stores.conversations.keep(turn("r2"))
        assert await stores.answers.find(b"k", now_s=101) is None
        await stores.answers.keep(b"k2", kept(), max_bytes=1000)
    assert caplog.text.count("conversations are neither kept nor found") == 1
    assert caplog.text.count("answers are neither kept nor found") == 1
    server.start()
    end = time.monotonic() + 10
    while await stores.conversations.find("a", "r1") is None:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    assert (await stores.answers.find(b"k", now_s=101)) == kept()
    assert "conversations are kept again" in caplog.text


async def test_a_server_that_is_silent_holds_nobody_for_long(server, opened, monkeypatch):
    monkeypatch.setitem(database_module._KEPT_ALIVE, "connect_timeout", 2)  # the least that its library takes
    monkeypatch.setattr(rooms, "STATEMENT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(database_module, "SILENCE_S", 0.5)
    monkeypatch.setattr(asking, "ANSWER_S", 0.2)
    monkeypatch.setattr(held, "ANSWER_S", 0.2)
    stores = opened(server.url())
    await stores.answers.keep(b"k", kept(), max_bytes=1000)
    stores.keys.put(key("ci"))
    server.freeze()
    assert await stores.answers.find(b"k", now_s=101) is None
    with pytest.raises(Internal, match="cannot be written"):
        stores.keys.put(key("meanwhile"))
    assert [stored.key.name for stored in stores.keys.all()] == ["ci"]
    server.thaw()


async def test_nobody_waits_behind_others_who_wait_for_the_database(server, opened, monkeypatch):
    monkeypatch.setattr(asking, "ANSWER_S", 0.2)
    ends = threading.Event()
    db = Database(server.url())
    asked = asking.Asking(db, "things")
    try:
        for _ in range(asking.THREADS + 1):  # what goes on in the threads, and what waits for one
            asked._away_until_s = 0.0
            assert await asked.ask(lambda _: ends.wait(30), "otherwise") == "otherwise"
    finally:
        ends.set()
        asked.close()
        db.close()


def test_outcomes_wait_for_the_server(server, opened):
    stores = opened(server.url())
    stores.outcomes.add(outcome("before"))
    assert [o.request_id for o in stores.outcomes.recent(10)] == ["before"]
    server.stop()
    stores.outcomes.add(outcome("meanwhile"))
    with pytest.raises(Internal, match=r"outcomes in postgresql://.* cannot be read: no server answers"):
        stores.outcomes.recent(10)
    server.start()
    assert {o.request_id for o in stores.outcomes.recent(10)} == {"before", "meanwhile"}


def test_a_change_that_nobody_was_told_of_is_found_all_the_same(opened):
    with database() as url:
        stores = opened(url)
        assert not stores.budgets.changed()
        with psycopg.connect(url) as db:
            db.execute("INSERT INTO turnout.budgets (name, told) VALUES ('made', '{\"amount_usd\": 1}')")
            db.execute("UPDATE turnout.changes SET version = version + 1 WHERE room = 'budgets'")
        until(stores.budgets.changed)
        assert [stored.name for stored in stores.budgets.all()] == ["made"]


def test_a_key_that_this_version_does_not_understand_is_told_of_and_changes_nothing(opened, caplog):
    with database() as url:
        stores = opened(url)
        stores.keys.put(key("ci"))
        stores.keys.changed()
        with psycopg.connect(url) as db:
            db.execute("INSERT INTO turnout.keys (name, record) VALUES ('odd', '{}')")
            db.execute("UPDATE turnout.changes SET version = version + 1 WHERE room = 'keys'")
        until(lambda: "is not heard of" in caplog.text)
        assert stores.keys.all() == [key("ci")]
        with pytest.raises(ConfigError, match="the keys cannot be read: one is not understood"):
            _ = opened(url).keys


def test_the_secret_that_one_gateway_made_is_known_to_the_others_without_asking(server, opened):
    one, two = opened(server.url()), opened(server.url())
    _ = two.keys.all()
    secret = one.secret({})
    one.keys.put(key("ci"))
    until(two.keys.changed)
    server.stop()
    assert two.secret({}) == secret


def test_texts_go_to_postgresql_and_files_of_a_gateways_own_to_its_folder(tmp_path):
    told = StoreConfig(ledger="postgresql://u:p@h/db", folder=str(tmp_path / "own"))
    assert beside(told, "prices.json") == tmp_path / "own" / "prices.json"
    assert str(beside(StoreConfig(ledger="sqlite:///a/b.db"), "prices.json")) == "a/b.db.prices.json"
    with database() as url:
        stores = open_stores(StoreConfig(ledger=url, folder=str(tmp_path / "own")), serving=True)
        assert stores.ledger.get("none") is None
        assert (tmp_path / "own" / "spool").is_dir()
        stores.close()
        looking = open_stores(StoreConfig(ledger=url, folder=str(tmp_path / "never")))
        assert looking.ledger.recent(1) == []
        assert looking.outcomes.since(datetime(2026, 1, 1, tzinfo=UTC)) == []
        looking.close()
        assert not (tmp_path / "never").exists()
