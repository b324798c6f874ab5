"""Brakes: what each looks at, what it does, and what a resumed run may do."""

import pytest

from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.spend.brakes import DEFAULTS, AgentRun, Brake, BrakeRules, Brakes, SessionRun, Verdict
from turnout.spend.runs import ENOUGH_SESSIONS, LearntCosts, Runs, _bucket

USD = 1_000_000_000


def agent(repeats=0, error=False):
    run = AgentRun()
    again(run, repeats, error)
    return run


def again(run, times, error=False):
    """The same call with the same result, so many times more."""
    for i in range(times):
        asked = ToolCall(id=f"c{i}", name="open", arguments="{}")
        came = ToolResult(call_id=f"c{i}", parts=(Text(text="no such file"),), is_error=error)
        run.trail.feed([Message(role="assistant", parts=(asked,)), Message(role="tool", parts=(came,))])


def told(brakes, run=None, who=None, **more):
    found = brakes.check(run or SessionRun(), who or agent(), now_s=100.0, **more)
    return [(v.brake, v.action) for v in found]


def test_by_default_the_second_identical_call_is_noted_and_the_third_pauses():
    brakes = Brakes(brakes=DEFAULTS)
    assert told(brakes, who=agent(1)) == []
    assert told(brakes, who=agent(2)) == [("repeat_call", "warn")]
    assert told(brakes, who=agent(3))[0] == ("repeat_call", "pause")
    (verdict, *_) = brakes.check(SessionRun(), agent(3), now_s=0)
    assert verdict.why == "tool 'open' was called 3 times with the same arguments and the same result"


@pytest.mark.parametrize(
    ("name", "limit", "run", "acts"),
    [
        ("max_session_usd", 2 * USD, SessionRun(cost_nano_usd=2 * USD), True),
        ("max_session_usd", 2 * USD, SessionRun(cost_nano_usd=2 * USD - 1), False),
        ("max_session_steps", 5, SessionRun(steps=5), True),
        ("max_session_steps", 5, SessionRun(steps=4), False),
        ("max_session_tokens", 1000, SessionRun(tokens=1000), True),
        ("max_session_tokens", 1000, SessionRun(tokens=999), False),
    ],
)
def test_limits_of_a_session(name, limit, run, acts):
    brakes = Brakes(brakes={name: Brake(limit, "block")})
    assert told(brakes, run) == ([(name, "block")] if acts else [])


def test_calls_a_second_are_measured_over_ten():
    run = SessionRun()
    run.calls_s.extend([80.0] * 50 + [95.0] * 19)
    brakes = Brakes(brakes={"calls_per_second": Brake(2, "pause")})
    assert told(brakes, run) == []
    run.calls_s.append(99.0)
    assert told(brakes, run) == [("calls_per_second", "pause")]


def test_three_errors_of_one_tool():
    brakes = Brakes(brakes={"tool_errors": Brake(3, "warn")})
    assert told(brakes, who=agent(2, error=True)) == []
    assert told(brakes, who=agent(3, error=True)) == [("tool_errors", "warn")]
    assert told(brakes, who=agent(5)) == []


def test_the_strongest_verdict_comes_first():
    brakes = Brakes(
        brakes={"cycle": Brake(3, "warn"), "repeat_call": Brake(3, "block"), "no_progress": Brake(2, "pause")}
    )
    assert [action for _, action in told(brakes, who=agent(3))] == ["block", "pause", "warn"]


def test_an_agent_is_taken_up_once_and_paused_when_that_did_not_help():
    brakes = Brakes(brakes={"repeat_call": Brake(3, "escalate")})
    who = agent(3)
    assert told(brakes, who=who) == [("repeat_call", "escalate")]
    who.escalated = True
    again(who, 1)
    assert told(brakes, who=who) == [("repeat_call", "warn")]
    again(who, 2)
    assert told(brakes, who=who) == [("repeat_call", "pause")]


def test_a_resumed_run_must_do_it_all_again_to_be_paused_again():
    brakes = Brakes(brakes={"repeat_call": Brake(3, "pause"), "max_session_usd": Brake(USD, "pause")})
    who = agent(3)
    run = SessionRun(cost_nano_usd=USD, agents={"a": who}, paused=Verdict(brake="repeat_call", action="pause", why=""))
    run.resume()
    assert run.paused is None
    assert told(brakes, run, who) == []
    again(who, 3)
    assert told(brakes, run, who) == [("repeat_call", "pause")]


def test_what_is_blocked_is_not_resumed():
    run = SessionRun(paused=Verdict(brake="max_session_usd", action="block", why=""))
    run.resume()
    assert run.paused is not None


def test_what_a_feature_usually_costs_is_learnt():
    costs = LearntCosts()
    for n in range(ENOUGH_SESSIONS - 1):
        costs.move("search", 0, 1_000_000 + n)
    assert costs.p99("search") is None, "99 sessions say nothing of the hundredth"
    costs.move("search", 0, 90_000_000)
    assert 1_000_000 < costs.p99("search") < 1_500_000
    assert costs.p99("chat") is None
    brakes = Brakes(brakes={"cost_p99": Brake(1.0, "warn")})
    assert told(brakes, SessionRun(total_nano_usd=90_000_000), p99_nano_usd=1_300_000) == [("cost_p99", "warn")]
    assert told(brakes, SessionRun(total_nano_usd=1_000_000), p99_nano_usd=1_300_000) == []


