"""Trajectories of SWE-agent: steps from the history, sums at the end, attempts apart, a batch's report."""

import json

import pytest

from support.audit import logs, read, words
from turnout.chat import ToolCall, ToolResult, Usage
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.swe_agent import SWE_AGENT
from turnout.lab.audit.records import Ending

TRAJ, PREDICTIONS, REPORT = (logs("swe-agent", ending)[0] for ending in (".traj", "all_preds.jsonl", "report.json"))


def test_a_trajectory():
    steps, endings, told = read(SWE_AGENT, TRAJ)
    assert len(steps) == 4
    assert {(step.session, step.model, step.usage) for step in steps} == {("leap-year", "gpt-4o", None)}
    assert next(part for part in steps[0].out if isinstance(part, ToolCall)).name == "find_file"
    assert [len(step.new) for step in steps] == [2, 1, 1, 1]
    (result,) = steps[1].new[0].parts
    assert isinstance(result, ToolResult)
    assert result.call_id == "call_leap_1"
    # The log tells the sums alone.
    usage = Usage(input=5120, output=187)
    assert endings == [Ending(session="leap-year", why="submitted", usage=usage, cost_nano_usd=14_670_000)]
    assert (told.lines, told.bad) == (10, 0)


def test_without_its_history_the_steps_of_the_trajectory_are_read(tmp_path):
    told = json.loads(TRAJ.read_text())
    path = tmp_path / "x.traj"
    path.write_text(json.dumps({"trajectory": told["trajectory"], "info": told["info"]}))
    steps, endings, _ = read(SWE_AGENT, path)
    assert [words((*step.new,))[:1] for step in steps][1] == [told["trajectory"][0]["observation"]]
    assert endings[0].usage == Usage(input=5120, output=187)
    for turn in told["trajectory"]:
        turn["query"] = told["history"][:2]
    path.write_text(json.dumps({"trajectory": told["trajectory"], "history": [], "info": told["info"]}))
    assert all(step.whole and len(step.new) == 2 for step in read(SWE_AGENT, path)[0])


@pytest.mark.parametrize("chosen", [True, False])
def test_attempts_are_conversations_of_their_own_and_the_chosen_one_counts_once(tmp_path, chosen):
    one = json.loads(TRAJ.read_text())
    told = {"attempts": [one, one]}
    if chosen:
        sums = {"instance_cost": 0.05, "tokens_sent": 20_000, "tokens_received": 500, "api_calls": 12}
        told |= {**one, "info": {**one["info"], "model_stats": sums}}
    path = tmp_path / "x.traj"
    path.write_text(json.dumps(told, indent=2))
    steps, endings, _ = read(SWE_AGENT, path)
    assert [step.agent for step in steps] == ["attempt 0"] * 4 + ["attempt 1"] * 4
    usage = Usage(input=20_000, output=500) if chosen else Usage(input=2 * 5120, output=2 * 187)
    assert [ending.usage for ending in endings] == [usage]
    assert SWE_AGENT.claims(head_of(path))


def test_a_batchs_predictions_hold_no_calls_and_its_report_says_what_was_solved():
    steps, endings, told = read(SWE_AGENT, PREDICTIONS, REPORT)
    assert steps == []
    assert [(one.session, one.solved) for one in endings] == [("leap-year", True), ("other", False)]
    assert told.unknown == {"prediction (a patch, no calls)": 1}
