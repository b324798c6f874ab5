"""One model for a whole session, chosen by what happened to sessions that opened alike. Leave-one-task-out: no session
is chosen for with the outcome of its own task. Pure.

The simplest router that learns from outcomes: cosine of character n-grams of the first user message, weighted so that
only near neighbours count, and shrunk to each model's own rate. What it finds are mostly other tasks of the same user
or wording: `turnout replay` prints what it is worth beside the simple baselines.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct

__all__ = ["Outcome", "choose"]

GRAMS = (3, 4)
SHARPNESS = 3.0
PRIOR = 0.05
COST_WEIGHT = 0.15
"""What the strongest model's cost of a session weighs against a solved task."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a model did with a task, and what it cost (in any unit)."""

    task: str
    model: str
    solved: float
    cost: float


def choose(openings: Mapping[str, str], outcomes: Sequence[Outcome], *, weight: float = COST_WEIGHT) -> dict[str, str]:
    """Task -> the model that it goes to. `openings`: each task's first user message."""
    models = sorted({o.model for o in outcomes})
    by_task: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_task[outcome.task].append(outcome)
    vectors = _vectors({task: openings[task] for task in by_task})
    chosen: dict[str, str] = {}
    for task in by_task:
        near = {other: _cosine(vectors[task], vectors[other]) ** SHARPNESS for other in by_task if other != task}
        others = [o for o in outcomes if o.task != task]
        rates = {m: _mean([o.solved for o in others if o.model == m]) for m in models}
        costs = {m: _mean([o.cost for o in others if o.model == m]) for m in models}
        strongest = max(models, key=lambda m: (rates[m], -costs[m]))
        worth: dict[str, float] = {}
        for model in models:
            told = [(near[o.task], o.solved) for o in others if o.model == model]
            total = sum(w for w, _ in told)
            solved = (sum(w * s for w, s in told) + PRIOR * rates[model]) / (total + PRIOR)
            worth[model] = solved - weight * costs[model] / max(costs[strongest], 1e-12)
        chosen[task] = max(models, key=lambda m: (worth[m], m == strongest))
    return chosen


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _vectors(texts: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Unit vectors of tf-idf weights."""
    counts = {name: _grams(text) for name, text in texts.items()}
    held = Counter(gram for count in counts.values() for gram in count)
    vectors: dict[str, dict[str, float]] = {}
    for name, count in counts.items():
        weights = {g: (1 + math.log(n)) * math.log((1 + len(texts)) / held[g]) for g, n in count.items()}
        norm = math.sqrt(sum(w * w for w in weights.values())) or 1.0
        vectors[name] = {g: w / norm for g, w in weights.items()}
    return vectors


def _grams(text: str) -> Counter[str]:
    words = " ".join(text.lower().split())[:4_000]
    return Counter(words[i : i + n] for n in GRAMS for i in range(len(words) - n + 1))


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    few, many = (one, other) if len(one) < len(other) else (other, one)
    return sum(w * many.get(g, 0.0) for g, w in few.items())