def test_a_growing_session_counts_once():
    costs = LearntCosts()
    for _ in range(ENOUGH_SESSIONS):
        costs.move("f", 0, 1_000)
        costs.move("f", 1_000, 5_000)
    assert sum(costs._counts["f"].values()) == ENOUGH_SESSIONS


def test_what_others_tell_of_a_session_moves_nobody_elses_cost():
    runs = Runs()
    for name in ("theirs", "mine"):
        runs.begin("", name, "agent", now_s=0, feature="f")
    runs.settle("", "theirs", tokens=0, cost_nano_usd=1_000_000, served=True)
    runs.find("", "mine").total_nano_usd = 1_000_000  # spent at other gateways
    runs.settle("", "mine", tokens=0, cost_nano_usd=5_000_000, served=True)
    assert sorted(runs.costs._counts["f"].elements()) == [_bucket(1_000_000), _bucket(6_000_000)]


def test_a_session_that_was_told_of_first_gets_its_feature_with_its_first_request():
    runs = Runs()
    runs.meet("", "s").total_nano_usd = 1_000  # another gateway's word of a pause names no feature
    runs.begin("", "s", "agent", now_s=0, feature="search")
    runs.settle("", "s", tokens=0, cost_nano_usd=1_000, served=True)
    assert {feature: sum(counts.values()) for feature, counts in runs.costs._counts.items()} == {"search": 1}
    # One that was counted under none goes on so: else it would be taken from sessions that it never was among.
    for feature in ("", "search"):
        runs.begin("", "other", "agent", now_s=0, feature=feature)
        runs.settle("", "other", tokens=0, cost_nano_usd=1_000, served=True)
    assert {feature: sum(counts.values()) for feature, counts in runs.costs._counts.items()} == {"search": 1, "": 1}


def test_the_more_special_brakes_come_first():
    everybody, search, ci = (Brakes(brakes={"repeat_call": Brake(n, "pause")}) for n in (3, 4, 5))
    rules = BrakeRules(everybody=everybody, features={"search": search}, keys={"ci": ci})
    assert rules.of("search", "ci") is search
    assert rules.of("", "ci") is ci
    assert rules.of("", None) is everybody


def test_only_new_messages_are_read_and_a_rewritten_conversation_from_its_beginning():
    run = agent(2)
    assert run.unseen(3, 0) == 0
    assert run.unseen(4, 3) == 3
    assert run.unseen(4, 4) == 4, "the same again is nothing new"
    assert run.trail.repeated[1] == 2
    assert run.unseen(3, 0) == 0
    assert run.trail.repeated[1] == 0


def test_runs_belong_to_their_owners_and_are_bounded():
    runs = Runs(capacity=2)
    for owner in ("a", "b", "c"):
        runs.begin(owner, "s", "agent", now_s=0)
    assert [owner for owner, _, _ in runs] == ["c", "b"]
    runs.pause("c", "s", Verdict(brake="cycle", action="pause", why=""))
    assert [run.paused is not None for _, _, run in runs] == [True, False]
    assert runs.resume("s") == 2


def test_a_person_sets_another_limit_for_one_session():
    brakes = Brakes(brakes={"max_session_usd": Brake(5 * USD, "warn")})
    run = SessionRun(cost_nano_usd=6 * USD, steps=3)
    assert told(brakes, run) == [("max_session_usd", "warn")]
    run.limit({"max_session_usd": 10 * USD})
    assert told(brakes, run) == []
    run.limit({"max_session_steps": 3})  # one that no config sets
    assert told(brakes, run) == [("max_session_steps", "pause")]
    run.limit({"max_session_steps": 0, "max_session_usd": 0})
    assert told(brakes, run) == []


def test_a_raised_limit_lets_a_session_go_on_that_it_held():
    held = Verdict(brake="max_session_usd", action="pause", why="it has spent 5")
    run = SessionRun(cost_nano_usd=5 * USD, paused=held)
    run.limit({"max_session_usd": 5 * USD})
    assert run.paused is held  # no room yet
    run.limit({"max_session_usd": 8 * USD})
    assert run.paused is None
    assert run.cost_nano_usd == 5 * USD  # it counts on
    for other in (
        Verdict(brake="cycle", action="pause", why=""),
        Verdict(brake="max_session_usd", action="block", why=""),
    ):
        run.paused = other
        run.limit({"max_session_usd": 0})
        assert run.paused is other


def test_a_session_is_held_by_hand_whether_or_not_it_is_in_memory():
    runs = Runs()
    verdict = Verdict(brake="by_hand", action="pause", why="paused by ann")
    assert runs.hold("ci", "s", verdict).paused is verdict
    run, _ = runs.begin("ci", "s", "main", now_s=0.0)
    assert run.paused is verdict
    assert runs.of("s") == [("ci", run)]
    run.paused = blocked = Verdict(brake="cycle", action="block", why="")
    assert runs.hold("ci", "s", verdict).paused is blocked
