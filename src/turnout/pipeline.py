"""The life of a request, from the caller's bytes to the settled books. Read `Pipeline.run` first."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

import xxhash
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import Deployment, Target
from turnout.catalog.prices import cost_nano_usd, unpriced_tier
from turnout.context import Decision, Outcome, RequestContext, Spender
from turnout.conversations import (
    STATEFUL,
    Answered,
    Conversations,
    Turn,
    answer_of,
    input_items,
    keeps,
    resumed,
    wants_state,
)
from turnout.delivery.attempts import MAX_CANDIDATES, Delivered, Delivery
from turnout.delivery.board import Flight
from turnout.dialects.ends import newest, noted
from turnout.dialects.fields import decode_fields
from turnout.errors import (
    BudgetExhausted,
    FailureReason,
    InvalidRequest,
    NoCapacity,
    NotTranslatable,
    RunPaused,
    TurnoutError,
    UpstreamFailure,
    UpstreamRejected,
    UpstreamTimeout,
)
from turnout.headers import answer_headers, read_wishes
from turnout.keys import Key
from turnout.providers.counting import CountOperation
from turnout.providers.exchange import Exchange, Provider, open_exchange
from turnout.providers.operations import Caller, Operation
from turnout.providers.splice import continued
from turnout.routing.affinity import SessionTable
from turnout.routing.calibration import TokenEstimator
from turnout.routing.identity import read_hints
from turnout.routing.needs import needs_of, worst_cost
from turnout.routing.rank import Ask, Router
from turnout.spend.brakes import AgentRun, BrakeRules, Verdict
from turnout.spend.budgets import Budgets
from turnout.spend.ledger import Journal, Ledger, row_from_context
from turnout.spend.pacing import Pacing
from turnout.spend.rates import Gates
from turnout.spend.runs import Runs
from turnout.streams import Drains, SettlingStream, usage_so_far

__all__ = ["Call", "Memory", "Pipeline", "Reply", "Rules"]


COUNT_PATIENCE_S = 10.0
"""Beyond that an estimate serves an agent better than a provider's own count."""


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
    key: Key | None = None

    @property
    def key_id(self) -> str | None:
        return self.key.name if self.key else None


class Reply(Struct, frozen=True, kw_only=True):
    """What goes back: `body`, or `stream` when the caller streams. Whoever takes a stream must close it."""

    headers: list[tuple[str, str]]
    body: bytes | None = None
    stream: SettlingStream | None = None


class Rules(Struct, frozen=True, kw_only=True):
    """What the config says of every request: seconds for a whole answer, the worth of a caller's second in
    nano-dollars, and whether another model finishes what a dying stream began."""

    timeout_s: float
    second_nano_usd: int = 0
    continue_streams: bool = False


class Memory(Struct, frozen=True, kw_only=True):
    """What requests leave behind, and later ones find. It outlives a change of the config."""

    sessions: SessionTable
    ledger: Ledger
    runs: Runs
    pacing: Pacing
    gates: Gates
    budgets: Budgets
    journal: Journal
    conversations: Conversations
    tokens: TokenEstimator
    drains: Drains


