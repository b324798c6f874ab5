"""The trace format: reading and mending it, the requests in it, and the packaged recordings."""

import json
from importlib.resources import files

import pytest

from turnout.errors import InvalidRequest
from turnout.lab.sessions import (
    ReadCount,
    Session,
    Step,
    anthropic_request,
    estimate_tokens,
    mend,
    packaged_sessions,
    packaged_tools,
    read_sessions,
    read_tools,
    requests_of,
    tools_of,
    usage_of,
)

PACKAGED = packaged_sessions()
EVERY_SESSION = pytest.mark.parametrize("session", PACKAGED, ids=[s.id[-40:] for s in PACKAGED])

LINE = (
    b'{"id":"s1","kind":"support-agent","bench":"b","source":"r:f","licence":"MIT","task":"b/1","model":"gpt-4o",'
    b'"outcome":1.0,"end":null,"tools":null,"cost":0.019520000000000006,"steps":[{"add":['
    b'{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],'
    b'"out":{"role":"assistant","content":"Hello"},'
    b'"usage":{"input":12,"cached":0,"output":2,"reasoning":0,"cost":0.0001},"ts":"2026-02-22T11:29:01"}],'
    b'"split":"given"}\n'
)


def call(call_id, name="find", arguments='{"q": 1}'):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def session(*steps):
    return Session(id="s", steps=tuple(Step(add=tuple(add), out=out) for add, out in steps))


def user(text):
    return {"role": "user", "content": text}


# ---- reading


def test_a_line_becomes_a_session_and_money_stays_exact(tmp_path):
    trace = tmp_path / "t.jsonl"
    trace.write_bytes(LINE)
    (read,) = read_sessions(trace)
    assert (read.id, read.model, read.outcome, read.split) == ("s1", "gpt-4o", 1.0, "given")
    assert str(read.cost) == "0.019520000000000006"
    assert read.steps[0].usage.input == 12


def test_bad_lines_are_counted_and_the_rest_is_read(tmp_path):
    trace = tmp_path / "t.jsonl"
    trace.write_bytes(LINE + b"\n{not json\n" + b'{"id":"x","steps":[{"add":[]}]}\n' + b"\xff\xfe\n" + LINE)
    count = ReadCount()
    assert [s.id for s in read_sessions(trace, count=count)] == ["s1", "s1"]
    assert (count.lines, count.sessions, count.bad) == (5, 2, 3)
    assert count.first_error.startswith("t.jsonl line 3 is not a recorded session")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"id":"x"}', "missing required field `steps`"),
        (
            b'{"id":"x","steps":[{"add":[],"out":{"role":"user","content":""}}]}',
            "`out` is not an assistant message",
        ),
        (b'{"id":"x","steps":[{"add":[{"role":"robot"}],"out":{"role":"assistant"}}]}', "unknown role 'robot'"),
        (
            b'{"id":"x","steps":[{"add":[],"out":{"role":"assistant","tool_calls":[{"id":"a"}]}}]}',
            "a tool call names no function",
        ),
        (b'{"id":"x","steps":[{"add":[],"out":{"role":"assistant","tool_calls":["a"]}}]}', "names no function"),
        (
            b'{"id":"x","steps":[{"add":[],"out":{"role":"assistant","tool_calls":7}}]}',
            "tool_calls is not a list",
        ),
    ],
)
def test_strict_names_file_line_and_cause(tmp_path, line, told):
    trace = tmp_path / "t.jsonl"
    trace.write_bytes(LINE + line + b"\n")
    with pytest.raises(InvalidRequest, match=r"t\.jsonl line 2 is not a recorded session") as raised:
        list(read_sessions(trace, strict=True))
    assert told in raised.value.message
    assert raised.value.param == "t.jsonl:2"


