"""What a settled request leaves in the ledger, and that a row comes back from a record as it went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from msgspec import structs

from turnout.catalog.models import Capabilities, Deployment
from turnout.catalog.price_records import price_digest
from turnout.catalog.prices import Price
from turnout.chat import RequestOutline, Usage
from turnout.context import Attempt, Candidate, Decision, RequestContext, SessionView
from turnout.spend.ledger import (
    COLUMNS,
    LedgerRow,
    attempts_from_records,
    attempts_to_records,
    from_record,
    iso_utc,
    row_from_context,
    to_record,
)

HAIKU = Deployment(
    id="anthropic/claude-haiku-4-5",
    provider="anthropic",
    upstream_model="claude-haiku-4-5",
    dialect="anthropic-messages",
    tier="small",
    capabilities=Capabilities(context_window=200_000),
    price=Price(input=1_000_000, output=5_000_000, source="genai-prices 0.2.3"),
)
OPUS = Deployment(
    id="anthropic/claude-opus-5",
    provider="anthropic",
    upstream_model="claude-opus-5",
    dialect="anthropic-messages",
)


def opened() -> RequestContext:
    return RequestContext(
        request_id="req_1",
        dialect="openai-chat",
        outline=RequestOutline(model="auto", fields={}, messages=(), roles=()),
        body=b'{"model": "auto"}',
        received_at=datetime(2026, 11, 23, 10, 0, 0, 123_999, tzinfo=UTC),
        started_s=0.0,
        session=SessionView(id="s1", agent="a1", step=4, source="x-turnout-session"),
    )


def settled() -> RequestContext:
    ctx = opened()
    ctx.key_id = "key_search"
    ctx.tags = {"feature": "search"}
    ctx.mode = "asked-for"
    ctx.decision = Decision(
        candidates=(Candidate(deployment=HAIKU, expected_cost_nano_usd=9_000),),
        rejected=(Candidate(deployment=OPUS, rejected="dearer"),),
        reason="short",
        explanation="A short question: the small tier answers it.",
        mode="data_entry",
    )
    ctx.attempts = [
        Attempt(deployment=OPUS, status=None, error_code="upstream_timeout", duration_s=1.5),
        Attempt(deployment=HAIKU, status=200, duration_s=0.25, ttft_s=0.1),
    ]
    ctx.served_by = HAIKU
    ctx.usage = Usage(input=1_000, cache_read=900, output=20, reasoning=5, raw={"input_tokens": 100})
    ctx.cost_nano_usd = 1_100_000
    ctx.outcome, ctx.status = "ok", 200
    ctx.overhead_s, ctx.ttft_s, ctx.duration_s = 0.0012, 1.6, 1.75
    ctx.warn("seed has no counterpart: left out")
    return ctx


def test_a_settled_request_as_a_row() -> None:
    row = from_record(to_record(row_from_context(settled())))
    assert row == LedgerRow(
        request_id="req_1",
        received_at="2026-11-23T10:00:00.123Z",
        key_id="key_search",
        session_id="s1",
        agent="a1",
        step=4,
        dialect="openai-chat",
        mode="data_entry",
        tags={"feature": "search"},
        requested_model="auto",
        deployment="anthropic/claude-haiku-4-5",
        provider="anthropic",
        tier="small",
        reason="short",
        status=200,
        outcome="ok",
        input_tokens=1_000,
        cache_read_tokens=900,
        output_tokens=20,
        reasoning_tokens=5,
        usage_raw={"input_tokens": 100},
        cost_nano_usd=1_100_000,
        price_source="genai-prices 0.2.3",
        attempts=2,
        overhead_us=1_200,
        ttft_ms=1_600,
        duration_ms=1_750,
        warnings=("seed has no counterpart: left out",),
        price=price_digest(HAIKU.price),
        decision={
            "reason": "short",
            "explanation": "A short question: the small tier answers it.",
            "mode": "data_entry",
            "effort": None,
            "pins": False,
            "candidates": [
                {"deployment": "anthropic/claude-haiku-4-5", "expected_cost_nano_usd": 9_000, "rejected": None}
            ],
            "rejected": [
                {"deployment": "anthropic/claude-opus-5", "expected_cost_nano_usd": None, "rejected": "dearer"}
            ],
        },
    )


def test_its_attempts_have_rows_of_their_own_whose_costs_add_up() -> None:
    row = row_from_context(settled())
    first, second = attempts_from_records(attempts_to_records(row))
    assert first == {
        "deployment": "anthropic/claude-opus-5",
        "status": None,
        "error_code": "upstream_timeout",
        "duration_ms": 1_500,
    }
    assert second == {
        "deployment": "anthropic/claude-haiku-4-5",
        "status": 200,
        "error_code": None,
        "duration_ms": 250,
        "ttft_ms": 100,
        "input_tokens": 1_000,
        "cache_read_tokens": 900,
        "output_tokens": 20,
        "cost_nano_usd": 1_100_000,
    }


def test_a_lost_call_keeps_its_cost_and_the_answer_has_the_rest() -> None:
    ctx = settled()
    ctx.attempts[0] = structs.replace(ctx.attempts[0], cost_nano_usd=300_000)
    costs = [a["cost_nano_usd"] for a in attempts_from_records(attempts_to_records(row_from_context(ctx)))]
    assert costs == [300_000, 800_000]


def test_a_request_that_got_nowhere_still_has_a_row() -> None:
    ctx = opened()
    ctx.outcome, ctx.status, ctx.error_code = "error", 404, "model_not_found"
    row = from_record(to_record(row_from_context(ctx)))
    assert (row.outcome, row.error_code, row.attempts) == ("error", "model_not_found", 0)
    assert (row.deployment, row.input_tokens, row.cost_nano_usd, row.decision) == (None, None, None, None)


def test_a_row_does_not_change_with_the_context_afterwards() -> None:
    ctx = settled()
    row = row_from_context(ctx)
    ctx.warn("too late")
    ctx.attempts.clear()
    assert len(row.warnings) == 1
    assert len(attempts_to_records(row)) == 2


def test_numbers_and_texts_fit_a_database() -> None:
    row = LedgerRow(
        request_id="r",
        received_at=iso_utc(datetime(2026, 1, 1, tzinfo=UTC)),
        requested_model="x" * 2_000_000,
        input_tokens=10**30,
        usage_estimated=True,
    )
    record = dict(zip(COLUMNS, to_record(row), strict=True))
    assert record["input_tokens"] == 2**63 - 1
    assert record["usage_estimated"] == 1
    assert len(str(record["requested_model"])) == 100_000
    assert from_record(to_record(row)).usage_estimated is True


def test_what_is_not_json_or_text_is_refused_by_the_encoder() -> None:
    with pytest.raises(TypeError):
        to_record(LedgerRow(request_id="r", received_at="", usage_raw=object()))
    with pytest.raises(TypeError):
        to_record(LedgerRow(request_id=b"r", received_at=""))  # type: ignore[arg-type]


def test_a_record_that_is_no_row_is_refused() -> None:
    record = list(to_record(LedgerRow(request_id="r", received_at="")))
    record[COLUMNS.index("warnings")] = "{not json"
    with pytest.raises(msgspec.MsgspecError):
        from_record(record)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 23, 10, tzinfo=UTC), "2026-11-23T10:00:00.000Z"),
        (datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=2))), "2026-11-23T08:00:00.000Z"),
        (datetime(2026, 11, 23, 10), "2026-11-23T10:00:00.000Z"),  # noqa: DTZ001 - naive is taken as UTC
    ],
)
def test_times_are_written_in_utc(at: datetime, text: str) -> None:
    assert iso_utc(at) == text
