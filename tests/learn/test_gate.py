"""The gate: what was learned and is behind what needs no label by more than noise does not pass."""

import numpy as np

from support.outcomes import Contrarian, table_of
from turnout.learn.fit import Fit
from turnout.learn.gate import gated, validated
from turnout.learn.routers import Pair
from turnout.learn.splits import Part

ROWS = 200
LENGTHS = np.random.default_rng(1).permutation(ROWS)
TABLE = table_of(
    [[float(n < 100), 1.0] for n in LENGTHS], queries=[f"case {i} " + "word " * int(n) for i, n in enumerate(LENGTHS)]
)
"""What is long the weak model fails at."""

PAIR = Pair(weak=0, strong=1)
PART = Part(train=np.arange(120), test=np.arange(120, ROWS))


class Backwards:
    """Thinks that what is short needs the strong model; `base` thinks the opposite."""

    name = "backwards"
    models = frozenset({"m0", "m1"})

    def __init__(self, base=None):
        self.base = base

    def fit(self, table, rows):
        return self

    def fallback(self, table, rows):
        return self.base

    def predict(self, queries, models):
        short = 1 / (1 + np.array([len(query) for query in queries]))
        return np.column_stack([1 - short, np.ones(len(queries))])


class Base:
    """Knows exactly what the weak model fails at."""

    models = frozenset()

    def need(self, queries, weak, strong):
        return np.array([float(query.count("word") >= 100) for query in queries])


def test_the_length_stands_in_for_what_is_worse():
    decided, verdict = gated(Backwards(), TABLE, PAIR, PART, 0)
    assert not verdict.apgr
    assert verdict.instead == "length"
    assert decided.gated
    assert (decided.need == [len(TABLE.queries[row]) for row in PART.test]).all()


def test_the_base_stands_in_where_it_is_the_best_of_what_needs_no_label():
    noisy = table_of(TABLE.scores, queries=["word " * int(n) + "x" * int(900 * (n % 7)) for n in LENGTHS])
    decided, verdict = gated(Backwards(Base()), noisy, PAIR, PART, 0)
    assert verdict.instead == "base"
    assert (decided.need == Base().need([noisy.queries[row] for row in PART.test], "m0", "m1")).all()


def test_what_is_learned_passes_where_it_is_not_behind():
    verdict = validated(Fit(), TABLE, PART.train, PAIR, 0)
    assert verdict.apgr
    assert verdict.aiq is None, "there are no costs"


def test_nothing_passes_that_is_no_better_than_chance():
    assert not validated(Contrarian(), TABLE, PART.train, PAIR, 0).apgr
