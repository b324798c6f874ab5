"""Every recording: what was sent and answered comes back as it was, and crosses to every other format whole."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.recordings import load, plain
from turnout.chat import Reasoning, StreamError, Text, ToolCall, ToolResult, collect
from turnout.dialects import DIALECTS
from turnout.dialects.tool_shapes import as_functions
from turnout.errors import InvalidRequest, NotTranslatable

CASES = [(dialect, case) for dialect in DIALECTS for case in load(dialect)]
IDS = [f"{dialect}-{case.name[:60]}" for dialect, case in CASES]
IN_URL = {"gemini", "bedrock-converse"}
"""Formats whose model and streaming stand in the URL."""
requests = pytest.mark.parametrize(
    ("dialect", "case"),
    [c for c in CASES if c[1].request],
    ids=[i for i, c in zip(IDS, CASES, strict=True) if c[1].request],
)
wholes = pytest.mark.parametrize(
    ("dialect", "case"),
    [c for c in CASES if not c[1].streaming and c[1].status == 200],
    ids=[i for i, c in zip(IDS, CASES, strict=True) if not c[1].streaming and c[1].status == 200],
)
streams = pytest.mark.parametrize(
    ("dialect", "case"),
    [c for c in CASES if c[1].streaming],
    ids=[i for i, c in zip(IDS, CASES, strict=True) if c[1].streaming],
)


def said(response):
    """What must survive any translation: text, calls with their arguments, tokens. Some formats have no word for
    usage that was not reported: none is zero."""
    text = "".join(p.text for p in response.parts if isinstance(p, Text))
    calls = [(p.name, arguments(p)) for p in response.parts if isinstance(p, ToolCall)]
    usage = response.usage
    return text, calls, (usage.input or 0, usage.output or 0) if usage else (0, 0)


def arguments(call):
    """Decoded. Plain text, which some formats have no place for, counts the same in its wrapping."""
    try:
        return json.loads(call.arguments or "{}")
    except json.JSONDecodeError:
        return {"input": call.arguments}


def others(dialect):
    return [there for name, there in DIALECTS.items() if name != dialect]


def test_there_are_recordings_of_every_kind():
    for dialect in DIALECTS:
        mine = [c for d, c in CASES if d == dialect]
        assert sum(c.streaming for c in mine) >= (0 if dialect == "bedrock-converse" else 4), "none was recorded there"
        assert sum(c.request is not None for c in mine) >= 8
        assert any(c.status >= 400 for c in mine)


@requests
def test_a_request_comes_back_as_it_was(dialect, case):
    d = DIALECTS[dialect]
    encoded = d.encode_request(d.decode_request(case.body))
    assert plain(json.loads(encoded.body)) == plain(case.request)
    assert encoded.warnings == ()


@requests
def test_a_patch_changes_the_model_and_nothing_else(dialect, case):
    d = DIALECTS[dialect]
    patched = json.loads(d.patch_request(d.outline(case.body), "another-model"))
    expected = case.request if dialect in IN_URL else {**case.request, "model": "another-model"}
    if dialect == "openai-chat" and case.request.get("stream"):
        expected["stream_options"] = {**case.request.get("stream_options", {}), "include_usage": True}
    assert patched == expected


@requests
def test_the_outline_sees_what_is_there(dialect, case):
    outline, whole = DIALECTS[dialect].outline(case.body), DIALECTS[dialect].decode_request(case.body)
    assert outline.model == whole.model == case.request.get("model", "")
    assert len(outline.roles) == len(outline.messages) > 0
    assert outline.tools == len(whole.tools)
    assert outline.stream is whole.stream is bool(case.request.get("stream"))
    assert outline.max_output_tokens == whole.max_output_tokens
    assert outline.messages_bytes <= len(case.body)


@wholes
def test_an_answer_comes_back_as_it_was(dialect, case):
    d = DIALECTS[dialect]
    response = d.decode_response(case.response)
    assert plain(json.loads(d.encode_response(response).body)) == plain(json.loads(case.response))
    summary = d.summarise(case.response)
    assert (summary.usage, summary.finish) == (response.usage, response.finish)


@requests
def test_a_request_crosses_to_every_other_format_or_says_why_not(dialect, case):
    request = DIALECTS[dialect].decode_request(case.body)
    for there in others(dialect):
        with contextlib.suppress(NotTranslatable):
            encoded = there.encode_request(as_functions(replace(request, model="m", n=None)))
            crossed = there.decode_request(encoded.body)
            assert asked(crossed) == asked(as_functions(request)), there.name


def asked(request):
    """Words and calls in order, wherever they stand; each wire format has its own turns."""
    parts = [p for m in request.messages for p in m.parts if m.role not in {"system", "developer"}]
    calls = [(p.name, arguments(p)) for p in parts if isinstance(p, ToolCall)]
    results = [said_in(p) for p in parts if isinstance(p, ToolResult)]
    return calls, results, [t.name for t in request.tools]


def said_in(result):
    return "".join("".join(p.text.split()) for p in result.parts if isinstance(p, Text))


@wholes
def test_an_answer_crosses_to_every_other_format_whole(dialect, case):
    response = DIALECTS[dialect].decode_response(case.response)
    for there in others(dialect):
        crossed = there.decode_response(there.encode_response(response).body)
        assert said(crossed) == said(response), there.name
        calls = any(isinstance(p, ToolCall) for p in response.parts)
        if calls or response.finish.unified != "tool_calls":  # calls of server-side tools are not handed over
            assert crossed.finish.unified == response.finish.unified, there.name


@streams
def test_a_stream_crosses_to_every_other_format_whole(dialect, case):
    decoder = DIALECTS[dialect].stream_decoder()
    events = decoder.feed(case.response) + decoder.close()
    for there in others(dialect):
        encoder, again = there.stream_encoder(include_usage=True), there.stream_decoder()
        crossed = collect(again.feed(b"".join(encoder.feed(e) for e in events)) + again.close())
        assert said(crossed) == said(collect(events)), there.name


@streams
def test_a_stream_read_along_is_handed_on_untouched(dialect, case):
    tap = DIALECTS[dialect].stream_tap(include_usage=True)
    out = b"".join(tap.feed(case.response[i : i + 7]) for i in range(0, len(case.response), 7)) + tap.close()
    assert out == case.response
    decoder = DIALECTS[dialect].stream_decoder()
    whole = collect(decoder.feed(case.response) + decoder.close())
    assert (tap.usage, tap.finish, tap.complete, tap.error) == (whole.usage, whole.finish, True, None)


@streams
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_stream_split_anywhere_gives_the_same_events(dialect, case, data):
    whole = DIALECTS[dialect].stream_decoder()
    split = DIALECTS[dialect].stream_decoder()
    at = data.draw(st.integers(0, len(case.response)))
    to = data.draw(st.integers(at, len(case.response)))
    pieces = [case.response[:at], case.response[at:to], case.response[to:]]
    events = [e for piece in pieces for e in split.feed(piece)] + split.close()
    assert events == whole.feed(case.response) + whole.close()


@streams
def test_a_stream_cut_in_the_middle_says_so(dialect, case):
    decoder, tap = DIALECTS[dialect].stream_decoder(), DIALECTS[dialect].stream_tap(include_usage=True)
    half = case.response[: len(case.response) // 3]
    events = decoder.feed(half) + decoder.close()
    tap.feed(half)
    tap.close()
    assert isinstance(events[-1], StreamError)
    assert not tap.complete


@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_an_error_is_told_in_words(dialect):
    for case in (c for d, c in CASES if d == dialect and c.status >= 400):
        fault = DIALECTS[dialect].decode_error(case.response)
        assert fault.message
        assert "no readable message" not in fault.message
    assert DIALECTS[dialect].decode_error(b"<html>502</html>").code is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["model", "messages", "input", "instructions", "contents", "reasoning", "text", "tools", "max_tokens"]
KEYS += ["stream", "system", "metadata", "tool_choice", "stop", "thinking", "generationConfig", "toolConfig"]
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system", "x"])},
        optional={"content": json_values, "tool_calls": json_values, "tool_call_id": json_values},
    )
    | json_values,
    max_size=3,
)


@pytest.mark.parametrize("dialect", list(DIALECTS))
@settings(max_examples=150, deadline=None)
@given(body=st.dictionaries(st.sampled_from(KEYS), json_values, max_size=6), talk=st.none() | messages)
def test_no_body_raises_anything_but_invalid_request(dialect, body, talk):
    d = DIALECTS[dialect]
    raw = json.dumps(
        {"model": "m", "max_tokens": 5, **body, **({"messages": talk} if talk is not None else {})}
    ).encode()
    for decode in (d.outline, d.decode_request):
        with contextlib.suppress(InvalidRequest):
            assert decode(raw).model or dialect in IN_URL


PLACES = {
    "openai-chat": "messages",
    "anthropic-messages": "messages",
    "openai-responses": "input",
    "gemini": "contents",
    "bedrock-converse": "messages",
}


@pytest.mark.parametrize("dialect", list(DIALECTS))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_order_of_messages_breaks_a_translation(dialect, data):
    """Turns of real conversations in any order, doubled and left out: every format takes them or says why not."""
    place = PLACES[dialect]
    turns = [m for d, c in CASES if d == dialect and c.request for m in listed(c.request.get(place))]
    talk = data.draw(st.lists(st.sampled_from(turns), min_size=1, max_size=5))
    body = json.dumps({"model": "m", "max_tokens": 5, place: talk}).encode()
    request = replace(DIALECTS[dialect].decode_request(body), model="m")
    for there in others(dialect):
        with contextlib.suppress(NotTranslatable):
            crossed = there.encode_request(as_functions(request)).body
            assert there.outline(crossed).messages
            assert there.decode_request(crossed).messages


def listed(value):
    return value if isinstance(value, list) else []


@pytest.mark.parametrize("dialect", list(DIALECTS))
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"a":\xff}', b"[" * 5000, b'{"model":"m"}', b'{"messages":[]}']
)
def test_broken_bodies_are_told(dialect, body):
    with pytest.raises(InvalidRequest):
        DIALECTS[dialect].outline(body)


def test_thinking_goes_back_to_its_author_alone():
    request = json.dumps(
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "sig"},
                        {"type": "text", "text": "yes"},
                    ],
                },
                {"role": "user", "content": "go"},
            ],
        }
    ).encode()
    neutral = DIALECTS["anthropic-messages"].decode_request(request)
    assert any(isinstance(p, Reasoning) for m in neutral.messages for p in m.parts)
    away = DIALECTS["openai-chat"].encode_request(neutral)
    assert b"sig" not in away.body
    assert any("thinking of another model" in w for w in away.warnings)
