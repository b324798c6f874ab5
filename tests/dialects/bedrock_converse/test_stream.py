"""AWS's event stream: frames split anywhere, damaged or cut; and what a Converse stream becomes."""

import itertools

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from turnout.chat import Reasoning, StreamError, Text, ToolCall, collect
from turnout.dialects.bedrock_converse.eventstream import FrameParser, format_frame
from turnout.dialects.bedrock_converse.stream import Decoder, Encoder, Tap
from turnout.errors import UpstreamFailure


def event(kind, **fields):
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return format_frame(headers, msgspec.json.encode(fields))


STREAM = b"".join(
    [
        event("messageStart", role="assistant"),
        event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": {"text": "Hm. "}}),
        event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": {"signature": "sig"}}),
        event("contentBlockStop", contentBlockIndex=0),
        event("contentBlockDelta", contentBlockIndex=1, delta={"text": "Let me "}),
        event("contentBlockDelta", contentBlockIndex=1, delta={"text": "see."}),
        event("contentBlockStop", contentBlockIndex=1),
        event("contentBlockStart", contentBlockIndex=2, start={"toolUse": {"toolUseId": "t1", "name": "get_weather"}}),
        event("contentBlockDelta", contentBlockIndex=2, delta={"toolUse": {"input": '{"city":'}}),
        event("contentBlockDelta", contentBlockIndex=2, delta={"toolUse": {"input": '"Paris"}'}}),
        event("contentBlockStop", contentBlockIndex=2),
        event("messageStop", stopReason="tool_use"),
        event(
            "metadata", usage={"inputTokens": 600, "outputTokens": 10, "totalTokens": 1010, "cacheReadInputTokens": 400}
        ),
    ]
)


def test_our_frames_are_amazons():
    theirs = EventStreamBuffer()
    theirs.add_data(STREAM)
    frames = list(theirs)
    assert [f.headers[":event-type"] for f in frames][:2] == ["messageStart", "contentBlockDelta"]
    assert frames[0].payload == b'{"role":"assistant"}'


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_split_anywhere_it_says_the_same(cuts):
    whole, split, parser = Decoder(), Decoder(), Tap()
    places = sorted({0, len(STREAM), *cuts})
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    events = [e for piece in pieces for e in split.feed(piece)] + split.close()
    assert events == whole.feed(STREAM) + whole.close()
    assert b"".join(parser.feed(piece) for piece in pieces) == STREAM
    assert (parser.complete, parser.usage.input) == (True, 1000)


def test_thinking_text_calls_and_usage():
    decoder = Decoder()
    told = collect(decoder.feed(STREAM) + decoder.close())
    thought, text, call = told.parts
    assert isinstance(thought, Reasoning) and (thought.text, thought.signature) == ("Hm. ", "sig")
    assert isinstance(text, Text) and text.text == "Let me see."
    assert isinstance(call, ToolCall) and (call.id, call.arguments) == ("t1", '{"city":"Paris"}')
    assert (told.usage.input, told.usage.cache_read, told.usage.output) == (1000, 400, 10)
    assert told.finish.unified == "tool_calls"


def test_encoded_again_it_says_the_same():
    decoder, encoder, again = Decoder(), Encoder(), Decoder()
    events = decoder.feed(STREAM) + decoder.close()
    out = b"".join(encoder.feed(e) for e in events)
    assert collect(again.feed(out) + again.close()).parts == collect(events).parts


def test_a_cut_is_told():
    decoder = Decoder()
    events = decoder.feed(STREAM[: len(STREAM) // 2]) + decoder.close()
    assert events[-1] == StreamError(code="stream_cut", message="the provider's stream was cut before its end")


@pytest.mark.parametrize(("kind", "status"), [("throttlingException", 429), ("modelStreamErrorException", 424)])
def test_an_exception_in_mid_stream_is_an_error(kind, status):
    headers = {":exception-type": kind, ":message-type": "exception"}
    decoder, tap = Decoder(), Tap()
    broken = event("messageStart", role="assistant") + format_frame(headers, b'{"message":"slow down"}')
    error = decoder.feed(broken)[-1]
    assert error == StreamError(code=kind, message="slow down", status=status)
    tap.feed(broken)
    assert tap.error == error


def test_damaged_bytes_are_an_error_and_nothing_else():
    damaged = bytearray(STREAM)
    damaged[40] ^= 1
    with pytest.raises(UpstreamFailure, match="damaged"):
        FrameParser().feed(bytes(damaged))
    assert isinstance(Decoder().feed(b"<html>" + b" " * 20)[-1], StreamError)
