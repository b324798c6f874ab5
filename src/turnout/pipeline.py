"""The life of a request, from the caller's bytes to the settled books. Read `Pipeline.run` first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import Deployment
from turnout.catalog.prices import cost_nano_usd
from turnout.chat import Usage
from turnout.context import Decision, Outcome, RequestContext, Spender
from turnout.conversations import (
    Answered,
    Conversations,
    Turn,
    answer_in,
    answer_of,
    input_items,
    resumed,
    wants_state,
)
from turnout.delivery.attempts import MAX_ATTEMPTS, attempt_in_order
from turnout.dialects.fields import decode_fields
from turnout.errors import NoCapacity, NotTranslatable, TurnoutError, UpstreamFailure, UpstreamRejected
from turnout.headers import answer_headers, read_wishes
from turnout.providers.counting import CountOperation
from turnout.providers.exchange import Exchange, Provider, open_exchange
from turnout.providers.operations import Caller, Operation
from turnout.routing.affinity import SessionTable
from turnout.routing.calibration import TokenEstimator
from turnout.routing.identity import read_hints
from turnout.routing.needs import needs_of, worst_cost
from turnout.routing.rank import Ask, Router
from turnout.spend.brakes import Brakes
from turnout.spend.budgets import Budgets
from turnout.spend.ledger import Ledger, row_from_context

__all__ = ["Call", "Pipeline", "Reply", "SettlingStream"]

STATEFUL = "openai-responses"
"""The one wire format whose requests may go on from an earlier answer by its id."""


class Call(Struct, frozen=True, kw_only=True):
    """One request as the server hands it over. `headers` has lower-case names; `started_s` is monotonic; `resumes` is
    the kept turn that it goes on from, `resumed_items` how many items of it were put before the caller's own."""

    request_id: str
    operation: Operation
    body: bytes
    resumes: Turn | None = None
    resumed_items: int = 0
    headers: Mapping[str, str]
    started_s: float
    key_id: str | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """What goes back: `body`, or `stream` when the caller streams. Whoever takes a stream must close it."""

    headers: list[tuple[str, str]]
    body: bytes | None = None
    stream: SettlingStream | None = None


