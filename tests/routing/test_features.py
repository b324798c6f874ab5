"""What the predictor sees of a request: every language, any size, no text kept."""

import math

from hypothesis import given
from hypothesis import strategies as st

from turnout.routing.features import BUCKETS, DENSE, HEAD, STRUCTURE, TAIL, Features, State, features_of


def dense(text, **state):
    return dict(zip(DENSE, features_of(text, "", State(**state)).dense, strict=True))


def alike(one, other):
    a, b = features_of(one), features_of(other)
    return len(set(a.buckets) & set(b.buckets)) * a.weight * b.weight


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_text_has_features_that_survive_packing(task, intent):
    found = features_of(task, intent)
    assert len(found.dense) == len(DENSE)
    assert all(map(math.isfinite, found.dense))
    assert all(0 <= bucket < BUCKETS for bucket in found.buckets)
    assert math.isclose(len(found.buckets) * found.weight**2, 1.0) or not found.buckets
    assert Features.unpack(found.pack()) == found


def test_texts_that_share_words_are_alike():
    assert alike("How tall is the Eiffel tower?", "How tall is the Eiffel tower in feet?") > 0.8
    assert alike("How tall is the Eiffel tower?", "Write a function that sorts a list.") < 0.2


def test_languages_without_spaces_are_read_letter_by_letter():
    assert alike("法国的首都是哪里\uff1f", "意大利的首都是哪里\uff1f") > 0.5
    assert dense("法国的首都是哪里\uff1f")["questions"] == math.log1p(1)


def test_numbers_code_and_formulas_are_counted():
    found = dense("Add 1,250 and 3/4 in f(x) = x^2; then print(1999)")
    assert found["large_numbers"] == math.log1p(1)
    assert found["fractions"] == math.log1p(2)
    assert found["code"] > 0
    assert found["formulas"] > 0


def test_of_a_long_text_head_and_tail_are_read_and_its_length_is_known():
    long = "a " * HEAD + "needle " + "b " * TAIL
    assert features_of(long).buckets == features_of(long.replace("needle", "thread")).buckets
    assert dense(long)["length"] == math.log1p(len(long))


def test_what_is_asked_now_counts_beside_the_task():
    both = set(features_of("Port the parser to Rust", "commit it").buckets)
    assert set(features_of("commit it").buckets) <= both
    assert set(features_of("Port the parser to Rust").buckets) <= both


def test_the_agents_state_is_seen_and_a_bare_question_has_none():
    assert all(value == 0 for name, value in dense("Hi").items() if name not in STRUCTURE)
    found = dense("Hi", tools=7, step=3, severity=2.5, recovered=True)
    assert found["tools"] == math.log1p(7)
    assert (found["severity"], found["recovered"]) == (2.5, 1.0)


def test_a_mode_is_seen_as_a_word_that_nobody_can_say():
    plain, labelled = features_of("Hi"), features_of("Hi", "", State(labels=("mode=search",)))
    assert set(plain.buckets) < set(labelled.buckets)
    assert not set(labelled.buckets) - set(plain.buckets) & set(features_of("mode=search").buckets)
