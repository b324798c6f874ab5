"""A small model asked first over real sockets: its answer handed on, or not, and the books of both calls."""

import json
import time
from contextlib import asynccontextmanager

import pytest

from support.calls import post
from support.gateway import gateway
from support.upstream import ScriptedUpstream, answer
from support.wire import TOKENS, says, tool_call
from turnout.call import Call
from turnout.cascade import Cascade
from turnout.dialects import DIALECTS
from turnout.providers.operations import ChatOperation

PATH = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Which city? " * 300}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}},
    "max_tokens": 100,
}
GOOD, BAD = says("openai-chat", '{"city":"Paris"}'), says("openai-chat", "It is Paris.")
INPUT, CACHED, OUTPUT = TOKENS
SMALL = (INPUT * 1 + OUTPUT * 4) * 1000  # nano-dollars; nothing is cached at a price of its own
LARGE = (INPUT * 20 + OUTPUT * 80) * 1000


def config(small, large, more="", *, on=True):
    """`lab/small` at 1 and 4, `big/large` at 20 and 80 USD a million tokens."""
    return (
        f"[routing]\ncascade = {str(on).lower()}\nshort_prompt_tokens = 1\n{more}"
        f'[providers.lab]\ndialect = "openai-chat"\nbase_url = "{small}/v1"\napi_key = "sk-1"\n'
        f'[providers.big]\ndialect = "openai-chat"\nbase_url = "{large}/v1"\napi_key = "sk-2"\n'
        '[models."lab/small"]\ntier = "small"\nprice = { input = 1, output = 4, cache_read = 1 }\n'
        '[models."big/large"]\ntier = "frontier"\nprice = { input = 20, output = 80, cache_read = 20 }\n'
    )


def call(request_id, **body):
    return Call(
        request_id=request_id,
        operation=ChatOperation(DIALECTS["openai-chat"]),
        body=json.dumps(body).encode(),
        headers={},
        started_s=time.monotonic(),
    )


@asynccontextmanager
async def both_up(folder, small, more=""):
    """A gateway, its small model and its large one, which answers well."""
    async with ScriptedUpstream(small) as one, ScriptedUpstream(GOOD) as two:  # noqa: SIM117
        async with gateway(config(one.url, two.url, more), folder) as gw:
            yield gw


async def asked(gw, headers=(), **more):
    status, told, raw = await post(gw.url, PATH, json.dumps({**ASK, **more}).encode(), headers)
    return status, told, raw


async def served(tmp_path, small, *, on=True, large=GOOD, more="", headers=(), **fields):
    """Status, headers, the row, and how often each provider was called."""
    async with ScriptedUpstream(small) as one, ScriptedUpstream(large) as two:
        async with gateway(config(one.url, two.url, more, on=on), tmp_path) as gw:
            status, told, _ = await asked(gw, headers, **fields)
            assert all(state.held_nano_usd == 0 for state in gw.engine.state.memory.budgets.states())
            [row] = gw.rows()
        return status, told, row, (len(one.requests), len(two.requests))


async def test_an_answer_that_passes_is_handed_on(tmp_path):
    status, told, row, calls = await served(tmp_path, GOOD)
    assert (status, told["x-turnout-model"], told["x-turnout-reason"]) == (200, "lab/small", "cascade")
    assert calls == (1, 0)
    assert row.cost_nano_usd == SMALL


async def test_one_that_does_not_is_paid_and_not_seen(tmp_path):
    status, told, row, calls = await served(tmp_path, BAD)
    assert (status, told["x-turnout-model"], told["x-turnout-reason"]) == (200, "big/large", "hard")
    assert "lab/small was asked first and its answer was not taken: it is no JSON" in told["x-turnout-warnings"]
    assert calls == (1, 1)
    assert row.cost_nano_usd == SMALL + LARGE
    small, large = row.attempt_log
    assert (small["deployment"], small["reason"], small["cost_nano_usd"]) == ("lab/small", "not_verified", SMALL)
    assert (large["deployment"], large["cost_nano_usd"]) == ("big/large", LARGE)