class Pipeline:
    """Composes the phases; owns no policy of its own."""

    def __init__(
        self,
        *,
        router: Router,
        sessions: SessionTable,
        providers: Mapping[str, Provider],
        ledger: Ledger,
        budgets: Budgets,
        brakes: Brakes,
        conversations: Conversations,
        tokens: TokenEstimator,
    ) -> None:
        self._router = router
        self._sessions = sessions
        self._providers = providers
        self._ledger = ledger
        self._budgets = budgets
        self._brakes = brakes
        self._conversations = conversations
        self._tokens = tokens

    async def run(self, call: Call) -> Reply:
        """Serve one call. Raises TurnoutError; whatever happens, an opened request is settled exactly once."""
        call = await self.resume(call)
        ctx = self.open(call)  # decode, identify
        try:
            self._brakes.check(ctx.session, lambda: call.operation.messages(call.body))
            ctx.decision = self.decide(ctx)  # filter, rank
            ctx.reservation = self._budgets.reserve(spender_of(ctx, ctx.decision), worst_costs(ctx, ctx.decision))
            exchange = await attempt_in_order(ctx, partial(self.send, ctx, call))  # send, fail over
        except BaseException as error:  # even a fault of ours must not keep a budget's money
            self.settle(ctx, "cancelled" if isinstance(error, asyncio.CancelledError) else "error", error=error)
            raise
        if exchange.body is None:
            stream = SettlingStream(self, ctx, exchange, call)
            return Reply(headers=answer_headers(ctx, exchange.headers), stream=stream)
        self.settle(ctx, "ok", exchange=exchange)
        await exchange.aclose()
        if keeps(ctx):
            await self.keep(ctx, call, exchange, answer_of(exchange.body))
        return Reply(headers=answer_headers(ctx, exchange.headers), body=exchange.body)

    def explain(self, call: Call) -> tuple[RequestContext, Decision]:
        """The decision for a call that nobody serves: no step is counted, nothing is booked."""
        ctx = self.open(call, peek=True)
        ctx.decision = self.decide(ctx)
        return ctx, ctx.decision

    async def count(self, call: Call, operation: CountOperation) -> Reply:
        """Input tokens of a request that nobody answers: counted by the provider that would, where it counts in the
        caller's format and can be reached, else estimated and said so. Nothing is booked. Raises TurnoutError."""
        ctx = self.open(call, peek=True)
        ctx.decision = self.decide(ctx)
        served = ctx.decision.candidates[0].deployment
        ctx.served_by = served
        try:
            exchange = await self.send(ctx, call, served)
        except UpstreamRejected:
            raise
        except (NotTranslatable, UpstreamFailure, NoCapacity) as why:
            ctx.warn(f"the count is an estimate: {why.message}")
            body = operation.estimated(self._tokens.estimate(ctx.outline, served.upstream_model))
            return Reply(headers=answer_headers(ctx, ()), body=body)
        await exchange.aclose()
        return Reply(headers=answer_headers(ctx, exchange.headers), body=exchange.body)

    async def resume(self, call: Call) -> Call:
        """A call that goes on from a response that was kept here, with the conversation so far put before it; one
        that a provider keeps stays with that provider."""
        if call.operation.name != STATEFUL or b'"previous_response_id"' not in call.body:
            return call
        fields = decode_fields(call.body)
        previous = wants_state(fields).previous
        found = await self._conversations.find(call.key_id or "", previous) if previous else None
        if found is None:
            return call
        turn, items = found
        if turn.items is None:
            return replace(call, resumes=turn)
        return replace(call, resumes=turn, resumed_items=len(items), body=resumed(fields, items))

    async def keep(self, ctx: RequestContext, call: Call, exchange: Exchange, answered: Answered | None) -> None:
        """Remember a response that can be gone on from: its items where we alone have them."""
        if ctx.served_by is None or answered is None:
            return
        said = input_items(ctx.outline.fields)[call.resumed_items :] if exchange.translated else ()
        items = (*said, *map(bytes, answered.output)) if exchange.translated else None
        await self._conversations.keep(
            Turn(
                owner=ctx.key_id or "",
                id=answered.id,
                provider=ctx.served_by.provider,
                session=ctx.session.id,
                previous=call.resumes.id if call.resumes else None,
                items=items,
            )
        )

    def open(self, call: Call, *, peek: bool = False) -> RequestContext:
        """Decode what routing needs, and find out who asks. Raises InvalidRequest."""
        outline = call.operation.outline(call.body)
        hints = read_hints(call.headers, outline)
        if call.resumes is not None and hints.session is None:
            hints = replace(hints, session=call.resumes.session, session_source="previous_response_id")
        wishes = read_wishes(call.headers)
        locate = self._sessions.peek if peek else self._sessions.locate
        return RequestContext(
            request_id=call.request_id,
            dialect=call.operation.name,
            outline=outline,
            body=call.body,
            started_s=call.started_s,
            key_id=call.key_id,
            tags=hints.tags,
            mode=hints.mode,
            quality=wishes.quality,
            latency=wishes.latency,
            max_cost_nano_usd=wishes.max_cost_nano_usd,
            kept_at=call.resumes.provider if call.resumes and call.resumes.items is None else None,
            session=locate(call.key_id or "", hints, outline),
            input_tokens_estimate=self._tokens.estimate(outline),
        )

    def decide(self, ctx: RequestContext) -> Decision:
        """Whom to try, in order. A budget that leaves only small models decides a second time."""
        ask = Ask(
            outline=ctx.outline,
            input_tokens=ctx.input_tokens_estimate,
            session=ctx.session,
            mode=ctx.mode,
            quality=ctx.quality,
            max_cost_nano_usd=ctx.max_cost_nano_usd,
            kept_at=ctx.kept_at,
        )
        decision = self._router.decide(ask)
        budget = self._budgets.left_to_small(spender_of(ctx, decision), worst_costs(ctx, decision))
        if budget is not None:
            decision = self._router.decide(replace(ask, small_only=budget))
            ctx.warn(f"budget {budget} leaves only small models")
        if ctx.mode and decision.mode is None:
            ctx.warn(f"mode {ctx.mode} is not in the config: recorded as a label, not routed by")
        return decision

    async def send(self, ctx: RequestContext, call: Call, deployment: Deployment) -> Exchange:
        """One attempt: the request in the provider's format, open until its answer has begun."""
        provider = self._providers.get(deployment.provider)
        if provider is None:
            raise NoCapacity(f"provider {deployment.provider} is not set up; set its key or base_url")
        effort = ctx.decision.effort if ctx.decision else None
        caller = Caller(
            operation=call.operation, outline=ctx.outline, body=ctx.body, headers=call.headers, effort=effort
        )
        begun = time.monotonic()
        exchange = await open_exchange(provider, deployment, caller)
        for warning in exchange.warnings:
            ctx.warn(warning)
        ctx.ttft_s = begun - ctx.started_s + exchange.waited_s
        ctx.overhead_s = time.monotonic() - ctx.started_s - exchange.waited_s - sum(a.duration_s for a in ctx.attempts)
        return exchange

    def settle(
        self,
        ctx: RequestContext,
        outcome: Outcome,
        *,
        exchange: Exchange | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Close the books of a request, exactly once: usage, cost, session, ledger."""
        if ctx.outcome != "open":
            return
        ctx.outcome = outcome
        ctx.duration_s = time.monotonic() - ctx.started_s
        ctx.status, ctx.error_code = told_of(error, exchange)
        if exchange is not None:
            ctx.usage, ctx.finish = exchange.usage, exchange.finish
            # What a provider keeps of the conversation is billed and not in the request: nothing to learn from.
            if ctx.served_by is not None and ctx.kept_at is None and exchange.usage is not None:
                self._tokens.observe(ctx.outline, ctx.served_by.upstream_model, exchange.usage.input)
            if ctx.usage is None or ctx.usage.output is None:
                ctx.usage, ctx.usage_estimated = estimated_usage(ctx, exchange), True
        if ctx.served_by is not None and ctx.usage is not None and ctx.served_by.price is not None:
            ctx.cost_nano_usd = cost_nano_usd(ctx.usage, ctx.served_by.price)
        if ctx.reservation is not None:
            self._budgets.settle(ctx.reservation, ctx.served_by, ctx.cost_nano_usd or 0)
        pinned = ctx.served_by.id if ctx.served_by and ctx.decision and ctx.decision.pins else None
        self._sessions.settle(ctx.key_id or "", ctx.session, pinned=pinned, cost_nano_usd=ctx.cost_nano_usd or 0)
        self._ledger.append(row_from_context(ctx))


class SettlingStream:
    """A streamed answer's bytes. `aclose` settles whatever happened: read to its end, broken, or no longer wanted
    before a single byte was read (an async generator that never began would run no `finally`)."""

    def __init__(self, pipeline: Pipeline, ctx: RequestContext, exchange: Exchange, call: Call) -> None:
        self._pipeline = pipeline
        self._ctx = ctx
        self._exchange = exchange
        self._call = call
        self._chunks = exchange.stream()
        self._keeping = keeps(ctx)
        self._outcome: Outcome = "cancelled"

    def __aiter__(self) -> SettlingStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._outcome = "error" if self._exchange.error else "ok"
            raise
        if self._keeping and (answered := answer_in(chunk)) is not None:
            # Kept before the caller has the end: the next request may come at once.
            await self._pipeline.keep(self._ctx, self._call, self._exchange, answered)
        return chunk

    async def aclose(self) -> None:
        try:
            await self._chunks.aclose()
            await self._exchange.aclose()
        finally:
            self._pipeline.settle(self._ctx, self._outcome, exchange=self._exchange)


def keeps(ctx: RequestContext) -> bool:
    """Whether the answer is to be remembered: in a format that can go on from it, if the caller did not forbid it."""
    return ctx.dialect == STATEFUL and wants_state(ctx.outline.fields).store


def told_of(error: BaseException | None, exchange: Exchange | None) -> tuple[int, str | None]:
    """Status and stable code of a request's end, for the record."""
    if isinstance(error, TurnoutError):
        return error.status, error.code
    if isinstance(error, asyncio.CancelledError):
        return 499, None
    if error is not None:
        return 500, "internal_error"
    return 200, exchange.error.code if exchange and exchange.error else None


def spender_of(ctx: RequestContext, decision: Decision) -> Spender:
    return Spender(key=ctx.key_id, tags=ctx.tags, mode=decision.mode or ctx.mode, session=ctx.session.id)


def worst_costs(ctx: RequestContext, decision: Decision) -> list[tuple[Deployment, int | None]]:
    """The candidates that may be tried, each with the most it may cost in nano-dollars."""
    needs = needs_of(ctx.outline, ctx.input_tokens_estimate)
    return [(c.deployment, worst_cost(c.deployment, needs)) for c in decision.candidates[:MAX_ATTEMPTS]]


def estimated_usage(ctx: RequestContext, exchange: Exchange) -> Usage:
    """Usage where the provider reported none (a cut or cancelled stream): the request's size, and one token
    an event of the stream, which is how most providers stream."""
    told = exchange.usage or Usage()
    return Usage(
        input=told.input if told.input is not None else ctx.input_tokens_estimate,
        cache_read=told.cache_read,
        cache_write=told.cache_write,
        cache_write_1h=told.cache_write_1h,
        output=told.output if told.output is not None else exchange.streamed_events,
        reasoning=told.reasoning,
        raw=told.raw,
    )
