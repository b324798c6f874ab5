"""Whole answers of the Messages API: tokens counted as we count them, reasons to stop, answers of other APIs."""

import json

import pytest

from turnout.chat import ChatResponse, FinishReason, Reasoning, Refusal, Text, ToolCall, Usage
from turnout.dialects import DIALECTS
from turnout.dialects.anthropic_messages.blocks import NOT_SIGNED
from turnout.errors import UpstreamFailure

DIALECT = DIALECTS["anthropic-messages"]
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 3},
}


def answer(**fields):
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": USAGE,
            **fields,
        }
    ).encode()


def encoded(*parts, finish="stop", usage=None):
    """The message and the warnings for an answer of another API."""
    response = ChatResponse(
        id="chatcmpl-1", model="gpt", parts=parts, finish=FinishReason(finish, "their word"), usage=usage
    )
    out = DIALECT.encode_response(response)
    return json.loads(out.body), out.warnings


def test_input_counts_the_cache_in():
    usage = DIALECT.decode_response(answer()).usage
    assert usage == Usage(
        input=140, cache_read=100, cache_write=30, cache_write_1h=20, output=7, reasoning=3, raw=USAGE
    )
    assert DIALECT.summarise(answer()).usage == usage


def test_usage_of_another_api_is_counted_apart_again():
    theirs = Usage(
        input=140, cache_read=100, cache_write=30, cache_write_1h=20, output=7, reasoning=3, raw={"prompt_tokens": 140}
    )
    assert encoded(Text(text="hi"), usage=theirs)[0]["usage"] == USAGE


def test_another_apis_input_tokens_are_not_taken_for_ours():
    """OpenAI's Responses API has the same key; its count holds the cached tokens."""
    raw = {"input_tokens": 140, "input_tokens_details": {"cached_tokens": 100}, "output_tokens": 7}
    message, _ = encoded(Text(text="hi"), usage=Usage(input=140, cache_read=100, output=7, raw=raw))
    assert message["usage"]["input_tokens"] == 40
    assert message["usage"]["cache_read_input_tokens"] == 100


def test_unknown_usage_is_zero_because_clients_want_a_number():
    assert encoded(Text(text="hi"))[0]["usage"] == {"input_tokens": 0, "output_tokens": 0}


@pytest.mark.parametrize(
    ("word", "unified"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
    ],
)
def test_every_reason_to_stop_comes_back_in_its_own_word(word, unified):
    raw = answer(stop_reason=word, stop_sequence="END" if word == "stop_sequence" else None)
    response = DIALECT.decode_response(raw)
    assert response.finish == FinishReason(unified, word)
    assert json.loads(DIALECT.encode_response(response).body) == json.loads(raw)


def test_a_reason_nobody_knows_is_kept_raw():
    assert DIALECT.decode_response(answer(stop_reason="bored")).finish == FinishReason("other", "bored")


@pytest.mark.parametrize(
    ("unified", "word"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("pause", "pause_turn"),
    ],
)
def test_reasons_of_other_apis_in_this_ones_words(unified, word):
    assert encoded(Text(text="hi"), finish=unified)[0]["stop_reason"] == word


def test_an_answer_of_another_api_keeps_its_id_and_shows_its_thinking():
    message, warnings = encoded(
        Reasoning(text="hm", provider="openai-chat"),
        Refusal(text="no"),
        Text(text=""),
        ToolCall(id="c1", name="f", arguments=""),
        finish="tool_calls",
    )
    assert (message["id"], message["type"], message["role"], message["model"]) == (
        "chatcmpl-1",
        "message",
        "assistant",
        "gpt",
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": NOT_SIGNED},
        {"type": "text", "text": "no"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
    ]
    assert warnings == ()


def test_citations_of_another_api_do_not_reach_clients_that_read_this_ones():
    message, warnings = encoded(Text(text="hi", citations=({"type": "url_citation", "url": "u"},)))
    assert message["content"] == [{"type": "text", "text": "hi"}]
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"null",
        b'{"type":"error","error":{"type":"api_error","message":"x"}}',
        answer(content=None),
        answer(content=[7]),
        answer(content=[{"type": "text"}]),
        b"[" * 5000,
    ],
)
def test_what_is_no_answer_is_the_providers_failure(raw):
    with pytest.raises(UpstreamFailure):
        DIALECT.decode_response(raw)
