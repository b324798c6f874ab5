"""What becomes of answers, over real sockets: feedback, what the next request shows, and what an admin sees of it."""

import asyncio
import json
import sqlite3

import pytest

from support.calls import CHAT, post
from support.gateway import gateway
from support.upstream import ScriptedUpstream, answer, stream
from turnout.routing.features import Features
from turnout.routing.outcomes import TRUST

PATH = "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "run", "description": "runs a command " * 200}}]
SMALL = '[budgets.all]\namount_usd = 1\non_exhausted = "small"\nsmall_reserve_usd = 1\npacing = "off"\n'
KEYS = '[keys.one]\nkey = "sk-one"\n[keys.two]\nkey = "sk-two"\n[keys.shy]\nkey = "sk-shy"\nlearning = false\n'
ADMIN = '[server]\nadmin_key = "sk-admin"\n'


def toml(url, extra=""):
    return (
        f'[providers.openai]\nbase_url = "{url}/v1"\napi_key = "sk-x"\n'
        '[models."openai/gpt-4.1"]\ntier = "frontier"\n[models."openai/gpt-4.1-nano"]\ntier = "small"\n' + extra
    )


def agent(*results, arguments='{"cmd": "test"}'):
    messages = [{"role": "user", "content": "make the tests pass"}]
    for n, result in enumerate(results):
        call = {"id": f"c{n}", "type": "function", "function": {"name": "run", "arguments": arguments}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"{result} ({n})"},
        ]
    return {"model": "auto", "messages": messages, "tools": TOOLS}


def chat(*turns, **more):
    messages = [{"role": "assistant" if n % 2 else "user", "content": turn} for n, turn in enumerate(turns)]
    return {"model": "auto", "messages": messages, **more}


async def asked(gw, body, key=None, session="s1"):
    headers = [("x-turnout-session", session)] + ([("authorization", f"Bearer {key}")] if key else [])
    status, told, _ = await post(gw.url, PATH, json.dumps(body).encode(), headers)
    assert status == 200
    return told["x-turnout-request-id"]


async def judged(gw, value, key=None):
    headers = [("authorization", f"Bearer {key}")] if key else []
    status, _, body = await post(gw.url, "/v1/feedback", json.dumps(value).encode(), headers)
    return status, json.loads(body)


async def get(gw, path, key=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    auth = f"authorization: Bearer {key}\r\n" if key else ""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{auth}\r\n".encode())
    raw = await reader.read()
    writer.close()
    return json.loads(raw.partition(b"\r\n\r\n")[2])


def said(gw):
    """Who said what of which request, oldest first."""
    return [(o.request_id, o.source, o.score) for o in reversed(gw.engine.state.memory.learner.store.recent(100))]


async def test_feedback_is_recorded_replaced_and_seen(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url), tmp_path) as gw:
        request = await asked(gw, chat("What is the capital of France?"))
        first = await judged(gw, {"request_id": request, "score": 1, "label": "thumb"})
        again = await judged(gw, {"request_id": request, "score": 0.25})
        (kept,) = (await get(gw, "/admin/outcomes"))["data"]
        assert (await get(gw, "/admin/outcomes?model=openai/gpt-4.1"))["data"] == []
        (standing,) = (await get(gw, "/admin/learning"))["data"]
    told = {"request_id": request, "model": "openai/gpt-4.1-nano", "recorded": True}
    assert first == again == (200, told)
    assert (kept["request_id"], kept["score"], kept["source"], kept["label"]) == (request, 0.25, "feedback", None)
    assert (kept["weight"], kept["model"]) == (TRUST["feedback"], "openai/gpt-4.1-nano")
    assert (standing["model"], standing["outcomes"], standing["alarm"]) == ("openai/gpt-4.1-nano", 1, False)


