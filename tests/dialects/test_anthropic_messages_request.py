"""Messages requests to neutral types and back, and requests of other APIs in this one's words."""

import base64
import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    ResponseFormat,
    Source,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolSpec,
)
from turnout.dialects import DIALECTS
from turnout.dialects.anthropic_messages.blocks import NOT_SIGNED
from turnout.errors import InvalidRequest, NotTranslatable

DIALECT = DIALECTS["anthropic-messages"]
NAME = "anthropic-messages"


def decoded(content="hi", role="user", **fields):
    messages = [{"role": role, "content": content}]
    return DIALECT.decode_request(json.dumps({"model": "m", "max_tokens": 9, "messages": messages, **fields}).encode())


def encoded(*messages, **fields):
    """The body and the warnings for a request of another API."""
    out = DIALECT.encode_request(ChatRequest(model="m", messages=messages or (user("hi"),), **fields))
    return json.loads(out.body), out.warnings


def user(*texts):
    return Message(role="user", parts=tuple(Text(text=t) for t in texts))


def said(role, text):
    return Message(role=role, parts=(Text(text=text),))


# ---- There and back ----------------------------------------------------------------------------------------

BLOCKS = [
    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "scope": "global"}},
    {"type": "text", "text": "a", "citations": [{"type": "char_location", "cited_text": "b", "document_index": 0}]},
    {"type": "text", "text": "a", "citations": None},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}, "cache_control": {"type": "ephemeral"}},
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        "title": "t",
        "context": "c",
        "citations": {"enabled": True},
    },
    {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "plain"},
        "title": "notes",
        "citations": {"enabled": True},
        "cache_control": {"type": "ephemeral"},
    },
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}, "title": "t"},
    {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
    {"type": "redacted_thinking", "data": "EmwK"},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": [1, 2.5, 2**70], "a": None}, "caller": {"x": 1}},
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42", "is_error": False},
    {"type": "tool_result", "tool_use_id": "toolu_1"},
    {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "is_error": True,
        "content": [{"type": "text", "text": "x"}, {"type": "tool_reference", "tool_name": "f"}],
    },
    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_use", "id": "x", "name": "y", "input": {}}]},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"encrypted_content": "E"}]},
    {"type": "search_result", "source": "https://example.com", "title": "t", "content": []},
    {"type": "of_the_future", "anything": [{"goes": None}]},
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b["type"])
def test_a_block_comes_back_as_it_was(block):
    out = DIALECT.encode_request(decoded([block]))
    assert json.loads(out.body)["messages"] == [{"role": "user", "content": [block]}]
    assert out.warnings == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "be brief"},
        {"system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "temperature": 1},
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
        {"thinking": {"type": "disabled"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "echo"}], "mcp_servers": [{"name": "echo"}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True, "defer_loading": True}]},
        {
            "tools": [
                {
                    "type": "custom",
                    "name": "f",
                    "input_schema": {"type": "object"},
                    "cache_control": {"type": "ephemeral"},
                }
            ]
        },
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "tools": []},
        {"tool_choice": {"type": "tool", "name": "f"}},
        {"stop_sequences": ["END"], "top_k": 5, "top_p": 0.9, "temperature": 0.2, "stream": False},
        {"metadata": {"user_id": "u"}, "service_tier": "standard_only", "container": "c1"},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "betas": ["x"]},
        {"cache_control": {"type": "ephemeral"}, "of_the_future": {"a": [1]}},
    ],
    ids="+".join,
)
def test_top_level_fields_come_back_as_they_were(fields):
    out = DIALECT.encode_request(decoded(**fields))
    whole = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    assert json.loads(out.body) == whole
    assert out.warnings == ()


def test_messages_keep_their_grouping_and_their_system_messages():
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "system", "content": "c"},
        {"role": "assistant", "content": []},
    ]
    assert json.loads(DIALECT.encode_request(decoded(messages=messages)).body)["messages"] == messages


