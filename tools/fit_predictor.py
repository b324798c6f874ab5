"""Fit the predictor that is packaged: python tools/fit_predictor.py LLMROUTER.parquet ZEROEVAL.parquet GSM8K.parquet

What transfers to requests of another kind is little, so the packaged predictor claims little: the length of the text,
by how much it made a larger model worth it, and what became of questions that read alike. Per tier, for models of today
are in no table. Questions of GSM8K, the last file's, are taught by neither table: they are what it is tested on.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from turnout.learn.leakage import near_duplicates
from turnout.learn.outcomes import OutcomeTable, read_outcomes
from turnout.learn.splits import normal_text
from turnout.routing.features import DENSE, STATE, Features, features_of
from turnout.routing.predictor import MOST_EXEMPLARS, Curve, Exemplar, Predictor, Weights

OUT = Path(__file__).parent.parent / "src" / "turnout" / "routing" / "data" / "predictor.bin"
TIERS = {
    "llmrouter_ulab": {
        "small": ("gemma-2-9b-it", "llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3", "qwen2.5-7b-instruct"),
        "mid": ("llama-3.1-nemotron-51b-instruct", "llama-3.3-nemotron-super-49b-v1"),
    },
    "zeroeval": {
        "mid": ("Meta-Llama-3.1-70B-Instruct", "Qwen2-72B-Instruct", "Mistral-Large-2"),
        "frontier": ("claude-3-5-sonnet-20241022", "gpt-4o-2024-08-06", "o1-mini-2024-09-12"),
    },
}
QUALITIES = (0.9, 0.95, 0.98)
SEED = 20261128
SHRINK = 30.0
"""Chosen on the first table by itself: neighbours from other clusters of its questions are then worth what they say (a
regression of 1.0), and those from the same cluster lose little."""
SD = (0.3, 0.15, 0.05, *[0.05] * len(DENSE))
"""How far a model of today may be from its tier's curve: assumed, its own outcomes soon say."""


AROUND = {
    **dict.fromkeys(STATE, (0.0, 1.0)),
    "context": (7.0, 2.5),
    "system": (6.0, 3.0),
    "tools": (1.0, 1.0),
    "schema_size": (5.0, 4.0),
    "severity": (0.0, 2.0),
    "same_failure": (0.0, 2.0),
}
"""What is usual around a question, and how far others are from it: scales alone, no table has any of it."""


def tier_scores(table: OutcomeTable, tier: str) -> NDArray[np.float64]:
    """Mean score of a tier's models on each query."""
    columns = [table.index(model) for model in TIERS[table.name][tier]]
    return np.nanmean(table.scores[:, columns], axis=1)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def slope_of(features: list[Features], gap: NDArray[np.float64]) -> float:
    """By how much a larger model is worth more, for each unit of logarithm of the length."""
    length = np.array([f.dense[0] for f in features])
    return float(np.cov(length, gap)[0, 1] / length.var())


def weights_of(
    features: list[Features], small: NDArray[np.float64], mid: NDArray[np.float64], gain: float, slope: float
) -> Weights:
    """`gain`: by how much the frontier's logit is above the middle tier's."""
    length = np.array([f.dense[0] for f in features])
    dense = np.array([f.dense for f in features])
    centres, spreads = dense.mean(axis=0), np.maximum(dense.std(axis=0), 0.05)
    for name, (usual, apart) in AROUND.items():
        centres[DENSE.index(name)], spreads[DENSE.index(name)] = usual, apart
    centre, spread = float(centres[0]), float(spreads[0])
    p_small, p_mid = float(small.mean()), float(mid.mean())
    bend = -slope * spread / (p_small * (1 - p_small))
    flat = (0.0,) * (1 + len(DENSE))
    curves = {
        "small": Curve((logit(p_small), bend, *flat), SD, len(small)),
        "mid": Curve((logit(p_mid), 0.0, *flat), SD, len(mid)),
        "frontier": Curve((logit(p_mid) + gain, 0.0, *flat), SD, 0),
    }
    structure = tuple(float(name == "length") for name in DENSE)
    said = 1 / (1 + np.exp(-(logit(p_small) + bend * (length - centre) / spread)))
    kept = np.random.default_rng(SEED).permutation(len(features))[:MOST_EXEMPLARS]
    return Weights(
        name="packaged",
        trained_on=("llmrouter_ulab", "zeroeval"),
        count=2 * len(features),
        centre=tuple(round(float(c), 4) for c in centres),
        spread=tuple(round(float(s), 4) for s in spreads),
        structure=structure,
        d_error=0.3,
        all=curves["mid"],
        tiers=curves,
        exemplars=tuple(
            Exemplar(
                features[i].buckets,
                {
                    "small": round(float(small[i] - said[i]), 2),
                    "mid": round(float(mid[i] - p_mid), 2),
                    "frontier": round(float(mid[i] - p_mid), 2),
                },
            )
            for i in kept
        ),
        shrink=SHRINK,
    )


def keeps_of(
    weights: Weights, features: list[Features], small: NDArray[np.float64], mid: NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """For each quality the highest need up to which the small ones kept it."""
    predictor = Predictor(weights)
    need = np.array([predictor.need(predictor.see(f)) for f in features])
    order = np.argsort(need)
    ratio = np.cumsum(small[order]) / np.maximum(np.cumsum(mid[order]), 1)
    ratio[: len(order) // 20] = 0.0  # too few to tell
    found: list[tuple[float, float]] = []
    for quality in QUALITIES:
        ok = np.flatnonzero(ratio >= quality)
        if len(ok):
            found.append((quality, round(float(need[order][ok[-1]]), 4)))
            share = (ok[-1] + 1) / len(order)
            print(f"a small model keeps {quality:.0%} up to a need of {found[-1][1]:+.3f}: {share:.0%} of them")
    return tuple(found)


def main() -> None:
    ulab, zero, held_out = (read_outcomes(Path(file)) for file in sys.argv[1:4])
    found, _ = near_duplicates([[normal_text(q) for q in ulab.queries], [normal_text(q) for q in held_out.queries]])
    taught = set(np.flatnonzero(found[:, 1]).tolist())
    rows = [i for i in range(len(ulab)) if i not in taught]
    print(f"{len(ulab) - len(rows)} of {len(ulab)} left out: they are GSM8K's")
    features = [features_of(ulab.queries[i]) for i in rows]
    small, mid = tier_scores(ulab, "small")[rows], tier_scores(ulab, "mid")[rows]
    other = [i for i, dataset in enumerate(zero.datasets) if dataset != "zeroeval_gsm"]
    z_mid, z_top = (tier_scores(zero, tier)[other] for tier in ("mid", "frontier"))
    # The other table's questions stand in templates, that drown the length.
    slope = slope_of(features, mid - small)
    print(f"worth of a larger model by unit of log length: {slope:.3f}")
    gain = logit(float(np.nanmean(z_top))) - logit(float(np.nanmean(z_mid)))
    shuffled = np.random.default_rng(SEED + 1).permutation(len(rows))
    half, rest = shuffled[: len(rows) // 2], shuffled[len(rows) // 2 :]
    part = weights_of([features[i] for i in half], small[half], mid[half], gain, slope)
    keeps = keeps_of(part, [features[i] for i in rest], small[rest], mid[rest])
    weights = weights_of(features, small, mid, gain, slope)
    OUT.parent.mkdir(exist_ok=True)
    data = replace(weights, keeps=keeps).encode()
    OUT.write_bytes(data)
    print(f"{OUT.name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
