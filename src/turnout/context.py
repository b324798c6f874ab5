"""Everything known of one request while it lives, typed; every phase of the pipeline reads and adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct, field

from turnout.catalog.models import Deployment
from turnout.chat import FinishReason, RequestOutline, Usage

__all__ = [
    "Attempt",
    "Candidate",
    "Decision",
    "Outcome",
    "RequestContext",
    "Reservation",
    "SessionView",
    "Spender",
]


class SessionView(Struct, frozen=True, kw_only=True):
    """The session a request belongs to, as it stood when the request came in.

    `id` names the conversation, `agent` the sub-agent within it (a hash of system and tools). `step`
    counts requests of this agent from 0. `source` says how the id was found (a header's name, `prefix`).
    `pinned` is the deployment this agent has been served by. `cost_nano_usd` is what the whole session, all its
    agents, has spent.
    """

    id: str
    agent: str
    step: int
    source: str
    pinned: str | None = None
    cost_nano_usd: int = 0


class Candidate(Struct, frozen=True, kw_only=True):
    """One deployment weighed for a request. `rejected` says in one phrase why it lost or cannot serve;
    None for those that may be tried. `expected_cost_nano_usd` None: unpriced."""

    deployment: Deployment
    expected_cost_nano_usd: int | None = None
    rejected: str | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """Which deployments to try, in order, and why. `reason` is a stable short code (`mode`, `pinned`,
    `explicit`, ...), `explanation` one sentence for people."""

    candidates: tuple[Candidate, ...]
    rejected: tuple[Candidate, ...] = ()
    reason: str
    explanation: str
    mode: str | None = None
    effort: str | None = None
    # False for decisions that say nothing of what the session needs (an explicit model, a mode).
    pins: bool = False


class Attempt(Struct, frozen=True, kw_only=True):
    """One call of one deployment. Times in seconds; `ttft_s` to the first byte of the answer."""

    deployment: Deployment
    status: int | None
    error_code: str | None = None
    duration_s: float = 0.0
    ttft_s: float | None = None


class Spender(Struct, frozen=True, kw_only=True):
    """Who spends, as far as budgets ask."""

    key: str | None
    tags: Mapping[str, str]
    mode: str | None
    session: str


class Reservation(Struct, frozen=True, kw_only=True):
    """Money held for one request: per budget and start of its period, nano-dollars."""

    spender: Spender
    at: datetime
    held: tuple[tuple[str, datetime, int], ...]


Outcome = Literal["open", "ok", "error", "cancelled"]


class RequestContext(Struct, kw_only=True):
    """One request from decode to settle. `received_at` is UTC; the `*_s` fields are seconds of the
    monotonic clock, relative to `started_s` except `started_s` itself."""

    request_id: str
    dialect: str
    outline: RequestOutline
    body: bytes
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float
    key_id: str | None = None
    tags: dict[str, str] = {}
    mode: str | None = None
    quality: float | None = None
    latency: Literal["interactive", "batch"] = "interactive"
    max_cost_nano_usd: int | None = None
    kept_at: str | None = None
    session: SessionView
    input_tokens_estimate: int = 0
    decision: Decision | None = None
    reservation: Reservation | None = None
    attempts: list[Attempt] = []
    warnings: list[str] = []
    served_by: Deployment | None = None
    usage: Usage | None = None
    usage_estimated: bool = False
    finish: FinishReason | None = None
    cost_nano_usd: int | None = None
    outcome: Outcome = "open"
    status: int | None = None
    error_code: str | None = None
    overhead_s: float | None = None
    ttft_s: float | None = None
    duration_s: float | None = None

    def warn(self, sentence: str) -> None:
        """Note something the caller should know; shown in a header, the log and the request record."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
