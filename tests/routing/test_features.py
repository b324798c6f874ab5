"""What the predictor sees of a request: every language, any size, no text kept."""

import math
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh32_intdigest

from turnout.routing.features import BUCKETS, DENSE, HEAD, STRUCTURE, TAIL, Features, State, Texts, features_of

PIECES = [
    *"aAzZ_390.,:;!?-*()[]{}#`=^|/ \n\t\r\x0b\x1c\0\1",
    '"',
    "\\",
    *"\xa0\x85\xb2\xdf\u0130\u03a3\u03c2\u0663\u0e01\u2211",
]
mixed = st.text(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=80)


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


def words_of(text):
    """Words, numbers and marks, told one by one."""
    spaced = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    return re.findall(spaced + r"|\d+|[^\W\d]+|[^\w\s]", text)


@given(mixed)
def test_the_buckets_are_those_of_each_word_and_pair(text):
    words = [word.lower() for word in words_of(text)]
    grams = [*words, *map("\0".join, pairwise(words))]
    assert set(features_of(text).buckets) == {
        xxh32_intdigest(gram.encode("utf-8", "surrogatepass")) % BUCKETS for gram in grams
    }


@given(mixed)
def test_counts_are_those_of_each_word_line_and_mark(text):
    found, tokens = dense(text), words_of(text)
    words = [token for token in tokens if token.isalpha()]
    numbers = [token for token in tokens if token.isdigit()]
    share = 1 / max(1, len(words))
    lists = r"(?m)^\s{0,8}(?:[-*\u2022]|\(?[0-9A-Za-z]{1,2}[.):])\s"
    assert {name: found[name] for name in ("words", "numbers", "large_numbers", "fractions", "marks")} == {
        "words": math.log1p(len(words)),
        "numbers": math.log1p(len(numbers)),
        "large_numbers": math.log1p(sum(len(number) >= 4 for number in numbers)),
        "fractions": math.log1p(len(re.findall(r"\d[.,/]\d", text))),
        "marks": math.log1p(len(tokens) - len(words) - len(numbers)),
    }
    assert found["sentences"] == math.log1p(len(re.findall(r"[.!?\u3002\uff01\uff1f\u061f\u0964](?:\s|$)", text)))
    assert found["list_items"] == math.log1p(len(re.findall(lists, text)))
    assert found["formulas"] == math.log1p(len(re.findall(r"[\\^=<>+*/|\u2200-\u22ff]", text)))
    assert found["code"] == math.log1p(len(re.findall(r"[{}\[\]();_#`]", text)))
    assert math.isclose(found["long_words"], sum(len(word) >= 9 for word in words) * share)
    assert math.isclose(found["capitals"], sum(word[0].isupper() for word in words) * share)
    assert math.isclose(found["variety"], len(set(words)) * share)
    assert math.isclose(found["word_length"], sum(map(len, words)) * share / 10)
    size = len(text.encode("utf-8", "surrogatepass"))
    assert math.isclose(found["other_scripts"], (size - len(text)) / max(1, len(text)))


def test_a_text_that_was_read_before_is_not_read_again_and_seen_the_same():
    texts = Texts(capacity=2)
    state = State(labels=("mode=fast", "feature=search"))
    for task, intent in (("Sort 1200 files.", ""), ("Sort 1200 files.", "Now!"), ("Sort 1200 files.", "")):
        assert features_of(task, intent, state, texts) == features_of(task, intent, state)
        assert features_of(task, intent, None, texts) == features_of(task, intent)
    assert len(texts) == 2
    features_of("another", texts=texts)
    assert len(texts) == 2


def test_texts_alike_in_what_is_looked_at_differ_in_length():
    texts = Texts()
    short, long = ("a" * HEAD + "b" * n + "c" * TAIL for n in (5_000, 50_000))
    assert features_of(short, texts=texts) == features_of(short)
    assert features_of(long, texts=texts) == features_of(long) != features_of(short)
