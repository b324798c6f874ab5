"""Routers on a table of outcomes, beside the baselines, and what may make them look better than they are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from turnout.errors import InvalidRequest
from turnout.learn.baselines import BASELINES, Case, best_single
from turnout.learn.figures import Figures, Measured, measure, of_dataset
from turnout.learn.gate import gated, pooled, transferred
from turnout.learn.leakage import Leakage, leakage_of
from turnout.learn.metrics import resamples
from turnout.learn.outcomes import CONTAMINATED, OutcomeTable, Rows
from turnout.learn.routers import Decisions, Fitter, Pair, Predictor, from_need
from turnout.learn.splits import Part, by_dataset, folds, labelled

__all__ = [
    "ALL",
    "Learned",
    "Plan",
    "Report",
    "Row",
    "Scores",
    "TableStory",
    "evaluate",
    "pair_of",
    "read_scores",
    "usable",
]

DRAWS = 5
"""Of `--labels N`: other queries are labelled each time."""

TIMED = 200
"""Queries, spread over the table, whose decisions are timed one by one."""

ALL = "all"
"""Stands for all datasets of a table together."""


class Learned(Struct, frozen=True, kw_only=True):
    """A learned router: what it is without a label of the table, and what learns from some. None: it cannot."""

    predictor: Predictor | None = None
    fitter: Fitter | None = None


class Scores(Struct, frozen=True, kw_only=True):
    """Another router's scores: by query id, or by dataset and query id. `decision_ms`: of each decision, where told."""

    scores: dict[tuple[str, str], float]
    decision_ms: tuple[float, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """What to evaluate. `strong` and `weak` left out: the best model, and the cheapest (without costs the worst)."""

    baselines: tuple[str, ...] = tuple(BASELINES)
    labels: tuple[int, ...] = ()
    folds: int | None = None
    by_dataset: bool = False
    strong: str | None = None
    weak: str | None = None
    seed: int = 0
    resamples: int = 400


class TableStory(Struct, frozen=True, kw_only=True):
    """`datasets`: queries of each. `models`: mean score and mean cost in USD a query (None: not known)."""

    name: str
    queries: int
    datasets: dict[str, int]
    models: dict[str, tuple[float, float | None]]
    weak: str
    strong: str
    estimated_costs: bool
    left_out: dict[str, int]


class Row(Struct, frozen=True, kw_only=True):
    """One router under one protocol, on one dataset or all. `kind`: baseline, learned, file or published. `below`:
    baselines that it falls short of, on the same queries."""

    name: str
    kind: str
    protocol: str
    dataset: str
    queries: int | None
    apgr: Measured | None = None
    cpt50: float | None = None
    cpt80: float | None = None
    aiq: Measured | None = None
    saved: dict[str, float | None] = {}
    arena: float | None = None
    ece: float | None = None
    latency_ms: dict[str, float] | None = None
    gated: bool = False
    below: tuple[str, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """What is told of one table."""

    table: TableStory
    leakage: Leakage
    routers: list[Row]
    notes: list[str]


class _Setting(Struct, frozen=True, kw_only=True, eq=False):
    table: OutcomeTable
    pair: Pair
    seed: int
    counts: NDArray[np.int64]

    def case(self, rows: Rows) -> Case:
        return Case(table=self.table, rows=rows, pair=self.pair, seed=self.seed)


class _Entry(Struct, frozen=True, kw_only=True, eq=False):
    """A router's decisions under a protocol, not yet measured."""

    name: str
    kind: str
    protocol: str
    draws: Sequence[Decisions]
    latency_ms: dict[str, float] | None = None


def usable(table: OutcomeTable, models: Sequence[str]) -> tuple[OutcomeTable, list[str]]:
    """The part of a table that can be evaluated, and what is to be said of the rest: without contaminated prompts; of
    the models those named, or those that were asked everything and, where costs are known of two at least, have a
    cost; of the queries those asked of all of them. Raises InvalidRequest where fewer than two models or four queries
    are left."""
    notes: list[str] = []
    clean = np.array([CONTAMINATED not in m for m in table.meta], dtype=bool)
    if not clean.all():
        notes.append(f"{int((~clean).sum()):,} contaminated prompts are left out, as RouteLLM does")
        table = table.of_rows(np.flatnonzero(clean))
    chosen = list(dict.fromkeys(models)) or _asked_everything(table, notes)
    table = table.of_models(chosen)
    if len(chosen) < 2:
        raise InvalidRequest(f"{table.name}: no two models were asked everything; name two or more with --models")
    complete = ~np.isnan(table.scores).any(axis=1)
    if not complete.all():
        notes.append(f"{int((~complete).sum()):,} queries are left out, which not every one of the models was asked")
        table = table.of_rows(np.flatnonzero(complete))
    if len(table) < 4:
        raise InvalidRequest(f"{table.name}: {len(table)} queries were asked of all of {', '.join(chosen)}")
    if not np.isfinite(table.costs).all():
        unknown = [m for m, c in zip(table.models, table.costs.T, strict=True) if not np.isfinite(c).all()]
        notes.append(f"no figures of cost: no cost is known of {', '.join(unknown)} (see --prices)")
    return table, notes


def _asked_everything(table: OutcomeTable, notes: list[str]) -> list[str]:
    full = [m for m, s in zip(table.models, table.scores.T, strict=True) if not np.isnan(s).any()]
    if others := len(table.models) - len(full):
        notes.append(
            f"{others} of {len(table.models)} models were not asked everything and are left out (see --models)"
        )
    with_cost = [m for m in full if np.isfinite(table.costs[:, table.index(m)]).all()]
    if 2 <= len(with_cost) < len(full):
        without = [m for m in full if m not in with_cost]
        notes.append(f"left out for want of a price (see --prices): {', '.join(without)}")
        return with_cost
    return full


def evaluate(
    table: OutcomeTable,
    plan: Plan,
    *,
    learned: Mapping[str, Learned],
    scored: Mapping[str, Scores],
    others: Mapping[str, Sequence[str]],
) -> Report:
    """Measure baselines, learned routers and those known by their scores on a `usable` table. `others`: prompts of
    other tables, by name, for the leakage check. Raises InvalidRequest."""
    pair = pair_of(table, plan)
    counts = resamples(len(table), plan.resamples, plan.seed)
    setting = _Setting(table=table, pair=pair, seed=plan.seed, counts=counts)
    leakage = leakage_of(table, pair, others)
    notes = list(leakage.notes())
    entries = [_baseline(setting, name) for name in plan.baselines]
    for name, told in scored.items():
        entries.append(_of_scores(setting, name, told))
    for name, router in learned.items():
        entries += _protocols(setting, plan, name, router, notes)
    rows = [_row(setting, entry, dataset) for dataset in _groups(table) for entry in entries]
    rows += _published(table)
    notes += _said(rows)
    return Report(table=_story(table, pair), leakage=leakage, routers=rows, notes=notes)


def pair_of(table: OutcomeTable, plan: Plan) -> Pair:
    """The two models of RouteLLM's metrics: those named, or the best and the cheapest. Raises InvalidRequest."""
    rows = np.arange(len(table), dtype=np.intp)
    quality, costs = table.scores.mean(axis=0), table.costs.mean(axis=0)
    strong = table.index(plan.strong) if plan.strong else best_single(table, rows)
    by = costs if np.isfinite(costs).all() else quality
    order = [int(i) for i in np.argsort(by, kind="stable") if i != strong]
    weak = table.index(plan.weak) if plan.weak else order[0]
    if weak == strong:
        raise InvalidRequest(f"the strong and the weak model are both {table.models[weak]}; name two")
    return Pair(weak=weak, strong=strong)


def _story(table: OutcomeTable, pair: Pair) -> TableStory:
    costs = [float(c) if np.isfinite(c) else None for c in table.costs.mean(axis=0)]
    quality = [float(q) for q in table.scores.mean(axis=0)]
    return TableStory(
        name=table.name,
        queries=len(table),
        datasets={name: table.datasets.count(name) for name in sorted(set(table.datasets))},
        models=dict(zip(table.models, zip(quality, costs, strict=True), strict=True)),
        weak=table.models[pair.weak],
        strong=table.models[pair.strong],
        estimated_costs=table.estimated_costs,
        left_out=dict(table.left_out),
    )


def _groups(table: OutcomeTable) -> list[str]:
    names = sorted(set(table.datasets))
    return [ALL, *names] if len(names) > 1 else [ALL]


def _baseline(setting: _Setting, name: str) -> _Entry:
    rows = np.arange(len(setting.table), dtype=np.intp)
    draws = BASELINES[name](setting.case(rows))
    return _Entry(name=name, kind="baseline", protocol="none", draws=draws)


def _of_scores(setting: _Setting, name: str, told: Scores) -> _Entry:
    table = setting.table
    keys = list(zip(table.datasets, table.query_ids, strict=True))
    found = [told.scores.get(key, told.scores.get(("", key[1]))) for key in keys]
    if missing := [key[1] for key, score in zip(keys, found, strict=True) if score is None]:
        raise InvalidRequest(
            f"{name} has no score for {len(missing):,} queries of {table.name}, {missing[0]!r} the first"
        )
    need = np.array(found, dtype=np.float64)
    draws = [from_need(np.arange(len(table), dtype=np.intp), need, setting.pair)]
    return _Entry(name=name, kind="file", protocol="none", draws=draws, latency_ms=_percentiles(told.decision_ms))


def _protocols(setting: _Setting, plan: Plan, name: str, router: Learned, notes: list[str]) -> Iterator[_Entry]:
    table = setting.table
    if router.predictor is not None:
        draws = [transferred(router.predictor, table, setting.pair)]
        latency = _timed(router.predictor, table)
        yield _Entry(name=name, kind="learned", protocol="transfer", draws=draws, latency_ms=latency)
    if router.fitter is None:
        return
    for number in plan.labels:
        told = _gated(setting, router.fitter, labelled(table, number, DRAWS, plan.seed), f"{number} labels", notes)
        yield _Entry(name=name, kind="learned", protocol=f"{number} labels", draws=told)
    for protocol, parts in _partitions(table, plan):
        told = _gated(setting, router.fitter, parts, protocol, notes)
        yield _Entry(name=name, kind="learned", protocol=protocol, draws=[pooled(told)])


def _partitions(table: OutcomeTable, plan: Plan) -> Iterator[tuple[str, list[Part]]]:
    if plan.folds is not None:
        yield f"{plan.folds}-fold", folds(table, plan.folds, plan.seed)
    if plan.by_dataset:
        yield "by dataset", by_dataset(table)


def _gated(
    setting: _Setting, fitter: Fitter, parts: Sequence[Part], protocol: str, notes: list[str]
) -> list[Decisions]:
    told = [gated(fitter, setting.table, setting.pair, part, setting.seed) for part in parts]
    verdicts = [verdict for _, verdict in told]
    decisions = [decided for decided, _ in told]
    for metric, failed in (("APGR", [not v.apgr for v in verdicts]), ("AIQ", [v.aiq is False for v in verdicts])):
        if any(failed):
            share = f"{sum(failed)} of {len(failed)} fits"
            notes.append(
                f"gate: {fitter.name}, {protocol}: {share} did not beat the zero router's {metric} in validation"
            )
    if all(v.aiq is False for v in verdicts):
        decisions = [_as_zero(setting, d) for d in decisions]
    return decisions


def _as_zero(setting: _Setting, told: Decisions) -> Decisions:
    """Where nothing learned is left, the settings are the single models."""
    zero = BASELINES["zero"](setting.case(told.rows))[0]
    return replace(told, picks=zero.picks)


def _row(setting: _Setting, entry: _Entry, dataset: str) -> Row:
    table = setting.table
    draws = entry.draws if dataset == ALL else [of_dataset(table, d, dataset) for d in entry.draws]
    if entry.kind == "baseline" and dataset != ALL:  # the best single model of a dataset is its own
        rows = np.array([i for i, name in enumerate(table.datasets) if name == dataset], dtype=np.intp)
        draws = BASELINES[entry.name](setting.case(rows))
    told = measure(table, setting.pair, draws, setting.counts)
    return Row(
        name=entry.name,
        kind=entry.kind,
        protocol=entry.protocol,
        dataset=dataset,
        queries=round(sum(len(d.rows) for d in draws) / len(draws)),
        apgr=told.apgr,
        cpt50=told.cpt50,
        cpt80=told.cpt80,
        aiq=told.aiq,
        saved=told.saved,
        arena=told.arena,
        ece=told.ece,
        latency_ms=entry.latency_ms,
        gated=any(d.gated for d in draws),
        below=() if entry.kind == "baseline" else _below(setting, draws, told),
    )


def _below(setting: _Setting, draws: Sequence[Decisions], told: Figures) -> tuple[str, ...]:
    """The baselines that are better on the very queries of these draws: length in APGR, the zero router in AIQ
    (without costs, in APGR)."""
    beside = {
        name: measure(
            setting.table,
            setting.pair,
            [d for told in draws for d in BASELINES[name](setting.case(told.rows))],
        )
        for name in ("length", "zero")
    }
    by_cost = told.aiq is not None
    pairs = {
        "length": (told.apgr, beside["length"].apgr),
        "zero": (told.aiq, beside["zero"].aiq) if by_cost else (told.apgr, beside["zero"].apgr),
    }
    return tuple(name for name, (ours, theirs) in pairs.items() if ours and theirs and ours.value < theirs.value - 1e-9)


def _said(rows: Sequence[Row]) -> Iterator[str]:
    """Where routers lose, one sentence for each router, protocol and baseline."""
    lost: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for name in row.below:
            lost.setdefault((row.name, row.protocol, name), []).append(row.dataset)
    for (router, protocol, name), datasets in lost.items():
        under = {"length": "prompt length alone (APGR)", "zero": "the zero router"}[name]
        how = "" if protocol == "none" else f" ({protocol})"
        yield f"{router}{how} is below {under} on {', '.join(datasets)}"


def _timed(predictor: Predictor, table: OutcomeTable) -> dict[str, float] | None:
    told: list[float] = []
    for i in range(0, len(table), max(1, len(table) // TIMED)):
        start = time.perf_counter()
        predictor.predict([table.queries[i]], table.models)
        told.append((time.perf_counter() - start) * 1_000)
    return _percentiles(told)


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float] | None:
    if not milliseconds:
        return None
    p50, p99 = np.quantile(np.array(milliseconds, dtype=np.float64), [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99)}


class _PublishedRow(Struct, frozen=True):
    name: str
    apgr: float
    cpt50: float
    cpt80: float


def _published(table: OutcomeTable) -> list[Row]:
    """What others have printed of the same dataset; not measured here."""
    data = (files("turnout.learn") / "data" / "published.json").read_bytes()
    told = msgspec.json.decode(data, type=dict[str, list[_PublishedRow]])
    names = sorted(set(table.datasets))
    rows = told.get(names[0], []) if len(names) == 1 else []
    return [
        Row(
            name=row.name,
            kind="published",
            protocol="published",
            dataset=ALL,
            queries=None,
            apgr=Measured(value=row.apgr),
            cpt50=row.cpt50,
            cpt80=row.cpt80,
        )
        for row in rows
    ]


class _Scored(Struct, frozen=True):
    query_id: str
    score: float
    dataset: str = ""
    decision_ms: float | None = None


def read_scores(file: Path) -> Scores:
    """Another router's scores: JSONL of `query_id`, `score` (higher: the stronger model is wanted), and where there
    are several datasets or it is known `dataset` and `decision_ms`. Raises InvalidRequest."""
    decoder = msgspec.json.Decoder(_Scored)
    try:
        rows = decoder.decode_lines(file.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"{file}: cannot be read: {error}") from None
    if len({(r.dataset, r.query_id) for r in rows}) < len(rows):
        raise InvalidRequest(f"{file}: a query has several scores; write its dataset too, or one score for each")
    return Scores(
        scores={(r.dataset, r.query_id): r.score for r in rows},
        decision_ms=tuple(r.decision_ms for r in rows if r.decision_ms is not None),
    )
