"""What other APIs' callers ask, as Converse wants it said."""

import json

import pytest

from turnout.chat import (
    CacheBreakpoint,
    ChatRequest,
    File,
    Image,
    Message,
    ReasoningConfig,
    ResponseFormat,
    Source,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from turnout.dialects import DIALECTS
from turnout.errors import NotTranslatable

CONVERSE = DIALECTS["bedrock-converse"]
USER = Message(role="user", parts=(Text(text="Hi"),))


def sent(*messages, **more):
    request = ChatRequest(model="us.anthropic.claude-sonnet-4-5", messages=messages or (USER,), **more)
    encoded = CONVERSE.encode_request(request)
    return json.loads(encoded.body), encoded.warnings


def test_system_turns_results_and_cache_points():
    body, warnings = sent(
        Message(role="system", parts=(Text(text="Be brief.", cache=CacheBreakpoint("1h")),)),
        Message(role="user", parts=(Text(text="Weather?"),)),
        Message(role="assistant", parts=(ToolCall(id="call:1", name="w", arguments='{"a":1}'),)),
        Message(role="tool", parts=(ToolResult(call_id="call:1", parts=(Text(text="sunny"),)),)),
        Message(role="user", parts=(Text(text="And now?"), Text(text=" "))),
    )
    assert body["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    use = body["messages"][1]["content"][0]["toolUse"]
    result, text = body["messages"][2]["content"]
    assert use["toolUseId"] == result["toolResult"]["toolUseId"] != "call:1"
    assert result["toolResult"]["status"] == "success"
    assert text == {"text": "And now?"}
    assert warnings == ()


def test_limits_thinking_and_schema():
    body, _ = sent(
        max_output_tokens=100,
        temperature=0.5,
        stop=("END",),
        reasoning=ReasoningConfig(effort="low"),
        response_format=ResponseFormat(kind="json_schema", name="city", schema={"type": "object"}),
    )
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert body["inferenceConfig"] == {"maxTokens": 1124, "stopSequences": ["END"]}
    assert body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["name"] == "city"


def test_files_go_by_their_bytes():
    image = Image(source=Source(media_type="image/jpg", data="aGk="))
    file = File(source=Source(media_type="application/pdf", data="aGk="), filename="my_report.v2.pdf")
    body, _ = sent(Message(role="user", parts=(image, file)))
    assert body["messages"][0]["content"] == [
        {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}},
        {"document": {"format": "pdf", "name": "my report v2", "source": {"bytes": "aGk="}}},
    ]
    with pytest.raises(NotTranslatable, match="data URL"):
        sent(Message(role="user", parts=(Image(source=Source(url="https://x.example/a.png")),)))


def test_tools_of_others_and_several_answers_are_refused():
    with pytest.raises(NotTranslatable, match=r"tools\[0\]"):
        sent(tools=(ToolSpec(name="web_search", provider="openai-responses", opaque={"type": "web_search"}),))
    with pytest.raises(NotTranslatable, match="n > 1"):
        sent(n=2)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"message":"The provided model identifier is invalid."}', None, "The provided model identifier is invalid."),
        (b'{"__type":"com.amazon#ThrottlingException","message":"slow"}', "ThrottlingException", "slow"),
        (b"<html>", None, "the provider's error had no readable message"),
    ],
)
def test_errors(body, code, message):
    fault = CONVERSE.decode_error(body)
    assert (fault.code, fault.message) == (code, message)