def test_a_folder_is_all_its_traces_and_a_missing_file_an_error(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_bytes(LINE.replace(b'"s1"', f'"{name}"'.encode()))
    assert [s.id for s in read_sessions(tmp_path)] == ["a", "b"]
    with pytest.raises(InvalidRequest, match=r"cannot read .*none\.jsonl: No such file"):
        list(read_sessions(tmp_path / "none.jsonl"))


def test_a_file_that_is_no_tool_table_is_an_error(tmp_path):
    (tmp_path / "tools.json").write_text("[]")
    with pytest.raises(InvalidRequest, match="is not a table of tools"):
        read_tools(tmp_path / "tools.json")


# ---- mending


def test_tool_messages_without_an_id_answer_the_open_calls_in_order():
    mended = mend(
        session(
            ([user("go")], {"role": "assistant", "content": "ok", "tool_calls": [call("a"), call("b")]}),
            ([{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}], {"role": "assistant"}),
        )
    )
    assert [m["tool_call_id"] for m in mended.steps[1].add] == ["a", "b"]
    assert mended.steps[1].out == {"role": "assistant", "content": ""}
    assert mended.mends == ("a tool message named no call: it answers the oldest open one",)


def test_an_id_used_twice_is_told_apart_in_call_and_answer():
    answer = {"role": "tool", "tool_call_id": "a", "name": "find", "content": "1"}
    mended = mend(
        session(
            ([user("go")], {"role": "assistant", "tool_calls": [call("a")]}),
            ([answer], {"role": "assistant", "tool_calls": [call("a")]}),
            ([answer], {"role": "assistant", "content": "done"}),
        )
    )
    assert mended.steps[1].out["tool_calls"][0]["id"] == "a-2"
    assert mended.steps[2].add == ({"role": "tool", "tool_call_id": "a-2", "content": "1"},)


def test_calls_and_answers_without_each_other_are_made_whole():
    mended = mend(
        session(
            ([user("go")], {"role": "assistant", "tool_calls": [call("a")]}),
            (
                [user("never mind"), {"role": "tool", "tool_call_id": "z", "content": "late"}],
                {"role": "assistant"},
            ),
        )
    )
    assert mended.steps[1].add == (
        {"role": "tool", "tool_call_id": "a", "content": ""},
        user("never mind"),
        user("late"),
    )
    assert len(mended.mends) == 2


def test_arguments_recorded_as_an_object_become_text():
    mended = mend(session(([user("go")], {"role": "assistant", "tool_calls": [call("a", arguments={"q": 1})]})))
    assert json.loads(mended.steps[0].out["tool_calls"][0]["function"]["arguments"]) == {"q": 1}


# ---- requests


def test_a_request_is_everything_before_it():
    made = mend(
        session(
            ([{"role": "system", "content": "S"}, user("1")], {"role": "assistant", "content": "2"}),
            ([user("3")], {"role": "assistant", "content": "4"}),
        )
    )
    first, second = requests_of(made, {})
    assert [m["content"] for m in first.messages] == ["S", "1"]
    assert [m["content"] for m in second.messages] == ["S", "1", "2", "3"]
    assert (first.out["content"], second.out["content"], first.tools) == ("2", "4", None)


def test_tools_that_were_not_recorded_are_inferred_from_their_calls():
    calls = [call("a", "open", '{"path": "x", "line": 3}'), call("b", "submit", "")]
    made = session(([user("go")], {"role": "assistant", "content": None, "tool_calls": calls}))
    opened, submit = tools_of(made, {})
    assert opened["function"]["parameters"]["properties"] == {
        "path": {"type": "string"},
        "line": {"type": "integer"},
    }
    assert submit["function"]["name"] == "submit"


def test_an_anthropic_client_sends_the_same_request_in_its_own_form():
    made = mend(
        session(
            (
                [
                    {"role": "system", "content": "Be brief."},
                    {"role": "assistant", "content": "Hi!"},
                    user("a"),
                    user("b"),
                ],
                {"role": "assistant", "content": None, "tool_calls": [call("c:1"), call("c2")]},
            ),
            (
                [
                    {"role": "tool", "tool_call_id": "c:1", "content": "one"},
                    {"role": "tool", "tool_call_id": "c2", "content": ""},
                    user("and?"),
                ],
                {"role": "assistant", "content": "done"},
            ),
        )
    )
    request = anthropic_request(list(requests_of(made, {}))[1], model="m", max_tokens=9)
    assert request["system"] == "Be brief."
    assert request["messages"] == [
        {"role": "assistant", "content": [{"type": "text", "text": "Hi!"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c_1", "name": "find", "input": {"q": 1}},
                {"type": "tool_use", "id": "c2", "name": "find", "input": {"q": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c_1", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": []},
                {"type": "text", "text": "and?"},
            ],
        },
    ]
    assert [t["name"] for t in request["tools"]] == ["find"]
    assert request["tools"][0]["input_schema"]["properties"] == {"q": {"type": "integer"}}


# ---- estimates


def test_missing_usage_is_estimated_and_says_so():
    assert estimate_tokens(400, 850) == 200
    made = mend(session(([user("x" * 400)], {"role": "assistant", "content": "y" * 40})))
    usage = usage_of(made.steps[0], next(requests_of(made, {})))
    assert usage.estimated
    assert (usage.input, usage.output, usage.cached) == (107, 10, 0)


def test_the_estimate_holds_on_the_packaged_sessions_with_recorded_usage():
    errors = []
    for made in PACKAGED:
        for step, recorded in zip(made.steps, requests_of(made), strict=True):
            if step.usage:
                guessed = usage_of(Step(add=step.add, out=step.out), recorded)
                errors.append(abs(guessed.input - step.usage.input) / step.usage.input)
    assert len(errors) == 67
    assert sum(errors) / len(errors) < 0.05


# ---- the packaged selection


def check_openai(messages):
    """What OpenAI's chat API refuses: a call without its answer right after it, an answer without its call."""
    open_ids = []
    for message in messages:
        if message["role"] == "tool":
            assert message.keys() == {"role", "tool_call_id", "content"}
            assert open_ids.pop(open_ids.index(message["tool_call_id"])) == message["tool_call_id"]
            continue
        assert open_ids == []
        calls = message.get("tool_calls", [])
        assert isinstance(message["content"], str) or (message["content"] is None and calls)
        open_ids = [made["id"] for made in calls]
        for made in calls:
            assert made["type"] == "function"
            assert isinstance(json.loads(made["function"]["arguments"]), dict)
    assert open_ids == []


def check_anthropic(request):
    """What Anthropic's API refuses: repeated ids, empty text, results that do not come first and next."""
    asked, used = [], set()
    for before, message in zip([None, *request["messages"]], request["messages"], strict=False):
        assert before is None or before["role"] != message["role"]
        kinds = [block["type"] for block in message["content"]]
        assert kinds
        assert all(block["text"].strip() for block in message["content"] if block["type"] == "text")
        if message["role"] == "assistant":
            asked = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
            assert not used & set(asked)
            used |= set(asked)
        else:
            results = kinds.count("tool_result")
            assert kinds[:results] == ["tool_result"] * results
            assert [block["tool_use_id"] for block in message["content"][:results]] == asked
            asked = []
    assert request["messages"][-1]["role"] == "user"
    assert "tools" in request or not used


@EVERY_SESSION
def test_every_packaged_request_is_valid_in_both_forms(session):
    for recorded in requests_of(session):
        check_openai(recorded.messages)
        assert recorded.out["role"] == "assistant"
        check_anthropic(anthropic_request(recorded, model="m"))


def test_the_selection_is_what_its_readme_says():
    data = files("turnout.lab") / "data"
    readme = (data / "README.md").read_text()
    rows = [line.split("|") for line in readme.splitlines() if line.startswith("| `")]
    assert len(rows) == len(PACKAGED) == 12
    for row, made in zip(rows, PACKAGED, strict=True):
        assert made.id.endswith(row[1].strip(" `").split("...")[-1])
        assert int(row[3]) == len(made.steps)
        assert row[4].strip() == ("not judged" if made.outcome is None else f"{made.outcome:.0f}")
        assert made.licence == "MIT"
        assert made.source.partition(":")[0] in readme
    assert {s.tools for s in PACKAGED} - {None} == set(packaged_tools())
    assert sum(len((data / name).read_bytes()) for name in ("sessions.jsonl", "tools.json")) < 2_000_000


def test_each_retail_task_was_run_by_a_strong_and_a_small_model_from_the_same_first_request():
    retail = [s for s in PACKAGED if s.bench == "tau2-retail"]
    for strong, small in zip(retail[::2], retail[1::2], strict=True):
        assert (strong.task, strong.model, small.model) == (small.task, "gpt-4.1", "gpt-4.1-mini")
        assert strong.steps[0].add[:2] == small.steps[0].add[:2]
