"""A ledger filled from the packaged sessions, with known sums; and what a ledger has of spending, as its rows say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from turnout.lab.sessions import offered_model, packaged_sessions, requests_of, usage_of
from turnout.spend.ledger import Ledger, LedgerRow, iso_utc
from turnout.spend.spent import BudgetEntry, Question, Spent
from turnout.stores.spending import past_of

PRICES = {"frontier": (2_000, 8_000, 500), "small": (400, 1_600, 100)}
"""Nano-dollars a token of input, output and cache reads."""

FEATURES = ("support", "search", "code review")


def packaged_rows(*, until: datetime, spread: timedelta = timedelta(days=6)) -> Iterator[LedgerRow]:
    """A row for each recorded request, the sessions spread evenly over `spread` before `until`."""
    sessions = packaged_sessions()
    for number, session in enumerate(sessions):
        at = until - spread + spread * number / len(sessions)
        model = offered_model(session)
        before = 0
        for step, (recorded, taken) in enumerate(zip(requests_of(session), session.steps, strict=False)):
            usage = usage_of(taken, recorded)
            tokens = usage.input
            read = round(before * 0.9)
            paid_in, paid_out, paid_read = PRICES[model]
            parts = {"system": min(tokens, 900), "tools": min(max(0, tokens - 900), 1_400)}
            rest = tokens - sum(parts.values())
            yield LedgerRow(
                request_id=f"req_{number:03}{step:03}",
                received_at=iso_utc(at + timedelta(seconds=7 * step)),
                session_id=session.task.rpartition("/")[2] + f"-{number}",
                agent="main",
                step=step,
                dialect="openai-chat",
                tags={"feature": FEATURES[number % 3]},
                requested_model="auto",
                deployment=f"lab/{model}",
                provider="lab",
                tier=model,
                reason="pinned" if step else "default",
                status=200,
                input_tokens=tokens,
                cache_read_tokens=min(read, tokens),
                output_tokens=usage.output,
                cost_nano_usd=(tokens - min(read, tokens)) * paid_in
                + min(read, tokens) * paid_read
                + usage.output * paid_out,
                price_source="config",
                attempts=1,
                overhead_us=900,
                ttft_ms=420 + 13 * step,
                duration_ms=2_100,
                part_system=parts["system"],
                part_tools=parts["tools"],
                part_history=rest // 2,
                part_tool_results=rest - rest // 2,
                part_attachments=0,
                part_reasoning=0,
                repeated_tokens=before,
            )
            before = tokens


def entries_since(ledger: Ledger, since: datetime) -> list[BudgetEntry]:
    """What was entered, oldest first."""
    return ledger.ask_spending([Question(since=since)]).told.result(30).entries


def spent_since(ledger: Ledger, since: datetime) -> list[Spent]:
    """What was spent, row by row and without any sum; of 10,000 rows at most."""
    return past_of(row for row in ledger.recent(10_000) if row.received_at >= iso_utc(since)).spent[0]
