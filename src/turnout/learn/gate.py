"""Learned routers under their protocols, and the gate: nothing learned passes that does not beat the zero router where
it was not fitted, or that is below what needs no label by more than noise. Pure but for what a predictor does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from turnout.learn.baselines import BASELINES, Case
from turnout.learn.figures import measure
from turnout.learn.metrics import apgr, resamples, routing_curve
from turnout.learn.outcomes import Floats, OutcomeTable, Rows
from turnout.learn.routers import (
    Based,
    Decisions,
    Fitter,
    NeedPredictor,
    Pair,
    Predictor,
    expected_costs,
    from_chances,
    from_need,
    willing,
)
from turnout.learn.splits import Part, folds

__all__ = ["Verdict", "fitted", "gated", "pooled", "transferred", "validated"]

INNER_FOLDS = 3
ZERO = 0.5
"""The zero router's APGR between two models."""

FEWEST = 4
"""Training rows with which nothing can be validated, so nothing passes, are fewer than these."""

DRAWS = 100
"""Resamples that say how much of a difference in validation is noise."""


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether what was learned held its place in validation: in APGR (above the zero router's 0.5, and not below what
    needs no label by more than one standard error of the difference), and in AIQ (None: there are no costs). `instead`:
    what orders the queries where it did not in APGR."""

    apgr: bool
    aiq: bool | None
    instead: str = "zero"

    @property
    def failed(self) -> bool:
        return not self.apgr or self.aiq is False


def transferred(predictor: Predictor, table: OutcomeTable, pair: Pair) -> Decisions:
    """Decisions of a predictor that has seen no label of the table. A model's expected cost is then not learned
    either: it is its mean cost in the table, which is one number a model and tells nothing of a query. Of models that
    it has no outcomes of, it can only say where the strong one is needed more."""
    rows = np.arange(len(table), dtype=np.intp)
    if isinstance(predictor, NeedPredictor) and not predictor.models.issuperset(table.models):
        weak, strong = table.models[pair.weak], table.models[pair.strong]
        return from_need(rows, predictor.need(table.queries, weak, strong), pair)
    return _decided(predictor, table, rows, expected_costs(table, rows), pair)


def fitted(fitter: Fitter, table: OutcomeTable, pair: Pair, part: Part) -> Decisions:
    """Fit on the part's training rows, decide for its test rows; expected costs are the training rows' means."""
    return _decided(fitter.fit(table, part.train), table, part.test, expected_costs(table, part.train), pair)


def gated(fitter: Fitter, table: OutcomeTable, pair: Pair, part: Part, seed: int) -> tuple[Decisions, Verdict]:
    """As `fitted`; where the learned part fails in validation, what needs no label orders the queries, and the zero
    router of the training rows picks models."""
    told = fitted(fitter, table, pair, part)
    verdict = validated(fitter, table, part.train, pair, seed)
    need = told.need if verdict.apgr else _unlearned(fitter, table, pair, part)[verdict.instead]
    picks = told.picks
    costs = expected_costs(table, part.train)
    if verdict.aiq is False and costs is not None:
        worth: Floats = np.broadcast_to(table.scores[part.train].mean(axis=0), (len(part.test), len(table.models)))
        picks = willing(worth, costs)
    decided = Decisions(rows=told.rows, need=need, picks=picks, chances=told.chances, gated=verdict.failed)
    return decided, verdict


def validated(fitter: Fitter, table: OutcomeTable, train: Rows, pair: Pair, seed: int) -> Verdict:
    """Judge a fitter on training rows alone: by what it predicts of each inner fold from the others, beside the hull
    of single models on the same rows."""
    if len(train) < FEWEST:
        return Verdict(apgr=False, aiq=False)
    inner = folds(table.of_rows(train), min(INNER_FOLDS, len(train) // 2), seed)
    parts = [Part(train=train[p.train], test=train[p.test]) for p in inner if len(p.train) and len(p.test)]
    decided = pooled([fitted(fitter, table, pair, p) for p in parts])
    learned = measure(table, pair, [decided])
    zero = measure(table, pair, BASELINES["zero"](Case(table=table, rows=train, pair=pair)))
    aiq = None if learned.aiq is None or zero.aiq is None else learned.aiq.value > zero.aiq.value
    stands, instead = _ordered(fitter, table, pair, decided, seed)
    return Verdict(apgr=stands, aiq=aiq, instead=instead)


def _ordered(fitter: Fitter, table: OutcomeTable, pair: Pair, told: Decisions, seed: int) -> tuple[bool, str]:
    """Whether the order that was learned stands, and the best that needs no label, which stands in for it."""
    rows = told.rows
    counts = resamples(len(rows), DRAWS, seed)
    weak, strong = table.scores[rows][:, pair.weak], table.scores[rows][:, pair.strong]

    def reached(need: Floats, drawn: NDArray[np.int64] | None = None) -> Floats:
        return apgr(routing_curve(need, weak, strong, drawn))

    others = _unlearned(fitter, table, pair, Part(train=rows, test=rows))
    instead = max(others, key=lambda name: float(np.nan_to_num(reached(others[name])[0])))
    if told.need is None or not float(reached(told.need)[0]) > ZERO:
        return False, instead
    apart = reached(told.need, counts) - reached(others[instead], counts)
    behind = float(reached(others[instead])[0] - reached(told.need)[0])
    return not behind > float(np.nanstd(apart)), instead


def _unlearned(fitter: Fitter, table: OutcomeTable, pair: Pair, part: Part) -> dict[str, Floats]:
    """Needs of the test rows by what has seen no label: none, the prompt's length, and the fitter's base."""
    queries = [table.queries[row] for row in part.test]
    found: dict[str, Floats] = {
        "zero": np.zeros(len(queries)),
        "length": np.array([len(query) for query in queries], dtype=np.float64),
    }
    base = fitter.fallback(table, part.train) if isinstance(fitter, Based) else None
    if base is not None:
        found["base"] = base.need(queries, table.models[pair.weak], table.models[pair.strong])
    return found


def pooled(parts: Sequence[Decisions]) -> Decisions:
    """The decisions of several disjoint tests as one."""
    needs = [d.need for d in parts if d.need is not None]
    picks = [d.picks for d in parts if d.picks is not None]
    chances = [d.chances for d in parts if d.chances is not None]
    return Decisions(
        rows=np.concatenate([d.rows for d in parts]),
        need=np.concatenate(needs) if len(needs) == len(parts) else None,
        picks=np.concatenate(picks, axis=1) if len(picks) == len(parts) else None,
        chances=np.concatenate(chances) if len(chances) == len(parts) else None,
        gated=any(d.gated for d in parts),
    )


def _decided(predictor: Predictor, table: OutcomeTable, rows: Rows, costs: Floats | None, pair: Pair) -> Decisions:
    queries = [table.queries[i] for i in rows]
    return from_chances(rows, predictor.predict(queries, table.models), costs, pair)
