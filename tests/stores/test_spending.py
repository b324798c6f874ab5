"""What budgets are filled with: from sums it is to the nano-dollar what the rows say, in every zone."""

import random
import sqlite3
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.ledgers import spent_since
from turnout.catalog.models import Deployment
from turnout.context import Attempt
from turnout.errors import Internal
from turnout.spend.budgets import BudgetRule, Match
from turnout.spend.ledger import BudgetEntry, LedgerRow, iso_utc
from turnout.spend.periods import parse_period
from turnout.spend.spent import Question, Spent, questions_of
from turnout.stores import sqlite as module
from turnout.stores.schema import MIGRATIONS, migrate
from turnout.stores.sqlite import SqliteLedger
from turnout.stores.sums import roll

NOW = datetime(2026, 11, 1, 0, 7, 31, 250_000, tzinfo=UTC)
"""A month has just begun in UTC; in New York, where clocks go back today, it has not."""

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe")

MATCHES = (
    Match(),
    Match(key="k1"),
    Match(team="t0", mode="code"),
    Match(tag="feature"),
    Match(tag="feature=a"),
    Match(tag='o"dd=1'),
    Match(model="lab/m1"),
    Match(provider="other"),
    Match(session="s3"),
    Match(key="k0", tag="feature=b", provider="lab"),
)


def rules() -> list[BudgetRule]:
    return [
        BudgetRule(name=f"{period}-{zone}-{n}", amount_nano_usd=10**18, period=parse_period(period, zone), match=match)
        for period in ("day", "week", "month", "lifetime", "90m", "24h", "7d")
        for zone in ZONES
        for n, match in enumerate(MATCHES)
    ]


def rows(count: int, seed: int, *, until: datetime = NOW, spread: timedelta = timedelta(days=40)) -> list[LedgerRow]:
    """Rows before `until`, many of them near it; some lost a call before the one that answered, some cost nothing."""
    dice = random.Random(seed)
    found: list[LedgerRow] = []
    for n in range(count):
        models = dice.choices(["lab/m0", "lab/m1", "other/m1"], k=dice.choice([1, 1, 2]))
        costs = [dice.choice([0, dice.randint(1, 10**9)]) for _ in models]
        attempts = [{"deployment": m, "cost_nano_usd": c or None} for m, c in zip(models, costs, strict=True)]
        attempts[-1]["cost_nano_usd"] = None
        tags = dice.choice([{}, {"feature": "a"}, {"feature": "b", "x": "ü"}, {"feature": ""}, {'o"dd': "1"}])
        found.append(
            LedgerRow(
                request_id=f"req_{seed}_{n}",
                received_at=iso_utc(until - spread * dice.random() ** 4),
                key_id=dice.choice([None, "k0", "k1"]),
                team=dice.choice([None, "t0"]),
                session_id=f"s{dice.randint(0, 9)}",
                mode=dice.choice([None, "code", "chat"]),
                tags=tags,
                deployment=models[-1],
                provider=models[-1].partition("/")[0],
                cost_nano_usd=sum(costs) or None,
                attempts=len(models),
                attempt_log=attempts,
                gateway=dice.choice([None, "one", "two"]),
            )
        )
    return found


def by_minute(rule: BudgetRule, spent: list[Spent]) -> Counter[datetime]:
    """What a rule counts of it: of its own period, by minute where windows roll."""
    begun = rule.period.since(NOW)
    counted: Counter[datetime] = Counter()
    for s in spent:
        if s.at >= begun.replace(second=0, microsecond=0) and rule.covers(s.spender, s.deployment, s.provider):
            counted[s.at if rule.period.kind == "rolling" else begun] += s.cost_nano_usd
    return counted


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = SqliteLedger(tmp_path / "t.db")
    yield ledger
    ledger.close()


def check(ledger: SqliteLedger) -> None:
    """Every rule counts from the answers what it counts from the rows."""
    asked = questions_of(rules(), NOW)
    past = ledger.ask_spending([question for question, _ in asked]).told.result(30)
    spending = {since: spent_since(ledger, since) for since in {rule.period.since(NOW) for rule in rules()}}
    for (_, its), spent in zip(asked, past.spent, strict=True):
        for rule in its:
            raw = spending[rule.period.since(NOW)]
            assert by_minute(rule, spent) == by_minute(rule, raw), rule.name


@pytest.mark.parametrize("summed", ["none", "some", "all"])
def test_each_rule_counts_what_the_rows_say(ledger: SqliteLedger, monkeypatch, tmp_path, summed: str):
    monkeypatch.setattr(module, "ROLL_EVERY", 10**9)
    ledger._unsummed = 0
    for row in rows(600, 1):
        ledger.append(row)
    ledger.flush()
    db = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    if summed != "none":
        roll(db)
    if summed == "some":
        for row in rows(150, 2):
            ledger.append(row)
    check(ledger)
    db.close()


