"""The nearest of the kept requests: as if each were compared by itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.routing.features import BUCKETS
from turnout.routing.neighbours import FOLDED, Neighbours

buckets = st.sets(st.one_of(st.integers(0, 12), st.integers(0, BUCKETS - 1)), max_size=40).map(sorted)
many = st.integers(0, 1_500).map(lambda size: list(range(size)))


def one_by_one(kept, asked, count):
    """What `Neighbours.near` stands for."""
    mine = {bucket % FOLDED for bucket in asked}
    found = []
    for number, other in enumerate(kept):
        theirs = {bucket % FOLDED for bucket in other}
        shared = len(mine & theirs) / (math.sqrt(len(theirs)) or 1.0)
        found.append((shared, number))
    return sorted((number, shared / (math.sqrt(len(mine)) or 1.0)) for shared, number in sorted(found)[::-1][:count])


@given(st.lists(st.one_of(buckets, many), max_size=30), st.one_of(buckets, many), st.integers(0, 12))
def test_the_nearest_are_those_that_a_comparison_one_by_one_finds(kept, asked, count):
    assert Neighbours(kept).near(asked, count) == one_by_one(kept, asked, count)


@given(st.lists(buckets, max_size=20), st.lists(st.tuples(st.integers(0, 19), buckets), max_size=20), buckets)
def test_what_is_put_in_anothers_place_is_compared_instead(kept, later, asked):
    found, kept = Neighbours(kept), list(kept)
    for place, row in later:
        number = min(place, len(kept))
        found.put(number, row)
        kept[number : number + 1] = [row]
    assert len(found) == len(kept)
    assert found.near(asked, 5) == one_by_one(kept, asked, 5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_those_that_are_equally_near_the_newest(count):
    found = Neighbours([[1, 2]] * 5)
    assert [number for number, _ in found.near([1, 2], count)] == list(range(5))[5 - count :]


def test_a_request_that_shares_nothing_has_neighbours_of_no_likeness():
    assert Neighbours([[1], [2], [3]]).near([7], 2) == [(1, 0.0), (2, 0.0)]
    assert Neighbours().near([7], 2) == []
