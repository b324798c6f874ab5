"""The life of a request, from the caller's bytes to the settled books. Read `Pipeline.answer` first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.call import Call
from turnout.cascade import Cascade, Cascading
from turnout.catalog.models import Deployment, Target
from turnout.catalog.prices import cost_nano_usd
from turnout.chat import RequestOutline
from turnout.context import MARK, Counted, Decision, RequestContext, SessionView
from turnout.conversations import (
    STATEFUL,
    Answered,
    Turn,
    answer_of,
    input_items,
    keeps,
    resumed,
    wants_state,
)
from turnout.delivery.attempts import MAX_CANDIDATES, Delivered, Delivery
from turnout.dialects.embeddings import EMBEDDINGS
from turnout.dialects.ends import said_in
from turnout.dialects.fields import decode_fields
from turnout.errors import (
    NoCapacity,
    NotTranslatable,
    TurnoutError,
    UpstreamFailure,
    UpstreamRejected,
)
from turnout.guard import Guard, spender_of, thrifty
from turnout.headers import answer_headers, read_wishes
from turnout.memory import Memory
from turnout.providers.counting import CountOperation
from turnout.providers.embedding import EmbeddingOperation
from turnout.providers.exchange import Exchange, Provider, open_exchange
from turnout.providers.operations import Caller
from turnout.providers.splice import continued
from turnout.repair import RepairRules, repair_of
from turnout.routing.affinity import Asked
from turnout.routing.identity import Hints, read_hints
from turnout.routing.needs import needs_of, signed, worst_cost
from turnout.routing.rank import Ask, Router
from turnout.seeing import Look, tries_lower
from turnout.settling import Settling
from turnout.shadow import Shadow, Shadowing
from turnout.sharing import Found, answered_from, controlled
from turnout.spend.brakes import BrakeRules
from turnout.streams import AnswerStream, Replay, SettlingStream, usage_so_far
from turnout.turns import next_turn

__all__ = ["Pipeline", "Reply", "Rules"]


log = logging.getLogger("turnout")

COUNT_PATIENCE_S = 10.0
"""Beyond that an estimate serves an agent better than a provider's own count."""


def nothing() -> None:
    """The books are closed already, or there are none."""


class Reply(Struct, frozen=True, kw_only=True):
    """What goes back: `body`, or `stream` when the caller streams. Whoever takes a stream must close it; whoever takes
    a body calls `books`, once, when it is on its way: they are closed then."""

    headers: list[tuple[str, str]]
    body: bytes | None = None
    stream: AnswerStream | None = None
    books: Callable[[], None] = nothing


class Read(Struct, frozen=True):
    """What routing needs of a call; `asked`: as its conversation is looked for, where others are asked for it too."""

    outline: RequestOutline
    hints: Hints
    counted: Counted
    asked: Asked | None = None