def test_what_the_neutral_request_says():
    request = decoded(
        system="be brief",
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2048},
        output_format={"type": "json_schema", "schema": {"type": "object"}},
        stop_sequences=["END"],
        metadata={"user_id": "u"},
    )
    assert [(m.role, m.parts[0].text) for m in request.messages] == [("system", "be brief"), ("user", "hi")]
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice(mode="required"), False)
    assert request.reasoning == ReasoningConfig(enabled=True, budget_tokens=2048)
    assert request.response_format == ResponseFormat(kind="json_schema", schema={"type": "object"})
    assert (request.stop, request.user, request.max_output_tokens) == (("END",), "u", 9)


def test_a_document_of_plain_text_is_text_to_other_apis():
    source = {"type": "text", "media_type": "text/plain", "data": "the notes"}
    request = decoded([{"type": "document", "source": source}, {"type": "text", "text": "sum it up"}])
    away = DIALECTS["openai-chat"].encode_request(request)
    assert json.loads(away.body)["messages"][0]["content"] == "the notes\n\nsum it up"
    assert away.warnings == ()


def test_thinking_that_we_showed_belongs_to_nobody():
    request = decoded([{"type": "thinking", "thinking": "hm", "signature": NOT_SIGNED}, {"type": "text", "text": "a"}])
    assert request.messages[0].parts[0].provider is None
    out = DIALECT.encode_request(request)
    assert json.loads(out.body)["messages"][0]["content"] == [{"type": "text", "text": "a"}]
    assert any("thinking of another model" in w for w in out.warnings)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 7}, "model"),
        ({"model": None}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"metadata": []}, "metadata"),
        ({"system": 4}, "system"),
        ({"tools": {}}, "tools"),
        ({"tools": [3]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [{"name": "f", "input_schema": {}, "strict": "no"}]}, "tools[0].strict"),
        ({"tool_choice": {"type": []}}, "tool_choice.type"),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}}, "tool_choice.disable_parallel_tool_use"),
        ({"thinking": 5}, "thinking"),
        ({"output_config": {"format": 5}}, "output_config.format"),
        ({"output_format": 5}, "output_format"),
        ({"messages": "x"}, "messages"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role"),
        ({"content": [3]}, "messages[0].content[0]"),
        ({"content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"content": [{"type": "text", "text": "a", "citations": 5}]}, "messages[0].content[0].citations"),
        (
            {"content": [{"type": "text", "text": "a", "cache_control": {"ttl": []}}]},
            "messages[0].content[0].cache_control.ttl",
        ),
        ({"content": [{"type": "image", "source": {"type": "url"}}]}, "messages[0].content[0].source.url"),
        ({"content": [{"type": "tool_result", "content": "x"}]}, "messages[0].content[0].tool_use_id"),
    ],
)
def test_bad_input_names_the_field(fields, param):
    with pytest.raises(InvalidRequest) as caught:
        decoded(**fields)
    assert caught.value.param == param


# ---- From other APIs ---------------------------------------------------------------------------------------


def test_system_and_developer_messages_at_the_head_become_system():
    body, warnings = encoded(said("system", "a"), said("developer", "b"), user("hi"))
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    assert body["max_tokens"] == 4096
    assert warnings == ()


def test_a_later_system_message_becomes_the_users_with_a_warning():
    body, warnings = encoded(user("hi"), said("assistant", "yes"), said("system", "now in French"))
    assert body["messages"][2] == {
        "role": "user",
        "content": [{"type": "text", "text": "<system>now in French</system>"}],
    }
    assert len(warnings) == 1


def test_instructions_alone_become_the_users_turn():
    body, _ = encoded(said("system", "a"), said("system", "write a poem"))
    assert body["system"] == [{"type": "text", "text": "a"}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "write a poem"}]}]


