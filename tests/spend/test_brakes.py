"""Brakes: what stops a run, and what does not."""

import pytest

from support.fleets import session
from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.errors import RunPaused
from turnout.spend.brakes import Brakes, most_repeated_call


def call(i, arguments='{"path": "a.py"}', result="no such file", name="open"):
    return (
        Message(role="assistant", parts=(ToolCall(id=f"c{i}", name=name, arguments=arguments),)),
        Message(role="tool", parts=(ToolResult(call_id=f"c{i}", parts=(Text(text=result),)),)),
    )


def never():
    raise AssertionError("the conversation is decoded only when repeats are counted")


def test_identical_calls_are_counted_over_the_whole_session():
    messages = [*call(1), *call(2, name="ls"), *call(3, arguments='{"path":"a.py"}'), *call(4, result="found")]
    assert most_repeated_call(messages) == ("open", 2)


def test_the_third_identical_call_stops_the_run():
    Brakes(repeat_call=3).check(session(), lambda: [*call(1), *call(2)])
    with pytest.raises(RunPaused, match="tool 'open' was called 3 times"):
        Brakes(repeat_call=3).check(session(), lambda: [*call(1), *call(2), *call(3)])


def test_malformed_arguments_are_compared_as_they_are():
    assert most_repeated_call([*call(1, arguments="{bad"), *call(2, arguments="{bad")]) == ("open", 2)
    assert most_repeated_call([]) == ("", 0)


def test_money_and_steps_of_a_session_are_limited():
    from msgspec.structs import replace

    spent = replace(session(step=4), cost_nano_usd=5_000_000_000)
    Brakes(max_session_nano_usd=5_000_000_001, max_session_steps=5).check(spent, never)
    with pytest.raises(RunPaused, match="max_session_usd"):
        Brakes(max_session_nano_usd=5_000_000_000).check(spent, never)
    with pytest.raises(RunPaused, match="max_session_steps"):
        Brakes(max_session_steps=4).check(spent, never)
