"""Probes are ours to the byte; their checks know a right answer in any wrapping, a wrong one in any disguise."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from turnout.chat import ChatResponse, FinishReason, Text, ToolCall
from turnout.learn.probes import (
    CallCheck,
    ExactCheck,
    JsonCheck,
    NumberCheck,
    PatternCheck,
    Probe,
    judged,
    load_probes,
    passes,
    spread,
)

ROOT = Path(__file__).parents[2]
PROBES = load_probes()
FIVE, ADA, YES = NumberCheck(value=5), ExactCheck(text="Ada"), JsonCheck(value={"line": 3, "returns": [1, 2]})
CALL = CallCheck(name="find", arguments={"order": "W1", "count": 2})


def test_the_packaged_file_is_what_the_generator_writes():
    made = subprocess.run([sys.executable, ROOT / "tools" / "make_probes.py"], capture_output=True, check=True).stdout
    assert made == (ROOT / "src/turnout/learn/data/probes.jsonl").read_bytes()


def test_ten_families_of_seven_from_easy_to_hard():
    assert len(PROBES) == 70
    assert len({p.id for p in PROBES}) == 70
    for family in {p.family for p in PROBES}:
        levels = [p.level for p in PROBES if p.family == family]
        assert levels == sorted(levels)
        assert (levels[0], levels[-1], len(levels)) == (1, 5, 7)


def right(probe: Probe) -> ChatResponse:
    """An answer that says what the check waits for."""
    match probe.check:
        case NumberCheck(value=value):
            parts = (Text(text=f"First I count.\n\n**{value:.10g}**"),)
        case ExactCheck(text=text, strict=True):
            parts = (Text(text=text),)
        case ExactCheck(text=text):
            parts = (Text(text=f"So it must be:\n\nAnswer: {text}."),)
        case JsonCheck(value=value):
            parts = (Text(text=f"```json\n{msgspec.json.encode(value).decode()}\n```"),)
        case CallCheck(name=name, arguments=arguments):
            parts = (ToolCall(id="c", name=name, arguments=msgspec.json.encode(arguments).decode()),)
        case PatternCheck():
            parts = (Text(text=FITTING[probe.id]),)
    return ChatResponse(id="a", model="m", parts=parts, finish=FinishReason("stop"))


FITTING = {
    "forms-4": "- red house\n- red boat\n- red lamp",
    "forms-5": "Who saw the old boat in harbour?",
    "forms-6": 'id,name,price\n1,"apple",0.50\n2,"pear",1.20\n3,"plum",3.00',
    "forms-7": "a wild storm throws rain and hail on our small town.",
}


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.id)
def test_a_right_answer_passes_and_the_others_do_not(probe):
    assert judged(probe, right(probe))
    others = [p for p in PROBES if p.check != probe.check and type(p.check) is type(probe.check)]
    assert not any(judged(probe, right(other)) for other in others)


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.id)
def test_silence_refusal_and_the_question_itself_are_no_answers(probe):
    for said in ("", "I cannot help with that.", probe.messages[-1].content):
        assert not passes(probe.check, said)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (FIVE, "5"),
        (FIVE, "2 + 3 = 5."),
        (FIVE, "between 3-5"),
        (FIVE, "$\\boxed{5.0}$"),
        (NumberCheck(value=-7), "it is -7 degrees"),
        (NumberCheck(value=-7), "\u22127"),
        (NumberCheck(value=12_345), "12,345"),
        (ADA, "ada"),
        (ADA, "Who else?\n**Ada**"),
        (ADA, "The answer is: **Ada.**\n\n"),
        (YES, 'Here:\n```json\n{"line": 3, "returns": [1, 2.0]}\n```\nBye.'),
        (YES, 'It is {"returns": [1, 2], "line": 3}, I think.'),
        (ExactCheck(text="a,a", strict=True), "a,a\n"),
    ],
)
def test_right_in_some_wrapping(check, text):
    assert passes(check, text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (FIVE, "5, or perhaps 6"),
        (FIVE, "-5"),
        (FIVE, "five"),
        (FIVE, "9" * 30_000),
        (ADA, "Ada or Ben"),
        (ADA, "Ada\nBen"),
        (YES, '{"line": 3, "returns": [2, 1]}'),
        (YES, '{"line": 3, "returns": [1, 2], "more": 1}'),
        (YES, '{"line": true, "returns": [1, 2]}'),
        (YES, '{"line": 3, "returns": [1, 2]'),
        (YES, "[" * 30_000),
        (ExactCheck(text="a,a", strict=True), "Sure: a,a"),
        (PatternCheck(pattern="a+"), "a" * 30_000),
    ],
)
def test_wrong_in_some_disguise(check, text):
    assert not passes(check, text)


@pytest.mark.parametrize(
    ("calls", "right"),
    [
        ([("find", '{"count": 2.0, "order": "W1"}')], True),
        ([("find", '{"order": "W1"}')], False),
        ([("find", '{"order": "W1", "count": 2, "force": true}')], False),
        ([("lose", '{"order": "W1", "count": 2}')], False),
        ([("find", '{"order": "W1", "count": 2')], False),
        ([("find", '{"order": "W1", "count": 2}')] * 2, False),
        ([], False),
    ],
)
def test_a_call_is_right_in_name_and_arguments(calls, right):
    assert passes(CALL, "", [ToolCall(id="c", name=n, arguments=a) for n, a in calls]) is right


def test_the_patterns_are_quick_on_any_text():
    """Linear: were one of them not, this would not come to an end."""
    patterns = [p.check.pattern for p in PROBES if isinstance(p.check, PatternCheck)]
    for pattern in patterns:
        for text in ("a " * 10_000, "- red " * 3_000, "a" * 20_000, 'id,name,price\n1,"' + "a" * 19_000):
            assert re.fullmatch(pattern, text) is None


def test_a_few_probes_are_spread_over_families_and_levels():
    few = spread(PROBES, 20)
    assert sorted({p.family for p in few}) == sorted({p.family for p in PROBES})
    assert {p.level for p in few} == {1, 5}
    assert len(spread(PROBES, 1000)) == 70
    assert spread(PROBES, 0) == ()