async def test_a_whole_session_is_judged_where_its_model_was_chosen(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url), tmp_path) as gw:
        first = await asked(gw, chat("What is the capital of France?"), session="trip")
        await asked(gw, chat("What is the capital of France?", "And of Spain?"), session="trip")
        other = await asked(gw, chat("Translate this"), session="else")
        over = await judged(gw, {"session": "trip", "score": 0.5})
        await judged(gw, {"session": "trip", "score": 1})
        unknown = await judged(gw, {"session": "nobody's", "score": 1})
        both = await judged(gw, {"session": "trip", "request_id": other, "score": 1})
        told = said(gw)
    assert over == (200, {"session": "trip", "requests": [first], "recorded": True})
    assert [said for said in told if said[1] == "session"] == [(first, "session", 1.0)]
    assert (unknown[0], both[0]) == (404, 400)


async def test_what_was_predicted_is_what_is_explained_recorded_and_held_against_what_came(tmp_path):
    half = "[routing]\nquality = 0.5\n"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url, half), tmp_path) as gw:
        question = "Fill this form from the letter of Mrs Ito"
        for number in range(60):
            for model in ("openai/gpt-4.1", "openai/gpt-4.1-nano"):
                request = await asked(gw, {**chat(question), "model": model}, session=f"{model} {number}")
                await judged(gw, {"request_id": request, "score": 1})
        body = json.dumps(chat(question)).encode()
        _, _, raw = await post(gw.url, "/v1/route", body, [])
        explained = json.loads(raw)
        request = await asked(gw, chat(question), session="new")
        predictor = gw.engine.state.memory.learner.predictor
        features = gw.engine.state.memory.learner.known(request).features
        chance = predictor.predict(predictor.see(Features.unpack(features)), "openai/gpt-4.1-nano")
        await judged(gw, {"request_id": request, "score": 1})
        story = await get(gw, f"/admin/requests/{request}")
        (kept,) = (await get(gw, "/admin/outcomes?limit=1"))["data"]
        standings = (await get(gw, "/admin/learning"))["data"]
    first = explained["candidates"][0]
    assert (explained["reason"], first["model"]) == ("predicted", "openai/gpt-4.1-nano")
    assert (first["success"], first["success_is"]) == (round(chance.success, 4), "predicted")
    assert first["success_bounds"] == [round(chance.low, 4), round(chance.high, 4)]
    booked = story["decision"]["candidates"][0]
    assert (booked["success"], booked["success_bounds"]) == (chance.success, [chance.low, chance.high])
    assert (kept["request_id"], kept["predicted"]) == (request, chance.success)
    (standing,) = [told for told in standings if told["model"] == "openai/gpt-4.1-nano"]
    assert (standing["measured"], standing["predicted"]) == (1, round(chance.success, 4)), "of 61 one was predicted"


async def test_feedback_comes_days_later_when_nobody_remembers(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up:
        async with gateway(toml(up.url, KEYS + ADMIN), tmp_path) as gw:
            request = await asked(gw, chat("What is the capital of France?"), "sk-one")
        async with gateway(toml(up.url, KEYS + ADMIN), tmp_path) as gw:
            status, told = await judged(gw, {"request_id": request, "score": 0}, "sk-one")
            assert (status, told["recorded"]) == (200, True)
            assert said(gw) == [(request, "feedback", 0.0)]


async def test_a_request_is_its_own_keys_alone(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url, KEYS + ADMIN), tmp_path) as gw:
        request = await asked(gw, chat("What is the capital of France?"), "sk-one")
        theirs = await judged(gw, {"request_id": request, "score": 1}, "sk-two")
        unknown = await judged(gw, {"request_id": "req_none", "score": 1}, "sk-two")
        nobody = await judged(gw, {"request_id": request, "score": 1})
        assert said(gw) == []
    assert theirs[0] == unknown[0] == 404
    assert theirs[1]["error"]["message"] == unknown[1]["error"]["message"].replace("req_none", request)
    assert "x-turnout-request-id" in theirs[1]["error"]["message"]
    assert nobody[0] == 401


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": 7, "score": 1}, "request_id"),
        ({"request_id": "r"}, "score"),
        ({"request_id": "r", "score": 2}, "score"),
        ({"request_id": "r", "score": True}, "score"),
        ({"request_id": "r", "score": 10**400}, "score"),
        ({"request_id": "r", "score": "1"}, "score"),
        ({"request_id": "r", "score": 1, "label": ["x"]}, "label"),
        ({"request_id": "r", "score": 1, "lable": "x"}, "lable"),
        ([], None),
    ],
)
async def test_a_wrong_field_is_named(tmp_path, value, param):
    async with gateway(toml("http://127.0.0.1:9"), tmp_path) as gw:
        status, told = await judged(gw, value)
    assert (status, told["error"]["param"]) == (400, param)


