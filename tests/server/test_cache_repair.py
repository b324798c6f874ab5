"""Cache repair over real sockets: what a provider is sent for callers who ask for no caching."""

import json
import time

import anthropic
import openai
import pytest

from support.calls import CHAT, post
from support.gateway import gateway
from support.upstream import ScriptedUpstream, answer
from turnout.call import Call
from turnout.dialects import DIALECTS
from turnout.keys import Key
from turnout.providers.operations import ChatOperation

MARK = {"type": "ephemeral"}
LONG = "Be careful with what is not yours. " * 600
TOOLS = [{"name": "read", "description": "Reads a file.", "input_schema": {"type": "object"}}]
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-4-8",
    "content": [{"type": "text", "text": "Done."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 2},
}
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Done."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12},
}
ASK = {
    "model": "anthropic/claude-opus-4-8",
    "max_tokens": 50,
    "system": LONG,
    "tools": TOOLS,
    "messages": [{"role": "user", "content": "Go"}],
}
CHAT_TOOLS = [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}]
CHAT_ASK = {
    "messages": [{"role": "system", "content": LONG}, {"role": "user", "content": "Go"}],
    "tools": CHAT_TOOLS,
}


def host(url, provider="anthropic", model="claude-opus-4-8", more=""):
    return (
        f'[providers.{provider}]\nbase_url = "{url}"\napi_key = "sk-up"\n'
        f'[models."{provider}/{model}"]\ntier = "frontier"\nprice = {{ input = 5, output = 25 }}\n{more}'
    )


async def sent(up, gw, body, path="/v1/messages", headers=()):
    """What the provider got for `body`."""
    status, _, raw = await post(gw.url, path, json.dumps(body).encode(), list(headers))
    assert status == 200, raw
    return up.requests[-1].json()


async def test_a_client_that_sets_no_marks_gets_them(tmp_path):
    async with (
        ScriptedUpstream(answer(MESSAGE)) as up,
        gateway(host(up.url), tmp_path) as gw,
        anthropic.AsyncAnthropic(base_url=gw.url, api_key="any", max_retries=0) as client,
    ):
        talk = [{"role": "user", "content": "Go"}]
        await client.messages.create(**{**ASK, "messages": talk})
        talk += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "More"}]
        await client.messages.create(**{**ASK, "messages": talk})
        first, second = (r.json() for r in up.requests)
    assert first["tools"] == [{**TOOLS[0], "cache_control": MARK}]
    assert first["system"] == [{"type": "text", "text": LONG, "cache_control": MARK}]
    go = {"role": "user", "content": [{"type": "text", "text": "Go", "cache_control": MARK}]}
    assert first["messages"] == [go]
    assert second["messages"] == [go, talk[1], {**go, "content": [{**go["content"][0], "text": "More"}]}]


async def test_a_client_with_marks_of_its_own_is_left_alone(tmp_path):
    own = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url), tmp_path) as gw:
        told = await sent(up, gw, {**ASK, "system": own})
    assert told == {**ASK, "system": own, "model": "claude-opus-4-8"}


@pytest.mark.parametrize(
    "body", [{"system": "Short."}, {"tools": [], "system": "", "messages": [{"role": "user", "content": LONG}]}]
)
async def test_what_no_cache_would_ever_give_back_is_not_marked(tmp_path, body):
    """A prompt below the least that is kept; a question that stands alone."""
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url), tmp_path) as gw:
        assert "cache_control" not in json.dumps(await sent(up, gw, {**ASK, **body}))


async def test_a_question_that_stands_alone_shares_its_instructions(tmp_path):
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url), tmp_path) as gw:
        told = await sent(up, gw, {k: v for k, v in ASK.items() if k != "tools"})
    assert told["system"][0]["cache_control"] == MARK
    assert told["messages"] == ASK["messages"]


