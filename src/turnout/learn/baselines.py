"""The baselines that every claim stands beside, each the same kind of thing as a router."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from msgspec import Struct

from turnout.learn.outcomes import OutcomeTable, Rows
from turnout.learn.routers import Decisions, Pair, from_need, willing

__all__ = ["BASELINES", "Case", "best_single"]

DRAWS = 10
"""Of the random router, as RouteLLM averages it."""


class Case(Struct, frozen=True, kw_only=True, eq=False):
    """Rows of a table in which every model was asked everything."""

    table: OutcomeTable
    rows: Rows
    pair: Pair
    seed: int = 0


def random(case: Case) -> list[Decisions]:
    """Any share of the queries to the strong model, at random."""
    draw = np.random.default_rng(case.seed)
    return [from_need(case.rows, draw.random(len(case.rows)), case.pair) for _ in range(DRAWS)]


def length(case: Case) -> list[Decisions]:
    """The longest prompts, by characters, to the strong model."""
    return [
        from_need(case.rows, np.array([len(case.table.queries[i]) for i in case.rows], dtype=np.float64), case.pair)
    ]


def zero(case: Case) -> list[Decisions]:
    """RouterBench's zero router: mixes of single models, whatever the query. Between two models that is the straight
    line."""
    picks = np.repeat(np.arange(len(case.table.models), dtype=np.intp)[:, None], len(case.rows), axis=1)
    return [Decisions(rows=case.rows, need=np.zeros(len(case.rows)), picks=picks)]


def best(case: Case) -> list[Decisions]:
    """The best single model for everything."""
    column = best_single(case.table, case.rows)
    return [Decisions(rows=case.rows, picks=np.full((1, len(case.rows)), column, dtype=np.intp))]


def oracle(case: Case) -> list[Decisions]:
    """Knows every outcome and cost: the strong model first where it alone succeeds; of all models the cheapest that
    succeeds, and a cheaper failure where success is not worth its price."""
    scores, costs = case.table.scores[case.rows], case.table.costs[case.rows]
    picks = willing(scores, costs) if np.isfinite(costs).all() else None
    return [Decisions(rows=case.rows, need=scores[:, case.pair.strong] - scores[:, case.pair.weak], picks=picks)]


def best_single(table: OutcomeTable, rows: Rows) -> int:
    """The column of the model with the best mean score on these rows; of equals the cheapest."""
    quality = table.scores[rows].mean(axis=0)
    costs = np.nan_to_num(table.costs[rows].mean(axis=0))
    return int(np.lexsort((costs, -quality))[0])


BASELINES: Mapping[str, Callable[[Case], list[Decisions]]] = {
    "random": random,
    "length": length,
    "zero": zero,
    "best": best,
    "oracle": oracle,
}
"""Several decisions are draws of one router."""
