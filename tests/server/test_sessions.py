"""Whole sessions through the gateway: they stay, rise on evidence, come back, make detours, and know what is warm."""

import asyncio
import json

import pytest

from support.calls import CHAT, post
from support.gateway import gateway
from support.upstream import ScriptedUpstream, answer

PATH = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "run", "description": "runs a command " * 200}}]


def toml(url, extra=""):
    return (
        f'[providers.openai]\nbase_url = "{url}/v1"\napi_key = "sk-x"\n'
        '[models."openai/gpt-4.1"]\ntier = "frontier"\n[models."openai/gpt-4.1-nano"]\ntier = "small"\n' + extra
    )


def request(*results, model="auto"):
    """An agent's request after so many calls of its tool, with these results."""
    messages = [
        {"role": "system", "content": "You mend code. " * 300},
        {"role": "user", "content": "make the tests pass"},
    ]
    for n, result in enumerate(results):
        call = {
            "id": f"c{n}",
            "type": "function",
            "function": {"name": "run", "arguments": json.dumps({"cmd": "test"})},
        }
        messages += [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"{result} ({n})"},
        ]
    return json.dumps({"model": model, "messages": messages, "tools": TOOLS}).encode()


async def asked(gw, body, session="s1"):
    status, headers, _ = await post(gw.url, PATH, body, [("x-turnout-session", session)])
    assert status == 200
    return headers["x-turnout-model"], headers["x-turnout-reason"]


async def get(url, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    raw = await reader.read()
    writer.close()
    return raw.partition(b"\r\n\r\n")[2]


async def explained(gw, body, session="s1"):
    status, _, told = await post(gw.url, "/v1/route", body, [("x-turnout-session", session)])
    assert status == 200
    return json.loads(told)


def usage(prompt, cached=0):
    details = {"cached_tokens": cached}
    return answer(
        {**CHAT, "usage": {"prompt_tokens": prompt, "completion_tokens": 20, "prompt_tokens_details": details}}
    )


SMALL = '[budgets.all]\namount_usd = 1\non_exhausted = "small"\nsmall_reserve_usd = 1\npacing = "off"\n'


async def test_a_switch_is_no_eviction_and_the_explanation_says_what_is_warm(tmp_path):
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url), tmp_path) as gw:
        await asked(gw, request())
        await asked(gw, request("exit code: 0", model="openai/gpt-4.1-nano"))
        told = await explained(gw, request("exit code: 0", "exit code: 0"))
        by_model = {c["model"]: c for c in told["candidates"]}
        assert by_model["openai/gpt-4.1"]["cache"] == "return"
        assert by_model["openai/gpt-4.1-nano"]["cache"] == "stay"
        assert by_model["openai/gpt-4.1-nano"]["warm_tokens"] >= by_model["openai/gpt-4.1"]["warm_tokens"] > 1_024
        other = await explained(gw, request(), "another session")
        assert {c["cache"] for c in other["candidates"]} == {"first"}, "system text and tools are warm for all"


async def test_what_the_provider_reports_corrects_what_is_expected(tmp_path):
    async with ScriptedUpstream(usage(3_000, cached=0)) as up, gateway(toml(up.url), tmp_path) as gw:
        results = []
        for _ in range(12):
            await asked(gw, request(*results))
            results.append("exit code: 0")
        told = await explained(gw, request(*results))
        tokens, warm = told["request"]["input_tokens_estimate"], told["candidates"][0]["warm_tokens"]
        assert 0 < warm < 0.4 * tokens, "it has broken its promise eleven times: the rule weighs as much as five"
        (figure,) = json.loads(await get(gw.url, "/admin/caches"))["data"]
        assert (figure["rule"], figure["visit"], figure["age_below"]) == ("openai-automatic", "stay", "1m")
        assert (figure["requests"], figure["read"]) == (11, 0)


