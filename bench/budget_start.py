"""How long a gateway reads its ledger for its budgets at the start: python bench/budget_start.py [--rows 1000000]

The ledger is filled first (a month up to now, twelve requests a session, twenty keys, six features); `--file` keeps it
and takes it as it is the next time.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from turnout.catalog.models import Deployment
from turnout.config import BudgetConfig
from turnout.context import Attempt
from turnout.money import budget_rule, open_budgets
from turnout.spend.budgets import Match
from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.stores.sqlite import SqliteLedger

DAYS = 30
STEPS = 12

FLEET = [
    Deployment(id=f"lab/m{n}", provider="lab", upstream_model=f"m{n}", dialect="openai-chat", tier="mid")
    for n in range(8)
]

DECISION = {"reason": "small-enough", "candidates": [{"deployment": d.id, "explanation": "x" * 60} for d in FLEET]}
"""A decision as large as usual: what is read for nothing where rows are read whole."""

BUDGETS: dict[str, dict[str, object]] = {
    "month": {},
    "month of a key": {"match": Match(key="key-3")},
    "month of a feature": {"match": Match(tag="feature=f2")},
    "month in Kathmandu": {"timezone": "Asia/Kathmandu"},
    "any 24 hours": {"period": "24h"},
    "any 30 days": {"period": "30d"},
    "lifetime of a session": {"period": "lifetime", "match": Match(session="s41")},
}


def fill(ledger: SqliteLedger, count: int, until: datetime) -> None:
    """`count` rows, evenly over `DAYS` before `until`."""
    dice = random.Random(1)  # noqa: S311 (dice)
    begun = until - timedelta(days=DAYS)
    for n in range(count):
        session, model, cost = n // STEPS, dice.choice(FLEET), dice.randint(100_000, 50_000_000)
        ledger.append(
            LedgerRow(
                request_id=f"req_{n:016x}",
                received_at=iso_utc(begun + timedelta(days=DAYS) * n / count),
                key_id=f"key-{session % 20}",
                team=f"team-{session % 4}",
                session_id=f"s{session}",
                agent="main",
                step=n % STEPS,
                dialect="openai-chat",
                mode="code" if session % 3 else None,
                tags={"feature": f"f{session % 6}"},
                requested_model="auto",
                deployment=model.id,
                provider="lab",
                tier="mid",
                reason="small-enough",
                status=200,
                input_tokens=dice.randint(500, 60_000),
                output_tokens=dice.randint(10, 900),
                cost_nano_usd=cost,
                attempts=1,
                decision=DECISION,
                attempt_log=(Attempt(deployment=model, status=200, duration_s=1.0),),
            )
        )
        if n % 20_000 == 0:
            ledger.flush(timeout_s=60)
    ledger.flush(timeout_s=60)


def filled_ledger(file: Path, rows: int) -> SqliteLedger:
    """The ledger in `file`; one that is not there is filled first."""
    if not file.exists():
        ledger = SqliteLedger(file)
        fill(ledger, rows, datetime.now(UTC))
        ledger.close()
    return SqliteLedger(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file: Path = args.file or Path(folder) / "ledger.db"
        filled_ledger(file, args.rows).close()
        begun = time.perf_counter()
        ledger = SqliteLedger(file)
        print(f"{'open':24}{time.perf_counter() - begun:8.2f} s, {file.stat().st_size / 1e6:,.0f} MB")
        for name, told in BUDGETS.items():
            config = BudgetConfig(amount_usd=Decimal(1_000_000), **told)  # pyright: ignore[reportArgumentType]
            begun = time.perf_counter()
            state = open_budgets([budget_rule("b", config)], ledger).state("b")
            print(f"{name:24}{time.perf_counter() - begun:8.2f} s, ${state.spent_nano_usd / 1e9:,.6f}")
        ledger.close(timeout_s=60)


if __name__ == "__main__":
    main()
