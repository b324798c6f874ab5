"""Closing the books of a request, exactly once: usage, cost, budgets, session, health, ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import msgspec

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.models import Deployment
from turnout.catalog.prices import cost_nano_usd, unpriced_tier
from turnout.chat import Part, Text
from turnout.context import Outcome, RequestContext
from turnout.delivery.board import Flight
from turnout.dialects.ends import said_of
from turnout.errors import FailureReason, TurnoutError, UpstreamTimeout
from turnout.memory import Memory
from turnout.providers.exchange import Exchange
from turnout.spend.baseline import baseline_nano_usd
from turnout.spend.ledger import repeated_of, row_from_context
from turnout.streams import SettlingStream, usage_so_far

__all__ = ["Settling"]

MOVES = {"escalated": True, "returned": False}
"""Reasons of decisions by which a session leaves its model: up on evidence, or back."""

REFUSALS = frozenset({"refusal", "content_filter"})


class Settling:
    """Tells everyone who keeps account how a request ended."""

    def __init__(self, memory: Memory, baseline: Deployment | None = None) -> None:
        self._baseline = baseline
        self._tokens = memory.tokens
        self._budgets = memory.budgets
        self._gates = memory.gates
        self._runs = memory.runs
        self._sessions = memory.sessions
        self._foresight = memory.foresight
        self._ledger = memory.ledger
        self._gateway = memory.gateway
        self._answers = memory.answers
        self._learner = memory.learner
        self._signals = memory.signals
        self._peers = memory.peers

    def settle(
        self,
        ctx: RequestContext,
        outcome: Outcome,
        *,
        exchange: Exchange | None = None,
        flight: Flight | None = None,
        stream: SettlingStream | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Close the books of a request, exactly once: usage, cost, session, health, ledger."""
        if self.conclude(ctx, outcome, exchange=exchange, stream=stream, error=error):
            self.book(ctx, exchange=exchange, flight=flight, stream=stream)

    def conclude(
        self,
        ctx: RequestContext,
        outcome: Outcome,
        *,
        exchange: Exchange | None = None,
        stream: SettlingStream | None = None,
        error: BaseException | None = None,
    ) -> bool:
        """Note how a request ended and what it cost, as its caller is told. False where it had ended; else whoever
        asked `book`s it."""
        if ctx.outcome != "open":
            return False
        ctx.outcome = outcome
        ctx.duration_s = time.monotonic() - ctx.started_s
        ctx.status, ctx.error_code = told_of(error, exchange)
        if exchange is not None:
            ctx.usage, ctx.finish = exchange.usage, exchange.finish
            # What a provider keeps of the conversation is billed and not in the request: nothing to learn from.
            if ctx.served_by is not None and ctx.kept_at is None and exchange.usage is not None:
                self._tokens.observe(ctx.outline, ctx.served_by.upstream_model, exchange.usage.input, ctx.counted)
            cut = exchange.body is None and exchange.finish is None
            if cut or ctx.usage is None or None in (ctx.usage.input, ctx.usage.output):
                ctx.usage, ctx.usage_estimated = usage_so_far(ctx, stream or exchange), True
        charge(ctx)
        return True

    def book(
        self,
        ctx: RequestContext,
        *,
        exchange: Exchange | None = None,
        flight: Flight | None = None,
        stream: SettlingStream | None = None,
    ) -> None:
        """Tell everyone who keeps account of a request that was concluded."""
        self._answers.settle(ctx, exchange, stream)
        compare(ctx, self._baseline)
        if flight is not None and exchange is not None:
            land(flight, ctx, exchange)
        if ctx.reservation is not None:
            self._budgets.settle(ctx.reservation, charges_of(ctx))
        usage = ctx.usage
        tokens = ((usage.input or 0) + (usage.output or 0)) if usage else 0
        self._leave(ctx, tokens)
        self._runs.settle(
            ctx.key_id or "",
            ctx.session.id,
            tokens=tokens,
            cost_nano_usd=ctx.cost_nano_usd or 0,
            served=ctx.served_by is not None,
        )
        visit = self._foresight.learn(ctx)
        meant = served_as_meant(ctx)
        pinned = ctx.served_by.id if meant and ctx.served_by and ctx.decision and ctx.decision.pins else None
        self._sessions.settle(
            ctx.key_id or "",
            ctx.session,
            pinned=pinned,
            cost_nano_usd=ctx.cost_nano_usd or 0,
            home=ctx.target.id if ctx.target and ctx.outcome != "error" else None,
            visit=visit,
        )
        source = stream or exchange
        self._note_evidence(ctx, source)
        if self._peers is not None:
            self._peers.settled(ctx, tokens=tokens)
        self._learner.settled(ctx, delivered_by(source))
        self._ledger.append(row_from_context(ctx, self._gateway))
        self._signals.settled(ctx, lambda: source.parts if source is not None else None)

    def _leave(self, ctx: RequestContext, tokens: int) -> None:
        """Leave the key's gate by which it came in."""
        if ctx.admission is not None and self._peers is not None:
            self._peers.left(ctx.admission, used=tokens)
        elif ctx.key is not None:
            now_s = time.monotonic()
            self._gates.leave(ctx.key.name, estimated=ctx.input_tokens_estimate, used=tokens, now_s=now_s)

    def _note_evidence(self, ctx: RequestContext, source: SettlingStream | Exchange | None) -> None:
        """What an answer shows of its session: that it moved, that it was no good, what it says."""
        owner, session = ctx.key_id or "", ctx.session
        if ctx.decision is not None and ctx.decision.reason in MOVES and served_as_meant(ctx):
            self._sessions.moved(owner, session, up=MOVES[ctx.decision.reason])
        if source is None:
            return
        if ctx.finish is not None and ctx.finish.unified in REFUSALS:
            self._sessions.blame(owner, session, "the model refused")
            self._learner.tell(ctx, "refusal", 0.0)
            return
        self._sessions.blame(owner, session, None)
        if not (session.alike or ctx.outline.json_schema) or (parts := source.parts) is None:
            return
        ended = ctx.finish is not None and ctx.finish.unified == "stop"
        if ended and ctx.outline.json_schema and (valid := is_json(parts)) is not None:
            self._learner.tell(ctx, "schema", float(valid))
            if not valid:
                self._sessions.blame(owner, session, "its structured output was invalid")
        if session.alike:
            self._sessions.answered(owner, session, said_of(parts))


