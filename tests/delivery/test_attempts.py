"""Carrying a decision out: the order of places, retries, failover, deadlines, hedges, and what is recorded."""

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

import pytest
from tests.support.fleets import deployment, outline

from turnout.catalog.models import RateLimits
from turnout.chat import Usage
from turnout.context import Candidate, Decision, RequestContext, SessionView
from turnout.delivery.attempts import Delivery
from turnout.delivery.board import Board
from turnout.delivery.deadlines import patience_s
from turnout.delivery.retry import RetryBudget, RetryPolicy
from turnout.errors import NotTranslatable, RateLimited, UpstreamFailure, UpstreamTimeout

BIG, MINI = deployment("openai/big", "frontier", 10, window=100_000), deployment("lab/mini", "mid", 2, window=1_000_000)


@dataclass
class Answer:
    limits: RateLimits | None = None
    refused: bool = False
    usage: Usage | None = None
    closed: bool = False

    async def aclose(self):
        self.closed = True


@dataclass
class Provider:
    """Answers by a script a target: exceptions are raised, numbers are seconds until an answer; then it answers."""

    scripts: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    async def __call__(self, target):
        self.calls.append(target.id)
        script = self.scripts.get(target.id, [])
        step = script.pop(0) if script else 0
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)
        return Answer()


def setting(*candidates, patience=None, hedge=False, accounts=None, policy=None, **facts):
    board = Board(clock=time.monotonic, random=Random(1), accounts=accounts)
    delivery = Delivery(
        board=board,
        policy=policy or RetryPolicy(backoff_s=0.001, max_wait_s=0.2),
        budget=RetryBudget(clock=time.monotonic),
        random=Random(1),
        patience=patience or {},
        hedge=hedge,
    )
    ctx = RequestContext(
        request_id="r",
        dialect="openai-chat",
        outline=outline(("user", "hi")),
        body=b"{}",
        started_s=time.monotonic(),
        session=SessionView(id="s", agent="a", step=0, source="prefix", home=facts.pop("home", None), idle_s=10.0),
        decision=Decision(
            candidates=tuple(Candidate(deployment=d, place=n) for n, d in enumerate(candidates or (BIG, MINI))),
            reason="x",
            explanation="x",
        ),
        **facts,
    )
    return delivery, ctx


def failure(reason, **more):
    return UpstreamFailure(reason, reason=reason, **more)


async def test_the_first_place_answers_and_nobody_else_is_asked():
    delivery, ctx = setting()
    provider = Provider()
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big"]
    assert [(a.target, a.status, a.reason) for a in ctx.attempts] == [("openai/big", 200, None)]
    assert ctx.served_by == BIG


@pytest.mark.parametrize(
    "reason", ["unreachable", "server", "overloaded", "rate_limited", "auth", "quota", "not_found", "timeout"]
)
async def test_a_healthy_fallback_answers(reason):
    delivery, ctx = setting()
    provider = Provider({"openai/big": [failure(reason)] * 5})
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big", "lab/mini"]
    assert [a.reason for a in ctx.attempts] == [reason, None]


async def test_a_lost_connection_is_tried_where_it_was_first():
    delivery, ctx = setting()
    provider = Provider({"openai/big": [failure("broken")]})
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big", "openai/big"]


async def test_an_invalid_request_is_tried_nowhere_else():
    delivery, ctx = setting()
    provider = Provider({"openai/big": [failure("invalid_request")]})
    with pytest.raises(UpstreamFailure):
        await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big"]


async def test_alone_it_is_tried_three_times_and_the_failure_is_told():
    delivery, ctx = setting(BIG)
    provider = Provider({"openai/big": [failure("server")] * 9})
    with pytest.raises(UpstreamFailure):
        await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big"] * 3