class Pipeline:
    """Composes the phases; owns no policy of its own."""

    def __init__(
        self,
        *,
        router: Router,
        providers: Mapping[str, Provider],
        delivery: Delivery,
        brakes: BrakeRules,
        rules: Rules,
        memory: Memory,
    ) -> None:
        self._router = router
        self._providers = providers
        self._delivery = delivery
        self._brakes = brakes
        self._rules = rules
        self._sessions = memory.sessions
        self._ledger = memory.ledger
        self._runs = memory.runs
        self._pacing = memory.pacing
        self._gates = memory.gates
        self._budgets = memory.budgets
        self._journal = memory.journal
        self._conversations = memory.conversations
        self._tokens = memory.tokens
        self.drains = memory.drains

    async def run(self, call: Call) -> Reply:
        """Serve one call. Raises TurnoutError; whatever happens, an opened request is settled exactly once."""
        call = await self.resume(call)
        ctx = self.open(call)  # decode, identify
        self.admit(ctx)
        try:
            agent = self.brake(ctx, call)
            self.pace(ctx)
            ctx.decision = thrifty(ctx, agent, self.decide(ctx))  # filter, rank
            ctx.decision = self.reserve(ctx, ctx.decision)
            delivered = await self.deliver(ctx, call)  # send, fail over
        except BaseException as error:  # even a fault of ours must not keep a budget's money
            self.settle(ctx, "cancelled" if isinstance(error, asyncio.CancelledError) else "error", error=error)
            raise
        exchange = delivered.answer
        if exchange.body is None:
            stream = SettlingStream(self, ctx, call, delivered)
            return Reply(headers=answer_headers(ctx, exchange.headers), stream=stream)
        self.settle(ctx, "ok", exchange=exchange, flight=delivered.flight)
        await exchange.aclose()
        if keeps(ctx.dialect, ctx.outline.fields):
            await self.keep(ctx, call, exchange, answer_of(exchange.body))
        return Reply(headers=answer_headers(ctx, exchange.headers), body=exchange.body)

    def admit(self, ctx: RequestContext) -> None:
        """Hold the key's limits. Raises RateLimited: such a request was never opened, and has no row."""
        if (key := ctx.key) is not None:
            self._gates.enter(
                key.name,
                ctx.input_tokens_estimate,
                ctx.started_s,
                rpm=key.rpm,
                tpm=key.tpm,
                at_once=key.max_concurrency,
            )

    def pace(self, ctx: RequestContext) -> None:
        """What budgets ask of this request so that their money lasts. Raises BudgetExhausted or NoCapacity where it is
        not to be served now: only budgets with `pacing = "strict"` do that."""
        if not self._pacing.names:
            return
        now = datetime.now(UTC)
        names = self._budgets.concerning(
            Spender(key=ctx.key_id, team=ctx.team, tags=ctx.tags, mode=ctx.mode, session=ctx.session.id)
        )
        self._pacing.asked(names, now)
        if self._pacing.due(ctx.started_s):
            for name in self._pacing.names:
                state = self._budgets.state(name)
                self._pacing[name].update(
                    now, spent=state.spent_nano_usd, amount=state.amount_nano_usd, start=state.start, end=state.end
                )
        ctx.pressure = pressure = self._pacing.strictest(names)
        told = f"budget {pressure.budget} is used up faster than its period lasts"
        if pressure.pause and ctx.begins:
            raise BudgetExhausted(
                f"{told}: no new session begins now, running ones go on; try later, or raise the budget"
            )
        if pressure.queue and ctx.latency == "batch":
            raise NoCapacity(f"{told}: what nobody waits for is put off", retry_after=60)

    def brake(self, ctx: RequestContext, call: Call) -> AgentRun:
        """Look what the agent has done so far. Raises RunPaused; a milder verdict is noted on `ctx`."""
        session, owner, now_s = ctx.session, ctx.key_id or "", time.monotonic()
        feature = ctx.tags.get("feature", "")
        run, agent = self._runs.begin(owner, session.id, conversation_of(ctx), now_s=now_s, feature=feature)
        ctx.begins = not run.begun
        if run.paused is not None:
            raise paused(session.id, run.paused)
        rules = self._brakes.of(feature, ctx.key_id)
        chat, outline = call.operation.chat, ctx.outline
        before, begun = agent.tokens, agent.seen
        start = agent.unseen(outline.messages)
        agent.tokens = ctx.input_tokens_estimate
        ctx.parts = self._tokens.parts(outline, agent.tokens)
        # A conversation that was rewritten still begins as it did.
        ctx.repeated_tokens = before if start == begun else min(before, ctx.parts.system + ctx.parts.tools)
        if rules.looks and chat is not None:
            with contextlib.suppress(InvalidRequest):  # whoever answers it will say what is wrong
                agent.trail.feed(newest(chat, outline, start))
        for verdict in rules.check(run, agent, now_s=now_s, p99_nano_usd=self._runs.costs.p99(feature)):
            self.act(ctx, call, agent, verdict)
        return agent

    def act(self, ctx: RequestContext, call: Call, agent: AgentRun, verdict: Verdict) -> None:
        """Do what a brake says. Raises RunPaused."""
        if verdict.action in {"pause", "block"}:
            self._runs.pause(ctx.key_id or "", ctx.session.id, verdict)
            raise paused(ctx.session.id, verdict)
        ctx.warn(f"brake {verdict.brake}: {verdict.why}")
        if verdict.action == "escalate" and not agent.escalated:
            agent.escalated = ctx.lifted = True
        chat = call.operation.chat
        if self._brakes.note and chat is not None and (body := noted(chat, ctx.outline, verdict.note)) is not None:
            ctx.body, ctx.outline = body, call.operation.outline(body)

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
            async with asyncio.timeout(COUNT_PATIENCE_S):
                exchange = await self.send(ctx, call, self._delivery.board.targets(served)[0])
        except UpstreamRejected:
            raise
        except TimeoutError:
            return self.estimated_count(ctx, operation, served, f"{served.provider} took too long")
        except (NotTranslatable, UpstreamFailure, NoCapacity) as why:
            return self.estimated_count(ctx, operation, served, why.message)
        await exchange.aclose()
        return Reply(headers=answer_headers(ctx, exchange.headers), body=exchange.body)

    def estimated_count(self, ctx: RequestContext, operation: CountOperation, served: Deployment, why: str) -> Reply:
        ctx.warn(f"the count is an estimate: {why}")
        body = operation.estimated(self._tokens.estimate(ctx.outline, served.upstream_model))
        return Reply(headers=answer_headers(ctx, ()), body=body)

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
            key=call.key,
            tags=hints.tags,
            mode=hints.mode,
            quality=wishes.quality,
            latency=wishes.latency,
            deadline_s=call.started_s + self._rules.timeout_s,
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
            thrift=ctx.pressure.price,
            smaller=ctx.pressure.smaller,
            lifted=ctx.lifted,
            key=ctx.key,
            second_nano_usd=self._rules.second_nano_usd if ctx.latency == "interactive" else 0,
            kept_at=ctx.kept_at,
        )
        decision = self._router.decide(ask)
        budget = self._budgets.left_to_small(spender_of(ctx, decision), self.worst_costs(ctx, decision))
        if budget is not None:
            decision = self._router.decide(replace(ask, small_only=budget))
            ctx.warn(f"budget {budget} leaves only small models")
        if ctx.mode and decision.mode is None:
            ctx.warn(f"mode {ctx.mode} is not in the config: recorded as a label, not routed by")
        return self.well_first(decision, ctx.input_tokens_estimate)

    def well_first(self, decision: Decision, tokens: int) -> Decision:
        """`decision` with those candidates last that are not well now."""
        noted = [
            replace(c, unhealthy=self._delivery.board.unhealthy(c.deployment, tokens)) for c in decision.candidates
        ]
        if all(c.unhealthy is None for c in noted):
            return decision
        return replace(decision, candidates=tuple(sorted(noted, key=lambda c: c.unhealthy is not None)))

    def reserve(self, ctx: RequestContext, decision: Decision) -> Decision:
        """Hold the worst case in every budget, on disk before a cent is spent; `decision` without those candidates that
        budgets do not pay for. Raises BudgetExhausted, or NoCapacity where a hard budget cannot be kept."""
        held = self._budgets.reserve(ctx.request_id, spender_of(ctx, decision), self.worst_costs(ctx, decision))
        ctx.reservation = held
        if held.held:
            if not self._ledger.healthy:
                raise NoCapacity(
                    f"budget {held.held[0][0]} cannot be kept: {self._ledger.last_error or 'the ledger fails'}",
                    retry_after=5,
                )
            self._journal.hold(held)
        if not held.unaffordable:
            return decision
        ctx.warn(f"budgets leave out {', '.join(sorted(held.unaffordable))}")
        kept = tuple(c for c in decision.candidates if c.deployment.id not in held.unaffordable)
        left_out = tuple(replace(c, rejected="no budget pays for it") for c in decision.candidates if c not in kept)
        return replace(decision, candidates=kept, rejected=(*decision.rejected, *left_out))

    @property
    def keeps_whole(self) -> bool:
        """Whether streams may be continued, and so must be remembered as they go."""
        return self._rules.continue_streams

    def worst_costs(self, ctx: RequestContext, decision: Decision) -> list[tuple[Deployment, int | None]]:
        """The candidates that may be tried, each with the most that the request may cost there in nano-dollars: twice
        the worst call where two may be paid for (a rival of a slow one, the rest of a dying stream)."""
        if not self._budgets.rules:  # nobody asks
            return []
        needs = needs_of(ctx.outline, ctx.input_tokens_estimate)
        twice = self._rules.continue_streams if ctx.outline.stream else self._delivery.may_hedge(ctx)
        worst = [(c.deployment, worst_cost(c.deployment, needs)) for c in decision.candidates[:MAX_CANDIDATES]]
        return [(d, cost if cost is None or not twice else 2 * cost) for d, cost in worst]

    async def deliver(self, ctx: RequestContext, call: Call) -> Delivered[Exchange]:
        """The answer of the first candidate that gives one, begun. Raises the most telling failure."""
        begun = time.monotonic()
        delivered = await self._delivery.deliver(ctx, partial(self.send, ctx, call))
        exchange, now = delivered.answer, time.monotonic()
        for warning in exchange.warnings:
            ctx.warn(warning)
        ctx.ttft_s = now - ctx.started_s
        ctx.overhead_s = max(0.0, begun - ctx.started_s + ctx.attempts[-1].duration_s - exchange.waited_s)
        return delivered

    async def go_on(self, ctx: RequestContext, call: Call, stream: SettlingStream) -> Delivered[Exchange] | None:
        """Another model for the rest of an answer whose stream died; None where that is not wanted, not possible, or
        nobody takes over. The call that died is booked as an attempt, with what it had written."""
        died = ctx.target
        if (
            not self._rules.continue_streams
            or died is None
            or ctx.decision is None
            or keeps(ctx.dialect, ctx.outline.fields)
        ):
            return None
        chat = call.operation.chat
        body = continued(chat, ctx.body, bytes(stream.delivered)) if chat and stream.delivered_whole else None
        others = tuple(c for c in ctx.decision.candidates if c.deployment.id != died.deployment.id)
        if body is None or not others:
            return None
        usage = usage_so_far(ctx, stream)
        cost = cost_nano_usd(usage, died.deployment.price) if died.deployment.price else None
        lost = replace(ctx.attempts[-1], reason="stream_died", cost_nano_usd=cost, usage=usage)
        ctx.attempts[-1] = lost
        before = ctx.body, ctx.outline, ctx.decision
        ctx.body, ctx.outline = body, call.operation.outline(body)
        ctx.decision = replace(ctx.decision, candidates=others)
        try:
            delivered = await self.deliver(ctx, call)
        except TurnoutError:
            # The caller is told of the stream that died; who could not take over is among the attempts.
            ctx.target, ctx.served_by = died, died.deployment
            ctx.attempts = [replace(a, cost_nano_usd=None) if a is lost else a for a in ctx.attempts]
            ctx.body, ctx.outline, ctx.decision = before
            return None
        ctx.warn(f"{died.deployment.id} broke off; {delivered.flight.target.deployment.id} finished the answer")
        return delivered

    async def send(self, ctx: RequestContext, call: Call, target: Target) -> Exchange:
        """One attempt: the request in the provider's format, open until its answer has begun."""
        provider, deployment = self._providers.get(target.provider), target.deployment
        if provider is None:
            raise NoCapacity(f"provider {deployment.provider} is not set up; set its key or base_url")
        effort = ctx.decision.effort if ctx.decision else None
        caller = Caller(
            operation=call.operation,
            outline=ctx.outline,
            body=ctx.body,
            headers=call.headers,
            effort=effort,
            deadline_s=ctx.deadline_s,
        )
        return await open_exchange(provider, deployment, caller)

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
            cut = exchange.body is None and exchange.finish is None
            if cut or ctx.usage is None or None in (ctx.usage.input, ctx.usage.output):
                ctx.usage, ctx.usage_estimated = usage_so_far(ctx, stream or exchange), True
        charge(ctx)
        if flight is not None and exchange is not None:
            land(flight, outcome, ctx, exchange)
        if ctx.reservation is not None:
            self._budgets.settle(ctx.reservation, charges_of(ctx))
        usage = ctx.usage
        tokens = ((usage.input or 0) + (usage.output or 0)) if usage else 0
        if ctx.key is not None:
            now_s = time.monotonic()
            self._gates.leave(ctx.key.name, estimated=ctx.input_tokens_estimate, used=tokens, now_s=now_s)
        self._runs.settle(
            ctx.key_id or "",
            ctx.session.id,
            tokens=tokens,
            cost_nano_usd=ctx.cost_nano_usd or 0,
            served=ctx.served_by is not None,
        )
        pinned = ctx.served_by.id if ctx.served_by and ctx.decision and ctx.decision.pins else None
        self._sessions.settle(
            ctx.key_id or "",
            ctx.session,
            pinned=pinned,
            cost_nano_usd=ctx.cost_nano_usd or 0,
            home=ctx.target.id if ctx.target and outcome != "error" else None,
        )
        self._ledger.append(row_from_context(ctx))


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