def served_as_meant(ctx: RequestContext) -> bool:
    """Whether the tier answered that the decision put first: a stand-in for one request is no choice for a session."""
    if ctx.decision is None or ctx.served_by is None:
        return False
    return ctx.served_by.tier == ctx.decision.candidates[0].deployment.tier


def is_json(parts: Iterable[Part]) -> bool | None:
    """Whether an answer that was to be JSON is; None for one without text (it called a tool)."""
    text = "".join(part.text for part in parts if isinstance(part, Text))
    if not text.strip():
        return None
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def delivered_by(source: SettlingStream | Exchange | None) -> bytes | None:
    """An answer as its caller got it; None where there is none, or it was too long to be kept whole."""
    if isinstance(source, SettlingStream):
        return bytes(source.delivered) if source.delivered_whole else None
    return source.body if source is not None else None


def told_of(error: BaseException | None, exchange: Exchange | None) -> tuple[int, str | None]:
    """Status and stable code of a request's end, for the record."""
    if isinstance(error, TurnoutError):
        return error.status, error.code
    if isinstance(error, asyncio.CancelledError):
        return 499, None
    if error is not None:
        return 500, "internal_error"
    return 200, exchange.error.code if exchange and exchange.error else None


def charges_of(ctx: RequestContext) -> list[tuple[Deployment, int]]:
    """Who is paid what: calls whose answer nobody got, and the one that answered."""
    lost = [(a.deployment, a.cost_nano_usd) for a in ctx.attempts if a.cost_nano_usd]
    own = (ctx.cost_nano_usd or 0) - sum(cost for _, cost in lost)
    return [*lost, (ctx.served_by, own)] if ctx.served_by and own else lost


def charge(ctx: RequestContext) -> None:
    """What a request cost: its answer's usage at the answer's price, and calls whose answer nobody got. None where the
    price is not known; what is known in part is said."""
    price = ctx.served_by.price if ctx.served_by else None
    if ctx.usage is not None and price is not None:
        ctx.cost_nano_usd = cost_nano_usd(ctx.usage, price)
        if (tier := unpriced_tier(ctx.usage, price)) is not None:
            ctx.warn(f"service tier {tier} unpriced: standard price taken")
    if lost := sum(a.cost_nano_usd or 0 for a in ctx.attempts):
        if ctx.usage is not None and price is None:
            ctx.warn("the answer is unpriced: the cost is that of earlier attempts alone")
        ctx.cost_nano_usd = (ctx.cost_nano_usd or 0) + lost


def compare(ctx: RequestContext, baseline: Deployment | None) -> None:
    """What the model that savings are reported against would have cost, where all of it is known."""
    if baseline is None or baseline.price is None or ctx.usage is None or ctx.cost_nano_usd is None:
        return
    rule = cache_rule_of(baseline.provider, baseline.upstream_model)
    repeated = repeated_of(ctx, ctx.usage.input or 0)
    ctx.baseline_nano_usd = baseline_nano_usd(ctx.usage, repeated, baseline.price, rule)


def land(flight: Flight, ctx: RequestContext, exchange: Exchange) -> None:
    """Tell the target's health how its answer ended, and what it showed of its pace."""
    if ctx.outcome == "cancelled":
        flight.dropped()
        return
    if exchange.error is not None:
        reason: FailureReason = "timeout" if exchange.error.code == UpstreamTimeout.code else "broken"
        flight.failed(reason)
        return
    streamed = exchange.body is None
    output = ctx.usage.output if ctx.usage else None
    writing_s = time.monotonic() - ctx.started_s - (ctx.ttft_s or 0.0) if streamed else exchange.waited_s
    flight.landed(
        ttft_s=exchange.waited_s if streamed else None,
        tokens_per_s=output / writing_s if output and writing_s > 0 else None,
        whole_s=None if streamed else exchange.waited_s,
    )
