"""Learned routers under their protocols, and the gate: nothing learned passes that does not beat the zero router where
it was not fitted. Pure but for what a predictor does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from turnout.learn.baselines import BASELINES, Case
from turnout.learn.figures import measure
from turnout.learn.outcomes import Floats, OutcomeTable, Rows
from turnout.learn.routers import (
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
FEWEST = 4
"""Training rows with which nothing can be validated, so nothing passes, are fewer than these."""


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether what was learned beat the zero router in validation: in APGR (between two models the zero router has
    0.5), and in AIQ (None: there are no costs)."""

    apgr: bool
    aiq: bool | None

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
    """As `fitted`; where the learned part fails in validation, the zero router of the training rows decides."""
    told = fitted(fitter, table, pair, part)
    verdict = validated(fitter, table, part.train, pair, seed)
    need = told.need if verdict.apgr else np.zeros(len(part.test))
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
    learned = measure(table, pair, [pooled([fitted(fitter, table, pair, p) for p in parts])])
    zero = measure(table, pair, BASELINES["zero"](Case(table=table, rows=train, pair=pair)))
    aiq = None if learned.aiq is None or zero.aiq is None else learned.aiq.value > zero.aiq.value
    return Verdict(apgr=learned.apgr is not None and learned.apgr.value > 0.5, aiq=aiq)


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