@pytest.mark.parametrize(
    "off", ["[cache]\nrepair = false\n", "cache_repair = false\n", '[keys.ci]\nkey = "sk-ci"\ncache_repair = false\n']
)
async def test_it_can_be_switched_off(tmp_path, off):
    """For all, for a model, for a key."""
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url, more=off), tmp_path) as gw:
        told = await sent(up, gw, ASK, headers=[("x-api-key", "sk-ci")])
    assert told == {**ASK, "model": "claude-opus-4-8"}


async def test_a_made_key_may_go_without_it(tmp_path):
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url), tmp_path) as gw:
        _, key = gw.engine.keyring.create(Key(name="ci", cache_repair=False))
        _, other = gw.engine.keyring.create(Key(name="other"))
        assert await sent(up, gw, ASK, headers=[("x-api-key", key)]) == {**ASK, "model": "claude-opus-4-8"}
        assert "cache_control" in json.dumps(await sent(up, gw, ASK, headers=[("x-api-key", other)]))


async def test_an_hour_where_the_config_says_so(tmp_path):
    toml = '[cache]\nttl = "1h"\n'
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url, more=toml), tmp_path) as gw:
        told = await sent(up, gw, ASK)
    assert told["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


async def test_budgets_hold_the_price_of_the_writes(tmp_path):
    price = "price = { input = 5, output = 25, cache_write = 6.25 }"
    toml = host("http://127.0.0.1:9").replace("price = { input = 5, output = 25 }", price)
    budget = "[budgets.all]\namount_usd = 1\n"
    held: list[int] = []
    for off in ("", "[cache]\nrepair = false\n"):
        (folder := tmp_path / f"f{len(held)}").mkdir()
        async with (
            ScriptedUpstream(answer(MESSAGE)) as up,
            gateway(toml.replace("http://127.0.0.1:9", up.url) + budget + off, folder) as gw,
        ):
            _, decision = gw.engine.pipeline.explain(call_of(ASK))
            ctx = gw.engine.pipeline.open(call_of(ASK), peek=True)
            (worst,) = gw.engine.pipeline.worst_costs(ctx, decision)
            held.append(worst[1])
    assert held[0] > held[1]


# ---- From other formats --------------------------------------------------------------------------------------


async def test_an_openai_client_that_is_served_by_claude_gets_marks(tmp_path):
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url), tmp_path) as gw:
        told = await sent(up, gw, {**CHAT_ASK, "model": "anthropic/claude-opus-4-8"}, "/v1/chat/completions")
    assert told["tools"][-1]["cache_control"] == MARK
    assert told["system"][-1]["cache_control"] == MARK
    assert told["messages"][-1]["content"][-1]["cache_control"] == MARK


async def test_bedrock_gets_cache_points(tmp_path):
    model = "anthropic.claude-opus-4-8"
    async with ScriptedUpstream(answer(CONVERSED)) as up, gateway(host(up.url, "bedrock", model), tmp_path) as gw:
        told = await sent(up, gw, {**ASK, "model": f"bedrock/{model}"})
    point = {"cachePoint": {"type": "default"}}
    assert told["system"][-1] == told["messages"][-1]["content"][-1] == told["toolConfig"]["tools"][-1] == point


async def test_openrouter_hands_marks_on_to_claude_and_is_told_the_session(tmp_path):
    model = "anthropic/claude-opus-4.8"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(host(up.url, "openrouter", model), tmp_path) as gw:
        told = await sent(up, gw, {**CHAT_ASK, "model": f"openrouter/{model}"}, "/v1/chat/completions")
        assert told["messages"][0]["content"][0]["cache_control"] == MARK
        assert told["messages"][1]["content"][0]["cache_control"] == MARK
        assert len(up.requests[-1].headers["x-session-id"]) == 32
        own = [("x-session-id", "mine")]
        await sent(up, gw, {**CHAT_ASK, "model": f"openrouter/{model}"}, "/v1/chat/completions", own)
        assert up.requests[-1].headers["x-session-id"] == "mine"


# ---- The session's name --------------------------------------------------------------------------------------