async def test_the_failure_that_may_pass_is_told_first():
    delivery, ctx = setting()
    provider = Provider({"openai/big": [failure("server")] * 9, "lab/mini": [failure("invalid_request")]})
    with pytest.raises(UpstreamFailure) as caught:
        await delivery.deliver(ctx, provider)
    assert caught.value.reason == "server"


async def test_a_full_window_goes_to_a_larger_one():
    small = deployment("lab/small", "small", 1, window=50_000)
    delivery, ctx = setting(BIG, small, MINI)
    provider = Provider({"openai/big": [failure("context_window")]})
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big", "lab/mini"]


async def test_a_full_window_is_known_by_size_where_the_code_does_not_tell():
    delivery, ctx = setting(input_tokens_estimate=95_000)
    provider = Provider({"openai/big": [failure("invalid_request", upstream_status=400)]})
    await delivery.deliver(ctx, provider)
    assert [a.reason for a in ctx.attempts] == ["context_window", None]


async def test_what_cannot_be_put_in_one_format_is_asked_in_another():
    delivery, ctx = setting()
    provider = Provider({"openai/big": [NotTranslatable("x")]})
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big", "lab/mini"]


async def test_another_key_of_the_same_provider_comes_before_another_model():
    delivery, ctx = setting(accounts={"openai": ("openai", "openai@key2")})
    ctx.session = SessionView(id="s", agent="a", step=1, source="x", home="openai/big", idle_s=1.0)
    provider = Provider({"openai/big": [failure("rate_limited")]})
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big", "openai/big@key2"]
    assert ctx.attempts[-1].reprefill_nano_usd == 0  # nothing was estimated to be in the prompt


async def test_what_reading_the_conversation_anew_costs_is_in_the_record():
    delivery, ctx = setting(MINI, home="openai/big", input_tokens_estimate=10_000)
    await delivery.deliver(ctx, Provider())
    assert ctx.attempts[-1].reprefill_nano_usd is not None


async def test_a_place_that_hangs_is_left_in_time():
    delivery, ctx = setting(patience={"openai": 0.05})
    provider = Provider({"openai/big": [60]})
    await delivery.deliver(ctx, provider)
    assert [a.reason for a in ctx.attempts] == ["timeout", None]


async def test_the_overall_deadline_ends_it():
    delivery, ctx = setting(BIG, deadline_s=time.monotonic() + 0.05)
    with pytest.raises(UpstreamTimeout):
        await delivery.deliver(ctx, Provider({"openai/big": [60, 60]}))
    assert len(ctx.attempts) == 1


async def test_a_short_wait_is_waited_and_a_long_one_is_told():
    delivery, ctx = setting(BIG)
    provider = Provider({"openai/big": [failure("rate_limited", retry_after=0.05)]})
    await delivery.deliver(ctx, provider)
    assert ctx.attempts[-1].waited_s == 0.05
    delivery.board.begin(delivery.board.targets(BIG)[0]).failed("rate_limited", 60.0)
    with pytest.raises(RateLimited) as caught:
        await delivery.deliver(ctx, provider)
    assert 59 < (caught.value.retry_after or 0) <= 60


async def test_cancelling_it_cancels_the_call_and_frees_the_place():
    delivery, ctx = setting(BIG)
    task = asyncio.create_task(delivery.deliver(ctx, Provider({"openai/big": [60]})))
    await asyncio.sleep(0.01)
    assert delivery.board.in_flight(delivery.board.targets(BIG)[0]) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert delivery.board.in_flight(delivery.board.targets(BIG)[0]) == 0


@pytest.mark.parametrize("goes_on", [True, False])
async def test_an_answer_that_refuses_goes_on_where_the_config_says_so_and_is_booked(goes_on):
    delivery, ctx = setting(policy=RetryPolicy(refused_goes_on=goes_on))
    refusal = Answer(refused=True, usage=Usage(input=1_000, output=10))

    async def call(target):
        return refusal if target.deployment == BIG else Answer()

    done = await delivery.deliver(ctx, call)
    assert (done.answer is refusal) != goes_on
    assert refusal.closed == goes_on
    if goes_on:
        assert (ctx.attempts[0].reason, ctx.attempts[0].cost_nano_usd) == (
            "content_refused",
            1_000 * 10_000 + 10 * 40_000,
        )


