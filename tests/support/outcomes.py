"""Tables of outcomes for tests: real samples, and small ones made up."""

from pathlib import Path

import numpy as np

from turnout.learn.outcomes import OutcomeTable

FIXTURES = Path(__file__).parents[1] / "fixtures" / "outcomes"
ZEROEVAL = FIXTURES / "zeroeval_sample.parquet"


def table_of(scores, costs=None, *, queries=None, datasets=None, models=None, name="made-up", meta=None):
    """A table of a matrix of scores, [queries, models]; `costs` in USD, the same shape or one a model."""
    scores = np.array(scores, dtype=float)
    n, m = scores.shape
    nothing = np.full((n, m), np.nan)
    return OutcomeTable(
        name=name,
        datasets=tuple(datasets or ["made-up"] * n),
        query_ids=tuple(map(str, range(n))),
        queries=tuple(queries or [f"question {i} " + "x" * (i % 17) for i in range(n)]),
        models=tuple(models or [f"m{i}" for i in range(m)]),
        scores=scores,
        costs=nothing if costs is None else np.broadcast_to(np.array(costs, dtype=float), (n, m)).copy(),
        input_tokens=nothing,
        output_tokens=nothing,
        meta=tuple(meta or [""] * n),
        left_out={},
    )


class LengthPredictor:
    """Thinks that long prompts are hard for all models but the last."""

    def __init__(self, longest=400):
        self.longest = longest

    def predict(self, queries, models):
        ease = 1 - np.clip([len(q) / self.longest for q in queries], 0, 1)
        return np.column_stack([*(ease for _ in models[:-1]), np.ones(len(queries))])


class Fitted:
    """What a fitter found: predicts what it was told for a prompt, else the mean of what it saw."""

    def __init__(self, known, mean):
        self.known, self.mean = known, mean

    def predict(self, queries, models):
        return np.array([self.known.get(q, self.mean) for q in queries])


class Clairvoyant:
    """A fitter that has seen the answers: what no honest one can."""

    name = "clairvoyant"

    def fit(self, table, rows):
        return Fitted(dict(zip(table.queries, table.scores, strict=True)), table.scores.mean(axis=0))


class Contrarian(Clairvoyant):
    """Always wrong."""

    name = "contrarian"

    def fit(self, table, rows):
        return Fitted(dict(zip(table.queries, 1 - table.scores, strict=True)), 1 - table.scores.mean(axis=0))
