"""The whole path over real sockets: official SDKs, a scripted provider, the books afterwards."""

import asyncio
import json

import anthropic
import openai
import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer, stream

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "big-2026",
    "content": [{"type": "text", "text": "Paris."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 600,
        "cache_read_input_tokens": 400,
        "cache_creation_input_tokens": 0,
        "output_tokens": 10,
    },
}
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "small-2026"}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 400}}


def chunk(delta, finish=None):
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHUNKS = [
    *(
        f"data: {json.dumps(value)}\n\n".encode()
        for value in (
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Par"}),
            chunk({"content": "is."}),
            chunk({}, "stop"),
            {**HEAD, "choices": [], "usage": USAGE},
        )
    ),
    b"data: [DONE]\n\n",
]
ASK = [{"role": "user", "content": "What is the capital of France?"}]
# 600 plain at 1 USD/M, 400 cached at 0.1, 10 out at 4: in nano-dollars.
LAB_COST = 600 * 1000 + 400 * 100 + 10 * 4000


def openai_client(url, **more):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, **more)


def anthropic_client(url, **more):
    return anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0, **more)


async def test_same_format_is_handed_on_untouched_and_booked(tmp_path):
    async with (
        ScriptedUpstream(answer(CHAT, headers={"x-request-id": "up-1"})) as up,
        gateway(lab(up.url), tmp_path) as gw,
    ):
        body = b'{"model": "lab/small", "messages": [{"role":"user","content":"hi"}], "odd": {"b":1, "a":2.50}}'
        status, headers, raw = await post(
            gw.url, "/v1/chat/completions", body, [("authorization", "Bearer client-key")]
        )
        sent = up.requests[0]
    assert status == 200
    assert raw == json.dumps(CHAT).encode()
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-lab-secret", "the caller's key goes no further"
    assert b'"odd":{"b":1, "a":2.50}' in sent.body
    assert b'"messages":[{"role":"user","content":"hi"}]' in sent.body
    assert sent.json()["model"] == "small"
    assert headers["x-turnout-model"] == "lab/small"
    assert headers["x-turnout-reason"] == "explicit"
    assert headers["x-turnout-attempts"] == "1"
    assert headers["x-turnout-cost-usd"] == "0.00068"
    assert headers["x-request-id"] == "up-1"
    assert float(headers["x-turnout-overhead-ms"]) >= 0
    assert headers["x-turnout-request-id"].startswith("req_")


async def test_the_ledger_has_the_whole_story(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        client = openai_client(gw.url)
        raw = await client.chat.completions.with_raw_response.create(
            model="auto", messages=ASK, extra_headers={"x-turnout-tags": "feature=geo", "x-turnout-session": "s-1"}
        )
        (row,) = gw.rows()
        story = await client.get(
            f"{gw.url}/admin/requests/{raw.headers['x-turnout-request-id']}", cast_to=dict[str, object]
        )
        await client.close()
    assert (row.deployment, row.tier, row.reason, row.requested_model) == ("lab/small", "small", "short", "auto")
    assert (row.input_tokens, row.cache_read_tokens, row.output_tokens) == (1000, 400, 10)
    assert row.cost_nano_usd == LAB_COST
    assert (row.session_id, row.step, row.tags, row.outcome, row.status) == ("s-1", 0, {"feature": "geo"}, "ok", 200)
    assert story["request_id"] == row.request_id
    assert story["tags"] == {"feature": "geo"}


async def test_openai_sdk_streams(tmp_path):
    async with ScriptedUpstream(stream(*CHUNKS)) as up, gateway(lab(up.url), tmp_path) as gw:
        client = openai_client(gw.url)
        chunks = [c async for c in await client.chat.completions.create(model="lab/small", messages=ASK, stream=True)]
        await client.close()
        rows = await gw.booked()
        sent = up.requests[0].json()
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Paris."
    assert all(c.choices for c in chunks), "the usage chunk we asked for was not asked for by the caller"
    assert sent["stream_options"] == {"include_usage": True}
    assert [(r.outcome, r.output_tokens, r.cost_nano_usd) for r in rows] == [("ok", 10, LAB_COST)]


async def test_usage_is_streamed_to_those_who_ask(tmp_path):
    async with ScriptedUpstream(stream(*CHUNKS)) as up, gateway(lab(up.url), tmp_path) as gw:
        body = json.dumps(
            {"model": "lab/small", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}}
        )
        _, headers, raw = await post(gw.url, "/v1/chat/completions", body.encode())
    assert headers["content-type"].startswith("text/event-stream")
    assert all(sent.strip() in raw for sent in CHUNKS)


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_anthropic_sdk_speaks_to_an_openai_host(tmp_path, streamed):
    script = stream(*CHUNKS) if streamed else answer(CHAT)
    async with ScriptedUpstream(script) as up, gateway(lab(up.url), tmp_path) as gw:
        client = anthropic_client(gw.url)
        asked = {
            "model": "lab/small",
            "max_tokens": 50,
            "system": "Be brief.",
            "messages": ASK,
            "extra_body": {"top_k": 3},
        }
        if streamed:
            async with client.messages.stream(**asked) as s:
                message = await s.get_final_message()
        else:
            message = await client.messages.create(**asked)
        await client.close()
        (row,) = gw.rows()
        sent = up.requests[0].json()
    assert message.content[0].text == "Paris."
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (600, 400), "Anthropic's own counting"
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["max_completion_tokens"] == 50
    assert row.cost_nano_usd == LAB_COST
    assert any("top_k" in w for w in row.warnings)


