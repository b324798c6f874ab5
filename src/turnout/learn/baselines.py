"""The baselines that every claim stands beside, each the same kind of thing as a router."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from turnout.learn.outcomes import OutcomeTable, Rows
from turnout.learn.routers import Decisions, Pair, from_need, willing

__all__ = ["BASELINES", "best_single"]

DRAWS = 10
"""Of the random router, as RouteLLM averages it."""


def random(table: OutcomeTable, rows: Rows, pair: Pair, seed: int) -> list[Decisions]:
    """Any share of the queries to the strong model, at random."""
    draw = np.random.default_rng(seed)
    return [from_need(rows, draw.random(len(rows)), pair) for _ in range(DRAWS)]


def length(table: OutcomeTable, rows: Rows, pair: Pair, seed: int) -> list[Decisions]:
    """The longest prompts, by characters, to the strong model."""
    return [from_need(rows, np.array([len(table.queries[i]) for i in rows], dtype=np.float64), pair)]


def zero(table: OutcomeTable, rows: Rows, pair: Pair, seed: int) -> list[Decisions]:
    """RouterBench's zero router: mixes of single models, whatever the query. Between two models that is the straight line."""
    picks = np.repeat(np.arange(len(table.models), dtype=np.intp)[:, None], len(rows), axis=1)
    return [Decisions(rows=rows, need=np.zeros(len(rows)), picks=picks)]


def best(table: OutcomeTable, rows: Rows, pair: Pair, seed: int) -> list[Decisions]:
    """The best single model for everything."""
    column = best_single(table, rows)
    return [Decisions(rows=rows, picks=np.full((1, len(rows)), column, dtype=np.intp))]


def oracle(table: OutcomeTable, rows: Rows, pair: Pair, seed: int) -> list[Decisions]:
    """Knows every outcome and cost: the strong model first where it alone succeeds; of all models the cheapest that succeeds,
    and a cheaper failure where success is not worth its price."""
    scores, costs = table.scores[rows], table.costs[rows]
    picks = willing(scores, costs) if np.isfinite(costs).all() else None
    return [Decisions(rows=rows, need=scores[:, pair.strong] - scores[:, pair.weak], picks=picks)]


def best_single(table: OutcomeTable, rows: Rows) -> int:
    """The column of the model with the best mean score on these rows; of equals the cheapest."""
    quality = table.scores[rows].mean(axis=0)
    costs = np.nan_to_num(table.costs[rows].mean(axis=0))
    return int(np.lexsort((costs, -quality))[0])


BASELINES: Mapping[str, Callable[[OutcomeTable, Rows, Pair, int], list[Decisions]]] = {
    "random": random,
    "length": length,
    "zero": zero,
    "best": best,
    "oracle": oracle,
}
"""Name -> its decisions for rows of a table in which every model was asked everything. Several are draws of one router."""
