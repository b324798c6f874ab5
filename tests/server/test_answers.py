"""The response cache at the gateway: what comes back without asking a provider, and what never does."""

import asyncio
import json
from functools import partial

import pytest

from support.answers import ASK, BODIES, CALLERS, KEYS, ON, PATH, ask, asked, text_in, up
from support.calls import CHAT, post
from support.gateway import gateway, host, lab
from support.upstream import ScriptedUpstream, answer, stream
from support.wire import calls, says, tool_call
from turnout.chat import collect
from turnout.dialects import DIALECTS
from turnout.pipeline import Pipeline
from turnout.server.requests import story as request_story

# ---- Hits ----


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_the_same_request_is_answered_again_for_nothing(store, tmp_path):
    toml = ON + f'store = "{store}"\n'
    async with up() as upstream, gateway(toml + host(upstream.url, "openai-chat"), tmp_path) as gw:
        first = await ask(gw)
        status, headers, raw = await post(gw.url, *asked())
        rows = gw.rows()
        story = request_story(gw.engine, headers["x-turnout-request-id"], b"")
    assert (first[0], headers["x-turnout-cache"]) == ("miss", "hit")
    assert (status, raw) == (200, first[1])
    assert (headers["x-turnout-model"], headers["x-turnout-cost-usd"]) == ("up/big", "0")
    assert (headers["x-turnout-reason"], headers["x-turnout-attempts"]) == ("cache_hit", "0")
    assert int(headers["age"]) < 60
    assert len(upstream.requests) == 1
    hit, miss = rows
    assert (hit.reason, hit.cost_nano_usd, hit.input_tokens, hit.outcome, hit.status) == (
        "cache_hit",
        0,
        None,
        "ok",
        200,
    )
    assert (hit.deployment, hit.attempts, hit.attempt_log) == ("up/big", 0, [])
    assert miss.cost_nano_usd > 0
    assert story["decision"]["reason"] == "cache_hit"
    assert miss.request_id in story["decision"]["explanation"]


@CALLERS
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_in_the_same_form_it_comes_back_byte_for_byte(dialect, streaming, tmp_path):
    script = calls(dialect, streaming=streaming)
    async with up(dialect, script) as upstream, gateway(ON + host(upstream.url, dialect), tmp_path) as gw:
        first = await ask(gw, dialect, streaming=streaming)
        second = await ask(gw, dialect, streaming=streaming)
        rows = await gw.booked(2)
    assert second == ("hit", first[1])
    assert len(upstream.requests) == 1
    assert len(rows) == 2


@CALLERS
@pytest.mark.parametrize("streaming", [False, True], ids=["whole first", "stream first"])
@pytest.mark.parametrize("provider", BODIES)
async def test_in_the_other_form_it_is_the_same_answer(dialect, provider, streaming, tmp_path):
    script = says(provider, streaming=streaming)
    async with up(provider, script) as upstream, gateway(ON + host(upstream.url, provider), tmp_path) as gw:
        await ask(gw, dialect, streaming=streaming)
        state, raw = await ask(gw, dialect, streaming=not streaming)
    assert state == "hit"
    assert text_in(dialect, raw, streaming=not streaming) == "Paris."
    assert len(upstream.requests) == 1


@CALLERS
@pytest.mark.parametrize("streaming", [False, True], ids=["whole first", "stream first"])
async def test_a_tools_call_crosses_forms_with_its_id_and_arguments(dialect, streaming, tmp_path):
    def called(raw, streaming):
        decoder = DIALECTS[dialect].stream_decoder()
        told = collect([*decoder.feed(raw), *decoder.close()]) if streaming else DIALECTS[dialect].decode_response(raw)
        (part,) = told.parts
        return part.id, part.name, json.loads(part.arguments)

    script = tool_call(dialect, "get_weather", json.dumps({"city": "Paris", "text": "long " * 50}), streaming=streaming)
    async with up(dialect, script) as upstream, gateway(ON + host(upstream.url, dialect), tmp_path) as gw:
        _, first = await ask(gw, dialect, streaming=streaming)
        state, second = await ask(gw, dialect, streaming=not streaming)
    assert state == "hit"
    ours, theirs = called(first, streaming), called(second, not streaming)
    assert ours[1:] == theirs[1:]
    assert ours[0] == theirs[0] or dialect == "gemini"  # whose calls have no ids


