"""Server-sent events, split anywhere."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.dialects.sse import SseParser, format_event
from turnout.errors import UpstreamFailure

WIRE = (
    b": heartbeat\n\n"
    b"event: ping\ndata: {}\n\n"
    b'data:{"no":"space"}\r\n\r\n'
    b"data: one\ndata: two\n\n"
    b"id: 7\rdata: \xc3\xa9\xf0\x9f\x9a\x82\r\r"
    b"data: [DONE]\n\n"
)


def parse(*pieces):
    parser = SseParser()
    return [e for piece in pieces for e in parser.feed(piece)] + parser.close()


def test_the_kinds_of_events():
    events = [(e.event, e.data) for e in parse(WIRE)]
    assert events == [
        (None, b""),
        ("ping", b"{}"),
        (None, b'{"no":"space"}'),
        (None, b"one\ntwo"),
        (None, "é🚂".encode()),
        (None, b"[DONE]"),
    ]


@given(cuts=st.lists(st.integers(0, len(WIRE)), max_size=6))
def test_any_split_gives_the_same_events_and_every_byte(cuts):
    edges = [0, *sorted(cuts), len(WIRE)]
    pieces = [WIRE[a:b] for a, b in itertools.pairwise(edges)]
    events = parse(*pieces)
    assert events == parse(WIRE)
    assert b"".join(e.raw for e in events) == WIRE


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(data=st.data())
def test_however_lines_end_the_events_are_the_same(end, data):
    wire = WIRE.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", end)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=6))
    edges = [0, *sorted(cuts), len(wire)]
    events = parse(*[wire[a:b] for a, b in itertools.pairwise(edges)])
    assert [(e.event, e.data) for e in events] == [(e.event, e.data) for e in parse(WIRE)]
    assert b"".join(e.raw for e in events) == wire


def test_lines_that_end_otherwise_than_those_before_are_told_apart_all_the_same():
    events = parse(b"data: 1\ndata", b": 2\r\n\r\ndata: 3\n\n", b"data: 4\n\n")
    assert [e.data for e in events] == [b"1\n2", b"3", b"4"]


def test_a_missing_last_blank_line_is_forgiven():
    assert parse(b"data: x")[0].data == b"x"


def test_an_endless_event_is_refused():
    parser = SseParser(limit=1000)
    parser.feed(b"x" * 1000)
    with pytest.raises(UpstreamFailure, match="over 1,000 bytes"):
        parser.feed(b"x")


def test_formatting():
    assert format_event(b"{}", "ping") == b"event: ping\ndata: {}\n\n"
    assert parse(format_event(b"{}"))[0].data == b"{}"
