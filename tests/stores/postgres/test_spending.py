"""What budgets are filled with from PostgreSQL: to the nano-dollar what the rows say, summed or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from support.ledgers import spent_since
from support.postgres import database
from support.random_rows import NOON, rows
from turnout.errors import Internal
from turnout.spend.budgets import BudgetRule, Match
from turnout.spend.periods import parse_period
from turnout.spend.spent import BudgetEntry, Question, Spent, questions_of
from turnout.stores.postgres import ledger as module
from turnout.stores.postgres.ledger import PostgresLedger
from turnout.stores.postgres.sums import roll

NOW = NOON + timedelta(minutes=7, seconds=31)

MATCHES = (
    *(Match(), Match(key="alice"), Match(team="core", mode="data_entry"), Match(tag="feature"), Match(tag="other")),
    *(Match(tag="feature=search"), Match(model="lab/a"), Match(provider="lab"), Match(session="s3")),
)

RULES = [
    BudgetRule(name=f"{period}-{zone}-{n}", amount_nano_usd=10**18, period=parse_period(period, zone), match=match)
    for period in ("day", "week", "month", "lifetime", "90m", "24h", "7d")
    for zone in ("UTC", "America/New_York", "Asia/Kathmandu")
    for n, match in enumerate(MATCHES)
]


@pytest.fixture
def url() -> Iterator[str]:
    with database() as url:
        yield url


def counted(rule: BudgetRule, spent: list[Spent]) -> Counter[datetime]:
    """What a rule counts of it: of its own period, by minute where windows roll."""
    begun = rule.period.since(NOW)
    found: Counter[datetime] = Counter()
    for s in spent:
        if s.at >= begun.replace(second=0, microsecond=0) and rule.covers(s.spender, s.deployment, s.provider):
            found[s.at if rule.period.kind == "rolling" else begun] += s.cost_nano_usd
    return found


@pytest.mark.parametrize("summed", ["none", "some", "all"])
def test_each_rule_counts_what_the_rows_say(url: str, monkeypatch: pytest.MonkeyPatch, summed: str) -> None:
    monkeypatch.setattr(module, "ROLL_EVERY", 10**9)
    ledger = PostgresLedger(url)
    for row in rows(21, 600):
        ledger.append(row)
    assert ledger.flush(30)
    if summed != "none":
        ledger.sums(NOW, NOW, "all")
    if summed == "some":
        for row in rows(22, 150):
            ledger.append(row)
    asked = questions_of(RULES, NOW)
    past = ledger.ask_spending([question for question, _ in asked]).told.result(30)
    raw = {since: spent_since(ledger, since) for since in {rule.period.since(NOW) for rule in RULES}}
    for (_, its), spent in zip(asked, past.spent, strict=True):
        for rule in its:
            assert counted(rule, spent) == counted(rule, raw[rule.period.since(NOW)]), rule.name
    ledger.close()


def test_an_answer_is_of_the_moment_and_what_comes_later_is_told_apart(url: str) -> None:
    ledger = PostgresLedger(url)
    before, after = rows(23, 40), rows(24, 25)
    entries = [BudgetEntry(id=f"e{n}", budget="b", at=NOW, kind="added", amount_nano_usd=n) for n in range(2)]
    for item in (*before, entries[0]):
        ledger.enter(item) if isinstance(item, BudgetEntry) else ledger.append(item)
    asked = ledger.ask_spending([Question(since=NOW - timedelta(days=60))])
    for item in (*after, entries[1]):
        ledger.enter(item) if isinstance(item, BudgetEntry) else ledger.append(item)
    told, later = asked.told.result(10), asked.later()
    both = sum(s.cost_nano_usd for s in (*told.spent[0], *later.spent[0]))
    assert both == sum(s.cost_nano_usd for s in spent_since(ledger, NOW - timedelta(days=60)))
    assert (told.entries, later.entries) == (entries[:1], entries[1:])
    ledger.close()


def test_a_database_that_is_gone_is_said(url: str) -> None:
    ledger = PostgresLedger(url)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP SCHEMA turnout CASCADE")
    told = ledger.ask_spending([Question(since=datetime(2026, 1, 1, tzinfo=UTC))]).told
    with pytest.raises(Internal, match="a table is missing"):
        told.result(10)
    ledger.close()


def test_sums_that_another_gateway_makes_meanwhile_are_counted_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROLL_EVERY", 10**9)
    ledger = PostgresLedger(url)
    exact = 0
    question = Question(since=NOW - timedelta(days=60), cuts=(datetime(2026, 9, 1, tzinfo=UTC),))
    with psycopg.connect(url, autocommit=True, options="-csearch_path=turnout") as db:
        for seed in range(26, 32):
            ledger._unsummed = 0
            for row in rows(seed, 30):
                ledger.append(row)
            ledger.flush()
            exact = sum(s.cost_nano_usd for s in spent_since(ledger, NOW - timedelta(days=90)))
            for _ in range(2):
                (spent,) = ledger.ask_spending([question]).told.result(10).spent
                assert sum(s.cost_nano_usd for s in spent) == exact
                roll(db)
    ledger.close()