async def test_a_small_model_that_fails_is_passed_over(tmp_path):
    status, told, row, calls = await served(tmp_path, answer({"error": {"message": "no"}}, 500))
    assert (status, told["x-turnout-model"]) == (200, "big/large")
    assert calls[1] == 1
    assert row.cost_nano_usd == LARGE


async def test_nobody_takes_over_so_the_failure_is_told_and_what_was_paid_is_booked(tmp_path):
    status, _, row, calls = await served(tmp_path, BAD, large=answer({"error": {"message": "no"}}, 400))
    assert status == 400
    assert calls == (1, 1)
    assert (row.outcome, row.cost_nano_usd) == ("error", SMALL)


@pytest.mark.parametrize(
    "fields",
    [{"stream": True}, {"model": "big/large"}, {"response_format": {"type": "text"}}, {"n": 2}],
)
async def test_where_it_may_not_be_the_decision_is_followed(tmp_path, fields):
    large = says("openai-chat", streaming=True) if fields.get("stream") else GOOD
    _, _, _, calls = await served(tmp_path, BAD, large=large, **fields)
    assert calls == (0, 1)


@pytest.mark.parametrize("headers", [[("x-turnout-quality", "1")], [("x-turnout-max-cost-usd", "5")]])
async def test_what_the_caller_wishes_comes_first(tmp_path, headers):
    _, _, _, calls = await served(tmp_path, BAD, headers=headers)
    assert calls == (0, 1)


async def test_it_is_off_until_the_config_says_so(tmp_path):
    _, _, _, calls = await served(tmp_path, GOOD, on=False)
    assert calls == (0, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "calls"),
    [("find", '{"city":"Paris"}', (1, 0)), ("find", "{}", (1, 1)), ("lose", '{"city":"Paris"}', (1, 1))],
)
async def test_tools_are_checked_too(tmp_path, name, arguments, calls):
    tools = [{"type": "function", "function": {"name": "find", "parameters": SCHEMA}}]
    small = tool_call("openai-chat", name, arguments)
    assert (await served(tmp_path, small, tools=tools, response_format={"type": "text"}))[3] == calls


async def test_the_session_stays_with_whom_the_engine_chose(tmp_path):
    """A form that was right once is no reason to stay with the small model."""
    async with both_up(tmp_path, GOOD) as gw:
        await asked(gw)
        more = [*ASK["messages"], {"role": "assistant", "content": '{"city":"Paris"}'}, ASK["messages"][0]]
        ctx, decision = gw.engine.pipeline.explain(call("e1", **{**ASK, "messages": more}))
        assert gw.rows()[0].deployment == "lab/small"
    assert (ctx.session.step, ctx.session.pinned) == (1, None)
    assert decision.candidates[0].deployment.id == "big/large"


async def test_a_budget_holds_both_or_the_decision_is_followed(tmp_path):
    async with both_up(tmp_path, GOOD, "[budgets.all]\namount_usd = 1\n") as gw:
        ctx, decision = gw.engine.pipeline.explain(call("e1", **ASK))
        straight = gw.engine.pipeline.worst_costs(ctx, decision)
        ctx.first = decision.candidates[1]
        both = gw.engine.pipeline.worst_costs(ctx, decision)
    worst = {d.id: cost for d, cost in straight}
    assert [(d.id, cost) for d, cost in both] == [("big/large", sum(worst.values())), ("lab/small", worst["lab/small"])]
    for number, (amount, wanted) in enumerate([(sum(worst.values()), (1, 1)), (worst["big/large"], (0, 1))]):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = f'[budgets.all]\namount_usd = "{amount / 10**9:.9f}"\n'
        status, _, _, calls = await served(folder, BAD, more=told)
        assert (status, calls) == (200, wanted)


async def test_who_learns_is_told_of_the_answer_that_did_not_pass(tmp_path):
    async with both_up(tmp_path, BAD) as gw:
        told = []
        gw.engine.pipeline._cascade = Cascade(on=True, outcomes=told.append)
        await asked(gw)
        [row] = gw.rows()
    [outcome] = told
    assert (outcome.request_id, outcome.model) == (row.request_id, "lab/small")
    assert (outcome.source, outcome.score, outcome.weight) == ("escalation", 0.0, 0.6)
