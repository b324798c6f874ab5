"""Token volume from real requests through the gateway: parts, repetition, growth, and what would save most."""

import asyncio
import json

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer

PATH = "/v1/chat/completions"


async def get(gw, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    raw = await reader.read()
    writer.close()
    return int(raw.split()[1]), json.loads(raw.partition(b"\r\n\r\n")[2])


def step(count):
    """An agent's request at its n-th step: it resends all, and a tool's result more each time."""
    messages = [{"role": "system", "content": "You mend code. " * 50}, {"role": "user", "content": "fix it"}]
    for n in range(count):
        function = {"name": "open", "arguments": json.dumps({"path": f"{n}.py"})}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": f"c{n}", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"line {n} of the file " * 40},
        ]
    tools = [{"type": "function", "function": {"name": "open", "description": "opens a file " * 20}}]
    return json.dumps({"model": "lab/small", "max_tokens": 10, "messages": messages, "tools": tools}).encode()


async def ran(gw, up, steps=4, feature="search"):
    headers = [("x-turnout-session", feature), ("x-turnout-tags", f"feature={feature}")]
    for n in range(steps):
        usage = {"prompt_tokens": 1000 + 500 * n, "completion_tokens": 10}
        up._scripts[:] = [answer({**CHAT, "usage": usage})]
        assert (await post(gw.url, PATH, step(n), headers))[0] == 200
    gw.engine.ledger.flush()


async def test_where_the_tokens_of_a_feature_went(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        await ran(gw, up)
        await ran(gw, up, 1, "chat")
        status, told = await get(gw, "/admin/usage?by=feature&since=1h")
        assert status == 200
        search, chat = told["data"]
        assert (search["group"], chat["group"]) == ("search", "chat"), "the dearest first"
        assert (search["requests"], search["input_tokens"], search["sessions"]) == (4, 7000, 1)
        assert search["growth_per_step"] == 500
        assert abs(sum(search["parts"].values()) - 7000) <= 20
        assert {part for part, tokens in search["parts"].items() if tokens} == {
            *("system", "tools", "history", "tool_results"),
        }
        # Each step repeats the one before: all but the newest step's results.
        assert 0.4 < search["repeated_share"] < 0.95
        assert chat["repeated_share"] == 0
        assert told["advice"][0]["title"].startswith("let lab/small read its cache")
        assert told["advice"][0]["group"] == "search"
        assert told["advice"][0]["saving_usd"] > 0
        steps = (await get(gw, "/admin/usage?by=step"))[1]["data"]
        assert {s["group"] for s in steps} == {"0", "1", "2", "3"}
        tags = (await get(gw, "/admin/usage?by=tag:feature"))[1]["data"]
        assert [g["group"] for g in tags] == ["search", "chat"]


async def test_wrong_questions_are_told_the_right_ones(tmp_path):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        status, told = await get(gw, "/admin/usage?by=featur")
        assert (status, "did you mean feature?" in told["error"]["message"]) == (400, True)
        assert (await get(gw, "/admin/usage?since=yesterday"))[0] == 400
        assert (await get(gw, "/admin/usage?by=tag:x')--"))[0] == 400
        assert (await get(gw, "/admin/usage"))[1]["data"] == []


async def test_what_was_cached_is_no_more_to_be_saved(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        for n in range(3):
            details = {"cached_tokens": 900 if n else 0}
            usage = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": details}
            up._scripts[:] = [answer({**CHAT, "usage": usage})]
            assert (await post(gw.url, PATH, step(n), [("x-turnout-session", "s")]))[0] == 200
        (group,) = (await get(gw, "/admin/usage?by=all"))[1]["data"]
        assert group["cached_share"] == 0.6