def test_results_of_tools_and_what_the_user_says_next_are_one_message_results_first():
    calls = Message(
        role="assistant",
        parts=(
            Text(text="\n\n"),
            ToolCall(id="call.1", name="f", arguments='{"a": 1}'),
            ToolCall(id="call_2", name="g"),
            ToolCall(id="call_3", name="h", arguments='{"a":'),
        ),
    )
    result = [
        Message(role="tool", parts=(ToolResult(call_id=i, parts=(Text(text=t),)),))
        for i, t in (("call.1", "one"), ("call_2", " "), ("call_3", "three"))
    ]
    body, warnings = encoded(user("go"), calls, *result, user("and?"), user("well?"))
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1_f114f143", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
                {"type": "tool_use", "id": "call_3", "name": "h", "input": {"_raw": '{"a":'}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1_f114f143", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "call_2", "content": []},
                {"type": "tool_result", "tool_use_id": "call_3", "content": [{"type": "text", "text": "three"}]},
                {"type": "text", "text": "and?"},
                {"type": "text", "text": "well?"},
            ],
        },
    ]
    assert warnings == ("the arguments of h are no JSON object and were passed on as text",)


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(source=Source(media_type="image/png", data="AAAA")),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        ),
        (
            Image(source=Source(url="https://example.com/a.png")),
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        ),
        (
            File(source=Source(data="AAAA"), filename="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                "title": "a.pdf",
            },
        ),
        (
            File(source=Source(media_type="text/csv", data=base64.b64encode("a,é".encode()).decode())),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,é"}},
        ),
        (
            Text(text="a", cache=CacheBreakpoint("1h")),
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
    ],
)
def test_parts_of_other_apis_as_blocks(part, block):
    body, warnings = encoded(Message(role="user", parts=(part,)))
    assert body["messages"][0]["content"] == [block]
    assert warnings == ()


@pytest.mark.parametrize(
    "part",
    [
        Reasoning(text="hm", signature="sig", provider="gemini"),
        Reasoning(text="hm", provider=None),
        Opaque(provider="openai-responses", data={"type": "x"}),
        File(source=Source(media_type="application/zip", data="AAAA")),
        File(source=Source(media_type="text/plain", data="no base64!")),
        Text(text="", citations=({"type": "url_citation"},)),
    ],
)
def test_what_has_no_counterpart_is_left_out_with_a_warning(part):
    body, warnings = encoded(Message(role="user", parts=(part, Text(text="hi"))))
    assert body["messages"][0]["content"][-1] == {"type": "text", "text": "hi"}
    assert "sig" not in json.dumps(body)
    if isinstance(part, Text):
        assert len(body["messages"][0]["content"]) == 1
    else:
        assert len(warnings) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": (ToolSpec(name="web", provider="openai-responses", opaque={"type": "web"}),)}, "tools[0]"),
    ],
)
def test_what_must_not_be_dropped_is_refused(fields, param):
    with pytest.raises(NotTranslatable) as caught:
        encoded(**fields)
    assert caught.value.param == param


def test_audio_is_refused():
    with pytest.raises(NotTranslatable):
        encoded(Message(role="user", parts=(Audio(source=Source(data="AAAA"), format="wav"),)))


