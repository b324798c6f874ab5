"""Lines of COPY: made at once or cell by cell, they say the same, and nothing in them is taken for what it is not."""

from __future__ import annotations

import msgspec
import pytest

from turnout.catalog.models import Deployment
from turnout.catalog.prices import Price
from turnout.chat import Usage
from turnout.context import CACHE_HIT, Attempt, Candidate, Decision
from turnout.spend.ledger import LedgerRow
from turnout.stores.postgres.lines import ATTEMPTS, NULL, ROWS, exact_lines, line_bytes, lines_of

SMALL, LARGE = (
    Deployment(id=f"lab/{name}", provider="lab", upstream_model=name, dialect="openai-chat")
    for name in ("small", "large")
)


def row(**more: object) -> LedgerRow:
    known = {
        "request_id": "req_1",
        "received_at": "2026-11-23T10:00:00.000Z",
        "agent": "main",
        "tags": {"feature": "search"},
        "usage_estimated": True,
        "usage_raw": {"prompt_tokens": 12},
        "input_tokens": 12,
        "output_tokens": 3,
        "deployment": "lab/large",
        "cost_nano_usd": 1_000,
        "price": Price(input=1, output=2, source="config"),
        "warnings": ("top_k is left out",),
        "decision": Decision(
            candidates=(Candidate(deployment=LARGE, expected_cost_nano_usd=900, success=0.9, bounds=(0.8, 0.95)),),
            rejected=(Candidate(deployment=SMALL, rejected="context window"),),
            reason="default",
            explanation='It said "large".',
        ),
        "attempt_log": (
            Attempt(deployment=SMALL, status=503, error_code="no_capacity", duration_s=0.1, waited_s=0.5),
            Attempt(deployment=SMALL, status=200, cost_nano_usd=300, usage=Usage(input=12, output=1)),
            Attempt(deployment=LARGE, target="lab/large-eu", status=200, ttft_s=0.4, reason="slow"),
        ),
    }
    return LedgerRow(**(known | more))  # type: ignore[arg-type]


def cells(line: str, columns: tuple[str, ...]) -> dict[str, str | None]:
    """As PostgreSQL reads a line without its number."""
    told: dict[str, str | None] = {}
    for name, cell in zip(columns[1:], line.split("\t"), strict=True):
        text = cell.replace("\\\\", "\0").replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r")
        told[name] = None if cell == NULL else text.replace("\\", "").replace("\0", "\\")
    return told


@pytest.mark.parametrize(
    "one",
    [
        row(),
        row(team="Équipe", session_id="会話", mode="None"),
        row(session_id="a\tb", agent="c\\d", team="e\nf", key_id="g\rh"),
        row(cost_nano_usd=None),
        row(attempt_log=(), reason=CACHE_HIT),
        row(attempt_log=()),
        row(attempt_log=(Attempt(deployment=LARGE, status=None, error_code="None", reason="two\nlines"),)),
        row(tags={}, usage_raw=None, decision=None, price=None, warnings=()),
        row(tags={"feature": "f" * 9_000}, key_id="k" * 700, session_id="é" * 400),
        row(price="0123456789abcdef", decision={"reason": "default"}, attempt_log=[{"deployment": "lab/large"}]),
        row(usage_raw={"path": "C:\\temp\\new", "tab": "\t"}),
    ],
    ids=lambda _: "",
)
def test_a_row_is_the_same_made_at_once_or_cell_by_cell(one: LedgerRow) -> None:
    assert lines_of(one) == exact_lines(one)


def test_a_line_reads_back_as_what_the_row_says() -> None:
    told = cells(lines_of(one := row(mode="None", agent="c\\d\te", session_id=None)).row, ROWS)
    assert (told["mode"], told["agent"], told["session_id"]) == ("None", "c\\d\te", None)
    assert (told["usage_estimated"], told["input_tokens"], told["feature"]) == ("1", "12", "search")
    assert msgspec.json.decode(told["usage_raw"] or "") == one.usage_raw
    assert msgspec.json.decode(told["decision"] or "")["explanation"] == 'It said "large".'


def test_what_a_call_cost_is_told_apart_from_what_the_answer_cost() -> None:
    _, lost, answered = (cells(line, ATTEMPTS) for line in lines_of(row()).attempts)
    assert (lost["cost_nano_usd"], lost["output_tokens"], lost["target"]) == ("300", "1", None)
    assert (answered["cost_nano_usd"], answered["output_tokens"], answered["target"]) == ("700", "3", "lab/large-eu")


def test_what_postgresql_refuses_is_replaced() -> None:
    told = cells(lines_of(row(requested_model="a\0b", tags={"x\0": "y"})).row, ROWS)
    assert (told["requested_model"], told["tags"]) == ("a\ufffdb", '{"x\ufffd":"y"}')
    half = row(requested_model="a\ud800b")
    with pytest.raises(UnicodeEncodeError):
        line_bytes([(1, lines_of(half).row)])
    assert cells(exact_lines(half).row, ROWS)["requested_model"] == "a?b"


def test_what_is_no_row_is_refused() -> None:
    with pytest.raises(TypeError):
        lines_of(row(usage_raw={"file": object()}))
