"""Streams: read, written, and read along untouched."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.recordings import load
from turnout.chat import (
    FinishReason,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ResponseEnd,
    ResponseStart,
    StreamError,
    Text,
    ToolCall,
    Usage,
    collect,
)
from turnout.dialects import DIALECTS
from turnout.dialects.gemini import GEMINI

STREAMS = [c for c in load("gemini") if c.streaming]
recorded = pytest.mark.parametrize("case", STREAMS, ids=lambda c: c.name[-60:])


def sse(*chunks):
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def chunk(*parts, reason=None, **fields):
    ended = {"finishReason": reason} if reason else {}
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **ended}
    return {"candidates": [candidate], "modelVersion": "gemini-3-pro", "responseId": "r1", **fields}


def events_of(raw):
    decoder = GEMINI.stream_decoder()
    return decoder.feed(raw) + decoder.close()


def said(response):
    text = "".join(p.text for p in response.parts if isinstance(p, Text))
    calls = [(p.name, json.loads(p.arguments or "{}")) for p in response.parts if isinstance(p, ToolCall)]
    return text, calls, (response.usage.input, response.usage.output)


def merged(case):
    """The whole answer that the recorded pieces spell out."""
    told = [json.loads(line[5:]) for line in case.response.decode().splitlines() if line.startswith("data:")]
    out, parts, candidate, usage = {}, [], {}, {}
    for piece in told:
        out |= piece
        usage |= piece.get("usageMetadata", {})
        for c in piece.get("candidates", []):
            candidate |= c
            parts += c.get("content", {}).get("parts", [])
    return {**out, "usageMetadata": usage, "candidates": [{**candidate, "content": {"role": "model", "parts": parts}}]}


@pytest.mark.parametrize("case", [c for c in STREAMS if b"partialArgs" not in c.response], ids=lambda c: c.name[-60:])
def test_a_collected_stream_is_the_merged_answer(case):
    """Calls in pieces have no form in whole answers."""
    whole = GEMINI.decode_response(json.dumps(merged(case)).encode())
    collected = collect(events_of(case.response))
    assert said(collected) == said(whole)
    assert (collected.finish, collected.id, collected.model) == (whole.finish, whole.id, whole.model)
    assert collected.usage == whole.usage


@recorded
def test_a_stream_read_along_is_handed_on_untouched(case):
    tap = GEMINI.stream_tap(include_usage=False)
    out = b"".join(tap.feed(case.response[i : i + 7]) for i in range(0, len(case.response), 7)) + tap.close()
    assert out == case.response
    whole = collect(events_of(case.response))
    assert (tap.usage, tap.finish, tap.complete, tap.error) == (whole.usage, whole.finish, True, None)
    assert tap.model == whole.model


@recorded
@pytest.mark.parametrize("there", list(DIALECTS))
def test_a_stream_crosses_and_comes_back(case, there):
    events = events_of(case.response)
    encoder, decoder = DIALECTS[there].stream_encoder(include_usage=True), DIALECTS[there].stream_decoder()
    over = decoder.feed(b"".join(encoder.feed(e) for e in events)) + decoder.close()
    assert said(collect(over)) == said(collect(events))
    back = GEMINI.stream_encoder(include_usage=True)
    again = collect(events_of(b"".join(back.feed(e) for e in over)))
    assert said(again) == said(collect(events))
    assert again.finish.unified == collect(events).finish.unified


@recorded
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_stream_split_anywhere_gives_the_same_events(case, data):
    at = data.draw(st.integers(0, len(case.response)))
    decoder = GEMINI.stream_decoder()
    events = decoder.feed(case.response[:at]) + decoder.feed(case.response[at:]) + decoder.close()
    assert events == events_of(case.response)


def test_texts_and_thoughts_in_pieces_are_one_part_each():
    raw = sse(
        chunk({"text": "Let ", "thought": True}, createTime="2026-05-04T20:01:02Z"),
        chunk({"text": "me see.", "thought": True, "thoughtSignature": "YQ=="}),
        chunk({"text": "The sky"}),
        chunk({"text": " is blue."}),
        chunk({"text": ""}, reason="STOP", usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 5}),
    )
    events = events_of(raw)
    assert events[0] == ResponseStart(id="r1", model="gemini-3-pro", created=1777924862)
    assert events[1] == PartStart(index=0, part=Reasoning(provider="gemini"))
    assert [e.text for e in events if isinstance(e, PartDelta)] == ["Let ", "me see.", "The sky", " is blue."]
    whole = collect(events)
    assert whole.parts == (
        Reasoning(text="Let me see.", signature="YQ==", provider="gemini"),
        Text(text="The sky is blue."),
    )
    assert whole.finish == FinishReason("stop", "STOP")
    assert (whole.usage.input, whole.usage.output) == (3, 5)


def test_calls_come_whole():
    raw = sse(
        chunk({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "YQ=="}),
        chunk({"functionCall": {"id": "x", "name": "g", "args": {}}}),
        chunk({"text": ""}, reason="STOP"),
    )
    one, two = collect(events_of(raw)).parts
    assert (one.id, one.arguments, one.extras["gemini"]["thoughtSignature"]) == ("call_0_r1", '{"a":1}', "YQ==")
    assert (two.id, two.name) == ("x", "g")
    assert collect(events_of(raw)).finish.unified == "tool_calls"


def test_a_call_in_pieces_is_put_together():
    def piece(path, **value):
        return chunk({"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": True}})

    raw = sse(
        chunk({"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": "YQ=="}),
        piece("$.items[0].name", stringValue="app", willContinue=True),
        piece("$.items[0].name", stringValue="le"),
        piece("$.items[0].price", numberValue=0.5),
        piece("$.items[1]['full name']", nullValue="NULL_VALUE"),
        piece("$.count", numberValue=2.0),
        piece("$.fresh", boolValue=True),
        chunk({"functionCall": {}}),
        chunk({"functionCall": {"name": "g"}}, reason="STOP"),
    )
    one, two = collect(events_of(raw)).parts
    assert json.loads(one.arguments) == {
        "items": [{"name": "apple", "price": 0.5}, {"full name": None}],
        "count": 2,
        "fresh": True,
    }
    assert (two.name, two.arguments) == ("g", "{}")


@pytest.mark.parametrize("path", ["a", "$", "$[0]", "$.a[5]", "$.a[", "$..a", "$.a[99999999]", 1])
def test_a_piece_that_belongs_nowhere_breaks_the_stream(path):
    partial = [{"jsonPath": path, "stringValue": "x"}]
    raw = sse(chunk({"functionCall": {"name": "f", "partialArgs": partial}}, reason="STOP"))
    assert events_of(raw)[-1].code == "bad_stream"


def test_a_reason_with_every_piece_ends_nothing_early():
    raw = sse(chunk({"text": "a"}, reason="STOP"), chunk({"text": "b"}, reason="STOP"))
    assert collect(events_of(raw)).parts == (Text(text="ab"),)


def test_a_refused_prompt_ends_a_stream():
    raw = sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}})
    whole = collect(events_of(raw))
    assert (whole.parts, whole.finish) == ((), FinishReason("content_filter", "SAFETY"))
    tap = GEMINI.stream_tap(include_usage=True)
    tap.feed(raw)
    assert (tap.complete, tap.finish) == (True, whole.finish)


def test_an_error_in_mid_stream():
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    raw = sse(chunk({"text": "a"}), error)
    told = StreamError(code="UNAVAILABLE", message="The model is overloaded.", status=503)
    assert events_of(raw)[-1] == told
    assert events_of(sse([error])) == [told]
    tap = GEMINI.stream_tap(include_usage=True)
    assert tap.feed(raw) == raw
    assert (tap.error, tap.complete) == (told, False)


@pytest.mark.parametrize(
    "raw",
    [b"", sse(chunk({"text": "a"})), b"data: {", b"data: 1\n\n", sse({"candidates": [1]}), sse({"candidates": 1})],
)
def test_a_cut_or_broken_stream_says_so(raw):
    assert isinstance(events_of(raw)[-1], StreamError)


def test_another_models_stream():
    encoder = GEMINI.stream_encoder(include_usage=True)
    events = [
        ResponseStart(id="1", model="claude"),
        PartStart(index=0, part=Reasoning(provider="anthropic-messages")),
        PartDelta(index=0, text="hm"),
        PartDelta(index=0, signature="s"),
        PartEnd(index=0),
        PartStart(index=1, part=Text(text="")),
        PartDelta(index=1, text="I look."),
        PartEnd(index=1),
        PartStart(index=2, part=ToolCall(id="c1", name="f")),
        PartStart(index=3, part=ToolCall(id="c2", name="g")),
        PartDelta(index=2, text='{"a":'),
        PartDelta(index=2, text="1}"),
        PartEnd(index=2),
        ResponseEnd(finish=FinishReason("tool_calls"), usage=Usage(input=3, output=4)),
    ]
    written = [encoder.feed(event) for event in events]
    assert [bool(w) for w in written] == [False, False, True] + [False] * 3 + [True] + [False] * 5 + [True, True]
    chunks = [json.loads(line[6:]) for line in b"".join(written).decode().splitlines() if line]
    assert [c["candidates"][0]["content"]["parts"] for c in chunks] == [
        [{"text": "hm", "thought": True}],
        [{"text": "I look."}],
        [
            {
                "functionCall": {"id": "c1", "name": "f", "args": {"a": 1}},
                "thoughtSignature": "skip/thought/signature/validator",
            }
        ],
        [{"functionCall": {"id": "c2", "name": "g", "args": {}}}],
        [{"text": ""}],
    ]
    assert all(c["responseId"] == "1" and c["modelVersion"] == "claude" for c in chunks)
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert chunks[-1]["usageMetadata"] == {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
calls = st.dictionaries(st.sampled_from(["name", "args", "partialArgs", "willContinue"]), json_values, max_size=4)
parts = st.dictionaries(st.sampled_from(["text", "thought", "functionCall", "x"]), json_values | calls, max_size=3)
pieces = st.builds(chunk, parts, parts, reason=st.none() | st.just("STOP") | json_values) | json_values


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=4))
def test_no_stream_raises(told):
    raw = sse(*told)
    events = events_of(raw)
    assert isinstance(events[-1], (StreamError, ResponseEnd))
    tap = GEMINI.stream_tap(include_usage=True)
    assert tap.feed(raw) + tap.close() == raw
