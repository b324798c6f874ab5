"""Streams of the Messages API: what the decoder makes of each event, what clients get from the encoder."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.recordings import FIXTURES, load
from turnout.chat import (
    FinishReason,
    Opaque,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseEnd,
    ResponseStart,
    StreamError,
    Text,
    ToolCall,
    Usage,
    collect,
)
from turnout.dialects import DIALECTS
from turnout.dialects.anthropic_messages.blocks import NOT_SIGNED
from turnout.dialects.sse import SseParser, format_event

DIALECT = DIALECTS["anthropic-messages"]
NAME = "anthropic-messages"
STREAMS = [c for c in load(NAME) if c.streaming]
streams = pytest.mark.parametrize("case", STREAMS, ids=[c.name[:60] for c in STREAMS])


def wire(*payloads):
    return b"".join(format_event(json.dumps(p).encode(), p["type"]) for p in payloads)


def start(usage=None):
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    return {"type": "message_start", "message": message}


def block(index, head, *deltas):
    return (
        {"type": "content_block_start", "index": index, "content_block": head},
        *({"type": "content_block_delta", "index": index, "delta": d} for d in deltas),
        {"type": "content_block_stop", "index": index},
    )


def end(usage=None, reason="end_turn", **beside):
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": usage or {"output_tokens": 9}, **beside}


STOP = {"type": "message_stop"}


def events_of(raw):
    decoder = DIALECT.stream_decoder()
    return decoder.feed(raw) + decoder.close()


def encoded(*events):
    encoder = DIALECT.stream_encoder(include_usage=False)
    return b"".join(encoder.feed(e) for e in events)


def payloads(raw):
    return [json.loads(e.data) for e in SseParser().feed(raw)]


def check_grammar(raw):
    """What the official clients rely on: named events, one block open at a time, indexes without a gap."""
    parser = SseParser()
    events = parser.feed(raw) + parser.close()
    told = [json.loads(e.data) for e in events]
    assert [e.event for e in events] == [p["type"] for p in told]
    assert (told[0]["type"], told[-2]["type"], told[-1]["type"]) == ("message_start", "message_delta", "message_stop")
    assert isinstance(told[0]["message"]["usage"]["input_tokens"], int)
    opened, count = None, 0
    for payload in told[1:-2]:
        match payload["type"]:
            case "content_block_start":
                assert (opened, payload["index"]) == (None, count)
                opened, count = count, count + 1
            case "content_block_delta":
                assert payload["index"] == opened
            case "content_block_stop":
                assert payload["index"] == opened
                opened = None
            case other:
                raise AssertionError(other)
    assert opened is None


# ---- Decoding ----------------------------------------------------------------------------------------------


def test_text_thinking_and_a_call():
    raw = wire(
        start({"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 1}),
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "EqQB"},
        ),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "he"},
            {"type": "citations_delta", "citation": {"type": "char_location"}},
            {"type": "text_delta", "text": "llo"},
        ),
        *block(
            2,
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a": '},
            {"type": "input_json_delta", "partial_json": "1}"},
        ),
        *block(3, {"type": "tool_use", "id": "t2", "name": "g", "input": {}}),
        *block(4, {"type": "redacted_thinking", "data": "EmwK"}),
        end({"output_tokens": 9}, "tool_use"),
        STOP,
    )
    whole = collect(events_of(raw))
    assert whole.parts == (
        Reasoning(text="hm", signature="EqQB", provider=NAME),
        Text(text="hello", citations=({"type": "char_location"},)),
        ToolCall(id="t1", name="f", arguments='{"a": 1}'),
        ToolCall(id="t2", name="g", arguments="{}"),
        Reasoning(redacted="EmwK", provider=NAME),
    )
    assert whole.finish == FinishReason("tool_calls", "tool_use")
    assert (whole.usage.input, whole.usage.cache_read, whole.usage.output) == (25, 20, 9)


def test_a_server_tools_call_and_unknown_deltas_come_whole():
    call = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]}
    raw = wire(
        start(),
        *block(
            0,
            call,
            {"type": "input_json_delta", "partial_json": '{"query":'},
            {"type": "input_json_delta", "partial_json": ' "q"}'},
        ),
        *block(1, result),
        *block(
            2,
            {"type": "compaction", "content": None},
            {"type": "compaction_delta", "content": "sum"},
            {"type": "compaction_delta", "content": "mary"},
        ),
        end(),
        STOP,
    )
    assert [p.data for p in collect(events_of(raw)).parts] == [
        {**call, "input": {"query": "q"}},
        result,
        {"type": "compaction", "content": "summary"},
    ]


def test_what_stands_beside_the_last_delta_is_kept():
    beside = {"context_management": {"applied_edits": []}}
    raw = wire(start(), *block(0, {"type": "text", "text": "a"}), end(**beside), STOP)
    events = events_of(raw)
    assert events[-1].extras == {NAME: beside}
    last = payloads(encoded(*events))[-2]
    assert last["context_management"] == {"applied_edits": []}
    assert "context_management" not in last["delta"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("invalid_request_error", 400),
        ("new_error", 500),
    ],
)
def test_an_error_event_ends_the_stream_with_the_providers_type(kind, status):
    raw = wire(start(), {"type": "error", "error": {"type": kind, "message": "x"}}, STOP)
    expected = StreamError(code=kind, message="x", status=status)
    assert events_of(raw)[-1] == expected
    tap = DIALECT.stream_tap(include_usage=True)
    assert tap.feed(raw) == raw
    assert tap.error == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        wire(start()),
        wire(start(), *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "half"})[:-1]),
    ],
)
def test_a_stream_cut_before_its_end_says_so(raw):
    last = events_of(raw)[-1]
    assert isinstance(last, StreamError)
    assert last.code == "stream_cut"


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": 7},
        {"type": "content_block_start", "index": "x", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": 0, "content_block": []},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "no block is open"}},
        {"type": "content_block_stop", "index": 3},
        {"type": "message_delta", "delta": "x"},
    ],
)
def test_an_event_that_cannot_be_read_is_an_error_and_not_a_crash(payload):
    assert events_of(wire(payload))[-1].code == "bad_stream"
    assert events_of(wire(start()) + b"data: {no json\n\n")[-1].code == "bad_stream"


def test_another_message_in_the_middle_is_an_error_the_same_one_twice_is_not():
    """Seen in the wild: a host that tries again in mid-stream (vercel/ai, issue 18331)."""
    case = json.loads(next((FIXTURES / NAME / "broken").glob("*spliced*")).read_text())
    raw = "".join(f"{line}\n\n" for line in case["response"].splitlines() if line.strip()).encode()
    events = events_of(raw)
    assert isinstance(events[-1], StreamError)
    assert events[-1].code == "bad_stream"
    assert sum(isinstance(e, ResponseStart) for e in events) == 1
    twice = next(c for c in STREAMS if "duplicate" in c.name)
    assert sum(isinstance(e, ResponseStart) for e in events_of(twice.response)) == 1


def test_what_follows_the_end_changes_nothing():
    first = wire(start({"input_tokens": 5}), *block(0, {"type": "text", "text": "a"}), end(), STOP)
    more = wire(start({"input_tokens": 99}), end({"output_tokens": 99}, "max_tokens"), STOP)
    tap = DIALECT.stream_tap(include_usage=True)
    assert tap.feed(first + more) + tap.close() == first + more
    whole = collect(events_of(first + more))
    assert (tap.usage, tap.finish) == (whole.usage, whole.finish)
    assert (tap.usage.input, tap.usage.output) == (5, 9)


@streams
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_splitting_a_stream_anywhere_changes_neither_events_nor_tap(case, data):
    size = data.draw(st.integers(1, 300))
    pieces = [case.response[i : i + size] for i in range(0, len(case.response), size)]
    decoder, tap = DIALECT.stream_decoder(), DIALECT.stream_tap(include_usage=True)
    events = [e for piece in pieces for e in decoder.feed(piece)] + decoder.close()
    assert events == events_of(case.response)
    assert b"".join(tap.feed(piece) for piece in pieces) + tap.close() == case.response
    assert tap.usage == collect(events).usage


# ---- Encoding ----------------------------------------------------------------------------------------------


@streams
def test_a_recorded_stream_encoded_again_says_the_same(case):
    events = events_of(case.response)
    again = encoded(*events)
    check_grammar(again)
    assert collect(events_of(again)) == collect(events)


def test_interleaved_parts_leave_one_block_after_the_other():
    raw = encoded(
        ResponseStart(id="c", model="gpt"),
        PartStart(index=0, part=Text(text="")),
        PartDelta(index=0, text="let me "),
        PartStart(index=1, part=ToolCall(id="a", name="f")),
        PartDelta(index=1, text='{"x":'),
        PartStart(index=2, part=ToolCall(id="b", name="g")),
        PartDelta(index=2, text="{}"),
        PartDelta(index=0, text="see"),
        PartDelta(index=1, text="1}"),
        PartEnd(index=2),
        PartEnd(index=0),
        ResponseEnd(finish=FinishReason("tool_calls"), usage=Usage(input=7, output=3)),
    )
    check_grammar(raw)
    whole = collect(events_of(raw))
    assert whole.parts == (
        Text(text="let me see"),
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    )
    assert (whole.id, whole.finish.raw, whole.usage.input, whole.usage.output) == ("c", "tool_use", 7, 3)


def test_a_stream_of_another_api():
    """Thinking is shown under our mark and without its author's signature; a refusal is text; what has no
    counterpart leaves no block; usage is zero at the start and true at the end."""
    raw = encoded(
        ResponseStart(id="c", model="gpt"),
        PartStart(index=0, part=Reasoning(provider="gemini")),
        PartDelta(index=0, text="hm", signature="theirs"),
        PartEnd(index=0),
        PartStart(index=1, part=Opaque(provider="openai-responses", data={"type": "x"})),
        PartEnd(index=1),
        PartStart(index=2, part=Refusal(text="")),
        PartDelta(index=2, text="no"),
        PartEnd(index=2),
        ResponseEnd(finish=FinishReason("stop", "stop"), usage=Usage(input=10, cache_read=4, output=2)),
    )
    check_grammar(raw)
    assert b"theirs" not in raw
    told = payloads(raw)
    assert told[0]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert [p["delta"] for p in told if p["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": NOT_SIGNED},
        {"type": "text_delta", "text": "no"},
    ]
    assert told[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert told[-2]["usage"]["input_tokens"] == 6
    assert told[-2]["usage"]["cache_read_input_tokens"] == 4


def test_a_server_tools_input_reaches_clients_as_a_delta():
    data = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    raw = encoded(
        ResponseStart(id="c", model="m"),
        PartStart(index=0, part=Opaque(provider=NAME, data=data)),
        PartEnd(index=0),
        ResponseEnd(finish=FinishReason("stop")),
    )
    assert payloads(raw)[1]["content_block"]["input"] == {}
    assert payloads(raw)[2]["delta"] == {"type": "input_json_delta", "partial_json": '{"query":"q"}'}
    assert collect(events_of(raw)).parts == (Opaque(provider=NAME, data=data),)


texts = st.text(max_size=5)
steps = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["text", "end"]), texts), max_size=25)


@settings(max_examples=150, deadline=None)
@given(kinds=st.lists(st.sampled_from(["text", "call", "thought"]), min_size=4, max_size=4), steps=steps)
def test_whatever_the_order_the_encoder_speaks_the_grammar(kinds, steps):
    heads = {
        "text": Text(text=""),
        "call": ToolCall(id="a", name="f"),
        "thought": Reasoning(provider=NAME, signature="s"),
    }
    events, begun, ended = [ResponseStart(id="c", model="m")], set(), set()
    for index, step, text in steps:
        if index in ended:
            continue
        if index not in begun:
            begun.add(index)
            events.append(PartStart(index=index, part=heads[kinds[index]]))
        if step == "end":
            ended.add(index)
            events.append(PartEnd(index=index))
        else:
            events.append(PartDelta(index=index, text=text))
    raw = encoded(*events, ResponseEnd(finish=FinishReason("stop")))
    check_grammar(raw)
    sent = sorted(e.text for e in events if isinstance(e, PartDelta) and e.text)
    keys = ("text", "partial_json", "thinking")
    told = [p["delta"].get(k) for p in payloads(raw) if p["type"] == "content_block_delta" for k in keys]
    assert sorted(t for t in told if t) == sent