def conversation_of(ctx: RequestContext) -> str:
    """The agent and how its conversation opens: sub-agents with one prompt and different tasks are told apart."""
    told = zip(ctx.outline.messages, ctx.outline.roles, strict=False)
    opening = next((raw for raw, role in told if role not in {"system", "developer"}), None)
    return f"{ctx.session.agent}:{xxhash.xxh3_64_hexdigest(opening)}" if opening is not None else ctx.session.agent


def thrifty(ctx: RequestContext, agent: AgentRun, decision: Decision) -> Decision:
    """`decision` with less effort for a session that began while money was short, where the engine decides."""
    if ctx.session.step == 0 and ctx.pressure.effort:
        agent.thrifty = True
    auto = decision.reason not in {"mode", "explicit"}
    if not (agent.thrifty and auto and ctx.outline.reasoning):
        return decision
    ctx.warn("a budget is short: this session thinks with low effort")
    return replace(decision, effort="low")


def paused(session: str, verdict: Verdict) -> RunPaused:
    """What the caller of a session that is held is told."""
    how = (
        f"begin a new session, or set brakes.actions.{verdict.brake}"
        if verdict.action == "block"
        else f"resume it with POST /admin/sessions/{quote(session, safe='')}/resume, or raise brakes.{verdict.brake}"
    )
    held = "blocked" if verdict.action == "block" else "paused"
    return RunPaused(f"session {session} is {held} by the brake {verdict.brake}: {verdict.why}; {how}")


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


def spender_of(ctx: RequestContext, decision: Decision) -> Spender:
    return Spender(key=ctx.key_id, team=ctx.team, tags=ctx.tags, mode=decision.mode or ctx.mode, session=ctx.session.id)


def land(flight: Flight, outcome: Outcome, ctx: RequestContext, exchange: Exchange) -> None:
    """Tell the target's health how its answer ended, and what it showed of its pace."""
    if outcome == "cancelled":
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