async def test_a_session_on_a_small_model_rises_on_evidence_and_comes_back_when_it_recovers(tmp_path):
    """It begins small because a budget asks for that; then the budget is raised, and the agent runs into failures."""
    async with ScriptedUpstream(usage(3_000, cached=2_900)) as up, gateway(toml(up.url, SMALL), tmp_path) as gw:
        assert (await asked(gw, request()))[0] == "openai/gpt-4.1-nano"
        gw.engine.pipeline._budgets.add("all", 10**12)
        fine, red = "exit code: 0", ["2 failed\nexit code: 2", "1 failed\nexit code: 2"]
        assert await asked(gw, request(fine)) == ("openai/gpt-4.1-nano", "pinned")
        assert (await asked(gw, request(fine, red[0])))[1] == "pinned", "one failure is none"
        assert await asked(gw, request(fine, *red)) == ("openai/gpt-4.1", "escalated")
        assert await asked(gw, request(fine, *red, "ok")) == ("openai/gpt-4.1-nano", "returned")
        assert (await asked(gw, request(fine, *red, "ok", "ok")))[0] == "openai/gpt-4.1-nano"


async def test_a_refusal_is_evidence(tmp_path):
    refused = {
        "message": {"role": "assistant", "content": None, "refusal": "no"},
        "finish_reason": "content_filter",
        "index": 0,
    }
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url, SMALL), tmp_path) as gw:
        await asked(gw, request())
        gw.engine.pipeline._budgets.add("all", 10**12)
        up._scripts[:] = [answer({**CHAT, "choices": [refused]})]
        await asked(gw, request("fine"))
        up._scripts[:] = [usage(3_000)]
        assert await asked(gw, request("fine", "fine")) == ("openai/gpt-4.1", "escalated")


@pytest.mark.parametrize(("detours", "routine"), [("true", "openai/gpt-4.1-nano"), ("false", "openai/gpt-4.1")])
async def test_routine_steps_make_a_detour_only_where_that_is_asked_for(tmp_path, detours, routine):
    extra = f"[routing]\ndetours = {detours}\n"
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url, extra), tmp_path) as gw:
        assert (await asked(gw, request()))[0] == "openai/gpt-4.1"
        assert (await asked(gw, request("fine")))[0] == routine
        assert (await asked(gw, request("fine", "Error: no such file")))[0] == "openai/gpt-4.1", (
            "a failure is not routine"
        )


async def test_nobody_is_sent_another_models_sealed_thinking(tmp_path):
    """Between a signed thought and its tool's result the session stays where it is."""
    extra = "[routing]\ndetours = true\n"
    body = json.loads(request("fine"))
    body["messages"][-2]["reasoning_details"] = [{"type": "reasoning.encrypted", "encrypted_content": "xyz"}]
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url, extra), tmp_path) as gw:
        await asked(gw, request())
        assert (await asked(gw, json.dumps(body).encode()))[0] == "openai/gpt-4.1"


async def test_parallel_sub_agents_of_one_session_do_not_disturb_each_other(tmp_path):
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url), tmp_path) as gw:
        bodies = [json.loads(request()) for _ in range(5)]
        for n, body in enumerate(bodies):
            body["messages"][1]["content"] = f"task {n}"
        await asyncio.gather(*(asked(gw, json.dumps(body).encode()) for body in bodies))
        assert len(gw.engine.state.memory.sessions) == 5
        assert {row.session_id for row in gw.rows()} == {"s1"}


async def test_an_answer_that_was_kept_here_warms_no_provider(tmp_path):
    extra = "[answers]\nenabled = true\n"
    body = json.loads(request())
    body["temperature"] = 0
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url, extra), tmp_path) as gw:
        raw = json.dumps(body).encode()
        await asked(gw, raw)
        prefixes = dict(gw.engine.state.memory.foresight.warmth._prefixes)
        status, headers, _ = await post(gw.url, PATH, raw, [("x-turnout-session", "s2")])
        assert (status, headers["x-turnout-cache"]) == (200, "hit")
        assert gw.engine.state.memory.foresight.warmth._prefixes == prefixes


async def test_a_stand_in_for_one_request_is_no_choice_for_the_session(tmp_path):
    async with ScriptedUpstream(usage(3_000)) as up, gateway(toml(up.url), tmp_path) as gw:
        up._scripts[:] = [answer({"error": {"message": "no"}}, status=500), usage(3_000)]
        assert (await asked(gw, request()))[0] == "openai/gpt-4.1-nano"
        up._scripts[:] = [usage(3_000)]
        assert (await asked(gw, request("fine")))[0] == "openai/gpt-4.1"
