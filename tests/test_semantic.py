"""Which requests are one question, and the nearest that was asked."""

import json

import pytest
from msgspec.structs import replace

from turnout.dialects import DIALECTS
from turnout.semantic import Neighbours, Place, nearest, question_of, unit


def question(text, dialect="openai-chat", circumstances=(), **more):
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    told = DIALECTS[dialect]
    return question_of(told, told.outline(json.dumps(body).encode()), circumstances)


def test_words_differ_and_all_else_is_the_same():
    one, two = (
        question("Capital of France?"),
        question("France's capital?", stream=True, stream_options={"include_usage": True}, user="u"),
    )
    assert one.scope == two.scope
    assert (one.text, two.text) == ("Capital of France?", "France's capital?")


@pytest.mark.parametrize(
    "other",
    [
        question("in 2024"),
        question("x", temperature=0.5),
        question("x", model="other"),
        question("x", circumstances=("bob",)),
        question("x", a_field_of_next_year=1),
        question("x", dialect="anthropic-messages", max_tokens=5),
    ],
)
def test_another_scope(other):
    assert other.scope != question("x").scope


@pytest.mark.parametrize(
    "text", ["", "  ", "x" * 9_000, [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]]
)
def test_what_is_no_question_in_words(text):
    assert question(text) is None


def test_what_cannot_be_decoded_is_no_question():
    assert question("x", temperature="hot") is None


def test_a_model_named_in_the_url_counts():
    gemini = DIALECTS["gemini"]
    told = gemini.outline(b'{"contents": [{"role": "user", "parts": [{"text": "x"}]}]}')
    one, two = (question_of(gemini, replace(told, model=name), ()) for name in ("a", "b"))
    assert one.text == "x"
    assert one.scope != two.scope


def test_the_nearest_within_the_threshold():
    asked = [(b"a", unit([1, 0])), (b"b", unit([3, 1])), (b"c", unit([0, 1])), (b"short", unit([1]))]
    assert nearest(asked, unit([2, 0.6]), 0.9) == b"b"
    assert nearest(asked, unit([1, 1]), 0.95) is None
    assert nearest([], unit([1, 1]), 0.5) is None


@pytest.mark.parametrize("vector", [[], [0, 0], [float("nan")], [float("inf"), 1]])
def test_a_vector_without_direction_is_near_nothing(vector):
    assert not unit(vector)


def test_memory_is_bounded_and_the_oldest_go():
    known = Neighbours(most=2, scopes=2)
    for scope in (b"s1", b"s2", b"s3"):
        for key in (b"k1", b"k2", b"k3"):
            known.add(Place(scope, unit([1, 0])), key)
    assert known.of(b"s1") == ()
    assert [key for key, _ in known.of(b"s3")] == [b"k2", b"k3"]
    known.forget(Place(b"s3", unit([1])), b"k2")
    known.forget(Place(b"none", unit([1])), b"k2")
    assert [key for key, _ in known.of(b"s3")] == [b"k3"]
