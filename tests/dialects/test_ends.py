"""A note at the end: one more message, and not a byte of the caller's changed before it."""

import json

import msgspec
import pytest

from turnout.dialects import DIALECTS
from turnout.dialects.ends import acting, newest, noted, opened, picked
from turnout.errors import InvalidRequest

TEXT = {
    "openai-chat": {"model": "m", "messages": [{"role": "user", "content": "hé"}], "max_tokens": 5},
    "openai-responses": {"model": "m", "input": [{"role": "user", "content": "hé"}]},
    "anthropic-messages": {"model": "m", "messages": [{"role": "user", "content": "hé"}], "max_tokens": 5},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hé"}]}]},
}


@pytest.mark.parametrize("name", TEXT)
def test_the_note_is_the_last_message_and_all_before_it_stays_byte_for_byte(name):
    dialect = DIALECTS[name]
    body = json.dumps(TEXT[name], ensure_ascii=False, indent=1).encode()
    told = noted(dialect, dialect.outline(body), "You repeat yourself.")
    conversation = next(key for key in ("messages", "input", "contents") if key in TEXT[name])
    kept = bytes(dialect.outline(body).fields[conversation])[:-1].rstrip()
    assert kept in told
    messages = dialect.decode_request(told).messages
    assert [m.role for m in messages] == ["user", "user"]
    assert messages[-1].parts[0].text == "You repeat yourself."
    assert {k: v for k, v in json.loads(told).items() if k != conversation} == {
        k: v for k, v in TEXT[name].items() if k != conversation
    }


def test_a_bare_string_is_left_alone():
    dialect = DIALECTS["openai-responses"]
    assert noted(dialect, dialect.outline(b'{"model":"m","input":"hi"}'), "note") is None


@pytest.mark.parametrize("name", TEXT)
def test_the_newest_messages_are_read_alone(name):
    dialect = DIALECTS[name]
    body = noted(dialect, dialect.outline(json.dumps(TEXT[name]).encode()), "second")
    outline = dialect.outline(body)
    (message,) = newest(dialect, outline, 1)
    assert message.parts[0].text == "second"
    assert len(newest(dialect, outline, 0)) == 2
    assert newest(dialect, outline, 2) == ()


FULL = {
    "openai-chat": {
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hé"}],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
    },
    "openai-responses": {
        "instructions": "Be kind.",
        "input": "hé",
        "tools": [{"type": "function", "name": "look", "parameters": {}}],
    },
    "anthropic-messages": {
        "system": "Be kind.",
        "messages": [{"role": "user", "content": "hé"}],
        "max_tokens": 5,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "hé"}]}],
        "tools": [{"functionDeclarations": [{"name": "look"}]}],
    },
}


@pytest.mark.parametrize("name", FULL)
def test_a_conversation_is_read_with_what_stands_before_it_and_nothing_else(name):
    dialect = DIALECTS[name]
    odd = {"temperature": "far too warm"}
    request = opened(dialect, dialect.outline(json.dumps({"model": "m", **FULL[name], **odd}).encode()))
    assert [tool.name for tool in request.tools] == ["look"]
    assert [m.parts[0].text for m in request.messages] == ["Be kind.", "hé"]


ACTED = {
    "openai-chat": {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Look it up."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "42"},
            {"role": "assistant", "content": [{"type": "text", "text": "It is 42."}]},
            {"role": "user", "content": "Thanks"},
        ]
    },
    "openai-responses": {
        "input": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Look it up."},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is 42."}]},
            {"role": "user", "content": "Thanks"},
        ]
    },
    "anthropic-messages": {
        "max_tokens": 5,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Look it up."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "42"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "It is 42."}]},
            {"role": "user", "content": "Thanks"},
        ],
    },
}


def acted(name):
    return DIALECTS[name], DIALECTS[name].outline(json.dumps({"model": "m", **ACTED[name]}).encode())


@pytest.mark.parametrize("name", ACTED)
def test_messages_alone_are_read_as_in_their_request(name):
    dialect, outline = acted(name)
    whole = dialect.decode_request(json.dumps({"model": "m", **ACTED[name]}).encode()).messages
    assert dialect.decode_messages(outline.messages) == whole == newest(dialect, outline, 0)
    assert picked(dialect, outline, (4, 1)) == (whole[4], whole[1])


@pytest.mark.parametrize("name", ACTED)
def test_of_what_agents_do_nothing_is_passed_over(name):
    dialect, outline = acted(name)
    whole = newest(dialect, outline, 0)
    assert outline.acts == (2, 3)
    assert acting(dialect, outline, 0) == (whole[2], whole[3], whole[5])
    assert acting(dialect, outline, 3) == (whole[3], whole[5])
    assert acting(dialect, outline, 5) == (whole[5],)
    assert acting(dialect, outline, 6) == ()


def test_where_one_message_says_what_another_means_all_are_read():
    outline = DIALECTS["gemini"].outline(json.dumps(TEXT["gemini"]).encode())
    assert outline.acts is None
    assert acting(DIALECTS["gemini"], outline, 0) == newest(DIALECTS["gemini"], outline, 0)


def test_a_message_that_cannot_be_read_is_named():
    dialect, outline = acted("openai-chat")
    with pytest.raises(InvalidRequest, match=r"messages\[0\] must be an object"):
        dialect.decode_messages((msgspec.Raw(b"3"),))
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        dialect.decode_messages((msgspec.Raw(b'{"role": "\xff"}'),))
    assert outline.acts
