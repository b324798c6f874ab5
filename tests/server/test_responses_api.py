"""The Responses API at the gateway: its own clients, models of other APIs, conversations that go on by id."""

import json

import openai
import pytest

from support.calls import post
from support.gateway import gateway, host
from support.upstream import ScriptedUpstream, answer
from support.wire import calls, refuses, says


def client(url, key="any"):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


FAMILIES = pytest.mark.parametrize("dialect", ["openai-responses", "anthropic-messages", "openai-chat"])


@FAMILIES
async def test_an_answer_its_usage_and_cost(dialect, tmp_path):
    async with (
        ScriptedUpstream(says(dialect)) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        told = await api.responses.create(model="up/big", instructions="Be brief.", input="Capital of France?")
        row = gw.rows()[0]
    assert told.output_text == "Paris."
    assert told.status == "completed"
    assert (told.usage.input_tokens, told.usage.input_tokens_details.cached_tokens, told.usage.output_tokens) == (
        1000,
        400,
        10,
    )
    assert (row.dialect, row.cost_nano_usd) == ("openai-responses", 600 * 5000 + 400 * 500 + 10 * 25000)


@FAMILIES
async def test_a_stream_begins_tells_and_completes(dialect, tmp_path):
    up_script = says(dialect, streaming=True)
    async with (
        ScriptedUpstream(up_script) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        kinds, text = [], ""
        async for event in await api.responses.create(model="up/big", input="Capital?", stream=True):
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
    assert text == "Paris."
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert {"response.output_item.added", "response.output_item.done"} <= set(kinds)


TOOL = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@FAMILIES
async def test_a_conversation_goes_on_by_the_id_of_its_last_response(dialect, tmp_path):
    async with (
        ScriptedUpstream(calls(dialect), says(dialect, "Sunny.")) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        first = await api.responses.create(model="up/big", input="Weather in Paris?", tools=[TOOL])
        (call,) = [item for item in first.output if item.type == "function_call"]
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        second = await api.responses.create(model="up/big", input=[output], tools=[TOOL], previous_response_id=first.id)
        sent = json.loads(up.requests[1].body)
        rows = gw.rows()
    assert second.output_text == "Sunny."
    assert rows[0].session_id == rows[1].session_id
    if dialect == "openai-responses":  # the provider keeps it, and gets the id
        assert sent["previous_response_id"] == "resp_1"
        assert sent["input"] == [output]
    else:  # we keep it, and the model gets all of it
        assert "previous_response_id" not in sent
        assert [m["role"] for m in sent["messages"]] in (["user", "assistant", "user"], ["user", "assistant", "tool"])
        assert "Weather in Paris?" in json.dumps(sent)


async def test_a_streamed_response_can_be_gone_on_from_at_once(tmp_path):
    dialect = "anthropic-messages"
    scripts = says(dialect, streaming=True), says(dialect, "Berlin.")
    async with (
        ScriptedUpstream(*scripts) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        async for event in await api.responses.create(model="up/big", input="Capital of France?", stream=True):
            if event.type == "response.completed":
                told = await api.responses.create(
                    model="up/big", input="And of Germany?", previous_response_id=event.response.id
                )
        sent = json.loads(up.requests[1].body)
    assert told.output_text == "Berlin."
    assert [m["content"][0]["text"] for m in sent["messages"]] == ["Capital of France?", "Paris.", "And of Germany?"]


async def test_what_must_not_be_stored_is_not(tmp_path):
    dialect = "anthropic-messages"
    async with (
        ScriptedUpstream(says(dialect)) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        first = await api.responses.create(model="up/big", input="A secret", store=False)
        with pytest.raises(openai.BadRequestError, match="previous_response_id") as caught:
            await api.responses.create(model="up/big", input="Go on", previous_response_id=first.id)
    assert caught.value.param == "previous_response_id"
    assert b"A secret" not in b"".join(f.read_bytes() for f in tmp_path.iterdir())


async def test_nobody_goes_on_from_anothers_conversation(tmp_path):
    dialect = "anthropic-messages"
    keys = '[keys.a]\nkey = "tk-a-0123456789"\n[keys.b]\nkey = "tk-b-0123456789"\n'
    async with (
        ScriptedUpstream(says(dialect)) as up,
        gateway(host(up.url, dialect) + keys, tmp_path) as gw,
        client(gw.url, "tk-a-0123456789") as mine,
        client(gw.url, "tk-b-0123456789") as theirs,
    ):
        first = await mine.responses.create(model="up/big", input="A secret")
        with pytest.raises(openai.BadRequestError):
            await theirs.responses.create(model="up/big", input="Go on", previous_response_id=first.id)
        assert len(up.requests) == 1


PATCH_TOOL = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: line+"},
}


@pytest.mark.parametrize("streaming", [False, True])
async def test_codexs_plain_text_tool_works_with_a_model_that_has_none(streaming, tmp_path):
    dialect = "anthropic-messages"
    async with (
        ScriptedUpstream(calls(dialect, streaming=streaming)) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        tool = {**PATCH_TOOL, "name": "get_weather"}
        if streaming:
            async with api.responses.stream(model="up/big", input="Weather?", tools=[tool]) as events:
                told = await events.get_final_response()
        else:
            told = await api.responses.create(model="up/big", input="Weather?", tools=[tool])
        sent = json.loads(up.requests[0].body)
    (call,) = told.output
    assert call.type == "custom_tool_call"
    assert json.loads(call.input) == {"city": "Paris"}, "a model that broke the wrapping meant what it wrote"
    assert sent["tools"][0]["input_schema"]["required"] == ["input"]
    assert "start: line+" in sent["tools"][0]["description"]


@FAMILIES
async def test_a_providers_refusal_keeps_its_words(dialect, tmp_path):
    async with (
        ScriptedUpstream(refuses(dialect)) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
        client(gw.url) as api,
    ):
        with pytest.raises(openai.BadRequestError, match="max_tokens is too large"):
            await api.responses.create(model="up/big", input="Hi")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "up/big"}, "input"),
        ({"model": "up/big", "input": 5}, "input"),
        ({"model": "up/big", "input": [{"role": "x", "content": "a"}]}, "input[0].role"),
        ({"model": "up/big", "input": "a", "background": True}, "background"),
        ({"model": "up/big", "input": "a", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"model": "up/big", "input": "a", "tool_choice": "sometimes"}, "tool_choice"),
    ],
)
async def test_what_cannot_be_done_names_the_field(body, param, tmp_path):
    dialect = "anthropic-messages"
    async with (
        ScriptedUpstream(says(dialect)) as up,
        gateway(host(up.url, dialect), tmp_path) as gw,
    ):
        status, _, raw = await post(gw.url, "/v1/responses", json.dumps(body).encode(), [])
    assert status == 400
    assert json.loads(raw)["error"]["param"] == param


async def test_an_answer_that_names_nothing_is_handed_on_all_the_same(tmp_path):
    odd = answer({"object": "response", "status": "completed", "output": []})
    async with ScriptedUpstream(odd) as up, gateway(host(up.url, "openai-responses"), tmp_path) as gw:
        status, _, raw = await post(gw.url, "/v1/responses", b'{"model": "up/big", "input": "Hi"}', [])
    assert (status, json.loads(raw)["status"]) == (200, "completed")
