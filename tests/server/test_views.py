"""What can be looked at: health, models, decisions, with the SDKs' own list calls."""

import json

import anthropic
import openai
import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer


async def test_health_models_and_the_root(tmp_path):
    async with gateway(lab("http://127.0.0.1:9") + '[modes]\nreview = "tier/small"\n', tmp_path) as gw:
        client = openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="x", max_retries=0)
        assert await client.get(f"{gw.url}/healthz", cast_to=dict[str, object]) == {"status": "ok"}
        ready = await client.get(f"{gw.url}/readyz", cast_to=dict[str, object])
        names = [m.id async for m in client.models.list()]
        card = await client.models.retrieve("lab/small")
        other = anthropic.AsyncAnthropic(base_url=gw.url, api_key="x", max_retries=0)
        theirs = [m.id async for m in other.models.list()]
        await client.close()
        await other.close()
    assert ready["status"] == "ready"
    assert names == theirs == ["auto", "claude-auto", "gemini-auto", "mode/review", "tier/small", "lab/small"]
    assert card.id == "lab/small"


async def test_a_decision_is_explained_and_nobody_called(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url, up.url), tmp_path) as gw:
        ask = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
        status, _, raw = await post(gw.url, "/v1/route", json.dumps(ask).encode())
        claude = {**ask, "max_tokens": 9, "tools": [{"name": "t", "input_schema": {"type": "object"}}]}
        _, _, agent = await post(
            gw.url, "/v1/route", json.dumps(claude).encode(), [("anthropic-version", "2023-06-01")]
        )
        assert up.requests == []
        assert gw.rows() == []
    told = json.loads(raw)
    assert (status, told["model"], told["reason"]) == (200, "lab/small", "short")
    assert [c["model"] for c in told["candidates"]] == ["lab/small", "claude/big"]
    assert float(told["candidates"][0]["expected_cost_usd"]) > 0
    assert json.loads(agent)["model"] == "claude/big"


async def test_an_unknown_request_has_no_story(tmp_path):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        client = openai.AsyncOpenAI(base_url=gw.url, api_key="x", max_retries=0)
        with pytest.raises(openai.NotFoundError, match="no request 'req_none' in the ledger"):
            await client.get("/admin/requests/req_none", cast_to=object)
        await client.close()
