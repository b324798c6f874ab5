"""The outline of a Messages request, and the patch: what routing reads and what stays byte for byte."""

import json

import pytest

from turnout.dialects import DIALECTS
from turnout.dialects.anthropic_messages.blocks import NOT_SIGNED
from turnout.errors import InvalidRequest

DIALECT = DIALECTS["anthropic-messages"]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def body(*content, **fields):
    """A request whose user says `content`, a string or blocks."""
    messages = [{"role": "user", "content": c} for c in content or ["hi"]]
    return json.dumps({"model": "auto", "max_tokens": 64, "messages": messages, **fields}).encode()


def test_what_an_agents_request_looks_like():
    """Claude Code's shape: system blocks, tools, a system message in `messages`, thinking, effort."""
    outline = DIALECT.outline(
        json.dumps(
            {
                "model": "claude-opus-4-8",
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Say hello"}]},
                    {"role": "system", "content": "be brief"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "Read", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [PICTURE]}]},
                ],
                "system": [{"type": "text", "text": "You are Claude Code", "cache_control": {"type": "ephemeral"}}],
                "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
                "metadata": {"user_id": "user_1_session_2"},
                "max_tokens": 64000,
                "thinking": {"type": "adaptive"},
                "output_config": {"effort": "high"},
                "stream": True,
            }
        ).encode()
    )
    assert outline.roles == ("user", "system", "assistant", "user")
    assert (outline.tools, outline.stream, outline.reasoning, outline.max_output_tokens) == (1, True, True, 64000)
    assert outline.user == "user_1_session_2"
    assert outline.tool_result_last
    assert outline.images == 1, "a screenshot in a tool's result asks for a model that sees"
    assert json.loads(bytes(outline.prefix[0]))[0]["name"] == "Read", "tools come before system, as caches see them"
    assert json.loads(bytes(outline.messages[1])) == {"role": "system", "content": "be brief"}


def test_only_the_newest_message_says_whether_a_result_is_last():
    result = [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]
    assert DIALECT.outline(body(result)).tool_result_last
    assert not DIALECT.outline(body(result, "and now?")).tool_result_last


def test_a_document_of_plain_text_asks_for_no_model_that_reads_files():
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    assert DIALECT.outline(body([text])).files == 0
    assert DIALECT.outline(body([text, pdf])).files == 1


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, True),
        ({"output_format": {"type": "json_schema", "schema": {}}}, True),
        ({"output_format": None}, False),
        ({"output_config": {"effort": "low"}}, False),
    ],
)
def test_structured_output_is_seen_in_both_spellings(fields, asked):
    assert DIALECT.outline(body(**fields)).json_schema is asked


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (body(model=""), "model"),
        (body(model=7), "model"),
        (body(messages=[]), "messages"),
        (body(messages={"role": "user"}), "messages"),
        (body(messages=[{"role": "user", "content": "a"}, 7]), "messages[1]"),
        (body(messages=[{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]), "messages[1].role"),
        (body(messages=[{"content": "a"}]), "messages[0].role"),
        (body(messages=[{"role": ["user"], "content": "a"}]), "messages[0].role"),
        (body(messages=[{"role": "user"}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": None}]), "messages[0].content"),
        (body([{"type": 7}]), "messages[0].content"),
        (body([{"type": "document"}]), "messages[0].content[0].source"),
        (body(max_tokens=None), "max_tokens"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        (body(max_tokens="many"), "max_tokens"),
        (body(stream="yes"), "stream"),
        (body(tools={}), "tools"),
        (body(metadata=[]), "metadata"),
    ],
)
def test_bad_input_names_the_field(raw, param):
    with pytest.raises(InvalidRequest) as caught:
        DIALECT.outline(raw)
    assert caught.value.param == param


def test_a_patch_exchanges_the_model_and_keeps_every_other_byte():
    raw = (
        b'{"model":"auto","max_tokens":9,"messages":[{"role":"user" ,"content":"\\u00e9  1.0"}],"top_p": 0.90,"x":1e2}'
    )
    assert DIALECT.patch_request(DIALECT.outline(raw), "claude-haiku-4-5") == (
        b'{"model":"claude-haiku-4-5","max_tokens":9,'
        b'"messages":[{"role":"user" ,"content":"\\u00e9  1.0"}],"top_p":0.90,"x":1e2}'
    )


def test_hints_for_us_are_taken_out_of_metadata():
    outline = DIALECT.outline(body(metadata={"user_id": "u", "mode": "plan", "tags": {"team": "core"}}))
    assert json.loads(DIALECT.patch_request(outline, "m"))["metadata"] == {"user_id": "u"}


@pytest.mark.parametrize(
    ("effort", "expected"),
    [
        ("high", {"output_config": {"format": None, "effort": "high"}}),
        ("minimal", {"output_config": {"format": None, "effort": "low"}}),
        ("none", {"thinking": {"type": "disabled"}, "output_config": {"format": None}}),
    ],
)
def test_a_modes_effort_is_put_in_this_apis_words(effort, expected):
    outline = DIALECT.outline(body(output_config={"format": None}))
    patched = json.loads(DIALECT.patch_request(outline, "m", effort))
    assert {k: patched[k] for k in ("thinking", "output_config") if k in patched} == expected


def test_thinking_that_we_showed_of_other_models_does_not_go_upstream():
    """The API answers 400 "Invalid signature in thinking block" to any signature that is not its own."""
    messages = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "foreign", "signature": NOT_SIGNED},
                {"type": "thinking", "thinking": "own", "signature": "EqQB"},
                {"type": "text", "text": f'the mark is "{NOT_SIGNED}"'},
            ],
        },
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "alone", "signature": NOT_SIGNED}]},
        {"role": "user", "content": "go on"},
    ]
    outline = DIALECT.outline(body(messages=messages))
    patched = json.loads(DIALECT.patch_request(outline, "m"))["messages"]
    assert patched[1]["content"] == messages[1]["content"][1:]
    assert patched[2] == {"role": "assistant", "content": [{"type": "text", "text": "(empty)"}]}
    assert (patched[0], patched[3]) == (messages[0], messages[3])
