"""Sessions as gateways tell each other of them: nothing is lost that a brake looks at, and of two words one holds."""

import msgspec
import pytest

from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.spend.brakes import DEFAULTS, AgentRun, Brake, Brakes, SessionRun, Verdict
from turnout.spend.run_records import (
    AgentRecord,
    RunRecord,
    agent_of,
    agent_record,
    counts_of,
    hear,
    hold_of,
    run_record,
    take_counts,
    take_over,
)

PAUSE = Verdict(brake="by_hand", action="pause", why="paused by ann")


def over_the_wire(record):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record))


def fed(times, *, tool="open", error=False):
    agent = AgentRun(seen=2 * times, tokens=70, thrifty=True)
    for n in range(times):
        asked = ToolCall(id=f"c{n}", name=tool, arguments='{"path": "secret.py"}')
        came = ToolResult(call_id=f"c{n}", parts=(Text(text="no such file"),), is_error=error)
        agent.trail.feed([Message(role="assistant", parts=(asked,)), Message(role="tool", parts=(came,))])
    return agent


def test_an_agents_trail_goes_on_elsewhere():
    told = over_the_wire(agent_record(fed(2, error=True), epoch=0))
    assert isinstance(told, AgentRecord)
    there = agent_of(told, epoch=0)
    assert (there.seen, there.tokens, there.thrifty) == (4, 70, True)
    assert (there.trail.repeated, there.trail.errors) == (("open", 2), ("open", 2))
    assert b"secret" not in msgspec.msgpack.encode(told)
    (verdict, *_) = Brakes(brakes=DEFAULTS).check(SessionRun(), agent_of(told, 0), now_s=0.0)
    assert (verdict.brake, verdict.action) == ("repeat_call", "warn")


def test_what_an_agent_did_before_a_resume_does_not_count_elsewhere():
    told = agent_record(fed(3), epoch=0)
    assert agent_of(told, epoch=1).trail.repeated == ("", 0)


@pytest.mark.parametrize("kinds", [10, 1_000])
def test_a_trail_is_bounded_and_keeps_the_loop_that_it_is_in(kinds):
    agent = fed(3)
    for n in range(kinds):
        agent.trail.feed(fed_once(n))
    agent.trail.feed(fed_once(0))
    agent.trail.feed(fed_once(0))
    told = over_the_wire(agent_record(agent, epoch=0))
    assert len(told.trail.counts) <= 300
    assert agent_of(told, 0).trail.repeated == agent.trail.repeated == ("ls", 3)


def fed_once(n):
    asked = ToolCall(id="c", name="ls", arguments=f'{{"n": {n}}}')
    return [
        Message(role="assistant", parts=(asked,)),
        Message(role="tool", parts=(ToolResult(call_id="c", parts=(Text(text="x"),)),)),
    ]


def test_the_later_word_holds_and_of_two_at_once_the_pause():
    here, there = SessionRun(), SessionRun()
    here.hold(PAUSE)
    assert hear(there, over_the_wire(hold_of("", "s", here)))
    assert there.paused == PAUSE
    assert not hear(there, hold_of("", "s", here)), "a second time there is nothing new"
    there.resume()
    assert not hear(there, hold_of("", "s", here)), "an older word says nothing"
    assert hear(here, hold_of("", "s", there))
    assert (here.paused, here.epoch) == (None, 1)
    here.hold(PAUSE)
    there.limit({"max_session_steps": 9})
    for run, other in ((here, there), (there, here)):
        hear(run, hold_of("", "s", other))
    assert here.paused == there.paused == PAUSE
    assert there.limits == {"max_session_steps": 9}


def test_a_session_counts_over_gateways_and_anew_after_a_resume():
    here, there = SessionRun(steps=3, tokens=30, cost_nano_usd=300, total_nano_usd=300), SessionRun()
    take_over(there, over_the_wire(run_record("", "s", here, "a", 0.0)), gateway="b", now_s=50.0, elapsed_s=0.0)
    assert (there.steps, there.tokens, there.cost_nano_usd, there.total_nano_usd) == (3, 30, 300, 300)
    shared = counts_of(0, steps=5, tokens=50, cost_nano_usd=500)
    take_counts(here, shared)
    assert (here.steps, here.total_nano_usd) == (5, 500)
    here.resume()
    take_counts(here, {**shared, **counts_of(1, steps=1, tokens=10, cost_nano_usd=100), "total": 600})
    assert (here.steps, here.cost_nano_usd, here.total_nano_usd) == (1, 100, 600)


def test_calls_a_second_are_counted_over_gateways():
    brakes = Brakes(brakes={"calls_per_second": Brake(1, "pause")})
    here, there = SessionRun(), SessionRun()
    here.calls_s.extend(range(100, 106))
    there.calls_s.extend(range(5))
    told = over_the_wire(run_record("", "s", here, "a", 105.0))
    assert isinstance(told, RunRecord)
    for _ in range(2):  # told of twice, counted once
        take_over(there, told, gateway="b", now_s=5.0, elapsed_s=0.0)
    assert there.elsewhere_s == {"a": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    assert [v.brake for v in brakes.check(there, AgentRun(), now_s=5.0)] == ["calls_per_second"]
    # What it hears of itself it knows better.
    take_over(here, run_record("", "s", there, "b", 5.0), gateway="a", now_s=105.0, elapsed_s=0.0)
    assert set(here.elsewhere_s) == {"b"}
