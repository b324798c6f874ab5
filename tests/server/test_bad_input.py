"""Whatever comes in, the caller gets its own API's error: a stable code, the field, no traceback, never a 500."""

import json

import anthropic
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer

CHAT_PATH, MESSAGES_PATH = "/v1/chat/completions", "/v1/messages"
ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}]}


def told(raw):
    return json.loads(raw)["error"]


@pytest.mark.parametrize("path", [CHAT_PATH, MESSAGES_PATH])
@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"not json", None),
        (b"[1,2]", None),
        (b'"\xff"', None),
        (b"{}", "model"),
        (b'{"model":7}', "model"),
        (b'{"model":"lab/small"}', "messages"),
        (b'{"model":"lab/small","max_tokens":5,"messages":[]}', "messages"),
        (b'{"model":"lab/small","max_tokens":5,"messages":"hi"}', "messages"),
        (
            b'{"model":"lab/small","max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"alien","content":"b"}]}',
            "messages[1].role",
        ),
        (b'{"model":"lab/small","max_tokens":-5,"messages":[{"role":"user","content":"a"}]}', "max_tokens"),
        (b'{"model":"lab/small","max_tokens":5,"stream":"yes","messages":[{"role":"user","content":"a"}]}', "stream"),
        (b'{"model":"lab/small","max_tokens":5,"messages":[{"role":"user","content":7}]}', "messages[0].content"),
        (b"[" * 100_000, None),
    ],
)
async def test_malformed_bodies_are_400_and_name_the_field(tmp_path, path, body, param):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        status, headers, raw = await post(gw.url, path, body)
    error = told(raw)
    assert status == 400
    assert error["code"] == "invalid_request"
    assert error["type"] == "invalid_request_error"
    assert error.get("param") == param
    assert headers["x-turnout-request-id"].startswith("req_")
    assert "Traceback" not in raw.decode()


async def test_errors_take_each_apis_shape_and_the_sdks_know_them(tmp_path):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        chat = openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="x", max_retries=0)
        with pytest.raises(openai.NotFoundError, match="did you mean lab/small") as missing:
            await chat.chat.completions.create(**{**ASK, "model": "lab-small"})
        with pytest.raises(openai.InternalServerError) as unreachable:
            await chat.chat.completions.create(**ASK)
        messages = anthropic.AsyncAnthropic(base_url=gw.url, api_key="x", max_retries=0)
        with pytest.raises(anthropic.NotFoundError, match="did you mean lab/small"):
            await messages.messages.create(**{**ASK, "model": "lab-small", "max_tokens": 5})
        await chat.close()
        await messages.close()
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    assert unreachable.value.status_code == 502
    assert "127.0.0.1" not in str(unreachable.value)


async def test_paths_methods_and_sizes(tmp_path):
    toml = lab("http://127.0.0.1:9") + "[server]\nmax_body_bytes = 1000\n"
    async with gateway(toml, tmp_path) as gw:
        assert (await post(gw.url, "/v1/nothing", b"{}"))[0] == 404
        assert (await post(gw.url, "/healthz", b"{}"))[0] == 405
        status, _, raw = await post(gw.url, CHAT_PATH, b"x" * 1001)
        assert (status, told(raw)["code"]) == (413, "request_too_large")
        status, _, raw = await post(gw.url, CHAT_PATH, b"\x1f\x8b", [("content-encoding", "gzip")])
        assert (status, told(raw)["code"]) == (415, "unsupported_encoding")
        client = openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="x", max_retries=0)
        with pytest.raises(openai.APIStatusError) as wrong:
            await client.get("/chat/completions", cast_to=object)
        assert wrong.value.status_code == 405
        await client.close()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-turnout-quality", "2"),
        ("x-turnout-quality", "much"),
        ("x-turnout-latency", "now"),
        ("x-turnout-max-cost-usd", "nan"),
    ],
)
async def test_wrong_wishes_name_the_header(tmp_path, header, value):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        status, _, raw = await post(gw.url, CHAT_PATH, json.dumps(ASK).encode(), [(header, value)])
    assert (status, told(raw)["param"]) == (400, header)


async def test_keys(tmp_path):
    toml = '[keys.ci]\nkey = "tk-one"\n[server]\nadmin_key = "tk-admin"\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        body = json.dumps(ASK).encode()
        for headers in ([], [("authorization", "Bearer wrong")], [("authorization", "Basic tk-one")]):
            status, _, raw = await post(gw.url, CHAT_PATH, body, headers)
            assert (status, told(raw)["code"]) == (401, "invalid_api_key")
        for headers in (
            [("authorization", "Bearer tk-one")],
            [("x-api-key", "tk-one")],
            [("x-goog-api-key", "tk-one")],
        ):
            assert (await post(gw.url, CHAT_PATH, body, headers))[0] == 200
        rows = gw.rows()
        story = openai.AsyncOpenAI(base_url=gw.url, api_key="tk-one", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            await story.get(f"/admin/requests/{rows[0].request_id}", cast_to=object)
        admin = openai.AsyncOpenAI(base_url=gw.url, api_key="tk-admin", max_retries=0)
        assert await admin.get(f"/admin/requests/{rows[0].request_id}", cast_to=object)
        await story.close()
        await admin.close()
    assert {r.key_id for r in rows} == {"ci"}
    assert b"tk-one" not in (tmp_path / "ledger.db").read_bytes()


async def test_budgets_and_brakes_stop_before_anything_is_sent(tmp_path):
    toml = "[budgets.tiny]\namount_usd = 0.002\n[brakes]\nmax_session_steps = 2\n"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        body = json.dumps({**ASK, "max_tokens": 100}).encode()
        session = [("x-turnout-session", "s")]
        assert [(await post(gw.url, CHAT_PATH, body, session))[0] for _ in range(3)] == [200, 200, 403]
        status, _, raw = await post(gw.url, CHAT_PATH, json.dumps({**ASK, "max_tokens": 1000}).encode())
        assert (status, told(raw)["code"], told(raw)["type"]) == (402, "budget_exhausted", "budget_exceeded")
        assert len(up.requests) == 2
        outcomes = [(r.outcome, r.error_code, r.cost_nano_usd) for r in gw.rows()]
    assert outcomes[:2] == [("error", "budget_exhausted", None), ("error", "run_paused", None)]
    # A restart forgets nothing: the ledger knows what was spent.
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        status, _, raw = await post(gw.url, CHAT_PATH, json.dumps({**ASK, "max_tokens": 200}).encode())
    assert (status, told(raw)["code"]) == (402, "budget_exhausted")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bodies=st.lists(
        st.dictionaries(
            st.sampled_from(["messages", "tools", "stream", "max_tokens", "metadata", "system"]), json_values
        ),
        min_size=5,
        max_size=5,
    ),
    path=st.sampled_from([CHAT_PATH, MESSAGES_PATH, "/v1/route"]),
)
def test_no_body_gives_a_500(tmp_path, bodies, path):
    import asyncio

    async def run():
        async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
            for body in bodies:
                status, _, raw = await post(gw.url, path, json.dumps({"model": "lab/small", **body}).encode())
                assert status in {200, 400, 404}, raw

    asyncio.run(run())