async def test_the_last_one_s_refusal_is_the_answer():
    delivery, ctx = setting(BIG, policy=RetryPolicy(refused_goes_on=True))

    async def call(target):
        return Answer(refused=True)

    assert (await delivery.deliver(ctx, call)).answer.refused


def quick(delivery, *deployments):
    for d in deployments:
        for _ in range(20):
            delivery.board.begin(delivery.board.targets(d)[0]).landed(ttft_s=None, tokens_per_s=None, whole_s=0.02)


async def test_a_slow_call_gets_a_rival_and_the_loser_is_booked():
    delivery, ctx = setting(hedge=True, input_tokens_estimate=1_000)
    quick(delivery, BIG)
    provider = Provider({"openai/big": [5]})
    done = await delivery.deliver(ctx, provider)
    assert done.flight.target.deployment == MINI
    assert [(a.target, a.reason) for a in ctx.attempts] == [("openai/big", "hedge_lost"), ("lab/mini", None)]
    assert ctx.attempts[0].cost_nano_usd == 1_000 * 10_000
    assert delivery.board.in_flight(delivery.board.targets(BIG)[0]) == 0


async def test_the_slow_one_may_still_win():
    delivery, ctx = setting(hedge=True)
    quick(delivery, BIG)
    done = await delivery.deliver(ctx, Provider({"openai/big": [0.06], "lab/mini": [5]}))
    assert done.flight.target.deployment == BIG
    assert [(a.target, a.reason) for a in ctx.attempts] == [("lab/mini", "hedge_lost"), ("openai/big", None)]


async def test_a_race_that_both_lose_goes_on_elsewhere():
    third = deployment("lab/third", "small", 1)
    delivery, ctx = setting(BIG, MINI, third, hedge=True)
    quick(delivery, BIG)

    async def call(target):
        if target.deployment != third:
            await asyncio.sleep(0.05)
            raise failure("server")
        return Answer()

    done = await delivery.deliver(ctx, call)
    assert done.flight.target.deployment == third
    assert sorted(a.target for a in ctx.attempts) == ["lab/mini", "lab/third", "openai/big"]


async def test_whoever_leaves_in_the_very_moment_of_an_answer_leaves_nothing_open():
    for turns in range(1, 8):
        delivery, ctx = setting(hedge=True)
        quick(delivery, BIG)
        given = []

        async def call(_, given=given):
            given.append(Answer())
            return given[-1]

        asking = asyncio.create_task(delivery.deliver(ctx, call))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        if isinstance((await asyncio.gather(asking, return_exceptions=True))[0], asyncio.CancelledError):
            assert all(one.closed for one in given)
            assert delivery.board.in_flight(delivery.board.targets(BIG)[0]) == 0


@pytest.mark.parametrize("facts", [{"latency": "batch"}, {"kept_at": "openai"}])
async def test_no_rival_for_callers_who_do_not_wait_nor_for_state_that_one_provider_keeps(facts):
    delivery, ctx = setting(hedge=True, **facts)
    quick(delivery, BIG)
    provider = Provider({"openai/big": [0.06]})
    await delivery.deliver(ctx, provider)
    assert provider.calls == ["openai/big"]


def test_patience_grows_with_the_request_and_is_shorter_where_others_could_answer():
    short = outline(("user", "hi"), max_output_tokens=100)
    assert patience_s(short, 10, others=False) == 300
    assert 22 < patience_s(short, 10, others=True) < 23
    assert patience_s(outline(("user", "hi"), stream=True), 100_000, others=True) == 120
    assert patience_s(outline(("user", "hi")), 10, others=True) > 200
    assert patience_s(short, 10, others=True, told_s=3) == 3
