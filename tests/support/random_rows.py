"""Rows of a ledger with everything that a row may have, and may not, by a seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial

from turnout.catalog.models import Deployment
from turnout.catalog.prices import Price
from turnout.context import Attempt, Candidate, Decision
from turnout.spend.ledger import LedgerRow, iso_utc

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

ODD = ("café ☕", "tab\tand\nline", "back\\slash", '"quoted"', "\\N", "x" * 2_000, "")


def deployment(name: str) -> Deployment:
    return Deployment(
        id=f"lab/{name}",
        provider="lab",
        upstream_model=name,
        dialect="openai-chat",
        tier="small",
        price=Price(input=1_000, output=4_000, source="config"),
    )


def rows(seed: int, count: int = 400) -> list[LedgerRow]:
    """Rows of the five weeks before `NOON`."""
    random_ = random.Random(seed)
    pick = random_.choice
    fleet = [deployment(name) for name in ("a", "b", "c")]
    found: list[LedgerRow] = []
    for number in range(count):
        chosen = pick(fleet)
        at = NOON - timedelta(seconds=random_.randrange(35 * 86_400), milliseconds=random_.randrange(1_000))
        served = random_.random() < 0.8
        lost = Attempt(deployment=pick(fleet), status=503, error_code="no_capacity", cost_nano_usd=pick([None, 70]))
        log = [*([lost] if random_.random() < 0.3 else []), Attempt(deployment=chosen, status=200, duration_s=0.5)]
        found.append(
            LedgerRow(
                request_id=f"req_{seed}_{number}",
                received_at=iso_utc(at),
                key_id=pick([None, "alice", "bob"]),
                team=pick([None, "core"]),
                session_id=pick([None, *(f"s{n}" for n in range(20))]),
                agent=pick([None, "main", "sub"]),
                step=random_.randrange(45),
                dialect="openai-chat",
                mode=pick([None, "data_entry"]),
                tags=pick([{}, {"feature": "search"}, {"feature": "support", "team": "x"}, {"other": pick(ODD)}]),
                requested_model=pick(["auto", *ODD]),
                deployment=chosen.id if served else None,
                provider="lab" if served else None,
                tier=pick(["small", "mid", "frontier"]) if served else None,
                reason=pick([None, "default", "pinned"]),
                status=pick([200, 429, None]),
                outcome=pick(["ok", "ok", "error", "cancelled"]),
                error_code=pick([None, "upstream_error"]),
                input_tokens=(tokens := pick([None, random_.randrange(100_000)])),
                cache_read_tokens=pick([None, 5]),
                output_tokens=pick([None, random_.randrange(500)]),
                reasoning_tokens=pick([None, 3]),
                usage_estimated=pick([True, False]),
                usage_raw=pick([None, {"prompt_tokens": 3, "more": [1, None, pick(ODD)]}]),
                cost_nano_usd=pick([None, 0, random_.randrange(1, 10**9)]),
                price_source="config",
                attempts=len(log),
                overhead_us=pick([None, 900]),
                ttft_ms=pick([None, 40]),
                duration_ms=pick([None, 900]),
                warnings=tuple(pick([[], ["a warning", pick(ODD)]])),
                decision=Decision(
                    candidates=tuple(Candidate(deployment=d, expected_cost_nano_usd=5, success=0.5) for d in fleet),
                    rejected=(Candidate(deployment=chosen, rejected=pick(ODD)),),
                    reason="default",
                    explanation=pick(ODD),
                    rest=partial(dict[str, int], {d.id: 700 for d in fleet[:2]}),
                ),
                part_system=(tokens or 0) // 3,
                part_history=(tokens or 0) // 2,
                repeated_tokens=pick([None, 7]),
                service_tier=pick([None, "flex"]),
                price=chosen.price,
                baseline_uncached_nano_usd=(base := pick([None, 10**6])),
                baseline_cached_nano_usd=base,
                gateway=pick([None, "g1", "g2"]),
                attempt_log=tuple(log) if served else (),
            )
        )
    return found
