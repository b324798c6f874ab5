"""Requests of other wire formats as Gemini gets them, and what is lost on the way."""

import json

import pytest

from turnout.chat import (
    Audio,
    CacheBreakpoint,
    ChatRequest,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    ReasoningConfig,
    Refusal,
    ResponseFormat,
    Source,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolSpec,
)
from turnout.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from turnout.dialects.gemini import GEMINI
from turnout.dialects.openai_chat import OPENAI_CHAT
from turnout.errors import NotTranslatable

HI = Message(role="user", parts=(Text(text="hi"),))
SKIP = "skip_thought_signature_validator"


def write(*messages, model="gemini-3-pro-preview", **fields):
    encoded = GEMINI.encode_request(ChatRequest(model=model, messages=messages or (HI,), **fields))
    return json.loads(encoded.body), encoded.warnings


def call(name="f", arguments='{"a":1}', **fields):
    return ToolCall(id=fields.pop("id", "c1"), name=name, arguments=arguments, **fields)


def test_a_chat_completion_request_as_gemini_gets_it():
    body = {
        "model": "auto",
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}},
                    {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            {"role": "tool", "tool_call_id": "c2", "content": '{"sky":"sun"}'},
            {"role": "user", "content": "And?"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
        "max_completion_tokens": 100,
        "user": "me",
    }
    from_openai = OPENAI_CHAT.decode_request(json.dumps(body).encode())
    encoded = GEMINI.encode_request(from_openai)
    assert encoded.warnings == ()
    assert json.loads(encoded.body) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {
                "role": "model",
                "parts": [
                    {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Bern"}}},
                    {"functionCall": {"id": "c2", "name": "weather", "args": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "c1", "name": "weather", "response": {"result": "rain"}}},
                    {"functionResponse": {"id": "c2", "name": "weather", "response": {"sky": "sun"}}},
                ],
            },
            {"role": "user", "parts": [{"text": "And?"}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]}],
        "generationConfig": {"maxOutputTokens": 100},
    }


@pytest.mark.parametrize(
    ("model", "signed"),
    [
        ("gemini-3-pro-preview", True),
        ("models/gemini-3.1-flash", True),
        ("gemini-flash-latest", True),
        ("gemini-2.5-pro", False),
        ("gemma-3", False),
    ],
)
def test_the_first_foreign_call_of_a_turn_bears_the_documented_dummy_signature(model, signed):
    turn = Message(role="assistant", parts=(Text(text="so"), call(id="c1"), call(id="c2")))
    out, _ = write(HI, turn, model=model)
    said, first, second = out["contents"][1]["parts"]
    assert first.get("thoughtSignature") == (SKIP if signed else None)
    assert "thoughtSignature" not in second
    assert "thoughtSignature" not in said


def test_ones_own_calls_keep_their_signature_and_get_no_dummy():
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        ]
    }
    encoded = GEMINI.encode_request(GEMINI.decode_request(json.dumps(body).encode()))
    assert json.loads(encoded.body) == body


def test_thinking_of_others_is_left_out():
    thought = Reasoning(text="hm", signature="s", provider="anthropic-messages")
    out, warnings = write(HI, Message(role="assistant", parts=(thought, Text(text="yes"))), HI)
    assert out["contents"][1]["parts"] == [{"text": "yes"}]
    assert warnings == ("thinking of another model was left out: its author alone may have it back",)


@pytest.mark.parametrize(
    ("result", "response"),
    [
        (ToolResult(call_id="c1", parts=(Text(text="ok"),)), {"result": "ok"}),
        (ToolResult(call_id="c1", parts=(Text(text='{"a":1}'),)), {"a": 1}),
        (ToolResult(call_id="c1", parts=(Text(text="[1]"),)), {"result": "[1]"}),
        (ToolResult(call_id="c1", parts=(Text(text="broken"),), is_error=True), {"error": "broken"}),
        (ToolResult(call_id="c1"), {"result": ""}),
    ],
)
def test_a_result_is_an_object_here(result, response):
    out, _ = write(HI, Message(role="assistant", parts=(call(),)), Message(role="tool", parts=(result,)))
    assert out["contents"][2]["parts"] == [{"functionResponse": {"id": "c1", "name": "f", "response": response}}]


