"""Outcomes in SQLite and PostgreSQL: batched, replaced, bounded, forgotten in time; failures cost nothing else."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from support.stores import KINDS, house
from turnout.errors import ConfigError, Internal
from turnout.learning import Asked
from turnout.routing.outcomes import Outcome
from turnout.stores import outcomes, schema
from turnout.stores.outcomes import SqliteOutcomes
from turnout.stores.postgres import outcomes as postgres

NOW = datetime.now(UTC).replace(microsecond=0)


def outcome(request_id, score=1.0, source="tool", model="m", at=NOW, **more):
    return Outcome(request_id=request_id, model=model, score=score, source=source, weight=0.2, at=at, **more)


def asked(request_id, size=0, at=NOW, model="m"):
    text = bytes(n * 7919 % 251 for n in range(size)) if size else None
    return Asked(request_id=request_id, model=model, at=at, features=b"\0\1", request=text, answer=text)


@pytest.fixture(params=["memory", *KINDS])
def store(request, tmp_path):
    if request.param == "memory":
        made = SqliteOutcomes(":memory:")
        yield made
        made.close()
        return
    with house(request.param, tmp_path) as made:
        yield made.open().outcomes


def test_what_is_added_is_read_newest_first(store):
    told = [
        outcome("r1", at=NOW - timedelta(minutes=1)),
        outcome("r1", 0.25, "feedback", owner="ci", mode="m", label="thumb", predicted=0.5, features=b"\0\xff"),
        outcome("r2", model="other", at=NOW + timedelta(minutes=1)),
    ]
    for one in told:
        store.add(one)
    assert store.recent(10) == list(reversed(told))
    assert store.recent(1, "m") == [told[1]]
    assert store.since(NOW) == told[1:]


def test_what_the_same_source_says_again_replaces_what_it_said(store):
    store.add(outcome("r", 1.0, "feedback"))
    store.add(outcome("r", 0.0, "feedback"))
    store.add(outcome("r", 1.0, "tool"))
    assert sorted((o.source, o.score) for o in store.recent(10)) == [("feedback", 0.0), ("tool", 1.0)]


def test_a_request_is_kept_with_what_was_seen_of_it(store):
    store.keep(asked("r", 100))
    store.keep(asked("s"))
    assert store.find("r") == asked("r", 100)
    assert store.find("x") is None
    (kept,) = store.texts_since(NOW)
    assert (kept.request_id, kept.request, kept.answer) == ("r", None, None)
    assert store.text("r", "m") == asked("r", 100)
    assert store.text("r", "other") is None


def test_texts_are_bounded_and_the_oldest_go_first(stores_at, monkeypatch):
    for module in (outcomes, postgres):
        monkeypatch.setattr(module, "MOST_KEPT_BYTES", 3_000)
    store = stores_at.open().outcomes
    for number in range(20):
        store.keep(asked(f"r{number}", 2_000, NOW + timedelta(seconds=number)))
        store.flush()
    kept = [told.request_id for told in store.texts_since(NOW)]
    assert 1 <= len(kept) < 20
    assert kept == [f"r{n}" for n in range(20 - len(kept), 20)]


def test_they_outlive_a_restart_and_are_forgotten_in_time(stores_at):
    stores = stores_at.open()
    stores.outcomes.add(outcome("old", at=NOW - timedelta(days=40)))
    stores.outcomes.keep(asked("old", at=NOW - timedelta(days=40)))
    stores.outcomes.add(outcome("new"))
    stores.close()
    store = stores_at.open().outcomes
    assert [o.request_id for o in store.recent(10)] == ["new", "old"]
    store.keep_for(30)
    store.add(outcome("newer"))
    assert {o.request_id for o in store.recent(10)} == {"new", "newer"}
    assert store.find("old") is None


def test_text_that_is_none_holds_up_nobody(store):
    store.add(outcome("r\ud800"))
    store.add(outcome("r2"))
    assert {o.request_id for o in store.recent(10)} == {"r?", "r2"}


def test_a_store_that_fails_says_so_and_raises_only_where_it_is_read(tmp_path, caplog):
    store = SqliteOutcomes(tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute("DROP TABLE outcomes")
    db.close()
    store.add(outcome("r"))
    with pytest.raises(Internal, match="cannot be read"):
        store.recent(10)
    assert "outcomes are lost, and nothing else" in caplog.text
    store.close()


def test_what_a_lock_keeps_off_the_disk_waits_and_is_not_lost(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.01)
    store = SqliteOutcomes(tmp_path / "ledger.db", flush_interval_s=60)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.add(outcome("r"))
    assert store.recent(1) == []
    other.execute("COMMIT")
    assert store.recent(1) == [outcome("r")]
    assert not caplog.records
    other.close()
    store.close()


def test_after_the_end_nothing_is_taken_and_nothing_raised(tmp_path, caplog):
    store = SqliteOutcomes(tmp_path / "t.db")
    store.close()
    store.close()
    store.add(outcome("r"))
    assert "outcomes are lost" in caplog.text


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"store\.ledger"):
        SqliteOutcomes(tmp_path / "no" / "t.db")
