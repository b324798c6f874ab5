"""Requests as they stand when their books are closed, for whoever is told of them then."""

from __future__ import annotations

import time
from typing import Any

from turnout.catalog.models import Deployment
from turnout.chat import RequestOutline, Usage
from turnout.context import Attempt, Candidate, Decision, RequestContext, SessionView

SMALL = Deployment(id="lab/small", provider="lab", upstream_model="small", dialect="openai-chat", tier="small")


def settled(model: Deployment = SMALL, **more: Any) -> RequestContext:
    """A request that `model` answered: 1,000 tokens in, 600 of them read from a cache, 200 out, for 0.0012 USD."""
    fields: dict[str, Any] = {
        "request_id": "req_1",
        "dialect": "openai-chat",
        "outline": RequestOutline(model="auto", fields={}, messages=(), roles=(), stream=True),
        "body": b"{}",
        "started_s": time.monotonic(),
        "session": SessionView(id="s", agent="a", step=0, source="prefix"),
        "decision": Decision(candidates=(Candidate(deployment=model),), reason="simple", explanation="it is short"),
        "attempts": [Attempt(deployment=model, status=200, duration_s=0.2)],
        "served_by": model,
        "usage": Usage(input=1_000, cache_read=600, output=200, reasoning=50),
        "cost_nano_usd": 1_200_000,
        "outcome": "ok",
        "status": 200,
        "overhead_s": 0.0011,
        "ttft_s": 0.3,
        "duration_s": 1.2,
    }
    return RequestContext(**(fields | more))
