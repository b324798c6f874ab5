"""What the next request shows of the answer before it, in any language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.routing.implicit import (
    Shown,
    alike,
    malformed,
    rephrased,
    shingles,
    spoken,
    tells,
    tool_score,
)


def user(*texts):
    return Message(role="user", parts=tuple(Text(text=text) for text in texts))


@pytest.mark.parametrize(
    ("severities", "score"),
    [((), None), ((0.0,), 1.0), ((0.0, 1.0), 0.0), ((0.5,), None), ((0.0, 0.5), None), ((0.5, 1.0), 0.0)],
    ids=["no result", "went well", "one broke", "status 1", "status 1 among good ones", "both"],
)
def test_what_tools_say(severities, score):
    assert tool_score(severities) == score


def test_arguments_that_are_no_json_are_the_models_fault_whatever_the_tool_did():
    def called(arguments, freeform=False):
        return [Message(role="assistant", parts=(ToolCall(id="c", name="t", arguments=arguments, freeform=freeform),))]

    assert malformed(called('{"a": '))
    assert malformed(called("{" * 100_000))
    assert not malformed(called('{"a": 1}'))
    assert not malformed(called(""))
    assert not malformed(called("*** Begin patch", freeform=True))
    assert tool_score([0.0], malformed=True) == 0.0


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Write a function that sorts a list of names", "Write a function which sorts a list of names!"),
        ("请写一个对名字列表进行排序的函数", "请写一个能对名字列表进行排序的函数"),
        ("Объясни, почему тест падает на этой строке", "Объясни мне, почему тест падает на этой строке"),
        ("why does   this test FAIL in ci?", "Why does this test fail in CI?"),
    ],
)
def test_the_same_question_in_other_words_is_one_in_any_language(before, now):
    assert rephrased(shingles(before), shingles(now))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Write a function that sorts a list of names", "Now add tests for the empty list, please"),
        ("go on", "go on"),
        ("continue", "continue"),
        ("", ""),
        (
            "The first chapter of a report. " * 99 + "What did it cost?",
            "Minutes of a meeting, May. " * 99 + "What did it cost?",
        ),
        ("A long text. " * 500 + "Who wrote it, and where was that?", "A long text. " * 500 + "Translate part two now"),
    ],
)
def test_other_questions_and_short_ones_are_none(before, now):
    assert not rephrased(shingles(before), shingles(now))


@given(st.text(max_size=2_000), st.text(max_size=2_000))
def test_likeness_is_symmetric_bounded_and_whole_for_the_same(one, other):
    a, b = shingles(one), shingles(other)
    assert 0 <= alike(a, b) == alike(b, a) <= 1
    assert alike(a, a) == (1 if a else 0)
    assert len(a) <= 225


def test_a_turn_with_a_tools_result_in_it_is_not_the_users():
    result = ToolResult(call_id="c", parts=(Text(text="done"),))
    assert spoken([user("one", "two")]) == "one\ntwo"
    assert spoken([Message(role="user", parts=(result, Text(text="reminder")))]) == ""
    assert spoken([user("x"), Message(role="assistant", parts=(Text(text="y"),))]) == ""
    assert spoken([]) == ""


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=5), st.booleans(), st.booleans(), st.booleans(), st.booleans()
)
def test_each_source_speaks_once_and_nobody_complains_of_what_a_tool_answered(came, bad, recovered, again, rephrase):
    shown = Shown(severities=came, malformed=bad, recovered=recovered, again=again, rephrased=rephrase)
    said = tells(shown)
    sources = [source for source, _ in said]
    assert len(sources) == len(set(sources))
    assert all(0 <= score <= 1 for _, score in said)
    assert not ("retry" in sources and came)
    assert ("retry", 0.0) in said or came or not (again or rephrase)
