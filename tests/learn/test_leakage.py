"""The same prompts on both sides, also in another dress, and datasets that are their own answer."""

import numpy as np

from support.outcomes import ZEROEVAL, table_of
from turnout.learn.leakage import leakage_of, near_duplicates
from turnout.learn.outcomes import read_outcomes
from turnout.learn.routers import Pair
from turnout.learn.splits import normal_text

TEMPLATE = "the quick brown fox jumps over a lazy dog while seven wizards watch from the hill what is the number"
PAIR = Pair(weak=0, strong=1)


def test_prompts_of_another_table_are_found_in_any_dress():
    table = read_outcomes(ZEROEVAL)
    dressed = [
        f"Q: {q.upper()}\nAfter careful thought, put your final answer in \\boxed{{...}}." for q in table.queries[:40]
    ]
    told = leakage_of(table, PAIR, {"training": [*dressed, *table.queries[40:60]], "unrelated": ["hello there"]})
    assert 55 <= told.elsewhere["training"] <= 60
    assert told.elsewhere["unrelated"] == 0
    assert any("training has" in note for note in told.notes())


def test_near_duplicates_within_a_table():
    story = "a train leaves the station at nine and runs for three hours at sixty miles an hour until it meets a cow"
    group = [story, story.replace("cow", "sheep"), story.replace("nine", "ten").replace("cow", "dog"), "something else"]
    alike, bounded = near_duplicates([[normal_text(q) for q in group]])
    assert alike[:2, 0].tolist() == [True, True]
    assert not alike[3, 0]
    assert not bounded


def test_short_prompts_are_not_held_by_long_ones():
    alike, _ = near_duplicates([["what is it"], ["tell me what is it that you want to say about all this here"]])
    assert not alike.any()


def test_repeated_and_empty_prompts():
    told = leakage_of(table_of(np.eye(4, 2), queries=["same", "Same!", "??", "other"]), PAIR, {})
    assert (told.repeated, told.near, told.empty) == (2, 2, 1)


def test_a_dataset_that_is_its_own_answer():
    scores = [[1, 1]] * 5 + [[0, 1]] * 5
    told = leakage_of(table_of(scores, datasets=["easy"] * 5 + ["hard"] * 5), PAIR, {})
    assert told.one_answer == ("easy", "hard")
    assert told.name_tells == 1
    assert sum("one answer only" in note for note in told.notes()) == 2


def test_a_table_of_templates_is_bounded_and_says_so():
    group = [f"{'please answer with care and in full sentences only ' * 3}{TEMPLATE} {i}" for i in range(400)]
    alike, bounded = near_duplicates([group])
    assert bounded
    assert alike.mean() > 0.3
