"""Claude Code's logs: answers over several lines counted once, whose conversation a line is of, and damage."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings

from support.logs import FIXTURES, NASTY, read, spoilt, tokens, written
from turnout.chat import Reasoning, Text, ToolCall, ToolResult
from turnout.lab.audit.readers import READERS
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.claude_code import CLAUDE_CODE
from turnout.lab.audit.records import Ending

FOLDER = FIXTURES / "claude_code"
SESSION = FOLDER / "session.jsonl"
EVERY = sorted(FOLDER.rglob("*.jsonl"))
LINES = SESSION.read_bytes().splitlines()


def line(kind, number, message, **more):
    told = {"parentUuid": None, "isSidechain": False, "type": kind, "message": message, "uuid": f"u{number}"}
    return {**told, "timestamp": f"2026-05-18T10:00:{number:02}Z", "sessionId": "s1", "cwd": "/home/dev/shop", **more}


def asked(number, text="go on", **more):
    return line("user", number, {"role": "user", "content": text}, **more)


def answer(number, name="msg_1", content=(), *, output=5, given=3, read=0, write=0, request="req_1", **more):
    usage = {
        "input_tokens": given,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write,
        "output_tokens": output,
    }
    message = {"id": name, "role": "assistant", "model": "claude-opus-4-7", "content": list(content), "usage": usage}
    return line("assistant", number, message, **({"requestId": request} if request else {}), **more)


def text(told):
    return {"type": "text", "text": told}


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.name)
def test_its_logs_are_claimed_by_this_reader_alone(path):
    assert [reader.name for reader in READERS if reader.claims(head_of(path))] == ["claude-code"]


def test_a_session_gives_one_step_an_answer():
    steps, endings, told = read(CLAUDE_CODE, SESSION)
    main = [s for s in steps if not s.agent]
    assert [s.id for s in main] == ["msg_a1", "msg_a2", "3a1d", "msg_a3", "msg_a4"]
    first = main[0]
    assert (first.session, first.project) == ("5a1f0c9e-0000-4000-8000-000000000001", "/home/dev/shop")
    assert first.usage.input == 6 + 11_454 + 12_500
    assert (first.usage.cache_read, first.usage.cache_write, first.usage.cache_write_1h) == (12_500, 11_454, 11_454)
    assert first.usage.output == 188
    assert [type(part) for part in first.out] == [Reasoning, Text, ToolCall, ToolCall]
    assert [m.parts[0].text[:3] for m in first.new] == ["Why", "- a"]
    assert endings == [Ending(session=first.session, why="interrupted")]
    assert (told.lines, told.bad, told.unknown) == (len(LINES), 0, {})


def test_results_between_the_lines_of_a_parallel_answer_are_new_to_the_next():
    steps, _, _ = read(CLAUDE_CODE, SESSION)
    second = next(s for s in steps if s.id == "msg_a2")
    assert [(p.call_id, p.is_error) for m in second.new for p in m.parts] == [("toolu_1", False), ("toolu_2", True)]


def test_sub_agents_are_conversations_of_their_own_wherever_they_stand():
    within, _, _ = read(CLAUDE_CODE, SESSION)
    beside, _, _ = read(CLAUDE_CODE, FOLDER / "subagents" / "agent-a000000000000001.jsonl")
    chained = [s for s in within if s.agent.startswith("sidechain")]
    assert [s.id for s in chained] == ["msg_s1", "msg_s2"]
    assert len({s.agent for s in chained}) == 1
    assert {s.agent for s in beside} == {"a000000000000001"}
    assert {s.session for s in beside} == {s.session for s in within}
    assert tokens(beside) == (15_203 + 15_415, 15_200, 15_410, 97 + 9)


def test_two_sub_agents_in_turns_within_one_file_are_told_apart_by_their_parents(tmp_path):
    lines = [
        asked(1, "one", uuid="a1", isSidechain=True),
        asked(2, "two", uuid="b1", isSidechain=True),
        answer(3, "msg_a", uuid="a2", parentUuid="a1", isSidechain=True),
        answer(4, "msg_b", uuid="b2", parentUuid="b1", isSidechain=True),
        asked(5, "more", uuid="a3", parentUuid="a2", isSidechain=True),
        answer(6, "msg_c", uuid="a4", parentUuid="a3", isSidechain=True),
    ]
    steps, _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", lines))
    agents = {s.id: s.agent for s in steps}
    assert agents["msg_a"] == agents["msg_c"] != agents["msg_b"]


def test_a_call_that_failed_is_a_step_without_tokens_that_is_known_again_in_a_copy():
    failed = [s for s in read(CLAUDE_CODE, SESSION)[0] if s.failed]
    assert [(s.usage, s.out, s.model, s.id) for s in failed] == [(None, (), "claude-opus-4-7", "3a1d")]
    assert isinstance(failed[0].new[0].parts[0], ToolResult)


def test_what_claude_code_says_itself_is_no_call(tmp_path):
    message = {"role": "assistant", "model": "<synthetic>", "content": [text("No response requested.")]}
    steps, _, told = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", [asked(1), line("assistant", 2, message)]))
    assert (steps, told.bad, told.unknown) == ([], 0, {})


def test_an_advisor_within_an_answer_is_paid_beside_its_usage():
    steps, _, _ = read(CLAUDE_CODE, SESSION)
    (advisor,) = [s for s in steps if s.agent == "advisor_message"]
    assert (advisor.id, advisor.model, advisor.usage.input) == ("msg_a3/1", "claude-sonnet-5", 14_000)
    answered = next(s for s in steps if s.id == "msg_a3")
    assert (answered.usage.output, answered.usage.reasoning, answered.effort) == (700, 150, "high")


def test_after_a_compaction_the_next_request_begins_with_the_summary():
    last = next(s for s in read(CLAUDE_CODE, SESSION)[0] if s.id == "msg_a4")
    assert last.compacted
    assert [m.parts[0].text[:12] for m in last.new] == ["This session", "Fix it."]


def test_the_first_versions_lines_have_no_type_and_say_what_was_paid():
    steps, _, told = read(CLAUDE_CODE, FOLDER / "first_version.jsonl")
    assert [s.cost_nano_usd for s in steps] == [12_300_000, 34_500_000]
    assert steps[1].usage.service_tier == "fast-mode"
    assert told.unknown == {}


def test_what_print_mode_streams_is_read_as_well():
    steps, endings, told = read(CLAUDE_CODE, FOLDER / "stream_json.jsonl")
    assert tokens(steps) == (10_066, 5_000, 5_060, 48)
    assert (endings[0].why, told.unknown) == ("success", {})


# ---- Usage that grows, and copies -----------------------------------------------------------------------------


def test_of_usage_that_grows_the_last_counts(tmp_path):
    lines = [
        asked(1),
        answer(2, content=[text("a")], output=1, read=15_000),
        answer(3, content=[text("b")], output=1, read=15_000),
        answer(4, content=[text("c")], output=159, read=15_000),
    ]
    (step,), _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", lines))
    assert (step.usage.output, step.usage.input, len(step.out)) == (159, 15_003, 3)


def test_a_gateway_that_ends_with_zeros_or_moves_input_to_the_cache_is_believed_once(tmp_path):
    zeros = [answer(1, output=40, given=900), answer(2, output=0, given=0)]
    moved = [answer(1, output=1, given=900), answer(2, output=40, given=0, read=900)]
    for lines in (zeros, moved):
        (step,), _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", lines))
        assert (step.usage.input, step.usage.output) == (900, 40)


def test_without_a_request_id_the_message_id_tells_copies(tmp_path):
    lines = [answer(1, "chatcmpl-1", request=None), answer(2, "chatcmpl-1", request=None)]
    steps, _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", lines))
    assert len(steps) == 1


def test_a_text_that_is_written_again_as_it_grows_is_one_text(tmp_path):
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
    whole = {**use, "input": {"command": "ls"}}
    lines = [answer(1, content=[text("It")]), answer(2, content=[text("It is"), use]), answer(3, content=[whole])]
    (step,), _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", lines))
    assert [getattr(p, "text", None) or p.arguments for p in step.out] == ["It is", '{"command":"ls"}']


def test_a_session_copied_into_itself_counts_once_and_keeps_its_ids_in_another_file(tmp_path):
    lines = [asked(1), answer(2), asked(3, "more"), answer(4, "msg_2")]
    twice, _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", [*lines, *lines, asked(5), answer(6, "msg_3")]))
    assert [s.id for s in twice] == ["msg_1", "msg_2", "msg_3"]
    assert len(twice[-1].new) == 1
    resumed = [{**told, "sessionId": "s2"} for told in lines]
    again, _, _ = read(CLAUDE_CODE, written(tmp_path / "t.jsonl", resumed))
    assert [s.id for s in again] == [s.id for s in twice[:2]]


def test_kinds_that_nobody_knows_are_counted_by_name(tmp_path):
    lines = [
        asked(1),
        {"type": "hologram", "sessionId": "s1"},
        '"massive error"\n',
        {"silly": 1},
        "{broken\n",
        answer(2),
    ]
    steps, _, told = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", lines))
    assert len(steps) == 1
    assert told.unknown == {"hologram": 1, "no object": 1, "no type": 1}
    assert (told.bad, told.first_error.startswith("s.jsonl line 5: ")) == (1, True)


# ---- Damage ---------------------------------------------------------------------------------------------------


def test_half_an_emoji_costs_the_emoji_alone(tmp_path):
    told = json.dumps(answer(1, content=[text("cut \ud83d")])) + "\n" + json.dumps(asked(2, "ok \U0001f389 \\ud83d"))
    (tmp_path / "s.jsonl").write_text(told)
    (step,), _, tally = read(CLAUDE_CODE, tmp_path / "s.jsonl")
    assert (step.out[0].text, tally.bad) == ("cut \ufffd", 0)


def test_bytes_that_are_no_text_cost_themselves_alone(tmp_path):
    (tmp_path / "s.jsonl").write_bytes(json.dumps(answer(1, content=[text("caf?")])).encode().replace(b"?", b"\xe9"))
    (step,), _, tally = read(CLAUDE_CODE, tmp_path / "s.jsonl")
    assert (step.out[0].text, tally.bad) == ("caf\ufffd", 0)


@pytest.mark.parametrize("absurd", [-5, 10**12, 1.5, "12", True, None, [1], {}])
def test_absurd_counts_are_no_counts(tmp_path, absurd):
    (step,), _, _ = read(CLAUDE_CODE, written(tmp_path / "s.jsonl", [answer(1, output=absurd, read=absurd)]))
    assert (step.usage.output, step.usage.cache_read, step.usage.input) == (None, None, 3)


def test_a_log_cut_anywhere_is_read_up_to_there(tmp_path):
    data = SESSION.read_bytes()
    whole = {s.id for s in read(CLAUDE_CODE, SESSION)[0]}
    for cut in range(0, len(data), 97):
        (tmp_path / "s.jsonl").write_bytes(data[:cut])
        steps, _, told = read(CLAUDE_CODE, tmp_path / "s.jsonl")
        assert {s.id for s in steps} <= whole
        assert told.bad <= 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoilt(LINES))
@example(b"\n".join(NASTY))
def test_nothing_in_a_file_makes_it_raise(tmp_path, data):
    (tmp_path / "s.jsonl").write_bytes(data)
    head = head_of(tmp_path / "s.jsonl")
    for reader in READERS:
        reader.claims(head)
    steps, _, told = read(CLAUDE_CODE, tmp_path / "s.jsonl")
    assert told.lines <= data.count(b"\n") + 1
    assert all((s.usage.input or 0) >= 0 for s in steps if s.usage)


def test_a_file_that_is_gone_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="gone"):
        read(CLAUDE_CODE, tmp_path / "gone.jsonl")
