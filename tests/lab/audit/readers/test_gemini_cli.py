"""Sessions of gemini-cli: what is written twice counts once, what was taken back was paid for."""

import json

from support.audit import counts, logs, read, words
from turnout.chat import Image, Reasoning, ToolCall, ToolResult
from turnout.lab.audit.readers.gemini_cli import GEMINI_CLI

LINES, SUB, OLD, PROMPTS = (
    logs("gemini-cli", ending)[0] for ending in ("f86f5318.jsonl", "sub-77.jsonl", "5d2f0d8e.json", "logs.json")
)


def test_an_answer_that_is_written_again_is_one_step_with_what_was_known_last():
    steps, endings, told = read(GEMINI_CLI, LINES)
    assert [step.id for step in steps] == ["g-1", "g-2", "g-3", "g-4"]
    assert isinstance(steps[0].out[0], Reasoning)
    assert steps[0].out[1] == ToolCall(id="list_directory-1-a", name="list_directory", arguments='{"dir_path":"."}')
    assert (endings, told.lines, told.bad, told.unknown) == ([], 16, 0, {})


def test_tokens_are_geminis_own_counts():
    steps, _, _ = read(GEMINI_CLI, LINES)
    # Thoughts are beside the output, tools' prompts beside the input, cached tokens within it.
    assert [counts(step) for step in steps] == [
        (8396, 0, None, 20 + 24, 24),
        (8500, 8000, None, 31, 0),
        (8600 + 40, 8100, None, 7 + 12, 12),
        (2100, 0, None, 3, 0),
    ]
    assert [step.model for step in steps] == ["gemini-3-pro-preview"] * 3 + ["gemini-2.5-flash"]


def test_early_files_that_count_cached_tokens_beside_the_input():
    steps, _, _ = read(GEMINI_CLI, OLD)
    assert counts(steps[1]) == (500 + 8000, 8000, None, 15, 0)


def test_a_tools_result_is_told_once_though_it_stands_with_the_call_and_in_a_message():
    steps, _, _ = read(GEMINI_CLI, LINES)
    assert words(steps[1].new) == ["[DIR] src\nREADME.md"]
    (failed,) = steps[2].new[0].parts
    assert isinstance(failed, ToolResult)
    assert failed.is_error


def test_a_conversation_that_was_taken_back_and_rewritten():
    steps, _, _ = read(GEMINI_CLI, LINES)
    assert [(step.compacted, step.whole) for step in steps] == [(False, False)] * 3 + [(True, True)]
    assert words(steps[3].new) == ["Summary: a small app was listed.", "Got it.", "Anything else?"]
    assert any(isinstance(part, Image) for part in steps[3].new[-1].parts)


def test_a_sub_agents_file_belongs_to_the_session_that_its_folder_is_named_for():
    (step,), _, _ = read(GEMINI_CLI, SUB)
    assert (step.session, step.agent) == ("f86f5318-f47b-4433-85f8-ec9d9a417f8e", "sub-77")
    assert step.project == "my-app"


def test_a_single_document_of_an_older_version():
    steps, _, told = read(GEMINI_CLI, OLD)
    assert [step.id for step in steps] == ["o-2", "o-3"]
    assert steps[0].project == "79b6fa86e3c0"  # the folder is a hash: the short of it
    assert words(steps[1].new) == ["[DIR] src\nREADME.md"]
    assert told.unknown == {}


def test_a_single_document_on_one_line_and_a_big_one(tmp_path):
    told = json.loads(OLD.read_text())
    short, big = tmp_path / "session-short.json", tmp_path / "session-big.json"
    short.write_text(json.dumps(told))
    told["messages"] = [{**m, "id": f"{m['id']}-{i}"} for i in range(200) for m in told["messages"]]
    big.write_text(json.dumps(told))
    assert [step.usage for step in read(GEMINI_CLI, short)[0]] == [step.usage for step in read(GEMINI_CLI, OLD)[0]]
    steps, _, tally = read(GEMINI_CLI, big)
    assert len(steps) == 400
    assert tally.bad == 0


def test_the_list_of_prompts_is_known_and_holds_no_calls():
    steps, _, told = read(GEMINI_CLI, PROMPTS)
    assert (steps, told.unknown) == ([], {"typed prompt (logs.json)": 1})


def test_strange_and_damaged_lines_are_told(tmp_path):
    path = tmp_path / "session-x.jsonl"
    path.write_text(LINES.read_text() + '{"id": "z", "type": "oracle"}\n{"what": 1}\n{"id": "y", "type": "gem')
    steps, _, told = read(GEMINI_CLI, path)
    assert len(steps) == 4
    assert told.unknown == {"message of type oracle": 1, "line of no known kind": 1}
    assert told.bad == 1
    assert told.first_error.startswith("session-x.jsonl line 19: ")