@pytest.mark.parametrize(
    ("fields", "expected", "warned"),
    [
        ({"temperature": 1.7}, {"temperature": 1}, "temperature 1.7"),
        (
            {"temperature": 0.3, "top_p": 0.5, "stop": ("END",)},
            {"temperature": 0.3, "top_p": 0.5, "stop_sequences": ["END"]},
            None,
        ),
        ({"frequency_penalty": 0.5}, {}, "frequency_penalty"),
        ({"presence_penalty": 0.5}, {}, "presence_penalty"),
        ({"seed": 0}, {}, "seed"),
        ({"logprobs": True}, {}, "logprobs"),
        ({"logprobs": False, "n": 1, "frequency_penalty": 0.0}, {}, None),
        ({"service_tier": "auto"}, {"service_tier": "auto"}, None),
        ({"service_tier": "flex"}, {}, "service_tier flex"),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}, None),
        ({"response_format": ResponseFormat(kind="json")}, {}, "JSON without a schema"),
        (
            {"response_format": ResponseFormat(kind="json_schema", name="n", schema={"type": "object"})},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            None,
        ),
        ({"reasoning": ReasoningConfig(effort="minimal")}, {"output_config": {"effort": "low"}}, None),
        ({"reasoning": ReasoningConfig(enabled=False, effort="none")}, {"thinking": {"type": "disabled"}}, None),
        ({"reasoning": ReasoningConfig(adaptive=True)}, {"thinking": {"type": "adaptive"}}, None),
        ({"reasoning": ReasoningConfig(budget_tokens=-1)}, {}, None),
        (
            {"reasoning": ReasoningConfig(budget_tokens=20000)},
            {"max_tokens": 24096, "thinking": {"type": "enabled", "budget_tokens": 20000}},
            None,
        ),
        (
            {"reasoning": ReasoningConfig(budget_tokens=20000), "max_output_tokens": 8000, "temperature": 0.2},
            {"max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 7999}},
            "temperature was left out",
        ),
        (
            {"reasoning": ReasoningConfig(budget_tokens=2000), "max_output_tokens": 500},
            {"max_tokens": 500},
            "leaves no room",
        ),
        (
            {"tools": (ToolSpec(name="f", schema={}),), "parallel_tool_calls": False},
            {
                "tools": [{"name": "f", "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            },
            None,
        ),
        ({"tool_choice": ToolChoice(mode="required")}, {}, None),
    ],
)
def test_settings_of_other_apis(fields, expected, warned):
    body, warnings = encoded(**fields)
    plain = {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert body == {**plain, **expected}
    assert [w for w in warnings if warned is None or warned not in w] == []
    assert bool(warnings) is (warned is not None)


def test_a_modes_effort_comes_before_the_callers():
    request = decoded(output_config={"effort": "max"}, thinking={"type": "adaptive"})
    from_mode = DIALECT.encode_request(
        ChatRequest(
            model="m",
            messages=request.messages,
            reasoning=ReasoningConfig(enabled=True, effort="low"),
            extras=request.extras,
        )
    )
    assert json.loads(from_mode.body)["output_config"] == {"effort": "low"}


# ---- Anything at all ---------------------------------------------------------------------------------------

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
)
anything = st.recursive(
    scalars, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=4), i, max_size=3), max_leaves=6
)
BLOCK_KEYS = ["text", "citations", "cache_control", "source", "title", "thinking", "signature", "data", "id", "name"]
BLOCK_KEYS += ["input", "tool_use_id", "content", "is_error"]
sources = st.dictionaries(
    st.sampled_from(["type", "data", "url", "media_type", "file_id"]),
    anything | st.sampled_from(["base64", "url", "text", "file"]),
    max_size=4,
)
blocks = st.builds(
    lambda kind, rest, source: {**rest, **({"source": source} if source is not None else {}), "type": kind},
    st.sampled_from(sorted({b["type"] for b in BLOCKS})) | anything,
    st.dictionaries(st.sampled_from(BLOCK_KEYS), anything, max_size=5),
    st.none() | sources,
)
TOP_KEYS = ["system", "tools", "tool_choice", "thinking", "output_config", "output_format", "stop_sequences", "stream"]
TOP_KEYS += ["metadata", "temperature", "top_p", "top_k", "service_tier", "cache_control", "model", "max_tokens"]


@settings(max_examples=400, deadline=None)
@given(
    contents=st.lists(st.lists(blocks | anything, max_size=3) | anything, min_size=1, max_size=3),
    rest=st.dictionaries(st.sampled_from(TOP_KEYS), anything, max_size=4),
)
def test_no_content_raises_anything_but_invalid_request(contents, rest):
    messages = [{"role": "user", "content": c} for c in contents]
    raw = json.dumps({"model": "m", "max_tokens": 5, **rest, "messages": messages}).encode()
    with contextlib.suppress(InvalidRequest):
        DIALECT.patch_request(DIALECT.outline(raw), "m", "low")
    with contextlib.suppress(InvalidRequest):
        request = DIALECT.decode_request(raw)
        assert json.loads(DIALECT.encode_request(request).body)["messages"][0]["role"] == "user"
