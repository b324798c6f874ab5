"""Codex rollouts: usage told twice counts once, copied history not at all, and damage."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings

from support.logs import FIXTURES, NASTY, read, spoilt, tokens, written
from turnout.chat import Reasoning, ToolCall, ToolResult
from turnout.lab.audit.readers import READERS
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.codex import CODEX
from turnout.lab.audit.records import Ending

FOLDER = FIXTURES / "codex"
EVERY = sorted(FOLDER.glob("*.jsonl"))
FIRST, THREAD, FORK, AGENT, RECORDS = EVERY
PARENT, CHILD = "019e5615-1ef8-7000-8000-000000000001", "019e5615-9632-7000-8000-000000000002"
LINES = [line for path in (AGENT, FORK, RECORDS) for line in path.read_bytes().splitlines()]


def line(second, kind, payload, **more):
    return {"timestamp": f"2026-05-23T18:00:{second:06.3f}Z", **more, "type": kind, "payload": payload}


def meta(second, name, **more):
    return line(second, "session_meta", {"id": name, "timestamp": f"2026-05-23T18:00:{second:06.3f}Z", **more})


def said(second, role, text):
    content = [{"type": "output_text" if role == "assistant" else "input_text", "text": text}]
    return line(second, "response_item", {"type": "message", "role": role, "content": content})


def usage(given, output, cached=0):
    return {"input_tokens": given, "cached_input_tokens": cached, "output_tokens": output, "reasoning_output_tokens": 0}


def count(second, total, last):
    info = {"total_token_usage": total, "last_token_usage": last}
    return line(second, "event_msg", {"type": "token_count", "info": {k: v for k, v in info.items() if v}})


def turn(second, name=None, model="gpt-5.5"):
    return line(
        second, "turn_context", {"model": model, "cwd": "/home/dev/shop", **({"turn_id": name} if name else {})}
    )


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.name[-12:])
def test_its_logs_are_claimed_by_this_reader_alone(path):
    assert [reader.name for reader in READERS if reader.claims(head_of(path))] == ["codex"]


def test_a_header_longer_than_what_is_looked_at_is_claimed(tmp_path):
    told = meta(1, PARENT, base_instructions={"text": "long " * 40_000})
    head = head_of(written(tmp_path / "r.jsonl", [told, turn(2)]))
    assert head.objects == ()
    assert CODEX.claims(head)


def test_a_thread_gives_one_step_a_response_and_its_own_total():
    steps, endings, told = read(CODEX, THREAD)
    assert [s.usage.output for s in steps] == [20, 5, 60, 5]
    assert tokens(steps) == (99_500, 67_400, 0, 90)
    assert {(s.session, s.agent, s.project, s.provider) for s in steps} == {(PARENT, "", "/home/dev/shop", "openai")}
    assert {(s.model, s.effort) for s in steps} == {("gpt-5.5", "high")}
    assert [type(p) for p in steps[0].out] == [Reasoning, ToolCall]
    assert [m.role for m in steps[0].new] == ["system", "developer", "user"]
    assert endings == [Ending(session=PARENT, why="interrupted")]
    assert (told.bad, told.unknown) == (0, {})


def test_after_a_compaction_the_next_request_begins_with_what_was_kept():
    steps, _, _ = read(CODEX, THREAD)
    assert [s.compacted for s in steps] == [False, False, False, True]
    kept, sealed = (m.parts[0] for m in steps[3].new)
    assert (kept.text, sealed.signature) == ("Run it.", "gAAAASEALED")


def test_a_result_that_comes_before_the_count_belongs_to_the_next_request(tmp_path):
    call = {"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "c"}
    output = {"type": "function_call_output", "call_id": "c", "output": "Process exited with code 2\nOutput:\nno\n"}
    lines = [
        meta(1, PARENT),
        turn(2),
        said(3, "user", "go"),
        line(4, "response_item", call),
        line(5, "response_item", output),
        count(6, usage(100, 10), usage(100, 10)),
        said(7, "assistant", "No."),
        count(8, usage(210, 12), usage(110, 2)),
    ]
    first, second = read(CODEX, written(tmp_path / "r.jsonl", lines))[0]
    assert [type(p) for p in first.out] == [ToolCall]
    (result,) = second.new[0].parts
    assert isinstance(result, ToolResult)
    assert result.is_error


def test_usage_that_is_told_again_counts_once(tmp_path):
    total, more = usage(100, 10), usage(230, 15)
    lines = [meta(1, PARENT), said(2, "user", "go"), said(3, "assistant", "a"), count(4, total, usage(100, 10))]
    again = [count(5, total, usage(100, 10)), count(6, total, usage(100, 10))]
    grown = [said(7, "assistant", "b"), count(8, more, None), count(9, more, None)]
    steps, _, _ = read(CODEX, written(tmp_path / "r.jsonl", [*lines, *again, *grown]))
    assert [(s.usage.input, s.usage.output) for s in steps] == [(100, 10), (130, 5)]


def test_a_usage_record_and_the_count_after_it_are_one_answer():
    steps, _, _ = read(CODEX, RECORDS)
    assert [s.id for s in steps] == ["resp_1", "resp_2"]
    assert (steps[0].usage.input, steps[0].usage.cache_write) == (24_100, 100)
    assert (steps[1].out, steps[1].usage.output) == ((), 900)


@pytest.mark.parametrize("path", [FORK, AGENT], ids=["new times", "old times"])
def test_a_copied_history_is_context_and_counts_nothing(path):
    (step,), _, told = read(CODEX, path)
    assert (step.usage.input, step.id.split()[0] != PARENT) == (31_100 if path == FORK else 31_200, True)
    calls = [p.id for m in step.new for p in m.parts if isinstance(p, ToolCall)]
    assert calls == ["call_1", "call_2"]
    assert told.unknown == {}


def test_a_fork_is_a_session_and_a_sub_agent_is_an_agent_of_its_parents():
    (fork,), _, _ = read(CODEX, FORK)
    (agent,), _, _ = read(CODEX, AGENT)
    assert (fork.session, fork.agent) == (CHILD, "")
    assert (agent.session, agent.agent) == (PARENT, "019e5616-1000-7000-8000-000000000003")


def test_a_fork_whose_turns_have_no_names_is_told_by_the_burst_of_its_copy(tmp_path):
    copied = [meta(20.0, "old"), turn(20.0), said(20.0, "user", "go"), count(20.1, usage(50, 5), usage(50, 5))]
    own = [turn(24), said(24, "user", "and"), said(25, "assistant", "so"), count(26, usage(110, 9), usage(60, 4))]
    path = written(tmp_path / "r.jsonl", [meta(20.0, "new", forked_from_id="old"), *copied, *own])
    (step,), _, _ = read(CODEX, path)
    assert (step.session, step.usage.input) == ("new", 60)


def test_lines_before_an_agents_own_first_are_copies_where_they_are_numbered(tmp_path):
    header = meta(1, CHILD, parent_thread_id=PARENT, session_id=PARENT, subagent_history_start_ordinal="3")
    copied = [said(1, "assistant", "old"), count(1, usage(900, 9), usage(900, 9))]
    own = [said(2, "user", "go"), said(3, "assistant", "new"), count(4, usage(970, 12), usage(70, 3))]
    lines = [{**told, "ordinal": number} for number, told in enumerate([header, *copied, *own])]
    (step,), _, _ = read(CODEX, written(tmp_path / "r.jsonl", lines))
    assert (step.usage.input, step.agent) == (70, CHILD)


def test_an_agent_without_a_copy_counts_whole(tmp_path):
    header = meta(1, CHILD, parent_thread_id=PARENT)
    own = [turn(2, "019e5615-b2e2-7000-8000-000000000013"), said(2, "user", "go"), said(3, "assistant", "so")]
    (step,), _, _ = read(CODEX, written(tmp_path / "r.jsonl", [header, *own, count(4, usage(70, 3), usage(70, 3))]))
    assert (step.session, step.agent, step.usage.input) == (PARENT, CHILD, 70)


def test_an_archived_copy_has_the_same_ids(tmp_path):
    (tmp_path / "archived.jsonl").write_bytes(THREAD.read_bytes())
    there, _, _ = read(CODEX, tmp_path / "archived.jsonl")
    assert [s.id for s in there] == [s.id for s in read(CODEX, THREAD)[0]]
    assert len({s.id for s in there}) == 4


def test_the_first_versions_have_no_envelope_and_tell_no_usage():
    steps, _, told = read(CODEX, FIRST)
    assert [(s.usage, bool(s.out)) for s in steps] == [(None, True), (None, True)]
    assert [s.at is None for s in steps] == [False, True]
    shell = next(p for p in steps[0].out if isinstance(p, ToolCall))
    assert json.loads(shell.arguments)["command"] == ["ls"]
    assert (told.bad, told.unknown) == (0, {})


def test_a_turn_that_was_refused_is_a_failed_step(tmp_path):
    error = line(4, "event_msg", {"type": "error", "message": "usage limit reached"})
    (step,), _, _ = read(CODEX, written(tmp_path / "r.jsonl", [meta(1, PARENT), turn(2), said(3, "user", "go"), error]))
    assert (step.failed, step.usage, len(step.new)) == (True, None, 1)


def test_a_failure_that_an_event_tells_marks_the_result(tmp_path):
    call = {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "x"}
    ended = {"type": "patch_apply_end", "call_id": "c", "success": False}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "bad patch"}
    items = [line(3, "response_item", call), line(4, "event_msg", ended), line(5, "response_item", output)]
    lines = [meta(1, PARENT), said(2, "user", "go"), *items, said(6, "assistant", "no")]
    steps, _, _ = read(CODEX, written(tmp_path / "r.jsonl", lines))
    assert [p.is_error for m in steps[1].new for p in m.parts] == [True]


def test_kinds_that_nobody_knows_are_counted_by_name(tmp_path):
    lines = [meta(1, PARENT), line(2, "hologram", {}), line(3, "response_item", {"type": "smell"}), "[1]\n", "{\n"]
    _, _, told = read(CODEX, written(tmp_path / "r.jsonl", lines))
    assert told.unknown == {"hologram": 1, "response_item smell": 1, "no object": 1}
    assert (told.bad, told.first_error.startswith("r.jsonl line 5: ")) == (1, True)


@pytest.mark.parametrize("absurd", [-5, 10**12, 1.5, "12", True, None, [1], {}])
def test_absurd_counts_are_no_counts(tmp_path, absurd):
    told = usage(100, 10, cached=absurd)
    steps, _, _ = read(
        CODEX, written(tmp_path / "r.jsonl", [meta(1, PARENT), said(2, "assistant", "a"), count(3, told, told)])
    )
    assert (steps[0].usage.input, steps[0].usage.cache_read or 0) == (100, 0)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoilt(LINES))
@example(b"\n".join(NASTY))
def test_nothing_in_a_file_makes_it_raise(tmp_path, data):
    (tmp_path / "r.jsonl").write_bytes(data)
    head = head_of(tmp_path / "r.jsonl")
    for reader in READERS:
        reader.claims(head)
    steps, _, told = read(CODEX, tmp_path / "r.jsonl")
    assert told.lines <= data.count(b"\n") + 1
    assert all((s.usage.input or 0) >= 0 for s in steps if s.usage)


def test_a_file_that_is_gone_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="gone"):
        read(CODEX, tmp_path / "gone.jsonl")
