"""`turnout replay` on the packaged sessions and on files that are none."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from turnout.cli import main
from turnout.errors import InvalidRequest
from turnout.lab.beats import score_of
from turnout.lab.learned import Outcome, choose
from turnout.lab.replay import BASELINE, Pair, read_decisions, session_routing, table_of
from turnout.lab.sessions import packaged_sessions, packaged_tools

TRACES = str(files("turnout.lab") / "data" / "sessions.jsonl")
CLAUDES = Pair(frontier="anthropic/claude-opus-5", small="anthropic/claude-haiku-4-5")


def scores():
    return [score_of(session, packaged_tools()) for session in packaged_sessions()]


def test_the_tables_as_json(capsysbinary):
    assert (
        main(["replay", TRACES, "--json", "--policy", "turnout", "--pair", "openai/gpt-4.1:openai/gpt-4.1-mini"]) == 0
    )
    told = json.loads(capsysbinary.readouterr().out)
    assert {table["kind"] for table in told["data"]} >= {"tau2-retail", "tau1-airline"}
    for table in told["data"]:
        rows = {row["policy"]: row for row in table["rows"]}
        assert list(rows) == ["frontier", BASELINE, "turnout"]
        assert rows["frontier"]["saved_uncached"] == 0
        assert 0.3 < rows[BASELINE]["saved_uncached"] < 0.9
        assert rows["turnout"]["dearer"] == 0
        assert rows["turnout"]["low"] <= rows["turnout"]["saved_cached"] <= rows["turnout"]["high"]
        assert rows["turnout"]["of_oracle"] is None or rows["turnout"]["of_oracle"] > 0.9
    assert any("assumed" in note for note in told["notes"])


def test_the_same_seed_gives_the_same_figures():
    one, two = (table_of(scores(), CLAUDES, ["turnout"], {}, seed=7) for _ in range(2))
    assert one == two


def test_a_table_for_people(capsys):
    assert main(["replay", TRACES, "--policy", "oracle"]) == 0
    told = capsys.readouterr().out
    for word in ("frontier+caching", "oracle", "beside caching", "measured:", "assumed:"):
        assert word in told


def test_another_routers_decisions_are_a_policy(tmp_path: Path):
    told = scores()
    file = tmp_path / "peer.jsonl"
    file.write_text("".join(json.dumps({"id": s.id, "tiers": ["small"] * len(s.beats)}) + "\n" for s in told))
    decided = {"peer": read_decisions(file)}
    table = table_of(told, CLAUDES, ["small", "peer"], decided)
    small, peer = (next(r for r in table.rows if r.policy == name) for name in ("small", "peer"))
    assert peer.usd == small.usd
    assert peer.off > 0
    assert peer.usd_per_solved is None, "what it would have solved is not known"
    with pytest.raises(InvalidRequest, match="has not decided each"):
        table_of(told, CLAUDES, ["peer"], {"peer": {told[0].id: ["small"]}})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere.jsonl"], "cannot read"),
        ([TRACES, "--policy", "best"], "there is no policy 'best'"),
        ([TRACES, "--pair", "openai/gpt-4.1"], "write FRONTIER:SMALL"),
        ([TRACES, "--pair", "openai/gpt-4.1:no/such"], "no list price of 'no/such'"),
        (
            [TRACES, "--pair", "openrouter/qwen/qwen3-coder:free:openai/gpt-5-nano"],
            "costs nothing",
        ),
        ([TRACES, "--decisions", "turnout=x"], "a name of its own"),
        ([TRACES, "--decisions", "peer=/nowhere"], "cannot read"),
    ],
)
def test_wrong_usage_is_one_plain_sentence(arguments, said, capsys):
    assert main(["replay", *arguments]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_lines_that_are_no_sessions_are_counted_and_told(tmp_path, capsys):
    file = tmp_path / "mixed.jsonl"
    file.write_bytes(b"not json\n" + Path(TRACES).read_bytes().splitlines(keepends=True)[0])
    assert main(["replay", str(file), "--policy", "turnout"]) == 0
    assert "1 lines left out: mixed.jsonl line 1" in capsys.readouterr().err.replace("\n", " ")


def test_a_folder_without_sessions(tmp_path, capsys):
    assert main(["replay", str(tmp_path)]) == 1
    assert "no recorded session" in capsys.readouterr().err


# ---- one model for the whole session ----------------------------------------------------------------------------


def outcome(task, model, solved):
    return Outcome(task=task, model=model, solved=solved, cost={"big": 10.0, "small": 1.0}[model])


def test_a_task_goes_where_tasks_that_open_alike_were_solved():
    openings = {f"easy {n}": "Where is my order, please?" for n in range(4)}
    openings |= {f"hard {n}": "Exchange both lamps, then move everything to my second address" for n in range(4)}
    told = [outcome(task, "big", 1.0) for task in openings]
    told += [outcome(task, "small", 1.0 if "easy" in task else 0.0) for task in openings]
    assert choose(openings, told) == {task: "small" if "easy" in task else "big" for task in openings}


def test_no_task_is_chosen_for_with_its_own_outcome():
    openings = {"a": "alpha alpha", "b": "beta beta", "c": "gamma gamma"}
    told = [outcome(task, "big", 1.0) for task in openings] + [outcome(task, "small", 0.0) for task in openings]
    before = choose(openings, told)
    alone = choose(
        {"a": "alpha", "b": "beta"},
        [outcome("a", "small", 1.0), outcome("b", "small", 0.0)] + [outcome(t, "big", 0.0) for t in "ab"],
    )
    assert (
        alone["a"]
        == choose({"a": "alpha", "b": "beta"}, [outcome(t, m, 0.0) for t in "ab" for m in ("big", "small")])["a"]
    )
    changed = [o if (o.task, o.model) != ("a", "small") else outcome("a", "small", 1.0) for o in told]
    # A rate of one in three is known of small now; but a alone is still told of by b and c.
    assert choose(openings, changed)["a"] == before["a"] == "big"


def test_tasks_recorded_by_several_models_are_compared_and_others_are_not():
    found = session_routing([s for s in scores() if s.kind == "tau2-retail"])
    assert found is not None
    assert set(found.choices) >= {"session (learned)", "oracle"}
    best = max(solved for solved, _ in found.choices.values())
    assert found.choices["oracle"][0] == best
    assert session_routing([s for s in scores() if s.kind == "tau1-airline"]) is None