async def test_the_openai_sdk_speaks_to_an_anthropic_host(tmp_path):
    async with ScriptedUpstream(answer(MESSAGE)) as up, gateway(lab(anthropic=up.url), tmp_path) as gw:
        client = openai_client(gw.url)
        done = await client.chat.completions.create(
            model="claude/big",
            messages=[{"role": "system", "content": "Be brief."}, *ASK],
            tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        )
        await client.close()
        sent = up.requests[0]
        (row,) = gw.rows()
    assert done.choices[0].message.content == "Paris."
    assert (done.usage.prompt_tokens, done.usage.prompt_tokens_details.cached_tokens) == (1000, 400)
    assert sent.path == "/v1/messages"
    assert sent.headers["x-api-key"] == "sk-claude-secret"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert sent.json()["system"] == [{"type": "text", "text": "Be brief."}]
    assert sent.json()["tools"][0]["input_schema"] == {"type": "object"}
    assert row.cost_nano_usd == 600 * 5000 + 400 * 500 + 10 * 25000


async def test_a_sessions_steps_stay_with_its_model(tmp_path):
    async with (
        ScriptedUpstream(answer(CHAT)) as small,
        ScriptedUpstream(answer(MESSAGE)) as big,
        gateway(lab(small.url, big.url), tmp_path) as gw,
    ):
        client = openai_client(gw.url)
        talk = list(ASK)
        for _ in range(3):
            done = await client.chat.completions.create(model="auto", messages=talk)
            talk += [
                {"role": "assistant", "content": done.choices[0].message.content},
                {"role": "user", "content": "And?"},
            ]
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        await client.chat.completions.create(model="auto", messages=ASK, tools=[tool])
        await client.close()
        rows = gw.rows()[::-1]
    assert [(r.deployment, r.reason, r.step) for r in rows] == [
        ("lab/small", "short", 0),
        ("lab/small", "pinned", 1),
        ("lab/small", "pinned", 2),
        ("claude/big", "agent", 0),
    ]
    assert len({r.session_id for r in rows[:3]}) == 1
    assert {r.session_id for r in rows[3:]}.isdisjoint({r.session_id for r in rows[:3]})


async def test_a_failing_provider_is_replaced_before_anything_is_said(tmp_path):
    async with (
        ScriptedUpstream(answer({"error": {"message": "boom"}}, 500)) as small,
        ScriptedUpstream(answer(MESSAGE)) as big,
        gateway(lab(small.url, big.url) + '[fallbacks]\n"lab/small" = ["claude/big"]\n', tmp_path) as gw,
    ):
        body = json.dumps({"model": "lab/small", "messages": ASK}).encode()
        status, headers, raw = await post(gw.url, "/v1/chat/completions", body)
    assert (status, headers["x-turnout-model"], headers["x-turnout-attempts"]) == (200, "claude/big", "2")
    assert json.loads(raw)["choices"][0]["message"]["content"] == "Paris."