async def test_what_no_model_answered_cannot_be_judged(tmp_path):
    async with gateway(toml("http://127.0.0.1:9"), tmp_path) as gw:
        status, told, _ = await post(gw.url, PATH, json.dumps(chat("hi")).encode())
        assert status >= 500
        status, said_of_it = await judged(gw, {"request_id": told["x-turnout-request-id"], "score": 0})
    assert (status, said_of_it["error"]["param"]) == (400, "request_id")


async def test_poor_feedback_takes_a_session_up_and_is_told_of_the_model_it_left(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url, SMALL), tmp_path) as gw:
        first = await asked(gw, agent())
        gw.engine.pipeline._budgets.add("all", 10**12)
        assert (await judged(gw, {"request_id": first, "score": 0.2}))[1]["model"] == "openai/gpt-4.1-nano"
        second = await asked(gw, agent("exit code: 1"))
        story = await get(gw, f"/admin/requests/{second}")
        assert (story["reason"], story["deployment"]) == ("escalated", "openai/gpt-4.1")
        assert said(gw) == [(first, "feedback", 0.2), (first, "escalation", 0.0)]


async def test_what_tools_answer_is_told_of_the_answer_that_called_them(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url), tmp_path) as gw:
        results = ["exit code: 0", "Error: no such file", "exit code: 1", "exit code: 0"]
        requests = [await asked(gw, agent(*results[:n])) for n in range(5)]
        assert said(gw) == [
            (requests[0], "tool", 1.0),
            (requests[1], "tool", 0.0),
            (requests[3], "tool", 1.0),
            (requests[3], "tests", 1.0),
        ]


async def test_arguments_that_are_no_json_are_told(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url), tmp_path) as gw:
        first = await asked(gw, agent())
        await asked(gw, agent("done", arguments='{"cmd": '))
        assert said(gw) == [(first, "tool", 0.0)]


async def test_a_user_who_asks_again_in_other_words_or_in_the_same_is_heard_once(tmp_path):
    question = "Write a function that sorts a list of names"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url), tmp_path) as gw:
        first = await asked(gw, chat(question))
        second = await asked(gw, chat(question, "Paris.", "No. Write a function which sorts a list of names"))
        assert said(gw) == [(first, "retry", 0.0)]
        third = await asked(gw, chat(question, "Paris.", "No. Write a function which sorts a list of names"))
        assert said(gw)[1:] == [(second, "retry", 0.0)], "the very same once more"
        await asked(gw, chat(question, "Paris.", "No! Write a function which sorts a list of all names"))
        assert said(gw)[2:] == [(third, "retry", 0.0)], "edited and sent anew"
        await asked(gw, chat("How tall is the Eiffel tower, in feet?"), session="s2")
        await asked(
            gw, chat("How tall is the Eiffel tower, in feet?", "984", "And who built it, and why?"), session="s2"
        )
        assert len(said(gw)) == 3, "another question is no complaint"


