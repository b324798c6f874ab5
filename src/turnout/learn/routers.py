"""What a router is to an evaluation: needs and picks for rows of a table; and what a learned one must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from turnout.learn.metrics import edges_of
from turnout.learn.outcomes import Floats, OutcomeTable, Rows

__all__ = [
    "Decisions",
    "Fitter",
    "NeedPredictor",
    "Pair",
    "Predictor",
    "expected_costs",
    "from_chances",
    "from_need",
    "willing",
]

PAID = np.geomspace(1e-4, 1e3, 71)
"""Willingnesses to pay: points of quality for the cost of the dearest model."""


class Predictor(Protocol):
    """What has learned which models succeed on what."""

    def predict(self, queries: Sequence[str], models: Sequence[str]) -> NDArray[np.float64]:
        """The chance of success, 0..1, [queries, models]."""
        ...


@runtime_checkable
class NeedPredictor(Predictor, Protocol):
    """A predictor that says by itself how much a query needs the strong of two models, whoever they are. `models`:
    those that it has outcomes of."""

    models: frozenset[str]

    def need(self, queries: Sequence[str], weak: str, strong: str) -> NDArray[np.float64]:
        """[queries]; only their order counts."""
        ...


class Fitter(Protocol):
    """What makes a predictor from outcomes."""

    name: str

    def fit(self, table: OutcomeTable, rows: NDArray[np.intp]) -> Predictor:
        """Learn from these rows of a table, and from no other."""
        ...


class Pair(Struct, frozen=True, kw_only=True):
    """Columns of the two models between which RouteLLM's metrics are taken."""

    weak: int
    strong: int


class Decisions(Struct, frozen=True, kw_only=True, eq=False):
    """What a router decided for `rows` of a table. `need` [rows]: higher where the strong model is wanted; `picks`
    [settings, rows]: the column of the model, for each setting of what the router may be set to; `chances` [rows,
    models] as it predicted them. None: it has none."""

    rows: Rows
    need: Floats | None = None
    picks: Rows | None = None
    chances: Floats | None = None
    gated: bool = False


def from_need(rows: Rows, need: Floats, pair: Pair) -> Decisions:
    """Decisions of a score alone: its settings are RouteLLM's thresholds (see `metrics.routing_curve`)."""
    edges = edges_of(need)
    strong = need[None, :] >= edges[:, None]
    strong[-1] = need > edges[-1]
    return Decisions(rows=rows, need=need, picks=np.where(strong, pair.strong, pair.weak).astype(np.intp))


def from_chances(
    rows: Rows, chances: Floats, costs: Floats | None, pair: Pair, need: Floats | None = None
) -> Decisions:
    """Decisions of predicted chances: the need is the strong model's chance less the weak one's (unless `need` is
    told), and the settings are willingnesses to pay. `costs`: expected USD, [models] or [rows, models]; None: not
    known."""
    if need is None:
        need = chances[:, pair.strong] - chances[:, pair.weak]
    picks = None if costs is None else willing(chances, costs)
    return Decisions(rows=rows, need=need, picks=picks, chances=chances)


def willing(worth: Floats, costs: Floats) -> Rows:
    """The model with the most worth less price, [settings, rows], for prices of cost from nearly nothing to
    prohibitive."""
    wide = np.broadcast_to(costs, worth.shape)
    scale = float(wide.mean(axis=0).max()) or 1.0
    return np.stack([np.argmax(worth - paid / scale * wide, axis=1) for paid in (1e-9, *PAID)])


def expected_costs(table: OutcomeTable, rows: Rows) -> Floats | None:
    """Each model's mean cost on these rows, in USD: never a test query's own. None where one is not known."""
    costs = table.costs[rows].mean(axis=0)
    return costs if len(rows) and np.isfinite(costs).all() else None