async def test_usage_is_in_a_stream_where_it_is_asked_for(tmp_path):
    script = says("openai-chat", streaming=True)
    async with up("openai-chat", script) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        _, without = await ask(gw, streaming=True, usage=False)
        state, raw = await ask(gw, streaming=True, usage=True)
    assert b'"usage":{' not in without.replace(b'": ', b'":')
    assert state == "hit"
    assert b'"prompt_tokens":1000' in raw


async def test_thinking_is_not_lost_when_a_stream_is_replayed(tmp_path):
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"reasoning_content": "Hm."}, {"content": "Paris."}, {}]
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None if d else "stop"}]} for d in deltas]
    script = stream(*(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), b"data: [DONE]\n\n")
    async with up("openai-chat", script) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        await ask(gw, streaming=True)
        assert b"Hm." in (await ask(gw, streaming=True))[1]
        state, raw = await ask(gw)
    assert state == "hit"
    assert json.loads(raw)["choices"][0]["message"]["reasoning_content"] == "Hm."


async def test_embeddings_have_no_temperature(tmp_path):
    vector = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}], "model": "e"}
    body = json.dumps({"model": "up/big", "input": "hi"}).encode()
    script = answer({**vector, "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    async with up("", script) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = [await post(gw.url, "/v1/embeddings", body) for _ in range(2)]
    assert [headers["x-turnout-cache"] for _, headers, _ in told] == ["miss", "hit"]
    assert told[0][2] == told[1][2]
    assert len(upstream.requests) == 1


async def test_a_restart_loses_nothing_of_sqlites(tmp_path):
    toml = ON + 'store = "sqlite"\n'
    async with up() as upstream:
        config = toml + host(upstream.url, "openai-chat")
        async with gateway(config, tmp_path) as gw:
            first = await ask(gw)
        async with gateway(config, tmp_path) as gw:
            assert await ask(gw) == ("hit", first[1])
        assert len(upstream.requests) == 1


async def test_the_prompt_is_not_on_disk(tmp_path):
    secret = "the-secret-word"
    async with up() as upstream:
        config = ON + 'store = "sqlite"\n' + host(upstream.url, "openai-chat")
        async with gateway(config, tmp_path) as gw:
            await ask(gw, messages=[{"role": "user", "content": secret}])
    data = b"".join(f.read_bytes() for f in tmp_path.iterdir() if f.is_file())
    assert b"Paris." in data
    assert secret.encode() not in data


# ---- Misses ----


async def test_off_unless_the_config_says_so(tmp_path):
    async with up() as upstream, gateway(host(upstream.url, "openai-chat"), tmp_path) as gw:
        assert [(await ask(gw))[0] for _ in range(2)] == ["bypass", "bypass"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("scope", "states"), [("key", "mmmh"), ("team", "mhmh"), ("all", "mhhh")], ids=["key", "team", "all"]
)
async def test_answers_stay_within_their_scope(scope, states, tmp_path):
    config = ON + f'scope = "{scope}"\n' + KEYS
    async with up() as upstream, gateway(config + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = [
            (await ask(gw, headers=[("authorization", f"Bearer sk-{who}")]))[0] for who in ("ann", "bob", "eve", "ann")
        ]
    assert "".join(state[0] for state in told) == states


async def test_a_key_gets_no_answer_of_a_model_that_it_does_not_open(tmp_path):
    config = ON + 'scope = "all"\n[keys.ann]\nkey = "sk-ann"\n[keys.eve]\nkey = "sk-eve"\nmodels = ["up/none"]\n'
    async with up() as upstream, gateway(config + host(upstream.url, "openai-chat"), tmp_path) as gw:
        await ask(gw, headers=[("authorization", "Bearer sk-ann")])
        status, _, raw = await post(gw.url, *asked(), [("authorization", "Bearer sk-eve")])
    assert (status, json.loads(raw)["error"]["code"]) == (403, "model_not_allowed")


async def test_an_answer_expires(tmp_path):
    async with up() as upstream, gateway(ON + "ttl_s = 60\n" + host(upstream.url, "openai-chat"), tmp_path) as gw:
        states = []
        for now in (1000.0, 1059.0, 1061.0, 1062.0):
            gw.engine.state.memory.answers._clock = partial(float, now)
            states.append((await ask(gw))[0])
    assert states == ["miss", "hit", "miss", "hit"]


async def test_the_bound_holds(tmp_path):
    long = [says("openai-chat", "x" * 600)]
    config = ON + "max_bytes = 2500\n"
    async with up("", *long) as upstream, gateway(config + host(upstream.url, "openai-chat"), tmp_path) as gw:
        for n in range(5):
            await ask(gw, max_tokens=100 + n)
        states = [(await ask(gw, max_tokens=100 + n))[0] for n in (4, 0)]
    assert states == ["hit", "miss"]


async def test_an_answer_larger_than_the_bound_is_not_kept(tmp_path):
    config = ON + "max_bytes = 100\n"
    async with up() as upstream, gateway(config + host(upstream.url, "openai-chat"), tmp_path) as gw:
        assert [(await ask(gw))[0] for _ in range(2)] == ["miss", "miss"]


@pytest.mark.parametrize(
    ("more", "states"),
    [({"temperature": 0.7}, "bb"), ({"temperature": None}, "bb"), ({"n": 2}, "bb"), ({"temperature": 0.0}, "mh")],
    ids=str,
)
async def test_what_a_model_may_say_otherwise_each_time_is_asked_each_time(more, states, tmp_path):
    async with up() as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = [(await ask(gw, **more))[0] for _ in range(2)]
    assert "".join(state[0] for state in told) == states


@pytest.mark.parametrize("asks", ["config", "header"])
async def test_any_temperature_where_the_config_or_the_caller_says_so(asks, tmp_path):
    config = ON + ("any_temperature = true\n" if asks == "config" else "")
    headers = [("x-turnout-cache", "on")] if asks == "header" else []
    async with up() as upstream, gateway(config + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = [(await ask(gw, headers=headers, temperature=t))[0] for t in (1, 1, 0.5)]
    assert told == ["miss", "hit", "miss"]


@pytest.mark.parametrize(
    "header",
    [("cache-control", "no-cache"), ("x-turnout-cache", "refresh"), ("x-portkey-cache-force-refresh", "true")],
    ids=str,
)
async def test_a_refresh_asks_anew_and_keeps_that(header, tmp_path):
    async with up() as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = [await ask(gw), await ask(gw, headers=[header]), await ask(gw)]
    assert [state for state, _ in told] == ["miss", "miss", "hit"]
    assert b"Berlin." in told[1][1]
    assert told[2][1] == told[1][1]


@pytest.mark.parametrize("header", [("cache-control", "no-store"), ("x-turnout-cache", "off")], ids=str)
async def test_no_store_leaves_no_trace_and_gets_none(header, tmp_path):
    async with up() as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        states = [(await ask(gw, headers=[header]))[0], (await ask(gw))[0], (await ask(gw, headers=[header]))[0]]
    assert states == ["bypass", "miss", "bypass"]
    assert len(upstream.requests) == 3


async def test_max_age_takes_no_older_answer(tmp_path):
    async with up() as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        now = 1000.0
        gw.engine.state.memory.answers._clock = lambda: now
        await ask(gw)
        now = 1050.0
        states = [(await ask(gw, headers=[("cache-control", f"max-age={n}")]))[0] for n in (60, 10)]
    assert states == ["hit", "miss"]


async def test_litellms_cache_object_is_understood_and_no_provider_sees_it(tmp_path):
    async with up() as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = [
            await ask(gw, cache={"ttl": 60}),
            await ask(gw),
            await ask(gw, cache={"no-cache": True}),
            await ask(gw, cache={"namespace": "n"}),
        ]
    assert [state for state, _ in told] == ["miss", "hit", "miss", "miss"]
    assert all("cache" not in request.json() for request in upstream.requests)


@pytest.mark.parametrize(
    "script",
    [
        answer({**CHAT, "choices": [{**CHAT["choices"][0], "finish_reason": "length"}]}),
        answer({**CHAT, "choices": [{**CHAT["choices"][0], "finish_reason": "content_filter"}]}),
        answer({**CHAT, "choices": [{**CHAT["choices"][0], "message": {"role": "assistant", "refusal": "No."}}]}),
        answer({**CHAT, "choices": [{**CHAT["choices"][0], "message": {"role": "assistant", "content": ""}}]}),
        answer({"error": {"message": "no", "code": "bad"}}, 400),
    ],
    ids=["length", "content_filter", "refusal", "empty", "error"],
)
async def test_what_did_not_go_well_is_never_kept(script, tmp_path):
    async with up("", script, answer(CHAT)) as upstream, gateway(ON + lab(upstream.url), tmp_path) as gw:
        body = json.dumps({**ASK, "model": "lab/small"}).encode()
        told = [await post(gw.url, PATH, body) for _ in range(3)]
    assert [headers.get("x-turnout-cache", "none") for _, headers, _ in told][1:] == ["miss", "hit"]
    assert len(upstream.requests) == 2


@CALLERS
async def test_a_stream_that_broke_is_never_kept(dialect, tmp_path):
    whole = says(dialect, streaming=True)
    broken = stream(*whole.chunks[:-2], cut=True)
    async with up("", broken, whole) as upstream, gateway(ON + host(upstream.url, dialect), tmp_path) as gw:
        states = [(await ask(gw, dialect, streaming=True))[0] for _ in range(3)]
        rows = await gw.booked(3)
    assert states == ["miss", "miss", "hit"]
    assert [r.outcome for r in rows] == ["ok", "ok", "error"]


async def test_a_stand_ins_answer_is_not_kept_in_place_of_the_models_own(tmp_path):
    async with (
        ScriptedUpstream(answer({}, 500), says("anthropic-messages")) as big,
        ScriptedUpstream(answer(CHAT)) as small,
    ):
        config = ON + '[fallbacks]\n"claude/big" = ["lab/small"]\n[delivery]\nretries = 0\n'
        async with gateway(config + lab(small.url, big.url), tmp_path) as gw:
            body = json.dumps({**ASK, "model": "claude/big"}).encode()
            told = [(await post(gw.url, PATH, body))[1] for _ in range(3)]
    assert [h["x-turnout-model"] for h in told] == ["lab/small", "claude/big", "claude/big"]
    assert [h["x-turnout-cache"] for h in told] == ["miss", "miss", "hit"]


# ---- Money and brakes ----


async def test_a_hit_costs_no_budget_even_one_that_is_used_up(tmp_path):
    async with up() as upstream:
        config = ON + "[budgets.all]\namount_usd = 0.0075\n" + host(upstream.url, "openai-chat")
        async with gateway(config, tmp_path) as gw:
            await ask(gw, max_tokens=10)
            spent = gw.engine.state.memory.budgets.spent("all")
            for _ in range(3):
                assert (await ask(gw, max_tokens=10))[0] == "hit"
            await ask(gw, max_tokens=11)
            status, _, _ = await post(gw.url, *asked(max_tokens=1000))
            assert (await ask(gw, max_tokens=10))[0] == "hit"
            assert gw.engine.state.memory.budgets.spent("all") == 2 * spent
            assert gw.engine.state.memory.budgets.held("all") == 0
            rows = gw.rows()
    assert status == 402
    assert len({row.request_id for row in rows}) == len(rows) == 7


async def test_brakes_see_a_step_that_was_free(tmp_path):
    config = ON + "[brakes]\nmax_session_steps = 3\n"
    headers = [("x-turnout-session", "s1")]
    async with up() as upstream, gateway(config + host(upstream.url, "openai-chat"), tmp_path) as gw:
        states = [(await ask(gw, headers=headers))[0] for _ in range(3)]
        status, _, raw = await post(gw.url, *asked(), headers)
        steps = sorted(row.step for row in gw.rows())
    assert states == ["miss", "hit", "hit"]
    assert (status, json.loads(raw)["error"]["code"]) == (403, "run_paused")
    assert steps == [0, 1, 2, 3]


# ---- At once ----


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_fifty_who_ask_the_same_at_once_make_one_call(streaming, tmp_path):
    script = says("openai-chat", streaming=streaming)
    script = stream(*script.chunks, pause_s=0.05) if streaming else script
    async with up("", script) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        told = await asyncio.gather(*(ask(gw, streaming=streaming) for _ in range(50)))
        rows = await gw.booked(50)
    assert len(upstream.requests) == 1
    states = [state for state, _ in told]
    assert states.count("miss") == 1
    assert set(states) <= {"miss", "hit", "shared"}
    assert len({raw for _, raw in told}) == 1
    assert sorted(row.cost_nano_usd for row in rows)[:49] == [0] * 49
    assert len({row.request_id for row in rows}) == 50


async def test_streams_and_whole_answers_share_a_call(tmp_path):
    script = says("openai-chat", streaming=True)
    script = stream(*script.chunks, pause_s=0.1)
    async with up("", script) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        leading = asyncio.create_task(ask(gw, streaming=True))
        await arrived(upstream, 1)
        state, raw = await ask(gw)
        await leading
    assert state == "shared"
    assert text_in("openai-chat", raw, streaming=False) == "Paris."
    assert len(upstream.requests) == 1


async def arrived(upstream, count):
    async with asyncio.timeout(5):
        while len(upstream.requests) < count:  # noqa: ASYNC110 - the upstream tells nobody
            await asyncio.sleep(0.01)


async def waiting(gw, count):
    """Until so many requests have come as far as the cache."""
    async with asyncio.timeout(5):
        while len(gw.engine.state.memory.sessions) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def begun(gw, **more):
    """A request whose caller can hang up: the connection's writer."""
    path, body = asked(**more)
    _, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    return writer


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_when_the_leader_hangs_up_one_of_the_others_makes_the_call(streaming, tmp_path):
    whole = says("openai-chat", streaming=streaming)
    slow = stream(*whole.chunks[:2], stall=True) if streaming else answer({})
    slow.hang = not streaming
    async with up("", slow, whole) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        leading = await begun(gw, streaming=streaming)
        await arrived(upstream, 1)
        others = [asyncio.create_task(ask(gw, streaming=streaming)) for _ in range(10)]
        await waiting(gw, 11)
        leading.close()
        async with asyncio.timeout(10):
            told = await asyncio.gather(*others)
        rows = await gw.booked(11)
    assert len(upstream.requests) == 2
    assert [state for state, _ in told].count("miss") == 1
    assert sorted(row.outcome for row in rows) == ["cancelled"] + ["ok"] * 10


async def test_when_the_leader_fails_each_asks_for_itself(tmp_path):
    slow = stream(b"", pause_s=0.3)
    slow.status = 400
    slow.chunks = [b"{", b"}"]
    async with (
        up("", slow, says("openai-chat")) as upstream,
        gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw,
    ):
        leading = asyncio.create_task(post(gw.url, *asked()))
        await arrived(upstream, 1)
        others = [asyncio.create_task(ask(gw)) for _ in range(5)]
        await waiting(gw, 6)
        status, _, _ = await leading
        async with asyncio.timeout(10):
            told = await asyncio.gather(*others)
        assert (await ask(gw))[0] == "hit"
    assert status == 400
    assert {raw for _, raw in told} == {told[0][1]}
    assert 2 <= len(upstream.requests) <= 6


async def test_a_waiting_caller_may_leave_and_harms_nobody(tmp_path):
    script = says("openai-chat", streaming=True)
    script = stream(*script.chunks, pause_s=0.1)
    async with up("", script) as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        leading = asyncio.create_task(ask(gw, streaming=True))
        await arrived(upstream, 1)
        staying = asyncio.create_task(ask(gw, streaming=True))
        leaving = await begun(gw, streaming=True)
        await waiting(gw, 3)
        leaving.close()
        first, second = await leading, await staying
        rows = await gw.booked(3)
        assert gw.engine.state.memory.answers._shared == {}
        assert gw.engine.state.memory.answers._asked == {}
    assert (second[0], second[1]) == ("shared", first[1])
    assert sorted(row.outcome for row in rows) == ["cancelled", "ok", "ok"]


async def test_a_fault_of_ours_leaves_nobody_waiting(tmp_path, monkeypatch):

    async with up() as upstream, gateway(ON + host(upstream.url, "openai-chat"), tmp_path) as gw:
        with monkeypatch.context() as patched:
            patched.setattr(Pipeline, "reserve", lambda *_: 1 / 0)
            told = await asyncio.gather(*(post(gw.url, *asked()) for _ in range(5)))
        assert [status for status, _, _ in told] == [500] * 5
        assert gw.engine.state.memory.answers._shared == {}
        assert (await ask(gw))[0] == "miss"
