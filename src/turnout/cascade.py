"""A small model asked first, its answer checked, and the larger one asked where it does not pass: at work."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from turnout.call import Call
from turnout.catalog.prices import cost_nano_usd
from turnout.context import Candidate, RequestContext
from turnout.conversations import keeps
from turnout.delivery.attempts import Delivered
from turnout.errors import InvalidRequest, UpstreamFailure
from turnout.providers.exchange import Exchange
from turnout.routing.cascade import may_cascade, small_first
from turnout.routing.needs import signed
from turnout.routing.outcomes import TRUST, Outcome
from turnout.routing.verify import Expected, expected_of, wrong_with
from turnout.streams import usage_so_far

__all__ = ["CASCADE", "NOT_VERIFIED", "Cascade", "Cascading"]

CASCADE = "cascade"
"""The reason of a decision that a small model was asked first and its answer passed."""

NOT_VERIFIED = "not_verified"
"""Why an attempt failed whose answer was whole and had the wrong form."""

Deliver = Callable[[RequestContext, Call], Awaitable[Delivered[Exchange]]]
Outcomes = Callable[[Outcome], None]


class Cascading(Struct, frozen=True, kw_only=True):
    """Who is asked first, and what its answer must look like to be handed on."""

    first: Candidate
    expected: Expected


class Cascade:
    """Asks a small model first where that is expected to be cheaper. `on` False: never. `outcomes` is told of each
    answer that did not pass; that others had the right form shows in what was served."""

    def __init__(self, *, on: bool, outcomes: Outcomes = lambda _: None) -> None:
        self._on = on
        self._outcomes = outcomes

    def plan(self, ctx: RequestContext, call: Call) -> Cascading | None:
        """Who is to be asked first for a request that is decided; None where the decision is followed as it is."""
        chat = call.operation.chat
        if not self._on or chat is None or ctx.decision is None or not may_cascade(ctx.outline):
            return None
        tied = ctx.kept_at is not None or signed(ctx.outline) or keeps(ctx.dialect, ctx.outline.fields)
        # A limit on one request's cost is held against each candidate alone: two calls might pass it.
        if tied or ctx.max_cost_nano_usd is not None or (first := small_first(ctx.decision)) is None:
            return None
        try:
            expected = expected_of(chat.decode_request(ctx.body))
        except InvalidRequest:  # whoever answers it will say what is wrong
            return None
        return None if expected is None else Cascading(first=first, expected=expected)

    async def deliver(
        self, ctx: RequestContext, call: Call, plan: Cascading | None, deliver: Deliver
    ) -> Delivered[Exchange]:
        """The answer to `ctx`: the small model's where it passes, else the one of those that were decided for. Where
        the small one fails, delivery goes on to them by itself. Raises TurnoutError."""
        decision = ctx.decision
        if plan is None or decision is None:
            return await deliver(ctx, call)
        begun, first = time.monotonic(), plan.first
        others = tuple(c for c in decision.candidates if c.deployment.id != first.deployment.id)
        ctx.decision = replace(
            decision,
            candidates=(replace(first, place=-1), *others),
            reason=CASCADE,
            explanation=f"{decision.explanation}; {first.deployment.id} first: its answer can be checked",
            # One answer of the right form is no reason to leave the session with a model.
            pins=False,
        )
        delivered = await deliver(ctx, call)
        straight = replace(decision, candidates=others)
        if delivered.flight.target.deployment.id != first.deployment.id:
            ctx.decision = straight
            return delivered
        why = self._wrong(call, delivered.answer, plan.expected)
        if why is None:
            return delivered
        await self._dismiss(ctx, delivered, why)
        ctx.decision = replace(straight, explanation=f"{decision.explanation}; {first.deployment.id} first, but {why}")
        tried_s = time.monotonic() - begun
        delivered = await deliver(ctx, call)
        if ctx.overhead_s is not None:
            ctx.overhead_s = max(0.0, ctx.overhead_s - tried_s)
        return delivered

    def _wrong(self, call: Call, exchange: Exchange, expected: Expected) -> str | None:
        if (chat := call.operation.chat) is None or exchange.body is None:
            return None
        try:
            return wrong_with(chat.decode_response(exchange.body), expected)
        except UpstreamFailure:
            return "it is not to be read"

    async def _dismiss(self, ctx: RequestContext, delivered: Delivered[Exchange], why: str) -> None:
        """Nobody gets this answer: let it go, book it as an attempt with its cost, and tell who learns."""
        exchange, deployment = delivered.answer, delivered.flight.target.deployment
        delivered.flight.landed(ttft_s=None, tokens_per_s=None, whole_s=exchange.waited_s)
        await exchange.aclose()
        usage = exchange.usage
        if usage is None or None in {usage.input, usage.output}:
            usage = usage_so_far(ctx, exchange)
        cost = cost_nano_usd(usage, deployment.price) if deployment.price is not None else None
        ctx.attempts[-1] = replace(ctx.attempts[-1], reason=NOT_VERIFIED, usage=usage, cost_nano_usd=cost)
        predicted = ctx.predicted(deployment.id)
        ctx.target = ctx.served_by = None
        ctx.warn(f"{deployment.id} was asked first and its answer was not taken: {why}")
        if ctx.key is not None and not ctx.key.learning:
            return
        self._outcomes(
            Outcome(
                request_id=ctx.request_id,
                model=deployment.id,
                score=0.0,
                source="escalation",
                weight=TRUST["escalation"],
                at=datetime.now(UTC),
                owner=ctx.key_id or "",
                mode=ctx.mode,
                predicted=predicted,
                features=ctx.features,
            )
        )
