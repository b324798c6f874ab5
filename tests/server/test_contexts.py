"""What a session carries for nothing, through the whole gateway: looked at where asked for, and no request changed."""

import asyncio
import json

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.contexts import Contexts
from turnout.spend.runs import Runs

ON = "[context]\nreport = true\n"
FILE = "\n".join(f"def handler_{n}(request): return respond({n}00)" for n in range(60))
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name * 50, "parameters": {"type": "object"}}}
    for name in ("open", "deploy")
]


def reading(times):
    """An agent's request after it has opened the same file so often, each time by another path."""
    messages = [{"role": "system", "content": "You mend code."}, {"role": "user", "content": "fix it"}]
    for n in range(times):
        function = {"name": "open", "arguments": json.dumps({"path": "./" * n + "a.py"})}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": f"c{n}", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": FILE},
        ]
    return {"model": "lab/small", "max_tokens": 10, "messages": messages, "tools": TOOLS}


async def ask(gw, body, session="run 1"):
    return await post(gw.url, "/v1/chat/completions", json.dumps(body).encode(), [("x-turnout-session", session)])


async def context(gw, session="run%201", key=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    auth = f"authorization: Bearer {key}\r\n" if key else ""
    writer.write(
        f"GET /admin/sessions/{session}/context HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{auth}\r\n".encode()
    )
    raw = await reader.read()
    writer.close()
    return int(raw.split()[1]), json.loads(raw.partition(b"\r\n\r\n")[2])


async def test_an_admin_sees_what_a_session_carries_and_no_request_is_changed(tmp_path):
    sent = [reading(n) for n in range(4)]
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(ON + lab(up.url), tmp_path) as gw:
        for body in sent:
            assert (await ask(gw, body))[0] == 200
        status, told = await context(gw)
        received = [json.loads(request.body) for request in up.requests]
    assert status == 200
    (conversation,) = told["data"]
    assert (conversation["requests"], conversation["model"], conversation["results"]) == (4, "lab/small", 3)
    kinds = {(f["kind"], f["tool"], f["step"]) for f in conversation["findings"]}
    assert kinds == {("unused_tool", "deploy", 0), ("duplicate_result", "open", 2), ("duplicate_result", "open", 3)}
    duplicate = next(f for f in conversation["findings"] if f["step"] == 2)
    assert (duplicate["same_as"], duplicate["requests"], duplicate["verdict"]) == (1, 2, "worth it")
    assert duplicate["net_usd"] > 0
    assert "handler_12" not in json.dumps(told)
    assert [{**body, "model": None} for body in received] == [{**body, "model": None} for body in sent]


@pytest.mark.parametrize("toml", ["", "[context]\nreport = false\n"])
async def test_nothing_is_looked_at_unless_asked_for(toml, tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        await ask(gw, reading(2))
        status, told = await context(gw)
        assert len(gw.engine.state.memory.contexts) == 0
    assert status == 404
    assert "context.report = true" in told["error"]["message"]


async def test_a_conversation_that_was_compacted_is_counted_anew(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(ON + lab(up.url), tmp_path) as gw:
        await ask(gw, reading(2))
        compacted = reading(1)
        compacted["messages"][2:] = [{"role": "assistant", "content": "handler_3 was looked at"}]
        await ask(gw, compacted)
        _, told = await context(gw)
    assert [(c["requests"], c["results"]) for c in told["data"]] == [(1, 0), (1, 2)], "the latest first"


async def test_brakes_see_what_they_saw_before(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(ON + lab(up.url), tmp_path) as gw:
        body = reading(3)
        for message in body["messages"]:
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = '{"path": "a.py"}'
        status, _, raw = await ask(gw, body)
    assert (status, json.loads(raw)["error"]["code"]) == (403, "run_paused")


async def test_only_an_admin_may_look(tmp_path):
    toml = '[server]\nadmin_key = "sk-admin"\n[keys.ci]\nkey = "sk-ci-key"\n' + ON
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        await post(
            gw.url,
            "/v1/chat/completions",
            json.dumps(reading(1)).encode(),
            [("x-turnout-session", "run 1"), ("authorization", "Bearer sk-ci-key")],
        )
        assert (await context(gw))[0] == 401
        assert (await context(gw, key="sk-ci-key"))[0] in {401, 403}
        assert (await context(gw, key="sk-admin"))[0] == 200


class Meanwhile(str):
    """A session's id that is compared while another request comes in."""

    __slots__ = ("comes",)

    def __eq__(self, other):
        self.comes()
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_who_looks_from_another_thread_does_not_mind_that_requests_come():
    contexts, runs = Contexts(), Runs()
    for n in range(3):
        contexts._watched["k", f"s{n}", "t"] = n
        runs.meet("k", f"s{n}")
    name = Meanwhile("s0")
    name.comes = lambda: contexts._watched.__setitem__(("k", f"more {len(contexts)}", "t"), 0)
    assert list(contexts.of(name)) == [0]
    name.comes = lambda: runs.meet("k", f"more {len(list(runs))}")
    assert [owner for owner, _ in runs.of(name)] == ["k"]
