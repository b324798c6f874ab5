"""Every ledger says the same of the same rows: SQLite in a file and in memory, PostgreSQL with a spool and without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from support.ledgers import entries_since, spent_since
from support.postgres import database
from support.random_rows import NOON, rows
from turnout.errors import Internal, InvalidRequest
from turnout.spend.ledger import Ledger, LedgerRow, iso_utc
from turnout.spend.spent import BudgetEntry, Past, Question
from turnout.spend.wanted import Wanted
from turnout.stores import finding
from turnout.stores.postgres.ledger import PostgresLedger
from turnout.stores.spending import past_of
from turnout.stores.sqlite import SqliteLedger
from turnout.stores.sums import DIMENSIONS

KINDS = ("sqlite file", "sqlite memory", "postgres", "postgres with a spool")

SINCE, UNTIL = NOON - timedelta(days=40), NOON + timedelta(days=1)


def open_ledger(kind: str, folder: Path, url: str) -> Ledger:
    match kind:
        case "sqlite file":
            return SqliteLedger(folder / "turnout.db")
        case "sqlite memory":
            return SqliteLedger(":memory:")
        case "postgres":
            return PostgresLedger(url)
        case _:
            return PostgresLedger(url, spool=folder / "spool")


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if "sqlite" in request.param:
        opened = open_ledger(request.param, tmp_path, "")
        yield opened
        opened.close()
        return
    with database() as url:
        opened = open_ledger(request.param, tmp_path, url)
        yield opened
        opened.close()


def said(ledger: Ledger, rows: list[LedgerRow]) -> dict[str, object]:
    """All that a ledger says of these rows."""
    spans = ((SINCE, UNTIL), (NOON - timedelta(days=3, minutes=17), NOON - timedelta(hours=5, seconds=3)))
    told: dict[str, object] = {f"get {row.request_id}": ledger.get(row.request_id) for row in rows[:40]}
    for since, until in spans:
        for by in ("all", "day", "hour", "model", "provider", "tier", *DIMENSIONS):
            told[f"sums {since} {by}"] = ledger.sums(since, until, by)
        for by in ("all", "feature", "key", "session", "agent", "step", "day", "tag:other", "tag:team"):
            told[f"usage {since} {by}"] = ledger.usage(since, until, by)
        told[f"steps {since}"] = ledger.steps(since, until)
        told[f"charges {since}"] = ledger.charges(since, until)  # type: ignore[attr-defined]
        runs = ledger.past_sessions(since, until, 1_000)
        told[f"runs {since}"] = sorted(
            runs, key=lambda run: (run.last_at, run.session_id, run.agent or "", run.key_id or "")
        )
        told[f"one run {since}"] = {run.session_id for run in ledger.past_sessions(since, until, 9, name="s3")}
        told[f"spending {since}"] = sorted(spent_since(ledger, since), key=repr)
    told["recent"] = sorted(ledger.recent(1_000), key=lambda row: row.request_id)
    told["of a session"] = [row.request_id for row in ledger.recent(30, session="s7")]
    told["entries"] = entries_since(ledger, SINCE)
    return told


@pytest.mark.parametrize("seed", [1, 2])
def test_all_say_the_same_of_the_same_rows(tmp_path: Path, seed: int) -> None:
    given = rows(seed)
    entries = [
        BudgetEntry(id=f"e{n}", budget=pair, at=NOON - timedelta(days=n), kind="lost", amount_nano_usd=n)
        for n, pair in enumerate(["company", "search", "company"])
    ]
    answers: dict[str, dict[str, object]] = {}
    for number, kind in enumerate(KINDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with database() as url:
            ledger = open_ledger(kind, folder, url)
            for row in given:
                ledger.append(row)
            for row in given[:50]:  # a second time, changed: the first stays
                ledger.append(replace(row, cost_nano_usd=999_999_999))
            for entry in (*entries, replace(entries[0], amount_nano_usd=5)):
                ledger.enter(entry)
            assert ledger.flush(30)
            assert (ledger.dropped, ledger.waiting, ledger.healthy) == (0, 0, True)
            answers[kind] = said(ledger, given)
            ledger.close()
    first = answers[KINDS[0]]
    for kind in KINDS[1:]:
        for question, answer in first.items():
            assert answers[kind][question] == answer, f"{kind}: {question}"


def test_an_empty_ledger_says_nothing(ledger: Ledger) -> None:
    assert ledger.get("req_none") is None
    assert ledger.get("req_\0none") is None
    assert ledger.recent(10) == []
    assert ledger.sums(SINCE, UNTIL, "all") == []
    assert spent_since(ledger, SINCE) == []
    assert (ledger.healthy, ledger.last_error, ledger.dropped, ledger.waiting) == (True, None, 0, 0)


def test_recent_is_newest_first_and_bounded(ledger: Ledger) -> None:
    for number in range(20):
        ledger.append(LedgerRow(request_id=f"r{number}", received_at=iso_utc(NOON + timedelta(seconds=number % 3))))
    # At one time the last to come is the first.
    assert [row.request_id for row in ledger.recent(4)] == ["r17", "r14", "r11", "r8"]
    for limit in (0, 10_001):
        with pytest.raises(InvalidRequest, match="choose 1 to 10000"):
            ledger.recent(limit)


def test_requests_are_found_by_what_they_have_page_by_page(ledger: Ledger) -> None:
    for number in range(12):
        ledger.append(
            LedgerRow(
                request_id=f"r{number}",
                received_at=iso_utc(NOON + timedelta(seconds=number // 2)),
                session_id=f"s{number % 2}",
                key_id="ci" if number % 3 else None,
                tags={"feature": "search" if number < 6 else 'it\'s "odd"'},
                requested_model="auto" if number % 4 else "lab/small",
                deployment="lab/big" if number % 4 else None,
                reason="pinned" if number % 4 else "explicit",
                outcome="ok" if number % 4 else "error",
            )
        )

    def found(limit: int = 20, **wanted: object) -> list[str]:
        return [row.request_id for row in ledger.find(limit, msgspec.convert(wanted, Wanted))]

    assert found() == [f"r{n}" for n in range(11, -1, -1)]
    assert found(failed=True) == found(model="lab/small") == found(reason="explicit") == ["r8", "r4", "r0"]
    assert found(key="ci", feature="search") == ["r5", "r4", "r2", "r1"]
    assert found(feature='it\'s "odd"', model="lab/big", limit=2) == ["r11", "r10"]
    assert found(session="s0", failed=False, model="lab/big") == ["r10", "r6", "r2"]
    # Of two at one time the second stands first: a page ends between them, and the next goes on there.
    assert found(before="r7", limit=3) == ["r6", "r5", "r4"]
    assert found(before="r6", failed=True) == ["r4", "r0"]
    assert found(before="r0") == found(before="none") == found(key="nobody") == []


def test_so_many_rows_alone_are_looked_through_of_a_session_too(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_SEARCHED", 2)
    for number in range(8):
        at = iso_utc(NOON + timedelta(seconds=number))
        ledger.append(
            LedgerRow(request_id=f"r{number}", received_at=at, session_id=f"s{number % 2}", key_id="k", outcome="ok")
        )

    def found(**wanted: str) -> list[str]:
        return [row.request_id for row in ledger.find(20, msgspec.convert(wanted, Wanted))]

    assert found(key="k") == ["r7", "r6", "r5"]
    assert found(key="k", before="r5") == ["r4", "r3", "r2"]
    assert found(key="k", session="s0") == ["r6", "r4", "r2"]
    assert found(key="k", session="s0", before="r6") == ["r4", "r2", "r0"]
    assert found(session="s0") == ["r6", "r4", "r2", "r0"]


def test_what_is_asked_wrongly_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InvalidRequest, match="did you mean feature"):
        ledger.sums(SINCE, UNTIL, "featur")
    with pytest.raises(InvalidRequest):
        ledger.usage(SINCE, UNTIL, "tag:'; DROP TABLE requests; --")


def test_what_comes_later_is_added_to_the_sums(ledger: Ledger) -> None:
    for number in range(30):
        ledger.append(LedgerRow(request_id=f"r{number}", received_at=iso_utc(NOON), input_tokens=2, session_id="s"))
        if number % 10 == 9:
            (told,) = ledger.sums(SINCE, UNTIL, "all")
            assert (told.requests, told.input_tokens, told.sessions) == (number + 1, 2 * (number + 1), 1)


def test_a_row_that_no_database_takes_does_not_hold_up_the_others(ledger: Ledger) -> None:
    at = iso_utc(NOON)
    ledger.append(LedgerRow(request_id="r1", received_at=at))
    ledger.append(LedgerRow(request_id="r2", received_at=at, usage_raw={"n": object()}))  # type: ignore[dict-item]
    ledger.append(LedgerRow(request_id="r3", received_at=at, input_tokens=2**70))
    ledger.append(LedgerRow(request_id="r4", received_at=at))
    assert ledger.flush()
    assert sorted(row.request_id for row in ledger.recent(10)) == ["r1", "r3", "r4"]
    assert ledger.dropped == 1
    assert "request 'r2' cannot be written" in (ledger.last_error or "")


def test_after_close_rows_are_counted_as_lost_and_nothing_raises(ledger: Ledger) -> None:
    ledger.close()
    ledger.append(LedgerRow(request_id="r1", received_at=iso_utc(NOON)))
    assert ledger.dropped == 1
    ledger.close()


def test_somebody_who_no_longer_waits_for_an_answer_holds_up_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, read = threading.Event(), ledger._past  # type: ignore[attr-defined]
    monkeypatch.setattr(ledger, "_past", lambda *asked: (go.wait(10), read(*asked))[1])
    question = Question(since=SINCE)
    first, second = ledger.ask_spending([question]), ledger.ask_spending([question])
    assert second.told.cancel()
    go.set()
    assert first.told.result(10).entries == []
    assert first.later() == second.later() == Past(spent=([],), entries=[])
    ledger.append(rows(1, 1)[0])
    assert ledger.flush()


def test_what_was_spent_is_known_before_anything_is_written_and_not_when_it_is_closed(ledger: Ledger) -> None:
    question = Question(since=NOON - timedelta(days=60))
    assert ledger.ask_spending([question]).told.result(10) == Past(spent=([],), entries=[])
    given = rows(4, 30)
    for row in given:
        ledger.append(row)
    asked = ledger.ask_spending([question])
    assert sum(s.cost_nano_usd for s in asked.told.result(10).spent[0]) == sum(
        s.cost_nano_usd for s in past_of(given).spent[0]
    )
    assert asked.later().spent == ([],)
    ledger.close()
    with pytest.raises(Internal):
        ledger.ask_spending([question]).told.result(10)