async def test_structured_output_is_told_at_once(tmp_path):
    good = {**CHAT, "choices": [{**CHAT["choices"][0], "message": {"role": "assistant", "content": "{}"}}]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    async with ScriptedUpstream(answer(CHAT), answer(good)) as up, gateway(toml(up.url), tmp_path) as gw:
        bad = await asked(gw, chat("one", response_format=form), session="a")
        well = await asked(gw, chat("two", response_format=form), session="b")
        assert said(gw) == [(bad, "schema", 0.0), (well, "schema", 1.0)]


async def test_a_refusal_is_told(tmp_path):
    refused = {**CHAT["choices"][0], "finish_reason": "content_filter"}
    async with ScriptedUpstream(answer({**CHAT, "choices": [refused]})) as up, gateway(toml(up.url), tmp_path) as gw:
        request = await asked(gw, chat("a question"))
        assert said(gw) == [(request, "refusal", 0.0)]


async def test_nothing_is_learned_from_kept_answers_errors_and_streams_that_broke(tmp_path):
    broken = stream(b'data: {"choices": [{"index": 0, "delta": {"content": "Par"}}]}\n\n', cut=True)
    scripts = (answer(CHAT), answer({"error": {"message": "no"}}, 400), broken)
    async with ScriptedUpstream(*scripts) as up, gateway(toml(up.url, "[answers]\nenabled = true\n"), tmp_path) as gw:
        question = "What is the capital of France, and since when?"
        await asked(gw, chat(question, temperature=0))
        await asked(gw, chat(question, temperature=0), session="s2")
        await asked(gw, chat(question, temperature=0), session="s2")
        await post(
            gw.url, PATH, json.dumps(chat("Tell me something else about it")).encode(), [("x-turnout-session", "s3")]
        )
        body = chat("Tell me something else about it", stream=True)
        for _ in range(2):
            await post(gw.url, PATH, json.dumps(body).encode(), [("x-turnout-session", "s4")])
        await gw.booked(6)
        assert {row.outcome for row in gw.rows()} == {"ok", "error"}
        assert said(gw) == []


@pytest.mark.parametrize(("extra", "key"), [("[learning]\nenabled = false\n", "sk-one"), ("", "sk-shy")])
async def test_who_does_not_want_it_leaves_no_trace(tmp_path, extra, key):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url, KEYS + extra), tmp_path) as gw:
        first = await asked(gw, agent(), key)
        await asked(gw, agent("exit code: 0"), key)
        status, told = await judged(gw, {"request_id": first, "score": 1}, key)
        assert (status, told["recorded"]) == (200, False)
        assert said(gw) == []


async def test_no_text_is_kept_unless_asked_for(tmp_path):
    secret = "the codeword is heliotrope, do not tell anybody"
    async with ScriptedUpstream(answer(CHAT)) as up:
        async with gateway(toml(up.url), tmp_path) as gw:
            first = await asked(gw, chat(secret))
            await judged(gw, {"request_id": first, "score": 0})
        db = sqlite3.connect(tmp_path / "ledger.db")
        assert db.execute("SELECT count(*) FROM outcomes").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM asked").fetchone() == (1,), "what the predictor saw: hashes"
        db.close()
        assert all(b"heliotrope" not in file.read_bytes() for file in tmp_path.iterdir())
        async with gateway(toml(up.url, "[learning]\nkeep_prompts = true\n"), tmp_path) as gw:
            request = await asked(gw, chat(secret))
            kept = gw.engine.state.memory.learner.store.text(request, "openai/gpt-4.1-nano")
    assert secret.encode() in kept.request
    assert b"Paris." in kept.answer


class Pupil:
    def __init__(self):
        self.heard = []

    def observe(self, outcome):
        self.heard.append((outcome.source, outcome.score))

    def catch_up(self):
        pass


async def test_a_predictor_hears_every_outcome_once(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml(up.url), tmp_path) as gw:
        gw.engine.state.memory.learner.predictor = pupil = Pupil()
        first = await asked(gw, agent())
        await asked(gw, agent("exit code: 0"))
        for score in (0, 1):
            await judged(gw, {"request_id": first, "score": score})
        assert pupil.heard == [("tool", 1.0), ("feedback", 0.0)]


async def test_a_limit_of_five_thousand_digits_is_a_wrong_one(tmp_path):
    async with gateway(toml("http://127.0.0.1:9"), tmp_path) as gw:
        told = await get(gw, f"/admin/outcomes?limit={'9' * 5_000}")
    assert told["error"]["param"] == "limit"
