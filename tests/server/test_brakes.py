"""A run that goes in circles is paused, through the whole gateway, and goes on when somebody says so."""

import asyncio
import json

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.guard import MOST_UNSEEN

PATH = "/v1/chat/completions"
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "big",
    "content": [{"type": "text", "text": "Paris."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 100, "output_tokens": 10},
}


def circling(times, model="lab/small", result="no such file"):
    """An agent's request after it has made the same call so often."""
    messages = [{"role": "user", "content": "fix it"}]
    for n in range(times):
        function = {"name": "open", "arguments": '{"path": "a.py"}'}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": f"c{n}", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": result},
        ]
    tools = [{"type": "function", "function": {"name": "open", "parameters": {"type": "object"}}}]
    return {"model": model, "max_tokens": 10, "messages": messages, "tools": tools}


async def ask(gw, body, session="run 1"):
    return await post(gw.url, PATH, json.dumps(body).encode(), [("x-turnout-session", session)])


async def admin(gw, method, path, body=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    writer.write(
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    raw = await reader.read()
    writer.close()
    return int(raw.split()[1]), json.loads(raw.partition(b"\r\n\r\n")[2])


async def test_of_a_conversation_that_comes_long_already_the_newest_messages_are_looked_at(tmp_path):
    body, once = circling(2), circling(1)["messages"][1:]
    for n in range(MOST_UNSEEN // 2):
        body["messages"] += json.loads(json.dumps(once).replace("c0", f"d{n}").replace("a.py", f"{n}.py"))
    body["messages"] += json.loads(json.dumps(once).replace("c0", "last"))
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        assert (await ask(gw, body))[0] == 200  # the first two of three are further back than a restart looks
        body["messages"] = body["messages"][:5] + body["messages"][-4:]
        assert (await ask(gw, body, "another run"))[0] == 403


async def test_the_third_identical_call_pauses_and_a_resume_lets_it_go_on(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        assert (await ask(gw, circling(1)))[0] == 200
        status, headers, _ = await ask(gw, circling(2))
        assert status == 200
        assert "for the second time" in headers["x-turnout-warnings"]
        status, _, raw = await ask(gw, circling(3))
        error = json.loads(raw)["error"]
        assert (status, error["code"]) == (403, "run_paused")
        assert "tool 'open' was called 3 times" in error["message"]
        assert "POST /admin/sessions/run%201/resume" in error["message"]
        assert (await ask(gw, circling(1)))[0] == 403, "it stays paused whatever it sends"
        assert (await ask(gw, circling(1), "run 2"))[0] == 200, "others go on"
        _, told = await admin(gw, "GET", "/admin/sessions")
        assert [(s["id"], s["state"]) for s in told["data"]] == [("run 2", "running"), ("run 1", "paused")]
        status, told = await admin(gw, "POST", "/admin/sessions/run%201/resume")
        assert (status, told["data"][0]["state"]) == (200, "running")
        assert (await ask(gw, circling(3)))[0] == 200
        assert len(up.requests) == 4
        assert (await admin(gw, "POST", "/admin/sessions/nobody/resume"))[0] == 404


async def test_what_three_sub_agents_of_a_session_each_do_once_is_no_loop(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        for task in ("fix a", "fix b", "fix c", "fix d"):
            body = circling(1)
            body["messages"][0]["content"] = task
            status, headers, _ = await ask(gw, body)
            assert (status, headers.get("x-turnout-warnings")) == (200, None)


async def test_branches_with_one_opening_are_counted_apart(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        for branch in range(5):
            body = circling(1)
            body["messages"].append({"role": "user", "content": f"branch {branch}"})
            assert (await ask(gw, body))[0] == 200


async def test_a_result_that_changes_is_no_loop(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        body = circling(5)
        for n, message in enumerate(m for m in body["messages"] if m["role"] == "tool"):
            message["content"] = f"{n} of 5 done"
        status, headers, _ = await ask(gw, body)
    assert (status, headers.get("x-turnout-warnings")) == (200, None)


async def test_a_brake_can_be_taken_away_or_only_warn(tmp_path):
    for told in ("repeat_call = 0\nno_progress = 0\ncycle = 0", 'actions = { repeat_call = "warn" }'):
        toml = f"[brakes]\n{told}\n"
        async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
            assert (await ask(gw, circling(4)))[0] == 200


async def test_an_agent_in_circles_goes_one_tier_up_once(tmp_path):
    toml = '[brakes]\nactions = { repeat_call = "escalate" }\n[routing]\nshort_prompt_tokens = 100000\n'
    async with (
        ScriptedUpstream(answer(CHAT)) as small,
        ScriptedUpstream(answer(ANTHROPIC)) as big,
        gateway(toml + lab(small.url, big.url), tmp_path) as gw,
    ):
        first = circling(2, model="tier/small")
        assert (await ask(gw, first))[1]["x-turnout-model"] == "lab/small"
        auto = circling(3, model="auto")
        del auto["tools"]
        status, headers, _ = await ask(gw, auto)
        assert (status, headers["x-turnout-model"]) == (200, "claude/big")


async def test_the_model_is_told_behind_the_cached_prefix(tmp_path):
    toml = '[brakes]\nnote = true\nactions = { repeat_call = "warn" }\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        body = circling(3)
        assert (await ask(gw, body))[0] == 200
        sent = up.requests[0].json()["messages"]
    assert sent[: len(body["messages"])] == body["messages"]
    assert "Note from the gateway" in sent[-1]["content"]


async def test_limits_may_be_for_one_feature_alone(tmp_path):
    toml = "[brakes.features.search]\nmax_session_steps = 1\n"
    plain = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        raw = json.dumps(plain).encode()
        search = [("x-turnout-session", "s"), ("x-turnout-tags", "feature=search")]
        assert [(await post(gw.url, PATH, raw, search))[0] for _ in range(2)] == [200, 403]
        assert [(await post(gw.url, PATH, raw, [("x-turnout-session", "t")]))[0] for _ in range(2)] == [200, 200]


async def test_money_is_added_to_a_period_and_a_restart_knows_it(tmp_path):
    toml = "[budgets.team]\namount_usd = 0.0000001\n"
    plain = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    async with ScriptedUpstream(answer(CHAT)) as up:
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            assert (await ask(gw, plain))[0] == 402
            status, told = await admin(gw, "POST", "/admin/budgets/team/add", b'{"usd": 2}')
            assert (status, round(told["left_usd"], 6)) == (200, 2)
            assert (await ask(gw, plain))[0] == 200
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            (budget,) = (await admin(gw, "GET", "/admin/budgets"))[1]["data"]
            assert round(budget["amount_usd"], 6) == 2
            assert (await ask(gw, plain))[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/admin/budgets/nobody/add", b'{"usd": 1}', 404),
        ("/admin/budgets/team/add", b'{"usd": "x"}', 400),
        ("/admin/budgets/team/add", b"", 400),
        ("/admin/budgets/team/add", b'{"usd": 1e30}', 400),
        ("/admin/budgets/team/add", b'{"eur": 1}', 400),
    ],
)
async def test_bad_changes_are_refused(tmp_path, path, body, status):
    async with gateway("[budgets.team]\namount_usd = 1\n" + lab("http://127.0.0.1:9"), tmp_path) as gw:
        got, told = await admin(gw, "POST", path, body)
        assert (got, "error" in told) == (status, True)


async def test_only_the_admin_key_opens_it(tmp_path):
    toml = '[keys.ci]\nkey = "tk-one"\n[server]\nadmin_key = "adm"\n'
    async with gateway(toml + lab("http://127.0.0.1:9"), tmp_path) as gw:
        for key, status in ((None, 401), ("tk-one", 401), ("adm", 404)):
            headers = [("authorization", f"Bearer {key}")] if key else []
            assert (await post(gw.url, "/admin/sessions/x/resume", b"", headers))[0] == status
