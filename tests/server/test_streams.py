"""Streams in bad company: callers who leave or do not read, providers that bill on, answers that another finishes."""

import asyncio
import json

import anthropic
import openai
import pytest

from support.calls import CHAT, post
from support.gateway import gateway, host, lab
from support.upstream import Script, ScriptedUpstream, answer, stream
from support.wire import calls, says

ASK = [{"role": "user", "content": "Tell me of Paris."}]
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
WINDOWS = {
    "waiting for headers": (Script(hang=True), True),
    "waiting for the first token": (stream(b": awake\n\n", b"", pause_s=60), True),
    "mid-stream": (stream(*[CHUNK] * 3, pause_s=0.01, stall=True), True),
    "waiting for a whole answer": (Script(hang=True), False),
    "mid-answer": (Script(chunks=[b'{"id": "x", '], stall=True), False),
}


async def ask_and_leave(gw, up, *, streaming, read=False):
    """A raw request whose caller closes the connection once the provider has it; returns the time it left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    body = json.dumps({"model": "lab/small", "messages": ASK, "stream": streaming}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(5):
        while not up.requests:  # noqa: ASYNC110 - the scripted provider has no event for it
            await asyncio.sleep(0.005)
        if read:
            while b"word" not in await reader.read(65536):
                pass
    await asyncio.sleep(0.05)
    writer.close()
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("window", list(WINDOWS))
async def test_a_caller_who_leaves_cancels_the_provider_within_a_tenth_of_a_second(tmp_path, window):
    script, streaming = WINDOWS[window]
    async with ScriptedUpstream(script) as up, gateway(lab(up.url), tmp_path) as gw:
        left = await ask_and_leave(gw, up, streaming=streaming, read=window == "mid-stream")
        await asyncio.wait_for(up.gone.wait(), 2)
        took = asyncio.get_running_loop().time() - left
        (row,) = await gw.booked()
    assert took < 0.1
    assert row.outcome == "cancelled"
    assert bool(row.cost_nano_usd) == (window == "mid-stream")


async def test_a_caller_who_leaves_while_we_wait_for_a_provider_is_waited_for_no_longer(tmp_path):
    async with (
        ScriptedUpstream(answer({}, 429, headers={"retry-after": "9"})) as up,
        gateway(lab(up.url), tmp_path) as gw,
    ):
        await ask_and_leave(gw, up, streaming=False)
        async with asyncio.timeout(1):
            (row,) = await gw.booked()
    assert (row.outcome, row.attempts) == ("cancelled", 1)


async def test_what_was_delivered_is_what_is_booked(tmp_path):
    """A provider that never says usage: 400 chunks of one word, of which the caller took all before it left."""
    script = stream(*[CHUNK] * 400, stall=True)
    async with ScriptedUpstream(script) as up, gateway(lab(up.url), tmp_path) as gw:
        client = openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="x", max_retries=0)
        answering = await client.chat.completions.create(model="lab/small", messages=ASK, stream=True)
        for _ in range(400):
            await anext(answering)
        await answering.close()
        await client.close()
        (row,) = await gw.booked()
    assert row.usage_estimated
    assert 380 <= row.output_tokens <= 440


async def test_a_provider_that_bills_on_is_read_to_its_end_and_booked_by_its_own_count(tmp_path):
    script = stream(
        *[CHUNK] * 20,
        b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1000,"completion_tokens":777}}\n\n',
        b"data: [DONE]\n\n",
        pause_s=0.01,
    )
    toml_of = lambda url: lab(url).replace("[models", "bills_after_cancel = true\n[models", 1)  # noqa: E731
    async with ScriptedUpstream(script) as up, gateway(toml_of(up.url), tmp_path) as gw:
        await ask_and_leave(gw, up, streaming=True, read=True)
        (row,) = await gw.booked()
        assert not up.gone.is_set()
    assert (row.outcome, row.usage_estimated, row.output_tokens) == ("cancelled", False, 777)


async def test_a_drain_has_an_end_with_the_gateway(tmp_path):
    script = stream(*[CHUNK] * 3, stall=True)
    toml_of = lambda url: lab(url).replace("[models", "bills_after_cancel = true\n[models", 1)  # noqa: E731
    async with ScriptedUpstream(script) as up:
        async with gateway(toml_of(up.url), tmp_path) as gw:
            await ask_and_leave(gw, up, streaming=True, read=True)
            await asyncio.sleep(0.05)
            assert gw.rows() == []
        async with gateway(toml_of(up.url), tmp_path) as gw:
            assert [r.outcome for r in gw.rows()] == ["cancelled"]


async def test_a_slow_reader_slows_the_provider_down(tmp_path):
    """64 MB wait at the provider; a caller who reads nothing must not have us take them all in."""
    big = b"data: " + b'{"choices":[{"index":0,"delta":{"content":"' + b"x" * 65_000 + b'"}}]}\n\n'
    script = stream(*[big] * 1000)
    async with ScriptedUpstream(script) as up, gateway(lab(up.url), tmp_path) as gw:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]), limit=1024)
        body = json.dumps({"model": "lab/small", "messages": ASK, "stream": True}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await reader.readexactly(100)
        written = -1
        while written != up.written:  # until what lies between is full, however slow this machine is
            written = up.written
            await asyncio.sleep(0.3)
        assert written < 24_000_000
        writer.transport.abort()
        await asyncio.wait_for(up.gone.wait(), 2)


async def test_a_reader_who_stopped_is_let_go_in_the_end(tmp_path):
    big = b"data: " + b'{"choices":[{"index":0,"delta":{"content":"' + b"x" * 65_000 + b'"}}]}\n\n'
    toml = "[server]\nidle_reader_s = 0.4\n"
    async with ScriptedUpstream(stream(*[big] * 1000)) as up, gateway(lab(up.url) + toml, tmp_path) as gw:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]), limit=1024)
        body = json.dumps({"model": "lab/small", "messages": ASK, "stream": True}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await reader.readexactly(100)
        await asyncio.wait_for(up.gone.wait(), 3)
        (row,) = await gw.booked()
        writer.transport.abort()
    assert row.outcome == "cancelled"


# ---- answers that another model finishes -----------------------------------------------------------------------


def two(first, second, continued=True):
    return (
        host(first, "openai-chat", "a").replace("providers.up", "providers.one").replace("up/a", "one/a")
        + host(second, "anthropic-messages", "b").replace("providers.up", "providers.two").replace("up/b", "two/b")
        + '[fallbacks]\n"one/a" = ["two/b"]\n'
        + f"[delivery]\ncontinue_streams = {str(continued).lower()}\n"
    )


async def test_an_answer_whose_stream_died_is_finished_by_another_model(tmp_path):
    dying = stream(*[CHUNK] * 3, cut=True)
    async with (
        ScriptedUpstream(dying) as one,
        ScriptedUpstream(says("anthropic-messages", "and the end.", streaming=True)) as another,
        gateway(two(one.url, another.url), tmp_path) as gw,
    ):
        client = openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="x", max_retries=0)
        chunks = [c async for c in await client.chat.completions.create(model="one/a", messages=ASK, stream=True)]
        await client.close()
        (row,) = await gw.booked()
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "word word word and the end."
    assert {c.id for c in chunks} == {"c"}
    assert chunks[-1].choices[0].finish_reason == "stop"
    sent = another.requests[0].json()["messages"]
    assert sent[-2]["role"] == "assistant"
    assert "word word word" in json.dumps(sent[-2])
    assert (row.outcome, row.deployment) == ("ok", "two/b")
    died, finished = row.attempt_log
    assert died["reason"] == "stream_died"
    assert died["cost_nano_usd"] > 0
    assert row.cost_nano_usd == died["cost_nano_usd"] + (600 * 5 + 400 * 0.5 + 10 * 25) * 1000
    assert "two/b finished the answer" in row.warnings[0]
    assert finished["deployment"] == "two/b"


async def test_an_anthropic_caller_gets_one_message_from_two_models(tmp_path):
    whole = says("anthropic-messages", "Paris is large", streaming=True)
    events = b"".join(whole.chunks or ()).split(b"\n\n")
    dying = stream(*[e + b"\n\n" for e in events[:4]], cut=True)
    toml = (
        host("{0}", "anthropic-messages", "a").replace("providers.up", "providers.one").replace("up/a", "one/a")
        + host("{1}", "openai-chat", "b").replace("providers.up", "providers.two").replace("up/b", "two/b")
        + '[fallbacks]\n"one/a" = ["two/b"]\n[delivery]\ncontinue_streams = true\n'
    )
    async with (
        ScriptedUpstream(dying) as one,
        ScriptedUpstream(says("openai-chat", ", very large.", streaming=True)) as another,
        gateway(toml.replace("{0}", one.url).replace("{1}", another.url), tmp_path) as gw,
    ):
        client = anthropic.AsyncAnthropic(base_url=gw.url, api_key="x", max_retries=0)
        async with client.messages.stream(model="one/a", max_tokens=50, messages=ASK) as streaming:
            message = await streaming.get_final_message()
        await client.close()
    assert len(message.content) == 1
    assert message.content[0].text.startswith("Pa")
    assert message.content[0].text.endswith(", very large.")
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize("why", ["off", "a tool was called", "nobody takes over"])
async def test_a_dying_stream_that_nobody_finishes_ends_with_its_error(tmp_path, why):
    called = calls("openai-chat", streaming=True)
    dying = stream(*(called.chunks or ())[:3], cut=True) if "tool" in why else stream(*[CHUNK] * 3, cut=True)
    second = (
        answer({"error": {"message": "no"}}, 500)
        if "nobody" in why
        else says("anthropic-messages", "x", streaming=True)
    )
    async with (
        ScriptedUpstream(dying) as one,
        ScriptedUpstream(second) as another,
        gateway(two(one.url, another.url, continued=why != "off"), tmp_path) as gw,
    ):
        body = json.dumps({"model": "one/a", "messages": ASK, "stream": True}).encode()
        status, _, raw = await post(gw.url, "/v1/chat/completions", body)
        (row,) = await gw.booked()
    assert status == 200
    assert b'"error"' in raw
    assert (row.outcome, row.deployment) == ("error", "one/a")
    assert len(another.requests) == (3 if "nobody" in why else 0)


async def test_comments_before_the_first_event_do_not_bind_to_a_provider(tmp_path):
    waking = stream(b": processing\n\n", b": processing\n\n", cut=True, pause_s=0.02)
    toml_of = lambda url: lab(url, url + "/x") + '[fallbacks]\n"lab/small" = ["claude/big"]\n'  # noqa: E731
    up = ScriptedUpstream(waking, waking, says("anthropic-messages", "Paris", streaming=True))
    async with up, gateway(toml_of(up.url), tmp_path) as gw:
        body = json.dumps({"model": "lab/small", "messages": ASK, "stream": True}).encode()
        status, headers, raw = await post(gw.url, "/v1/chat/completions", body)
    assert status == 200
    assert headers["x-turnout-model"] == "claude/big"
    assert b'"error"' not in raw


async def test_sdks_are_told_whether_trying_again_makes_sense(tmp_path):
    async with (
        ScriptedUpstream(answer({"error": {"message": "no", "code": "bad"}}, 400)) as up,
        gateway(lab(up.url), tmp_path) as gw,
    ):
        body = json.dumps({"model": "lab/small", "messages": ASK}).encode()
        _, headers, _ = await post(gw.url, "/v1/chat/completions", body)
        assert headers["x-should-retry"] == "false"
    async with ScriptedUpstream(answer(CHAT, 503)) as up, gateway(lab(up.url), tmp_path) as gw:
        _, headers, _ = await post(gw.url, "/v1/chat/completions", body)
        assert headers["x-should-retry"] == "true"
