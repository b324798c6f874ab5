"""Trajectories of mini-swe-agent: the provider's own usage, and calls that were paid for and not understood."""

import json

import pytest

from support.audit import counts, logs, read, words
from turnout.chat import Reasoning, Text, ToolCall, ToolResult
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.mini_swe_agent import MINI_SWE_AGENT
from turnout.lab.audit.records import Ending

RUN, OLD = (logs("mini-swe-agent", ending)[0] for ending in ("basket-1.traj.json", "first_version.traj.json"))


def test_every_billed_call_is_a_step():
    steps, endings, told = read(MINI_SWE_AGENT, RUN)
    assert [counts(step) for step in steps] == [
        (1210, 0, 1207, 61, None),
        (1350, 1207, 140, 9, None),
        (1420, 1347, 70, 44, None),
    ]
    assert [step.cost_nano_usd for step in steps] == [5_443_500, 1_230_000, 1_326_000]
    assert sum(step.cost_nano_usd for step in steps) == 7_999_500  # info.model_stats.instance_cost
    assert [step.id for step in steps] == ["chatcmpl-1", "chatcmpl-2", "chatcmpl-3"]
    assert {(s.session, s.model, s.provider, s.effort) for s in steps} == {
        ("shop__basket-1", "claude-sonnet-4-5-20250929", "anthropic", "high")
    }
    assert endings == [Ending(session="shop__basket-1", why="LimitsExceeded")]
    assert (told.lines, told.bad, told.unknown) == (8, 0, {})


def test_what_the_steps_say():
    steps, _, _ = read(MINI_SWE_AGENT, RUN)
    assert [type(part) for part in steps[0].out] == [Reasoning, Text, ToolCall]
    assert steps[1].out == (Text(text="I think the file is elsewhere."),)
    assert isinstance(steps[1].new[0].parts[0], ToolResult)
    assert words(steps[2].new) == ["Say it with a call of bash."]


def test_the_first_versions_messages_alone():
    steps, (ending,), told = read(MINI_SWE_AGENT, OLD)
    assert len(steps) == 3
    assert {step.usage for step in steps} == {None}
    assert (ending.session, ending.why, told.bad) == ("first_version", "", 0)


def test_a_cost_that_only_the_whole_run_tells(tmp_path):
    told = json.loads(RUN.read_text())
    for message in told["messages"]:
        message.pop("extra", None)
    path = tmp_path / "x.traj.json"
    path.write_text(json.dumps(dict(reversed(told.items()))))  # the info last
    _, (ending,), _ = read(MINI_SWE_AGENT, path)
    assert ending.cost_nano_usd == 7_999_500
    assert ending.why == "LimitsExceeded"


def test_answers_of_the_responses_api(tmp_path):
    answer = {
        "object": "response",
        "id": "resp_1",
        "created_at": 1752715862,
        "model": "gpt-5.2",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "bash", "arguments": '{"command": "ls"}'},
        ],
        "usage": {
            "input_tokens": 50,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 5},
        },
        "extra": {"actions": [], "cost": 0.25, "timestamp": 1752715863.0},
    }
    result = {"type": "function_call_output", "call_id": "c1", "output": "a.py", "extra": {"returncode": 0}}
    path = tmp_path / "x.traj.json"
    messages = [{"role": "user", "content": "Go"}, answer, result, {**answer, "id": "resp_2"}]
    path.write_text(json.dumps({"trajectory_format": "mini-swe-agent-1.1", "messages": messages, "info": {}}))
    steps, _, told = read(MINI_SWE_AGENT, path)
    assert [counts(step) for step in steps] == [(50, 30, None, 7, 5)] * 2
    assert [type(part) for part in steps[0].out] == [Reasoning, ToolCall]
    assert words(steps[1].new) == ["a.py"]
    assert told.bad == 0
    assert MINI_SWE_AGENT.claims(head_of(path))


@pytest.mark.parametrize("role", ["oracle", None, 5, []])
def test_strange_roles_are_told(tmp_path, role):
    path = tmp_path / "x.traj.json"
    path.write_text(
        json.dumps({"trajectory_format": "mini-swe-agent-1.1", "messages": [{"role": role, "content": "x"}]})
    )
    _, _, told = read(MINI_SWE_AGENT, path)
    assert sum(told.unknown.values()) == 1