def test_images_in_a_result_go_with_it_to_gemini_3_and_behind_it_to_older_models():
    shot = Image(source=Source(media_type="image/png", data="AAAA"))
    result = ToolResult(call_id="c1", parts=(Text(text="see"), shot))
    talk = (HI, Message(role="assistant", parts=(call(),)), Message(role="tool", parts=(result,)))
    wire = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    new, warnings = write(*talk)
    assert new["contents"][2]["parts"][0]["functionResponse"]["parts"] == [wire]
    assert warnings == ()
    old, warnings = write(*talk, model="gemini-2.5-flash")
    assert "parts" not in old["contents"][2]["parts"][0]["functionResponse"]
    assert old["contents"][3] == {"role": "user", "parts": [wire]}
    assert len(warnings) == 1


def test_results_come_before_what_the_user_says_with_them():
    talk = Message(role="user", parts=(Text(text="and?"), ToolResult(call_id="c1", parts=(Text(text="ok"),))))
    out, _ = write(HI, Message(role="assistant", parts=(call(),)), talk)
    assert [list(c["parts"][0]) for c in out["contents"][2:]] == [["functionResponse"], ["text"]]


def test_files_by_url_and_by_their_bytes():
    parts = (
        Image(source=Source(url="https://example.org/a.jpg?x=1")),
        File(source=Source(media_type="application/pdf", data="AAAA"), filename="a.pdf"),
        Audio(source=Source(data="BBBB"), format="mp3"),
        File(source=Source(file_id="file-abc")),
    )
    out, warnings = write(Message(role="user", parts=parts))
    assert out["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "https://example.org/a.jpg?x=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "BBBB"}},
    ]
    assert warnings == ("a file that another provider keeps was left out: the chosen model's API cannot read it",)


def test_broken_arguments_are_passed_on_as_text():
    out, warnings = write(HI, Message(role="assistant", parts=(call(arguments='{"a":'),)), HI)
    assert out["contents"][1]["parts"][0]["functionCall"]["args"] == {"_raw": '{"a":'}
    assert warnings == ("the arguments of f are no JSON object and were passed on as text",)


def test_neighbours_of_one_role_become_one_content_and_empty_texts_are_left_out():
    out, _ = write(
        HI, HI, Message(role="assistant", parts=(Text(text=""),)), Message(role="user", parts=(Text(text=""),))
    )
    assert out["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}, {"text": "hi"}]},
        {"role": "user", "parts": [{"text": "(empty)"}]},
    ]


def test_instructions_alone_become_the_users():
    out, _ = write(Message(role="system", parts=(Text(text="Write a poem."),)))
    assert out == {"contents": [{"role": "user", "parts": [{"text": "Write a poem."}]}]}


def test_instructions_in_the_middle_become_the_users_with_a_warning():
    out, warnings = write(HI, Message(role="developer", parts=(Text(text="Be brief."),)))
    assert out["contents"][0]["parts"][1] == {"text": "<system>Be brief.</system>"}
    assert len(warnings) == 1


