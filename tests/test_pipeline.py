"""Books close exactly once, whenever a caller leaves."""

import asyncio
import json
import math
import time

import pytest

from support.calls import CHAT
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer, stream
from turnout.call import Call
from turnout.dialects import DIALECTS
from turnout.headers import usd
from turnout.pipeline import Pipeline
from turnout.providers.exchange import Exchange
from turnout.providers.operations import ChatOperation

EVENT = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'


def call(request_id="r1", **more):
    body = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, **more}
    return Call(
        request_id=request_id,
        operation=ChatOperation(DIALECTS["openai-chat"]),
        body=json.dumps(body).encode(),
        headers={},
        started_s=time.monotonic(),
    )


BUDGET = "[budgets.all]\namount_usd = 1\n"


async def test_a_stream_nobody_reads_is_settled_and_ended_at_the_provider(tmp_path):
    endless = stream(*[EVENT] * 500, pause_s=0.05)
    async with ScriptedUpstream(endless) as up, gateway(BUDGET + lab(up.url), tmp_path) as gw:
        reply = await gw.engine.pipeline.run(call(stream=True))
        assert gw.engine.pipeline._budgets.held("all") > 0
        assert reply.stream is not None
        await reply.stream.aclose()
        await reply.stream.aclose()
        await asyncio.wait_for(up.gone.wait(), 1)
        assert gw.engine.pipeline._budgets.held("all") == 0
        assert [(r.outcome, r.usage_estimated) for r in gw.rows()] == [("cancelled", True)]


async def test_a_whole_answers_books_are_closed_by_whoever_takes_it_and_what_it_cost_is_told_with_it(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(BUDGET + lab(up.url), tmp_path) as gw:
        pipeline = gw.engine.pipeline
        reply = await pipeline.answer(call())
        assert pipeline._budgets.held("all") > 0
        reply.books()
        assert pipeline._budgets.held("all") == 0
        [row] = gw.rows()
        assert dict(reply.headers)["x-turnout-cost-usd"] == usd(row.cost_nano_usd)
        assert pipeline._budgets.spent("all") == row.cost_nano_usd


async def test_a_provider_that_hangs_up_slowly_is_let_go_before_its_caller_has_the_end(tmp_path, monkeypatch):
    """A plug-in's transport may: the next request of the same agent finds the books closed all the same."""
    closed, plain = [], Exchange.aclose

    async def slowly(exchange):
        if not closed:
            await asyncio.sleep(0.01)
        closed.append(exchange)
        await plain(exchange)

    monkeypatch.setattr(Exchange, "aclose", slowly)
    async with (
        ScriptedUpstream(stream(EVENT, b"data: [DONE]\n\n")) as up,
        gateway(BUDGET + lab(up.url), tmp_path) as gw,
    ):
        reply = await gw.engine.pipeline.answer(call(stream=True))
        assert [data async for data in reply.stream]
        ending = asyncio.create_task(reply.stream.aclose())
        await asyncio.sleep(0)
        assert gw.engine.pipeline._budgets.held("all") == 0
        await ending


async def test_an_answer_that_nobody_can_take_any_more_is_booked_as_paid(tmp_path, monkeypatch):
    async def cut_off(*_):
        raise asyncio.CancelledError

    async with ScriptedUpstream(answer(CHAT)) as up, gateway(BUDGET + lab(up.url), tmp_path) as gw:
        monkeypatch.setattr(Exchange, "aclose", cut_off)
        with pytest.raises(asyncio.CancelledError):
            await gw.engine.pipeline.answer(call())
        assert gw.engine.pipeline._budgets.held("all") == 0
        assert [r.outcome for r in gw.rows()] == ["ok"]


async def test_a_caller_who_leaves_between_two_phases_is_booked_once_and_holds_nothing(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(BUDGET + lab(up.url), tmp_path) as gw:
        for turns in range(1, 5):
            asking = asyncio.create_task(gw.engine.pipeline.answer(call(f"r{turns}")))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert gw.engine.pipeline._budgets.held("all") == 0
        assert sorted((r.request_id, r.outcome) for r in gw.rows()) == [(f"r{n}", "cancelled") for n in range(1, 5)]


async def test_a_fault_of_ours_keeps_no_money(tmp_path, monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError

    async with ScriptedUpstream(answer(CHAT)) as up, gateway(BUDGET + lab(up.url), tmp_path) as gw:
        monkeypatch.setattr(Pipeline, "send", broken)
        with pytest.raises(ZeroDivisionError):
            await gw.engine.pipeline.run(call())
        assert gw.engine.pipeline._budgets.held("all") == 0
        assert [(r.outcome, r.status, r.error_code) for r in gw.rows()] == [("error", 500, "internal_error")]


async def test_a_hundred_callers_at_once_never_overspend_a_nearly_empty_budget(tmp_path):
    """Each may cost at most 0.00112 USD: reservations hold that, so at most as many are let through as the budget has
    room for."""
    toml = "[budgets.all]\namount_usd = 0.01\n"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        calls = [gw.engine.pipeline.run(call(f"r{i}", max_tokens=100)) for i in range(100)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [r for r in results if isinstance(r, Exception)]
        assert {type(r).__name__ for r in refused} == {"BudgetExhausted"}
        assert len(up.requests) == 100 - len(refused)
        estimate = gw.engine.pipeline.open(call("probe")).input_tokens_estimate
        worst = 100 * 4_000 + (math.ceil(estimate * 1.3) + 700) * 1_000
        assert len(up.requests) == 10_000_000 // worst == 8
        assert gw.engine.pipeline._budgets.held("all") == 0
