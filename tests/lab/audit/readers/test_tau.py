"""Results of tau-bench and tau2-bench: both models of a simulation, the provider's usage, the reward."""

import json

from support.audit import counts, logs, read, words
from turnout.chat import ToolCall, ToolResult
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.tau import TAU

FIRST, SECOND = (logs("tau", ending)[0] for ending in ("library.json", "tau2-telecom.json"))


def test_both_models_of_a_simulation_have_their_own_steps():
    steps, endings, told = read(TAU, SECOND)
    steps = [step for step in steps if step.session.startswith("9f0c")]
    agent, user = ([step for step in steps if step.agent == name] for name in ("", "user"))
    assert [counts(step) for step in agent] == [
        (p, c, None, o, 0) for p, c, o in [(5100, 0, 24), (5160, 5120, 18), (5230, 5120, 40), (5300, 5120, 14)]
    ]
    assert [step.usage.input for step in user] == [900, 980, 1010, 1050]
    assert sum(step.cost_nano_usd for step in agent) == 30_200_000  # agent_cost
    assert sum(step.cost_nano_usd for step in user) == 8_800_000  # user_cost
    assert {(s.model, s.provider, s.effort) for s in agent} == {("gpt-4.1-2025-04-14", "openai", "low")}
    assert {(s.model, s.project) for s in user} == {("gpt-4.1-mini", "telecom")}
    assert [(one.solved, one.why) for one in endings] == [(False, "user_stop"), (True, "user_stop")]
    assert (told.lines, told.bad, told.unknown) == (2, 0, {})


def test_each_side_sees_the_results_of_its_own_calls():
    steps, _, _ = read(TAU, SECOND)
    steps = [step for step in steps if step.session.startswith("9f0c")]
    agent, user = ([step for step in steps if step.agent == name] for name in ("", "user"))
    assert [message.role for message in agent[0].new] == [
        "system",
        "assistant",
        "user",
    ]  # the greeting was the harness's
    assert words(agent[2].new) == ["It says no signal."]
    assert words(user[2].new) == ["no signal, battery half full"]
    assert [part.name for part in user[1].out if isinstance(part, ToolCall)] == ["read_top_of_screen"]
    results = [part for part in agent[3].new[0].parts if isinstance(part, ToolResult)]
    assert [one.is_error for one in results] == [True, False]


def test_usage_without_the_providers_answer(tmp_path):
    told = json.loads(SECOND.read_text())
    for simulation in told["simulations"]:
        for message in simulation["messages"]:
            message.pop("raw_data", None)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(told))
    steps, _, _ = read(TAU, path)
    assert counts(steps[1]) == (5160, None, None, 18, None)


def test_simulations_in_files_of_their_own(tmp_path):
    told = json.loads(SECOND.read_text())
    runs = told.pop("simulations")
    (tmp_path / "simulations").mkdir()
    files = [tmp_path / "simulations" / f"{run['id']}.json" for run in runs]
    for file, run in zip(files, runs, strict=True):
        file.write_text(json.dumps(run))
        assert TAU.claims(head_of(file))
    results = tmp_path / "results.json"
    results.write_text(json.dumps({**told, "simulations": [], "simulation_index": []}))
    together, endings, _ = read(TAU, results, *files)
    whole, ended, _ = read(TAU, SECOND)
    assert sorted(map(repr, together)) == sorted(map(repr, whole))
    assert {one.session: one.solved for one in endings} == {one.session: one.solved for one in ended}
    alone, _, _ = read(TAU, files[0])
    assert alone[0].model == "gpt-4.1-2025-04-14"  # as the answer names it


def test_a_spoken_simulation_has_its_sums_at_the_end(tmp_path):
    run = {
        "id": "v",
        "task_id": "40",
        "termination_reason": "user_stop",
        "reward_info": {"reward": 1.0},
        "ticks": [{"tick_id": 0}],
    }
    record = {
        "provider": "openai",
        "model": "gpt-realtime",
        "semantics": "delta",
        "input_tokens": 500,
        "output_tokens": 20,
    }
    total = {**record, "semantics": "cumulative", "scope_id": "s"}
    run["agent_usage"] = {
        "records": [record, record, total, {**total, "input_tokens": 700, "input_cached_tokens": 100}]
    }
    path = tmp_path / "v.json"
    path.write_text(json.dumps(run))
    steps, (ending,), told = read(TAU, path)
    assert (steps, ending.solved) == ([], True)
    assert (ending.usage.input, ending.usage.cache_read, ending.usage.output) == (1700, 100, 60)
    assert told.unknown == {"simulation of speech (ticks)": 1}


def test_the_first_benchmarks_messages():
    steps, endings, told = read(TAU, FIRST)
    assert [(one.session, one.solved) for one in endings] == [
        (f"library/{run['task_id']}/{run['trial']}", run["reward"] == 1) for run in json.loads(FIRST.read_text())
    ]
    assert {step.usage for step in steps} == {None}
    assert steps[0].new[0].role == "system"
    assert (told.lines, told.bad, told.unknown) == (2, 0, {})