class Rules(Struct, frozen=True, kw_only=True):
    """What the config says of every request: seconds for a whole answer, the worth of a caller's second in
    nano-dollars, whether another model finishes what a dying stream began, what is done for providers' caches,
    whether contexts are looked at, whether small models are asked first where answers can be checked, who is asked
    beside, the share of plain questions that try a smaller model, and what savings are reported against."""

    timeout_s: float
    second_nano_usd: int = 0
    continue_streams: bool = False
    repair: RepairRules = RepairRules()
    context_report: bool = False
    cascade: bool = False
    shadow: Shadowing = Shadowing()
    explore: float = 0.0
    baseline: Deployment | None = None


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
        self.providers = providers
        self._delivery = delivery
        self._rules = rules
        self._cascade = Cascade(on=rules.cascade, outcomes=memory.learner.record)
        self.shadow = Shadow(rules.shadow, memory.background, self.run, outcomes=memory.learner.record)
        self._guard = Guard(brakes, memory, watches=rules.context_report)
        self._peers = memory.peers
        self._sessions = memory.sessions
        self._foresight = memory.foresight
        self._ledger = memory.ledger
        self._budgets = memory.budgets
        self._journal = memory.journal
        self._leasing = memory.leasing
        self._conversations = memory.conversations
        self._tokens = memory.tokens
        self._answers = memory.answers
        self._learner = memory.learner
        self.drains = memory.drains
        self._signals = memory.signals
        self._settling = Settling(memory, rules.baseline)
        self.settle = self._settling.settle

    async def run(self, call: Call) -> Reply:
        """Serve one call, its books closed where the answer is whole. Raises TurnoutError."""
        reply = await self.answer(call)
        reply.books()
        return reply

    async def answer(self, call: Call) -> Reply:
        """Serve one call. Raises TurnoutError; whatever happens, an opened request is settled exactly once, by whoever
        takes the reply where there is one."""
        call = await self.resume(call)
        read = self.read(call)  # decode
        sent, call = call.body, controlled(call, read.outline)
        if call.body is not sent:
            read = self.read(call)
        ctx = self.open(call, await self.meet(call, read))  # identify
        await self._guard.admit(ctx)
        try:
            await next_turn()
            agent = self._guard.brake(ctx, call)
            self._guard.pace(ctx)
            await next_turn()
            ctx.decision = thrifty(ctx, agent, self.decide(ctx, call))  # filter, rank
            if (found := await self._answers.ask(ctx, call, self.embed)) is not None:
                return self.replay(ctx, found)
            cascading = self.cascading(ctx, call)
            ctx.decision = await self.reserve(ctx, ctx.decision)
            await next_turn()
            delivered = await self._cascade.deliver(ctx, call, cascading, self.deliver)  # send, fail over
        except BaseException as error:  # even a fault of ours must not keep a budget's money
            self.settle(ctx, "cancelled" if isinstance(error, asyncio.CancelledError) else "error", error=error)
            raise
        exchange = delivered.answer
        if exchange.body is None:
            stream = SettlingStream(self, ctx, call, delivered)
            return Reply(headers=answer_headers(ctx, exchange.headers), stream=stream)
        self._settling.conclude(ctx, "ok", exchange=exchange)
        books = partial(self.close_books, ctx, call, delivered)
        try:
            await exchange.aclose()
            if keeps(ctx.dialect, ctx.outline.fields):
                await self.keep(ctx, call, exchange, answer_of(exchange.body))
            return Reply(headers=answer_headers(ctx, exchange.headers), body=exchange.body, books=books)
        except BaseException:
            books()
            raise

    def close_books(self, ctx: RequestContext, call: Call, delivered: Delivered[Exchange]) -> None:
        """Those of a whole answer."""
        exchange = delivered.answer
        self._settling.book(ctx, exchange=exchange, flight=delivered.flight)
        self.shadow.served(ctx, call, lambda: exchange.parts)

    def replay(self, ctx: RequestContext, found: Found) -> Reply:
        """An answer that was given before: a step like any other, that costs nothing and asks nobody."""
        answered_from(ctx, found)
        ctx.overhead_s = time.monotonic() - ctx.started_s if found.state == "hit" else None
        self.settle(ctx, "ok")
        headers = answer_headers(ctx, [("age", str(int(found.age_s)))])
        if ctx.outline.stream:
            return Reply(headers=headers, stream=Replay(found.body))
        return Reply(headers=headers, body=found.body)

    async def embed(self, call: Call, text: str) -> Sequence[float] | None:
        """The vector of a caller's question, by the model that the response cache is told to use: a request of the
        same key, with a row and a cost of its own. An Embedder."""
        semantic = self._answers.rules.semantic
        if semantic is None:
            return None
        asks = Call(
            request_id=f"{call.request_id}-embedding",
            operation=EmbeddingOperation(EMBEDDINGS["openai-embeddings"]),
            body=msgspec.json.encode({"model": semantic.model, "input": text, "encoding_format": "float"}),
            headers={},
            started_s=time.monotonic(),
            key=call.key,
        )
        try:
            reply = await self.run(asks)
            return EMBEDDINGS["openai-embeddings"].decode_response(reply.body or b"").vectors[0]
        except (TurnoutError, IndexError) as error:
            log.warning("no embedding for the response cache: %s", error)
            return None

    def explain(self, call: Call) -> tuple[RequestContext, Decision]:
        """The decision for a call that nobody serves: no step is counted, nothing is booked."""
        ctx = self.open(call, peek=True)
        ctx.decision = self.decide(ctx, call)
        return ctx, ctx.decision

    async def count(self, call: Call, operation: CountOperation) -> Reply:
        """Input tokens of a request that nobody answers: counted by the provider that would, where it counts in the
        caller's format and can be reached, else estimated and said so. Nothing is booked. Raises TurnoutError."""
        ctx = self.open(call, peek=True)
        ctx.decision = self.decide(ctx, call)
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

    @property
    def baseline(self) -> Deployment | None:
        """The model that savings are reported against."""
        return self._rules.baseline

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

    def read(self, call: Call) -> Read:
        """Decode what routing needs. Raises InvalidRequest."""
        outline = call.operation.outline(call.body)
        hints = read_hints(call.headers, outline)
        if call.resumes is not None and hints.session is None:
            hints = replace(hints, session=call.resumes.session, session_source="previous_response_id")
        return Read(outline, hints, self._tokens.counted(outline))

    async def meet(self, call: Call, read: Read) -> Read:
        """The same, and its conversation as far as other gateways have served it."""
        if self._peers is None or call.ours:
            return read
        asked = self.asked(call, read)
        await self._peers.meet(asked, said_by(call, read.outline))
        return replace(read, asked=asked)

    def open(self, call: Call, read: Read | None = None, *, peek: bool = False) -> RequestContext:
        """Find out who asks; `read` where the call was read before. Raises InvalidRequest."""
        read = read or self.read(call)
        outline, hints = read.outline, read.hints
        wishes = read_wishes(call.headers)
        return RequestContext(
            request_id=call.request_id,
            dialect=call.operation.name,
            outline=outline,
            body=call.body,
            started_s=call.started_s,
            key_id=call.key_id,
            key=call.key,
            tags=hints.tags if call.ours else {k: v for k, v in hints.tags.items() if k != MARK},
            mode=hints.mode,
            quality=wishes.quality,
            latency=wishes.latency,
            deadline_s=call.started_s + self._rules.timeout_s,
            max_cost_nano_usd=wishes.max_cost_nano_usd,
            kept_at=call.resumes.provider if call.resumes and call.resumes.items is None else None,
            session=self.identify(call, read, peek=peek),
            input_tokens_estimate=read.counted.total,
            counted=read.counted,
            trace=None if peek else self._signals.trace(call.headers),
        )

    def asked(self, call: Call, read: Read) -> Asked:
        """A call as its conversation is looked for."""
        return self._sessions.ask(call.key_id or "", read.hints, read.outline, read.counted.digests)

    def identify(self, call: Call, read: Read, *, peek: bool) -> SessionView:
        """The conversation that a request goes on, as it stood before it."""
        owner, outline, tokens = call.key_id or "", read.outline, read.counted.total
        if peek or call.ours:
            return self._sessions.peek(owner, read.hints, outline, tokens=tokens)
        said = said_by(call, outline)
        asked = read.asked or self.asked(call, read)
        return self._sessions.locate(owner, read.hints, outline, tokens=tokens, said=said, asked=asked)

    def decide(self, ctx: RequestContext, call: Call) -> Decision:
        """Whom to try, in order. A budget that leaves only small models decides a second time."""
        evidence = self._sessions.evidence(ctx.key_id or "", ctx.session)
        samples, look = self._learner.samples(ctx), None
        if samples or ctx.session.pinned is None:  # nobody else looks
            look = Look(ctx, call.operation.chat, evidence.signs, self._learner.texts)
        ctx.newest = None  # where nobody looks, nobody needs the text
        ask = Ask(
            outline=ctx.outline,
            input_tokens=ctx.input_tokens_estimate,
            session=ctx.session,
            mode=ctx.mode,
            quality=ctx.quality,
            max_cost_nano_usd=ctx.max_cost_nano_usd,
            thrift=ctx.pressure.price,
            smaller=ctx.pressure.smaller,
            evidence=evidence,
            signed=signed(ctx.outline),
            outlook=self._foresight.outlook(ctx, time.monotonic(), marks=self._rules.repair.writes(ctx) is not None),
            key=ctx.key,
            second_nano_usd=self._rules.second_nano_usd if ctx.latency == "interactive" else 0,
            kept_at=ctx.kept_at,
            look=look,
            explores=self._rules.explore > 0 and tries_lower(ctx, self._rules.explore),
        )
        decision = self._router.decide(ask)
        if samples and look is not None:
            ctx.look = look.packed
        budget = None
        if self._budgets.keep_for_small:
            budget = self._budgets.left_to_small(spender_of(ctx, decision), self.worst_costs(ctx, decision))
        if budget is not None:
            decision = self._router.decide(replace(ask, small_only=budget))
            ctx.warn(f"budget {budget} leaves only small models")
        if ctx.mode and decision.mode is None:
            ctx.warn(f"mode {ctx.mode} is not in the config: recorded as a label, not routed by")
        return self.well_first(decision, ctx.input_tokens_estimate)

    def well_first(self, decision: Decision, tokens: int) -> Decision:
        """`decision` with those candidates last that are not well now."""
        board = self._delivery.board
        if board.well:
            return decision
        why = [board.unhealthy(c.deployment, tokens) for c in decision.candidates]
        if not any(why):
            return decision
        noted = [replace(c, unhealthy=told) for c, told in zip(decision.candidates, why, strict=True)]
        return replace(decision, candidates=tuple(sorted(noted, key=lambda c: c.unhealthy is not None)))

    def cascading(self, ctx: RequestContext, call: Call) -> Cascading | None:
        """Whom to ask before the decision's first; nobody where a budget has no room for both."""
        plan = self._cascade.plan(ctx, call)
        if plan is None or ctx.decision is None:
            return None
        ctx.first = plan.first
        worst = self.worst_costs(ctx, ctx.decision)
        if not self._budgets.have_room(spender_of(ctx, ctx.decision), [*worst[:1], *worst[-1:]]):
            ctx.first = None
        return plan if ctx.first else None

    async def reserve(self, ctx: RequestContext, decision: Decision) -> Decision:
        """Hold the worst case in every budget, on disk before a cent is spent; `decision` without those candidates that
        budgets do not pay for. Raises BudgetExhausted, or NoCapacity where a hard budget cannot be kept."""
        spender, priced = spender_of(ctx, decision), self.worst_costs(ctx, decision)
        if self._leasing is not None:
            await self._leasing.cover(spender, priced)
        held = self._budgets.reserve(ctx.request_id, spender, priced)
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
        unpriced = {d.id: "no price is known, so no budget can hold it" for d, worst in priced if worst is None}
        left_out = tuple(
            replace(c, rejected=unpriced.get(c.deployment.id, "no budget pays for it"))
            for c in decision.candidates
            if c not in kept
        )
        return replace(decision, candidates=kept, rejected=(*decision.rejected, *left_out))

    @property
    def keeps_whole(self) -> bool:
        """Whether streams may be continued or are kept to learn from, and so must be remembered as they go."""
        return self._rules.continue_streams or self._learner.rules.keep_prompts

    def worst_costs(self, ctx: RequestContext, decision: Decision) -> list[tuple[Deployment, int | None]]:
        """The candidates that may be tried, each with the most that the request may cost there in nano-dollars: twice
        the worst call where two may be paid for (a rival of a slow one, the rest of a dying stream), and what the one
        costs beside it that is asked first; that one is the last."""
        if not self._budgets.rules:  # nobody asks
            return []
        needs = needs_of(ctx.outline, ctx.input_tokens_estimate)
        if needs.caches is None and (writes := self._rules.repair.writes(ctx)) is not None:
            needs = replace(needs, caches=writes)
        twice = self._rules.continue_streams if ctx.outline.stream else self._delivery.may_hedge(ctx)

        def most(deployment: Deployment) -> int | None:
            cost = worst_cost(deployment, needs)
            return cost if cost is None or not twice else 2 * cost

        worst = [(c.deployment, most(c.deployment)) for c in decision.candidates[:MAX_CANDIDATES]]
        if ctx.first is None:
            return worst
        first = ctx.first.deployment
        beside = most(first)
        both = [(d, None if cost is None or beside is None else cost + beside) for d, cost in worst if d.id != first.id]
        return [*both, (first, beside)]

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
        provider, deployment = self.providers.get(target.provider), target.deployment
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
            repair=repair_of(self._rules.repair, ctx, deployment),
            trace=ctx.trace.sends(target.id) if ctx.trace is not None else (),
        )
        return await open_exchange(provider, deployment, caller)


def said_by(call: Call, outline: RequestOutline) -> Callable[[int], int] | None:
    """What each message of a call says, for telling conversations apart that are alike; None for no conversation."""
    chat = call.operation.chat
    return None if chat is None else partial(said_in, chat, outline)
