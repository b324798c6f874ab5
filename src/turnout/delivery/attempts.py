"""From a decision to an answer that has begun: places in order, retries, failover, hedging.

Read `Delivery.deliver` first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.models import Deployment, RateLimits, Target
from turnout.catalog.prices import cost_nano_usd
from turnout.chat import Usage
from turnout.context import Attempt, RequestContext
from turnout.delivery.board import Board, Choice, Flight
from turnout.delivery.deadlines import patience_s
from turnout.delivery.retry import RetryBudget, RetryPolicy, next_move
from turnout.errors import NoCapacity, RateLimited, TurnoutError, UpstreamFailure, UpstreamTimeout

__all__ = ["MAX_CANDIDATES", "Delivered", "Delivery", "reprefill_nano_usd"]

MAX_CANDIDATES = 4
"""Candidates of a decision that may be tried, and that budgets hold the worst price of."""

NEARLY_FULL = 0.8
"""Share of a context window, as estimated, above which a 400 without a telling code is taken for an overflow."""


class Answer(Protocol):
    """What a call returns once its answer has begun. `refused`: it is whole, and says that the model would not."""

    @property
    def limits(self) -> RateLimits | None: ...

    @property
    def refused(self) -> bool: ...

    @property
    def usage(self) -> Usage | None: ...

    async def aclose(self) -> None: ...


A = TypeVar("A", bound=Answer)


class Delivered(Struct, Generic[A], frozen=True):
    """An answer that has begun, and the flight that its end must be told to."""

    answer: A
    flight: Flight


class _Tried(Struct, Generic[A], frozen=True, kw_only=True):
    """One call and what came of it: an answer or a failure. `usage`: of an answer that nobody gets."""

    flight: Flight
    took_s: float
    usage: Usage | None = None
    answer: A | None = None
    failure: TurnoutError | None = None


class Delivery:
    """Carries out decisions. `patience` is what the config says of each provider's first byte, in seconds; `hedge`: a
    call of a caller who waits, that takes longer than 95 % of those before, gets a rival."""

    def __init__(
        self,
        *,
        board: Board,
        policy: RetryPolicy,
        budget: RetryBudget,
        random: Random,
        patience: Mapping[str, float],
        hedge: bool = False,
    ) -> None:
        self.board = board
        self._policy = policy
        self._budget = budget
        self._random = random
        self._patience = patience
        self._hedge = hedge

    def may_hedge(self, ctx: RequestContext) -> bool:
        """Whether a slow call of this request gets a rival: only a whole answer that somebody waits for, and none that
        one provider keeps state for."""
        return self._hedge and not ctx.outline.stream and ctx.latency == "interactive" and ctx.kept_at is None

    async def deliver(self, ctx: RequestContext, call: Callable[[Target], Awaitable[A]]) -> Delivered[A]:
        """The first answer that one of the decision's candidates gives. Each call is recorded in `ctx.attempts`.

        `call` returns only when the answer has begun (a stream's first bytes are there), so going on to another place
        is never visible to the caller. Raises the most telling failure when nobody answered.
        """
        self._budget.request()
        route = _Route(self.board, ctx)
        failures: list[TurnoutError] = []
        target, waited = await self._ready(ctx, route, failures)
        while True:
            tried = await self._try(ctx, route, target, waited, call)
            if tried.answer is not None:
                return Delivered(tried.answer, tried.flight)
            failure = tried.failure or NoCapacity("no answer came")
            failures.append(failure)
            target = tried.flight.target
            route.failed(target, failure)
            choice = route.choose()
            move = next_move(
                failure,
                tries=route.tries(target),
                others=choice is not None and choice.wait_s <= self._policy.max_wait_s,
                idempotent=ctx.kept_at is None,
                policy=self._policy,
                draw=self._random.random(),
            )
            out_of_calls = len(ctx.attempts) >= self._policy.max_attempts
            out_of_time = move.wait_s >= _left_s(ctx)
            if move.kind == "stop" or out_of_calls or out_of_time:
                raise _most_telling(failures)
            if move.kind == "same" and self._budget.take():
                await asyncio.sleep(move.wait_s)
                waited = move.wait_s
            else:
                target, waited = await self._ready(ctx, route, failures)

    async def _ready(self, ctx: RequestContext, route: _Route, failures: list[TurnoutError]) -> tuple[Target, float]:
        """The next place, waited for where it is to be left alone for a short while. Raises where there is none."""
        waited = 0.0
        while True:
            choice = route.choose()
            if choice is None:
                raise _most_telling(failures)
            if choice.wait_s <= 0:
                return choice.target, waited
            if waited + choice.wait_s > min(self._policy.max_wait_s, _left_s(ctx)):
                raise _most_telling([*failures, _resting(choice)])
            # A little later than told, each at another moment: not all who wait are to come at once.
            nap = choice.wait_s * (1 + 0.1 * self._random.random())
            await asyncio.sleep(nap)
            waited += nap

    async def _try(
        self,
        ctx: RequestContext,
        route: _Route,
        target: Target,
        waited: float,
        call: Callable[[Target], Awaitable[A]],
    ) -> _Tried[A]:
        """One call, or two that race; recorded."""
        others = route.others(target)
        slow_after = self._slow_after_s(ctx, target) if others else None
        if slow_after is None:
            tried = await self._one(ctx, target, others=others, call=call)
        else:
            tried = await self._race(ctx, route, target, slow_after, call)
        ctx.attempts.append(_attempt(ctx, tried, waited))
        if tried.answer is not None:
            ctx.target = tried.flight.target
            ctx.served_by = tried.flight.target.deployment
        return tried

    async def _one(
        self, ctx: RequestContext, target: Target, *, others: bool, call: Callable[[Target], Awaitable[A]]
    ) -> _Tried[A]:
        """One call. Only what is no TurnoutError, and a cancellation, is raised."""
        patience = patience_s(
            ctx.outline,
            ctx.input_tokens_estimate,
            others=others,
            told_s=self._patience.get(target.deployment.provider),
        )
        seconds = min(patience, _left_s(ctx))
        flight = self.board.begin(target)
        begun = time.monotonic()
        failure: TurnoutError
        try:
            async with asyncio.timeout(seconds):
                answer = await call(target)
        except TimeoutError:
            failure = UpstreamTimeout(f"{target.deployment.provider} did not begin to answer within {seconds:.3g} s")
        except TurnoutError as error:
            # It is kept while others are tried: without what its frames and its cause's hold (connections among them).
            failure = error.with_traceback(None)
            failure.__context__ = None
        except BaseException:
            flight.dropped()
            raise
        else:
            flight.answered(answer.limits)
            if answer.refused and others and self._policy.refused_goes_on:
                await answer.aclose()
                flight.dropped()
                refusal = UpstreamFailure(
                    "the model refused the content", reason="content_refused", upstream_status=200
                )
                return _Tried(flight=flight, took_s=time.monotonic() - begun, failure=refusal, usage=answer.usage)
            return _Tried(flight=flight, took_s=time.monotonic() - begun, answer=answer)
        _note(flight, _overflow(ctx, target.deployment, failure))
        return _Tried(flight=flight, took_s=time.monotonic() - begun, failure=failure)

    def _slow_after_s(self, ctx: RequestContext, target: Target) -> float | None:
        """Seconds after which this call gets a rival; None: never."""
        return self.board.slow_after_s(target) if self.may_hedge(ctx) else None

    async def _race(
        self,
        ctx: RequestContext,
        route: _Route,
        target: Target,
        slow_after: float,
        call: Callable[[Target], Awaitable[A]],
    ) -> _Tried[A]:
        """A call that gets a rival once it is slow; the first answer wins, the other call is cancelled and its cost is
        booked ("The Tail at Scale", Dean and Barroso 2013)."""
        begun = time.monotonic()
        first = asyncio.create_task(self._one(ctx, target, others=True, call=call))
        racers = [(target, first)]
        try:
            done, _ = await asyncio.wait({first}, timeout=slow_after)
            rival = None if done else route.choose(without=target)
            if rival is None or rival.wait_s > 0 or not self._budget.take():
                return await first
            second = asyncio.create_task(self._one(ctx, rival.target, others=False, call=call))
            racers.append((rival.target, second))
            pending = {first, second}
            winner: asyncio.Task[_Tried[A]] | None = None
            while pending and winner is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                winner = next((task for task in done if task.result().answer is not None), None)
            for loser_target, task in racers:
                if winner is not None and task is not winner:
                    ctx.attempts.append(await _called_off(ctx, loser_target, task, time.monotonic() - begun))
            if winner is None:  # both failed: the rival's failure is noted here, the first one's by our caller
                ctx.attempts.append(_attempt(ctx, second.result(), 0.0))
                route.failed(rival.target, second.result().failure or NoCapacity("no answer came"))
                return first.result()
            return winner.result()
        except BaseException:
            for _, task in racers:
                await _let_go(task)
            raise


class _Route:
    """The places that a request may still go to."""

    def __init__(self, board: Board, ctx: RequestContext) -> None:
        candidates = ctx.decision.candidates[:MAX_CANDIDATES] if ctx.decision else ()
        self._board = board
        self._home = ctx.session.home
        self._tokens = ctx.input_tokens_estimate
        self._places = [(c.place, target) for c in candidates for target in board.targets(c.deployment)]
        self._tries: dict[str, int] = {}
        self._window = 0

    def tries(self, target: Target) -> int:
        return self._tries.get(target.id, 0)

    def others(self, target: Target) -> bool:
        """Whether somebody else could answer too."""
        places = self._untried()
        return len(places) > 1 or (bool(places) and places[0][1].id != target.id)

    def choose(self, without: Target | None = None) -> Choice | None:
        places = self._untried()
        if without is not None:
            places = [(place, t) for place, t in places if t.id != without.id]
        return self._board.choose(places, home=self._home, tokens=self._tokens)

    def failed(self, target: Target, failure: TurnoutError) -> None:
        self._tries[target.id] = self.tries(target) + 1
        if isinstance(failure, UpstreamFailure) and failure.reason == "context_window":
            self._window = max(self._window, target.deployment.capabilities.context_window or 0)

    def _untried(self) -> list[tuple[int, Target]]:
        if not self._tries:
            return self._places
        return [
            (place, t)
            for place, t in self._places
            if t.id not in self._tries and (t.deployment.capabilities.context_window or self._window + 1) > self._window
        ]


def reprefill_nano_usd(ctx: RequestContext, target: Target) -> int | None:
    """What reading the conversation anew costs at `target` above reading it from the cache at home, in nano-dollars,
    what is warm at the target counted; None where the session is at home, where home's cache is cold anyway, or where
    there is no price."""
    session, price, tokens = ctx.session, target.deployment.price, ctx.input_tokens_estimate
    if session.home is None or session.home == target.id or session.idle_s is None or price is None:
        return None
    provider, _, model = session.home.partition("@")[0].partition("/")
    if session.idle_s > cache_rule_of(provider, model).ttl_s:
        return None
    candidates = ctx.decision.candidates if ctx.decision else ()
    warm = next((c.warm.tokens for c in candidates if c.deployment.id == target.deployment.id), 0)
    anew = cost_nano_usd(Usage(input=tokens, cache_read=min(warm, tokens), output=0), price)
    cached = cost_nano_usd(Usage(input=tokens, cache_read=tokens, output=0), price)
    return max(0, anew - cached)


def _left_s(ctx: RequestContext) -> float:
    return float("inf") if ctx.deadline_s is None else max(0.0, ctx.deadline_s - time.monotonic())


def _overflow(ctx: RequestContext, deployment: Deployment, failure: TurnoutError) -> TurnoutError:
    """`failure`, known as an overflow of the context window where its code does not say so: some APIs tell it in
    words alone (Anthropic, Gemini), but the request's size and the model's window are known here."""
    window = deployment.capabilities.context_window
    if (
        isinstance(failure, UpstreamFailure)
        and failure.reason == "invalid_request"
        and failure.upstream_status in {400, 413}
        and window is not None
        and ctx.input_tokens_estimate + (ctx.outline.max_output_tokens or 0) > NEARLY_FULL * window
    ):
        failure.reason = "context_window"
    return failure


def _note(flight: Flight, failure: TurnoutError) -> None:
    if isinstance(failure, UpstreamFailure):
        flight.failed(failure.reason, failure.retry_after)
    else:
        flight.dropped()


def _attempt(ctx: RequestContext, tried: _Tried[A], waited: float) -> Attempt:
    target, failure = tried.flight.target, tried.failure
    if failure is None:
        return Attempt(
            deployment=target.deployment,
            target=target.id,
            status=200,
            duration_s=tried.took_s,
            ttft_s=tried.took_s,
            waited_s=waited,
            reprefill_nano_usd=reprefill_nano_usd(ctx, target),
        )
    upstream = isinstance(failure, UpstreamFailure)
    return Attempt(
        deployment=target.deployment,
        target=target.id,
        status=failure.upstream_status if upstream else failure.status,
        error_code=failure.code,
        reason=failure.reason if upstream else failure.code,
        duration_s=tried.took_s,
        waited_s=waited,
        usage=tried.usage,
        cost_nano_usd=_cost(target.deployment, tried.usage),
    )


def _cost(deployment: Deployment, usage: Usage | None) -> int | None:
    return cost_nano_usd(usage, deployment.price) if usage and deployment.price else None


async def _called_off(ctx: RequestContext, target: Target, task: asyncio.Task[_Tried[A]], took_s: float) -> Attempt:
    """The record of a call that lost its race. Its prompt is paid for; what it had written is not known and, unless it
    was whole, not counted."""
    await _let_go(task)
    prompt = Usage(input=ctx.input_tokens_estimate, output=0)
    return Attempt(
        deployment=target.deployment,
        target=target.id,
        status=None,
        reason="hedge_lost",
        duration_s=took_s,
        usage=prompt,
        cost_nano_usd=_cost(target.deployment, prompt),
    )


async def _let_go(task: asyncio.Task[_Tried[A]]) -> None:
    """End a call that nobody waits for any more, and what it may have answered in that very moment."""
    task.cancel()
    result = (await asyncio.gather(task, return_exceptions=True))[0]
    if isinstance(result, _Tried):
        result.flight.dropped()
        if result.answer is not None:
            await result.answer.aclose()


def _resting(choice: Choice) -> TurnoutError:
    """The failure of a place that is not asked now."""
    name, wait = choice.target.deployment.provider, choice.wait_s
    if choice.why == "timeout":
        return UpstreamTimeout(
            f"{name} did not answer of late; it is tried again within {wait:.1f} s", retry_after=wait
        )
    return RateLimited(
        f"{name} limits the rate and is left alone for {wait:.1f} s more; add a fallback", retry_after=wait
    )


def _most_telling(failures: list[TurnoutError]) -> TurnoutError:
    """The failure to show of several: the first that may pass by itself, for then trying again makes sense."""
    return (
        next((f for f in failures if f.retryable), failures[0]) if failures else NoCapacity("no model could be tried")
    )