def test_the_calendar_is_asked_by_few_moments_and_only_of_what_rules_look_at():
    some = [
        BudgetRule(name="a", amount_nano_usd=1, period=parse_period("month"), match=Match(tag="feature=a")),
        BudgetRule(name="b", amount_nano_usd=1, period=parse_period("day", "Asia/Kathmandu"), match=Match(key="k1")),
    ]
    ((question, its),) = questions_of(some, NOW)
    assert its == some
    assert question == Question(
        since=datetime(2026, 10, 31, 18, 15, tzinfo=UTC),
        cuts=(datetime(2026, 10, 31, 18, 15, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
        team=False,
        mode=False,
        model=False,
        tags=("feature",),
    )


def test_an_answer_is_of_the_moment_and_what_comes_later_is_told_apart(ledger: SqliteLedger, monkeypatch):
    before, after = rows(40, 3), rows(25, 4)
    entries = [BudgetEntry(id=f"e{n}", budget="b", at=NOW, kind="added", amount_nano_usd=n) for n in range(2)]
    for row in before:
        ledger.append(row)
    ledger.enter(entries[0])
    asked = ledger.ask_spending([Question(since=NOW - timedelta(days=60))])
    for row in after:
        ledger.append(row)
    ledger.enter(entries[1])
    told, later = asked.told.result(10), asked.later()
    assert sum(s.cost_nano_usd for s in told.spent[0]) == sum(row.cost_nano_usd or 0 for row in before)
    assert sum(s.cost_nano_usd for s in later.spent[0]) == sum(row.cost_nano_usd or 0 for row in after)
    assert (told.entries, later.entries) == (entries[:1], entries[1:])
    ledger.append(rows(1, 5)[0])
    both = Counter[object]()
    for s in (*told.spent[0], *later.spent[0]):
        both[s.at, s.spender.key, s.deployment, tuple(s.spender.tags.items()), s.gateway] += s.cost_nano_usd
    written = Counter[object]()
    for s in spent_since(ledger, NOW - timedelta(days=60)):
        written[s.at, s.spender.key, s.deployment, tuple(s.spender.tags.items()), s.gateway] += s.cost_nano_usd
    (extra,) = rows(1, 5)
    assert written.total() - both.total() == (extra.cost_nano_usd or 0)


def test_questions_that_wait_for_a_failing_disk_or_a_closed_ledger_are_answered(tmp_path: Path):
    ledger = SqliteLedger(tmp_path / "t.db")
    ledger.append(rows(1, 6)[0])
    ledger.flush()
    lock = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    ledger.append(rows(2, 7)[1])
    ledger.enter(BudgetEntry(id="e", budget="b", at=NOW, kind="added", amount_nano_usd=1))
    asked = ledger.ask_spending([Question(since=NOW - timedelta(days=60))])
    ledger.append(rows(3, 7)[2])
    past = asked.told.result(10)
    written, waiting, later = rows(1, 6)[0], *rows(3, 7)[1:]
    costs = [row.cost_nano_usd or 0 for row in (written, waiting, later)]
    assert sum(s.cost_nano_usd for s in past.spent[0]) == costs[0] + costs[1]
    assert [entry.id for entry in past.entries] == ["e"]
    assert sum(s.cost_nano_usd for s in asked.later().spent[0]) == costs[2]
    lock.execute("ROLLBACK")
    lock.close()
    ledger.close()
    with pytest.raises(Internal):
        ledger.ask_spending([Question(since=NOW)]).told.result(10)


def test_a_ledger_that_is_being_closed_while_rows_wait_does_not_say_what_was_spent(tmp_path: Path):
    ledger = SqliteLedger(tmp_path / "t.db")
    lock = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    ledger.append(rows(1, 6)[0])
    closing = threading.Thread(target=ledger.close)
    closing.start()
    while not ledger._closing.is_set():
        time.sleep(0.001)
    asked = ledger.ask_spending([Question(since=NOW - timedelta(days=60))])
    with pytest.raises(Internal, match="it is closed"):
        asked.told.result(10)
    lock.execute("ROLLBACK")
    lock.close()
    closing.join()


def test_a_file_from_before_gets_its_sums_at_once(tmp_path: Path):
    new = SqliteLedger(tmp_path / "t.db")
    for row in rows(50, 8):
        new.append(row)
    new.sums(NOW - timedelta(days=60), NOW, "all")
    exact = sum(s.cost_nano_usd for s in spent_since(new, NOW - timedelta(days=60)))
    new.close()
    db = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    version = next(n for n, statements in enumerate(MIGRATIONS) if "spend_sums" in statements[0])
    db.execute("DROP TABLE spend_sums")
    db.execute(f"PRAGMA user_version = {version}")
    migrate(db, MIGRATIONS[: version + 1])
    assert db.execute("SELECT sum(cost_nano_usd) FROM spend_sums").fetchone() == (exact,)
    db.close()


def test_the_attempts_of_a_row_in_memory_are_those_it_will_have(ledger: SqliteLedger):
    deployment = Deployment(id="lab/m", provider="lab", upstream_model="m", dialect="openai-chat", tier="mid")
    lost = Attempt(deployment=deployment, status=500, error_code="x", duration_s=0.1, cost_nano_usd=7)
    row = LedgerRow(
        request_id="r",
        received_at=iso_utc(NOW),
        deployment=deployment.id,
        cost_nano_usd=20,
        attempts=2,
        attempt_log=(lost, Attempt(deployment=deployment, status=200, duration_s=0.1)),
    )
    asked = ledger.ask_spending([Question(since=NOW)])
    ledger.append(row)
    asked.told.result(10)
    assert sum(s.cost_nano_usd for s in asked.later().spent[0]) == 20
    assert sum(s.cost_nano_usd for s in spent_since(ledger, NOW - timedelta(minutes=1))) == 20
