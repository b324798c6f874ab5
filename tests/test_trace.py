"""W3C trace context: what is taken from a caller, and what is refused as the standard says."""

import pytest

from turnout.trace import trace_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_callers_trace_is_continued():
    trace = trace_of({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1,b=2"})
    assert (trace.trace_id, trace.parent_id, trace.sampled, trace.state) == (TRACE, PARENT, True, "a=1,b=2")
    ((name, parent), state) = trace.sends("lab/small")
    assert name == "traceparent"
    assert parent == f"00-{TRACE}-{trace.calls[0].span_id}-01"
    assert state == ("tracestate", "a=1,b=2")


def test_a_later_version_may_say_more():
    assert trace_of({"traceparent": f"01-{TRACE}-{PARENT}-00-what-is-new"}).trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
    ],
)
def test_what_is_no_trace_begins_a_new_one(header):
    trace = trace_of({"traceparent": header, "tracestate": "a=1"})
    assert trace.parent_id is None
    assert trace.state == ""
    assert trace.trace_id != TRACE
    assert len(trace.sends("x")) == 1


def test_a_state_that_could_break_a_header_is_left_out():
    trace = trace_of({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1\r\nx-evil: 1"})
    assert trace.state == ""