async def test_openai_is_told_the_session_by_a_name_that_shows_nothing(tmp_path):
    async with (
        ScriptedUpstream(answer(CHAT)) as up,
        gateway(host(up.url, "openai", "gpt-5.4"), tmp_path) as gw,
        openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as client,
    ):
        headers = {"x-session-id": "sess-secret"}
        for more in ({}, {}, {"extra_body": {"prompt_cache_key": "mine"}}):
            await client.chat.completions.create(model="openai/gpt-5.4", **CHAT_ASK, extra_headers=headers, **more)
        names = [r.json()["prompt_cache_key"] for r in up.requests]
        bodies = [r.json() for r in up.requests]
    assert names[0] == names[1]
    assert len(names[0]) == 32
    assert names[2] == "mine"
    assert "sess-secret" not in json.dumps(bodies)
    assert "cache_control" not in json.dumps(bodies), "it caches unasked"


async def test_an_anthropic_client_that_is_served_by_openai_has_its_session_named(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(host(up.url, "openai", "gpt-5.4"), tmp_path) as gw:
        assert len((await sent(up, gw, {**ASK, "model": "openai/gpt-5.4"}))["prompt_cache_key"]) == 32


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-5.6-sol"), ("groq", "kimi-k2"), ("anthropic", "claude-x")]
)
async def test_who_does_not_ask_for_the_session_is_not_told(tmp_path, provider, model):
    said = MESSAGE if provider == "anthropic" else CHAT
    async with ScriptedUpstream(answer(said)) as up, gateway(host(up.url, provider, model), tmp_path) as gw:
        told = await sent(up, gw, {**CHAT_ASK, "model": f"{provider}/{model}"}, "/v1/chat/completions")
        assert "prompt_cache_key" not in told
        assert not {"x-session-id", "x-grok-conv-id"} & set(up.requests[-1].headers)


async def test_xai_has_a_header_for_it_and_keeps_the_callers_own(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(host(up.url, "xai", "grok-4.6"), tmp_path) as gw:
        ask = {**CHAT_ASK, "model": "xai/grok-4.6"}
        assert "prompt_cache_key" not in await sent(up, gw, ask, "/v1/chat/completions")
        assert len(up.requests[-1].headers["x-grok-conv-id"]) == 32
        await sent(up, gw, ask, "/v1/chat/completions", [("x-grok-conv-id", "mine")])
        assert up.requests[-1].headers["x-grok-conv-id"] == "mine"


async def test_a_question_that_stands_alone_is_in_no_session(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(host(up.url, "openai", "gpt-5.4"), tmp_path) as gw:
        alone = {"model": "openai/gpt-5.4", "messages": CHAT_ASK["messages"]}
        assert "prompt_cache_key" not in await sent(up, gw, alone, "/v1/chat/completions")


# ---- What changes in the prefix ------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [[], [("x-session-id", "s")]])
async def test_a_clock_in_the_system_text_is_told_with_its_place(tmp_path, headers):
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(host(up.url), tmp_path) as gw:
        talk = [{"role": "user", "content": "Go"}]
        warnings = []
        for i in range(3):
            body = {**ASK, "system": f"It is 12:00:0{i}.\n{LONG}", "messages": talk}
            status, answered, _ = await post(gw.url, "/v1/messages", json.dumps(body).encode(), headers)
            assert status == 200
            warnings.append(answered.get("x-turnout-warnings", ""))
            talk = [*talk, {"role": "assistant", "content": "Done."}, {"role": "user", "content": f"More {i}"}]
    assert "prefix" not in warnings[0]
    assert "the prefix changed since the last request (system at byte 0 of 21,019: a time)" in warnings[1]
    assert "the prefix changes at every request (system at byte 0 of 21,019: a time)" in warnings[2]
    last = up.requests[-1].json()
    assert last["tools"][-1]["cache_control"] == MARK
    assert "cache_control" not in json.dumps([last["system"], last["messages"]]), "it would be paid for and never read"


def call_of(body):
    return Call(
        request_id="r",
        operation=ChatOperation(DIALECTS["anthropic-messages"]),
        body=json.dumps(body).encode(),
        headers={},
        started_s=time.monotonic(),
    )
