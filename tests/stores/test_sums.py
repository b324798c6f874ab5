"""Sums kept beside the rows: they say what the rows say, each row once, whoever sums and whenever."""

import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from turnout.errors import InvalidRequest
from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.stores import sqlite as module
from turnout.stores.sqlite import SqliteLedger
from turnout.stores.sums import roll

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FROM, UNTIL = NOON - timedelta(hours=12), NOON + timedelta(hours=12)


def row(n: int, **told: object) -> LedgerRow:
    fields = {
        "request_id": f"req_{n}",
        "received_at": iso_utc(NOON + timedelta(seconds=n)),
        "key_id": "ci" if n % 4 < 2 else None,
        "session_id": f"s{n % 4}",
        "agent": "main",
        "step": n,
        "deployment": "lab/large" if n % 2 else "lab/small",
        "provider": "lab",
        "tier": "frontier" if n % 2 else "small",
        "reason": "pinned" if n % 5 else "mode",
        "tags": {"feature": "search"} if n % 2 else {},
        "input_tokens": 100 * n,
        "output_tokens": n,
        "cost_nano_usd": 10 * n,
        "part_system": n,
        "baseline_uncached_nano_usd": 40 * n,
        "baseline_cached_nano_usd": 20 * n,
        **told,
    }
    return LedgerRow(**fields)


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = SqliteLedger(tmp_path / "t.db")
    yield ledger
    ledger.close()


@pytest.mark.parametrize("by", ["all", "feature", "key", "team", "mode", "model", "provider", "tier", "day"])
def test_sums_are_those_of_the_rows(ledger: SqliteLedger, by: str):
    for n in range(60):
        ledger.append(row(n))
    exact = {(v.group, v.deployment): v for v in ledger.usage(FROM, UNTIL, by)}
    told = {(v.group, v.deployment): v for v in ledger.sums(FROM, UNTIL, by)}
    assert told.keys() == exact.keys()
    for key, volume in exact.items():
        for name in ("requests", "input_tokens", "output_tokens", "cost_nano_usd", "unpriced", "system", "tier"):
            assert getattr(told[key], name) == getattr(volume, name), (key, name)
        assert (told[key].brief_requests, told[key].brief_cost_nano_usd) == (
            volume.brief_requests,
            volume.brief_cost_nano_usd,
        )


def test_sessions_and_growth_where_they_are_told_apart(ledger: SqliteLedger):
    for n in reversed(range(60)):  # whatever the order in which they are written
        ledger.append(row(n))
    for by in ("all", "key"):
        exact = {v.group: (v.sessions, v.growth_per_step) for v in ledger.usage(FROM, UNTIL, by)}
        assert {v.group: (v.sessions, v.growth_per_step) for v in ledger.sums(FROM, UNTIL, by)} == exact
    (alone,) = ledger.past_sessions(FROM, UNTIL, 10, name="s1")
    assert (alone.first_input, alone.last_input, alone.deepest) == (100, 5_700, 5_700)


def test_what_comes_later_is_added_and_nothing_twice(ledger: SqliteLedger):
    for n in range(10):
        ledger.append(row(n))
    (first,) = [v for v in ledger.sums(FROM, UNTIL, "all") if v.deployment == "lab/small"]
    ledger.append(row(4))  # a replay
    ledger.append(row(12))
    (second,) = [v for v in ledger.sums(FROM, UNTIL, "all") if v.deployment == "lab/small"]
    assert (first.requests, second.requests) == (5, 6)
    assert second.baseline_cached_nano_usd == 20 * (0 + 2 + 4 + 6 + 8 + 12)


def test_a_file_without_sums_gets_them(tmp_path: Path):
    old = SqliteLedger(tmp_path / "t.db")
    for n in range(20):
        old.append(row(n))
    old.close()
    db = sqlite3.connect(tmp_path / "t.db")
    for table in ("hour_sums", "day_sums", "step_sums", "session_sums"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608
    db.execute("UPDATE sums_mark SET rolled = 0")
    db.commit()
    db.close()
    new = SqliteLedger(tmp_path / "t.db")
    assert sum(v.requests for v in new.sums(FROM, UNTIL, "all")) == 20
    new.close()


def test_two_processes_sum_each_row_once(tmp_path: Path):
    one, two = SqliteLedger(tmp_path / "t.db"), SqliteLedger(tmp_path / "t.db")
    for n in range(40):
        (one if n % 2 else two).append(row(n))
        if n % 10 == 0:
            one.sums(FROM, UNTIL, "all")
    two.flush()
    one.flush()
    assert sum(v.requests for v in two.sums(FROM, UNTIL, "all")) == 40
    assert sum(v.requests for v in one.sums(FROM, UNTIL, "feature")) == 40
    one.close()
    two.close()


def test_rows_are_summed_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("turnout.stores.sums.MOST_ROLLED", 7)
    monkeypatch.setattr(module, "ROLL_EVERY", 10**9)
    ledger = SqliteLedger(tmp_path / "t.db")
    for n in range(40):
        ledger.append(row(n))
    ledger.flush()
    db = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    roll(db)
    assert db.execute("SELECT sum(requests) FROM hour_sums").fetchone() == (40,)
    assert db.execute("SELECT kind, sum(requests) FROM day_sums GROUP BY 1").fetchall() == [
        (kind, 40) for kind in ("feature", "key", "mode", "reason", "team")
    ]
    db.close()
    ledger.close()


def test_steps_far_out_share_a_span(ledger: SqliteLedger):
    for n, step in enumerate([0, 0, 5, 29, 30, 34, 35, 2_000]):
        ledger.append(row(n, step=step, tags={}))
    assert Counter({s.step: s.requests for s in ledger.steps(FROM, UNTIL)}) == Counter(
        {0: 2, 5: 1, 29: 1, 30: 2, 35: 1, 1_000: 1}
    )


def test_of_a_span_only_what_lies_in_it(ledger: SqliteLedger):
    ledger.append(row(0))
    ledger.append(row(1, received_at=iso_utc(NOON + timedelta(hours=2))))
    assert [v.requests for v in ledger.sums(NOON, NOON + timedelta(hours=1), "all")] == [1]
    assert [v.group for v in ledger.sums(FROM, UNTIL, "hour")] == ["2026-11-23T14", "2026-11-23T12"]


def test_past_sessions_are_the_latest_first_and_bounded(ledger: SqliteLedger):
    for n in range(60):
        ledger.append(row(n, key_id="ci"))
    past = ledger.past_sessions(FROM, UNTIL, 3)
    assert [p.session_id for p in past] == ["s3", "s2", "s1"]
    assert (past[0].first_input, past[0].last_input, past[0].requests) == (300, 5_900, 15)
    assert (past[0].deployment, past[0].feature) == ("lab/large", "search")


def test_a_group_that_is_none_is_refused(ledger: SqliteLedger):
    with pytest.raises(InvalidRequest, match="did you mean feature"):
        ledger.sums(FROM, UNTIL, "features")


def test_in_memory_too():
    ledger = SqliteLedger(":memory:")
    ledger.append(row(1))
    assert [v.requests for v in ledger.sums(FROM, UNTIL, "all")] == [1]
    ledger.close()
