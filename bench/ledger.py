"""What the ledger costs: microseconds a request on its own path, and rows a second that the writer can take.

    PYTHONPATH=src python bench/ledger.py [--rows 50000] [--dir FOLDER]

The rows are those of a routed request with eight candidates and two attempts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from turnout.catalog.models import Deployment
from turnout.catalog.prices import Price
from turnout.chat import RequestOutline, Usage
from turnout.context import Attempt, Candidate, Decision, RequestContext, SessionView
from turnout.spend.ledger import LedgerRow, row_from_context, to_record
from turnout.stores.sqlite import SqliteLedger


def settled(number: int) -> RequestContext:
    """A settled request, as the pipeline leaves it."""
    fleet = [
        Deployment(
            id=f"openai/gpt-{n}",
            provider="openai",
            upstream_model=f"gpt-{n}",
            dialect="openai-chat",
            tier="mid",
            price=Price(input=2_000_000, output=8_000_000, source="genai-prices 0.2.3"),
        )
        for n in range(8)
    ]
    return RequestContext(
        request_id=f"req_{number:016x}",
        dialect="openai-chat",
        outline=RequestOutline(model="auto", fields={}, messages=(), roles=()),
        body=b"",
        started_s=0.0,
        tags={"feature": "search", "team": "core"},
        session=SessionView(id=f"session-{number % 50}", agent="a1b2", step=3, source="x-turnout-session"),
        decision=Decision(
            candidates=tuple(Candidate(deployment=d, expected_cost_nano_usd=123_456) for d in fleet[:3]),
            rejected=tuple(Candidate(deployment=d, rejected="context window") for d in fleet[3:]),
            reason="small-enough",
            explanation="A short question without tools: the small tier answers it.",
        ),
        attempts=[
            Attempt(deployment=fleet[0], status=503, error_code="no_capacity", duration_s=0.1),
            Attempt(deployment=fleet[1], status=200, duration_s=2.5, ttft_s=0.4),
        ],
        warnings=["top_k has no counterpart in openai-chat: left out"],
        served_by=fleet[1],
        usage=Usage(
            input=12_345,
            cache_read=10_240,
            output=512,
            reasoning=128,
            raw={"prompt_tokens": 12_345, "completion_tokens": 512, "total_tokens": 12_857},
        ),
        cost_nano_usd=28_786_000,
        outcome="ok",
        status=200,
        overhead_s=0.0012,
        ttft_s=0.5,
        duration_s=2.7,
    )


def microseconds(work: Callable[[int], object], count: int) -> float:
    """Median of seven runs of `count` calls, in microseconds a call."""
    runs: list[float] = []
    for _ in range(7):
        start = time.perf_counter()
        for number in range(count):
            work(number)
        runs.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(runs)


def writer_rate(folder: Path, contexts: list[RequestContext]) -> float:
    """Rows a second from the first append to the last row's commit."""
    ledger = SqliteLedger(folder / "rate.db", max_waiting=len(contexts) + 1)
    start = time.perf_counter()
    for ctx in contexts:
        ledger.append(row_from_context(ctx))
    written = ledger.flush(timeout_s=120)
    seconds = time.perf_counter() - start
    ledger.close()
    if not written or ledger.dropped:
        raise SystemExit(f"the ledger did not take all rows: {ledger.last_error}")
    return len(contexts) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dir", type=Path, default=None, help="where the database is made (default: a temp folder)")
    args = parser.parse_args()
    contexts = [settled(n) for n in range(args.rows)]
    rows: list[LedgerRow] = [row_from_context(ctx) for ctx in contexts]
    few = min(args.rows, 10_000)
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        # A long interval keeps the writer asleep, so that the append alone is measured.
        quiet = SqliteLedger(Path(folder) / "append.db", flush_interval_s=3600, max_waiting=10_000_000)
        append = microseconds(lambda n: quiet.append(rows[n]), few)
        both = microseconds(lambda n: quiet.append(row_from_context(contexts[n])), few)
        quiet.close(timeout_s=60)
        print(f"append                       {append:8.2f} us")
        print(f"append(row_from_context)     {both:8.2f} us")
        encode = microseconds(lambda n: to_record(rows[n]), few)
        print(f"to_record, in the writer     {encode:8.2f} us")
        print(f"writer                       {writer_rate(Path(folder), contexts):8,.0f} rows/s")


if __name__ == "__main__":
    main()
