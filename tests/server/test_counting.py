"""count_tokens: forwarded where the provider counts in the caller's format, else estimated, and said so."""

import json

import anthropic
import pytest

import turnout.pipeline
from support.calls import post
from support.gateway import gateway, host
from support.upstream import Script, ScriptedUpstream, answer
from support.wire import refuses, says

ASK = [{"role": "user", "content": "What is the capital of France? " * 40}]


async def test_anthropics_count_is_forwarded_and_not_booked(tmp_path):
    async with (
        ScriptedUpstream(answer({"input_tokens": 19})) as up,
        gateway(host(up.url, "anthropic-messages"), tmp_path) as gw,
        anthropic.AsyncAnthropic(base_url=gw.url, api_key="any", max_retries=0) as api,
    ):
        told = await api.messages.count_tokens(model="up/big", messages=ASK)
        sent = up.requests[0]
        rows = gw.rows()
    assert told.input_tokens == 19
    assert sent.path == "/v1/messages/count_tokens"
    assert sent.json() == {"model": "big", "messages": ASK}
    assert rows == []


async def test_elsewhere_it_is_estimated_and_said_so(tmp_path):
    async with (
        ScriptedUpstream(says("openai-chat")) as up,
        gateway(host(up.url, "openai-chat"), tmp_path) as gw,
        anthropic.AsyncAnthropic(base_url=gw.url, api_key="any", max_retries=0) as api,
    ):
        raw = await api.messages.with_raw_response.count_tokens(model="up/big", messages=ASK)
        assert up.requests == []
    told = await raw.parse()
    assert 250 < told.input_tokens < 350
    assert "estimate" in raw.headers["x-turnout-warnings"]


async def test_a_provider_that_is_down_does_not_stop_the_count(tmp_path):
    async with (
        ScriptedUpstream(answer({}, 503)) as up,
        gateway(host(up.url, "anthropic-messages"), tmp_path) as gw,
        anthropic.AsyncAnthropic(base_url=gw.url, api_key="any", max_retries=0) as api,
    ):
        assert (await api.messages.count_tokens(model="up/big", messages=ASK)).input_tokens > 250


async def test_a_refused_count_is_told(tmp_path):
    async with (
        ScriptedUpstream(refuses("anthropic-messages")) as up,
        gateway(host(up.url, "anthropic-messages"), tmp_path) as gw,
        anthropic.AsyncAnthropic(base_url=gw.url, api_key="any", max_retries=0) as api,
    ):
        with pytest.raises(anthropic.BadRequestError, match="too large"):
            await api.messages.count_tokens(model="up/big", messages=ASK)


@pytest.mark.parametrize("whole", [False, True])
async def test_geminis_count(whole, tmp_path):
    contents = {"contents": [{"parts": [{"text": "Hi there " * 90}]}]}
    body = {"generateContentRequest": {"model": "models/up/big", **contents}} if whole else contents
    async with (
        ScriptedUpstream(answer({"totalTokens": 7})) as up,
        gateway(host(up.url, "gemini"), tmp_path) as gw,
    ):
        _, _, raw = await post(gw.url, "/v1beta/models/up/big:countTokens", json.dumps(body).encode())
        sent = up.requests[0]
    assert json.loads(raw) == {"totalTokens": 7}
    assert sent.path == "/v1beta/models/big:countTokens"
    assert sent.json() == ({"generateContentRequest": {"model": "models/big", **contents}} if whole else contents)


async def test_estimates_learn_from_what_providers_report(tmp_path):
    long = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 100}]
    async with (
        ScriptedUpstream(says("openai-chat")) as up,  # 1,000 tokens by its own word
        gateway(host(up.url, "openai-chat"), tmp_path) as gw,
        anthropic.AsyncAnthropic(base_url=gw.url, api_key="any", max_retries=0) as api,
    ):
        before = (await api.messages.count_tokens(model="up/big", messages=long)).input_tokens
        for _ in range(12):
            await api.messages.create(model="up/big", max_tokens=5, messages=long)
        after = (await api.messages.count_tokens(model="up/big", messages=long)).input_tokens
    assert abs(after - 1000) < abs(before - 1000)


async def test_a_provider_that_does_not_count_in_time_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(turnout.pipeline, "COUNT_PATIENCE_S", 0.1)
    async with ScriptedUpstream(Script(hang=True)) as up, gateway(host(up.url, "anthropic-messages"), tmp_path) as gw:
        asked = {"model": "up/big", "messages": [{"role": "user", "content": "hi"}]}
        status, headers, raw = await post(gw.url, "/v1/messages/count_tokens", json.dumps(asked).encode())
    assert status == 200
    assert json.loads(raw)["input_tokens"] > 0
    assert "took too long" in headers["x-turnout-warnings"]
