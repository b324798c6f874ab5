"""The sums of token volume, against a count by hand of rows made at random."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean

import pytest

from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.stores.sqlite import SqliteLedger
from turnout.usage import report, report_story

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)


def rows(seed: int) -> list[LedgerRow]:
    """Sessions whose contexts grow and shrink, answered by several models, in two features and none."""
    draw = random.Random(seed)
    return [
        LedgerRow(
            request_id=f"{seed}-{n}",
            received_at=iso_utc(NOON + timedelta(seconds=n)),
            session_id=draw.choice(["a", "b", "c", None]),
            agent=draw.choice(["x", "y"]),
            deployment=draw.choice(["lab/small", "lab/large"]),
            tags=draw.choice([{"feature": "search"}, {"feature": "chat"}, {}]),
            input_tokens=draw.choice([None, draw.randrange(100, 20_000)]),
            output_tokens=draw.randrange(500),
            cost_nano_usd=draw.randrange(10**9),
        )
        for n in range(60)
    ]


def by_hand(told: list[LedgerRow]) -> dict[str | None, dict[str, object]]:
    groups: dict[str | None, list[LedgerRow]] = defaultdict(list)
    for row in told:
        groups[row.tags.get("feature")].append(row)
    found: dict[str | None, dict[str, object]] = {}
    for name, members in groups.items():
        contexts: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for row in members:
            if row.session_id is not None and row.input_tokens is not None:
                contexts[row.session_id, row.agent].append(row.input_tokens)
        growths = [(c[-1] - c[0]) / (len(c) - 1) for c in contexts.values() if len(c) > 1]
        found[name] = {
            "requests": len(members),
            "sessions": len({row.session_id for row in members} - {None}),
            "input_tokens": sum(row.input_tokens or 0 for row in members),
            "growth_per_step": mean(growths) if growths else None,
        }
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_sums_are_those_counted_by_hand(tmp_path: Path, seed: int) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    made = rows(seed)
    for row in made:
        ledger.append(row)
    ledger.flush()
    told = report_story(report(ledger, lambda _: None, by="feature", since=NOON, until=LATER))
    ledger.close()
    expected = by_hand(made)
    assert {group["group"] for group in told["data"]} == set(expected)
    for group in told["data"]:
        for name, value in expected[group["group"]].items():
            assert group[name] == pytest.approx(value), (group["group"], name)


def test_a_context_that_shrinks_is_no_snowball(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    for n, tokens in enumerate((10_000, 9_000, 2_000)):
        at = iso_utc(NOON + timedelta(seconds=n))
        ledger.append(LedgerRow(request_id=str(n), received_at=at, session_id="s", agent="x", input_tokens=tokens))
    ledger.flush()
    (group,) = report_story(report(ledger, lambda _: None, by="all", since=NOON, until=LATER))["data"]
    ledger.close()
    assert group["growth_per_step"] == -4_000