@pytest.mark.parametrize(
    "script",
    [
        stream(b'data: {"error":{"message":"overloaded","code":503}}\n\n'),
        stream(cut=True),
        answer({"error": {"message": "boom"}}, 503),
        answer({}, reset=True),
    ],
    ids=["error event first", "cut at once", "503", "reset"],
)
async def test_a_stream_that_fails_at_its_start_goes_elsewhere(tmp_path, script):
    async with (
        ScriptedUpstream(script) as bad,
        ScriptedUpstream(stream(*CHUNKS)) as good,
        gateway(
            lab(bad.url)
            + f'[providers.spare]\ndialect = "openai-chat"\nbase_url = "{good.url}/v1"\n'
            + '[models."spare/s"]\ntier="small"\n'
            + '[fallbacks]\n"lab/small" = ["spare/s"]\n',
            tmp_path,
        ) as gw,
    ):
        client = openai_client(gw.url)
        chunks = [c async for c in await client.chat.completions.create(model="lab/small", messages=ASK, stream=True)]
        await client.close()
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Paris."


async def test_a_stream_that_breaks_ends_with_an_error_and_is_booked(tmp_path):
    async with ScriptedUpstream(stream(*CHUNKS[:3], cut=True)) as up, gateway(lab(up.url), tmp_path) as gw:
        client = openai_client(gw.url)
        answering = await client.chat.completions.create(model="lab/small", messages=ASK, stream=True)
        got = [await anext(answering) for _ in range(3)]
        with pytest.raises(openai.APIError):
            await anext(answering)
        await client.close()
        (row,) = gw.rows()
    assert len(got) == 3
    assert (row.outcome, row.usage_estimated) == ("error", True)
    assert row.cost_nano_usd > 0


async def test_a_caller_who_hangs_up_stops_the_provider_and_pays_for_what_came(tmp_path):
    slow = stream(*CHUNKS[:3], *([CHUNKS[2]] * 200), pause_s=0.05)
    async with ScriptedUpstream(slow) as up, gateway(lab(up.url), tmp_path) as gw:
        client = openai_client(gw.url)
        answering = await client.chat.completions.create(model="lab/small", messages=ASK, stream=True)
        async for _ in answering:
            break
        await answering.close()
        await client.close()
        await asyncio.wait_for(up.gone.wait(), 2)
        rows = gw.rows()
    assert [(r.outcome, r.usage_estimated) for r in rows] == [("cancelled", True)]


async def test_a_caller_who_hangs_up_while_waiting_stops_the_provider(tmp_path):
    async with ScriptedUpstream(answer({}, hang=True)) as up, gateway(lab(up.url), tmp_path) as gw:
        client = openai_client(gw.url, timeout=0.3)
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="lab/small", messages=ASK)
        await client.close()
        await asyncio.wait_for(up.gone.wait(), 2)
        await asyncio.sleep(0.05)
        rows = gw.rows()
    assert [(r.outcome, r.status) for r in rows] == [("cancelled", 499)]


async def test_a_providers_refusal_reaches_the_caller_in_its_own_shape(tmp_path):
    refusal = answer(
        {"error": {"message": "max_tokens is too large", "type": "invalid_request_error", "code": "bad"}}, 400
    )
    async with ScriptedUpstream(refusal) as up, gateway(lab(up.url), tmp_path) as gw:
        client = anthropic_client(gw.url)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens is too large"):
            await client.messages.create(model="lab/small", max_tokens=50, messages=ASK)
        await client.close()
        assert len(up.requests) == 1, "what is the caller's to mend is not tried again"


async def test_no_key_or_address_of_a_provider_leaks(tmp_path):
    scripts = [answer({"error": {"message": "bad key sk-lab-secret"}}, 401), answer({}, reset=True)]
    for script in scripts:
        async with ScriptedUpstream(script) as up, gateway(lab(up.url), tmp_path) as gw:
            body = json.dumps({"model": "lab/small", "messages": ASK}).encode()
            status, headers, raw = await post(gw.url, "/v1/chat/completions", body)
        assert status == 502
        for secret in ("sk-lab", "127.0.0.1:"):
            assert secret not in raw.decode()
            assert secret not in str(headers)


async def test_a_providers_odd_status_and_a_model_of_an_odd_name_reach_the_caller(tmp_path):
    said = {"error": {"message": "the page has expired", "type": "odd"}}
    async with ScriptedUpstream(answer(said, 419), answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        body = {"model": "lab/小", "messages": [{"role": "user", "content": "hi"}]}
        status, _, raw = await post(gw.url, "/v1/chat/completions", json.dumps(body).encode())
        assert (status, json.loads(raw)["error"]["message"]) == (419, "the page has expired")
        status, headers, _ = await post(gw.url, "/v1/chat/completions", json.dumps(body).encode())
        assert (status, headers["x-turnout-model"]) == (200, "lab/?")