def test_a_server_tool_of_another_provider_is_refused_by_name():
    tool = ToolSpec(name="web_search", provider="anthropic-messages", opaque={"type": "web_search_20250305"})
    with pytest.raises(NotTranslatable) as caught:
        write(tools=(ToolSpec(name="f"), tool))
    assert caught.value.param == "tools[1]"


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="tool", name="f"), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice(mode="required", allowed=("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice(mode="auto", allowed=("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_the_choice_of_tools(choice, config):
    out, _ = write(tools=(ToolSpec(name="f"),), tool_choice=choice)
    assert out["toolConfig"] == {"functionCallingConfig": config}


@pytest.mark.parametrize(
    ("model", "reasoning", "config"),
    [
        ("gemini-3-flash-preview", ReasoningConfig(effort="low"), {"thinkingLevel": "low"}),
        ("gemini-3-flash-preview", ReasoningConfig(effort="minimal"), {"thinkingLevel": "minimal"}),
        ("gemini-3-pro-preview", ReasoningConfig(effort="minimal"), {"thinkingLevel": "low"}),
        ("gemini-3.8-flash", ReasoningConfig(effort="minimal"), {"thinkingLevel": "low"}),
        ("gemini-3-pro-preview", ReasoningConfig(effort="medium"), {"thinkingLevel": "high"}),
        ("gemini-3.1-pro-preview", ReasoningConfig(effort="medium"), {"thinkingLevel": "medium"}),
        ("gemini-3-pro-preview", ReasoningConfig(effort="xhigh"), {"thinkingLevel": "high"}),
        (
            "gemini-3.5-flash",
            ReasoningConfig(enabled=True, budget_tokens=5000),
            {"thinkingLevel": "medium", "includeThoughts": True},
        ),
        ("gemini-2.5-flash", ReasoningConfig(effort="high"), {"thinkingBudget": 24576}),
        ("gemini-2.5-flash", ReasoningConfig(effort="max"), {"thinkingBudget": 24576}),
        ("gemini-2.5-pro", ReasoningConfig(effort="max"), {"thinkingBudget": 32768}),
        ("gemini-2.5-pro", ReasoningConfig(effort="none"), {"thinkingBudget": 128}),
        ("gemini-2.5-flash", ReasoningConfig(enabled=False), {"thinkingBudget": 0}),
        ("gemini-2.5-flash", ReasoningConfig(adaptive=True), {"includeThoughts": True}),
        ("gemini-2.0-flash", ReasoningConfig(effort="high"), None),
        ("gemma-3-27b-it", ReasoningConfig(effort="high"), None),
        ("gemini-flash-latest", ReasoningConfig(effort="low"), {"thinkingBudget": 1024}),
    ],
)
def test_thinking_in_the_words_of_the_model(model, reasoning, config):
    out, _ = write(model=model, reasoning=reasoning)
    assert out.get("generationConfig", {}).get("thinkingConfig") == config


def test_settings_and_formats():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    out, warnings = write(
        temperature=1.5,
        top_k=5,
        stop=("END",),
        n=2,
        seed=0,
        logprobs=True,
        top_logprobs=2,
        response_format=ResponseFormat(kind="json_schema", name="x", schema=schema, strict=True),
    )
    assert out["generationConfig"] == {
        "temperature": 1.5,
        "candidateCount": 2,
        "seed": 0,
        "responseLogprobs": True,
        "logprobs": 2,
        "topK": 5,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert warnings == ()


@pytest.mark.parametrize(
    ("tier", "written", "told"),
    [("flex", "flex", 0), ("priority", "priority", 0), ("default", None, 0), ("auto", None, 0), ("scale", None, 1)],
)
def test_service_tiers(tier, written, told):
    out, warnings = write(service_tier=tier)
    assert out.get("serviceTier") == written
    assert len(warnings) == told


def test_what_is_lost_is_told_once():
    foreign = Opaque(provider="anthropic-messages", data={"type": "search_result"})
    parts = (Text(text="a", cache=CacheBreakpoint()), foreign, foreign, Refusal(text="no"))
    out, warnings = write(
        Message(role="user", parts=parts),
        tools=(ToolSpec(name="f", strict=True), ToolSpec(name="g", strict=True)),
        parallel_tool_calls=False,
        verbosity="low",
        metadata={"a": "b"},
        extras={"openai-chat": {"logit_bias": {"1": 1}, "store": True}},
    )
    assert out["contents"][0]["parts"] == [{"text": "a"}, {"text": "no"}]
    assert "labels" not in out
    assert [w.split(" ")[0] for w in warnings] == ["a", "strict", "parallel_tool_calls", "verbosity", "logit_bias"]


def test_an_anthropic_session_with_tools():
    body = {
        "model": "auto",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "shot", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "is_error": True,
                        "content": [{"type": "text", "text": "no screen"}],
                    }
                ],
            },
        ],
        "tools": [{"name": "shot", "input_schema": {"type": "object", "properties": {}}}],
    }
    encoded = GEMINI.encode_request(ANTHROPIC_MESSAGES.decode_request(json.dumps(body).encode()))
    assert encoded.warnings == ()
    out = json.loads(encoded.body)
    assert out["contents"][2]["parts"] == [
        {"functionResponse": {"id": "toolu_1", "name": "shot", "response": {"error": "no screen"}}}
    ]
    assert out["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
