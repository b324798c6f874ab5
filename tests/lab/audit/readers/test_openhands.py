"""Conversations of OpenHands, of both generations: answers once, every token of the counters, results as results."""

import json

from support.audit import LOGS, counts, logs, read, words
from turnout.chat import Reasoning, Text, ToolCall, ToolResult
from turnout.lab.audit.readers.openhands import OPENHANDS

FILES = LOGS / "openhands"
EVENTS = logs("openhands/sessions/5c0ffee/events")
PAGE = FILES / "sessions" / "5c0ffee" / "event_cache" / "0-10.json"
SDK = logs("openhands/conversations")


def test_a_list_of_events():
    steps, endings, told = read(OPENHANDS, FILES / "heading.json")
    assert [counts(step) for step in steps] == [
        (2810, 0, 2806, 74, None),
        (2950, 2806, 141, 90, None),
        (3110, 2943, 160, 58, None),
        (3230, 3100, 120, 41, None),
    ]
    assert steps[0].model == "claude-sonnet-4-20250514"
    assert [type(part) for part in steps[0].out] == [Text, ToolCall]
    assert [type(message.parts[0]) for message in steps[1].new] == [ToolResult]
    assert [(one.session, one.why) for one in endings] == [("heading", "finished")]
    assert (told.lines, told.bad, told.unknown) == (8, 0, {})


def test_answers_without_calls_have_no_usage_where_nothing_tells_it():
    steps, _, _ = read(OPENHANDS, FILES / "small_talk.json")
    assert [step.usage and step.usage.input for step in steps] == [None, None, 1890]
    assert words(steps[1].new) == ["And which has no more?"]


def test_several_calls_of_one_answer_are_one_step_and_counters_tell_the_rest():
    steps, endings, told = read(OPENHANDS, *EVENTS)
    assert [(step.agent, counts(step)) for step in steps] == [
        ("", (3000, 0, 0, 50, None)),
        ("", (4500, 0, 0, 40, None)),
    ]
    assert [step.cost_nano_usd for step in steps] == [20_000_000, 30_000_000]
    assert [part.id for part in steps[0].out if isinstance(part, ToolCall)] == ["toolu_1", "toolu_2"]
    assert [tool.name for tool in steps[0].tools] == ["execute_bash"]
    results = [part for message in steps[1].new for part in message.parts if isinstance(part, ToolResult)]
    assert [one.is_error for one in results] == [False, True]
    assert steps[1].compacted
    assert words(steps[1].new)[-1] == "Files were listed."
    assert (endings[0].session, endings[0].why, told.bad, told.unknown) == ("5c0ffee", "finished", 0, {})


def test_what_a_condenser_used_is_a_step_of_its_own(tmp_path):
    events = [json.loads(path.read_text()) for path in EVENTS]
    counter = events[3]["llm_metrics"]["accumulated_token_usage"]
    counter.update(prompt_tokens=3400, completion_tokens=130)  # 400 and 80 more than the answer's own
    events[5]["llm_metrics"] = events[3]["llm_metrics"]
    events[8]["llm_metrics"]["accumulated_token_usage"]["completion_tokens"] = 170
    path = tmp_path / "x.json"
    path.write_text(json.dumps(events))
    steps, _, _ = read(OPENHANDS, path)
    beside = [step for step in steps if step.agent]
    assert [(step.usage.input, step.usage.output) for step in beside] == [(400, 80)]
    assert sum(step.usage.input for step in steps) == 7500


def test_pages_of_copies_are_read_only_where_the_events_are_gone():
    assert len(read(OPENHANDS, *EVENTS, PAGE)[0]) == 2
    assert [counts(step) for step in read(OPENHANDS, PAGE)[0]] == [counts(step) for step in read(OPENHANDS, *EVENTS)[0]]


def test_a_benchmarks_output_has_its_judges_word():
    steps, (ending,), told = read(OPENHANDS, FILES / "output.jsonl")
    assert (ending.session, ending.solved) == ("shop__stock-2", True)
    assert {(step.model, step.provider) for step in steps} == {("claude-sonnet-4-20250514", "anthropic")}
    assert told.bad == 0


def test_a_conversation_of_the_sdk_with_its_state():
    steps, endings, told = read(OPENHANDS, *SDK)
    assert [(step.agent, step.id, counts(step), step.cost_nano_usd) for step in steps] == [
        ("", "chatcmpl-1", (9100, 0, 9000, 150, 30), 40_000_000),
        ("condenser", "chatcmpl-c", (400, 0, 0, 80, 0), 2_000_000),
        ("", "chatcmpl-2", (9900, 9000, 600, 60, 0), 10_000_000),
    ]
    assert [type(part) for part in steps[0].out] == [Reasoning, Text, ToolCall, ToolCall]
    assert words(steps[0].new) == ["You run what is asked.", "Repo: my-app", "Run the tests", "<EXTRA>skill</EXTRA>"]
    results = [part for message in steps[2].new for part in message.parts if isinstance(part, ToolResult)]
    assert [one.is_error for one in results] == [True, False]
    assert (steps[2].compacted, words(steps[2].new)[-1]) == (True, "Tests were run: one fails.")
    assert (steps[0].project, steps[0].effort, steps[0].model) == ("my-app", "high", "claude-sonnet-4-5-20250929")
    assert [(one.session, one.why) for one in endings] == [("4f3c2b1a00000000000000000000abcd", "finished")]
    assert (told.bad, told.unknown) == (0, {})


def test_a_live_log_whose_counters_grow_before_the_answers():
    steps, _, told = read(OPENHANDS, FILES / "live.jsonl")
    assert [(step.agent, counts(step)[:2], counts(step)[3]) for step in steps] == [
        ("beside", (410, 0), 520),  # calls whose events the file has not
        ("", (8200, 700), 95),
        ("beside", (8320, 8000), 110),
        ("", (8450, 8100), 130),
    ]
    assert sum(step.usage.input for step in steps) == 25_380  # the last counter
    assert told.unknown == {}


def test_calls_that_no_event_belongs_to_count(tmp_path):
    state = next(path for path in SDK if path.name == "base_state.json")
    folder = tmp_path / "conversations" / "x"
    folder.mkdir(parents=True)
    (folder / "base_state.json").write_bytes(state.read_bytes())
    steps, _, _ = read(OPENHANDS, folder / "base_state.json")
    assert sum(step.usage.input for step in steps) == 9100 + 9900 + 400


def test_strange_kinds_are_told(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"id": "1", "timestamp": "2026-01-01", "source": "agent", "kind": "OracleEvent"}\n{"a": 1}\n{"kind": []}\n'
    )
    _, _, told = read(OPENHANDS, path)
    assert told.unknown == {"event of kind OracleEvent": 1, "event of no known generation": 1, "event of kind list": 1}
