"""What a prediction costs, and what a model that is changed under its name costs: `python bench/predictor.py`

Times are CPU, twelve models a request. The change is simulated, seeded: the small model falls from 95 to 40 % in the
middle of the run, every tenth outcome is told, and quality is compared with a router that knows of the change at once.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from random import Random

from turnout.predicting import weights_of
from turnout.routing.features import features_of
from turnout.routing.outcomes import Outcome
from turnout.routing.predictor import Predictor

MODELS = [f"lab/m{i}" for i in range(12)]
TEXT = "Explain what this function does, and why the second branch can never be taken:\n" + "x = f(y) + 3  # note\n" * 8


def cpu_ms(text: str, predictor: Predictor) -> tuple[float, float]:
    """Median and 99th percentile of one decision: features and twelve predictions."""
    times: list[float] = []
    for _ in range(400):
        begun = time.process_time()
        seen = predictor.see(features_of(text, "and now?"))
        for model in MODELS:
            predictor.predict(seen, model)
        times.append((time.process_time() - begun) * 1e3)
    return sorted(times)[200], sorted(times)[395]


def swap(seed: int, *, told_share: float) -> tuple[float, float]:
    """Points of quality lost over the 500 requests after the change, beside one who knows of it; and the share of the
    300 requests before it that the small model had."""
    random = Random(seed)  # noqa: S311 (a simulation)
    predictor = Predictor(weights_of(None), {"small": "small", "large": "frontier"})
    rates = {"small": 0.95, "large": 0.96}
    got = best = small_before = 0.0
    for number in range(1_000):
        if number == 500:
            rates["small"] = 0.40
        seen = predictor.see(features := features_of(f"Sort ticket {random.randrange(10**6)} into a queue"))
        small, large = predictor.predict(seen, "small"), predictor.predict(seen, "large")
        model = "small" if small.low >= 0.9 * large.success else "large"
        small_before += model == "small" and 200 <= number < 500
        score = float(random.random() < rates[model])
        if number >= 500:
            got += rates[model]
            best += max(rates.values())
        for told, value in ((model, score), ("large", float(random.random() < rates["large"]))):
            if random.random() < told_share or number < 200:
                predictor.observe(
                    Outcome(
                        request_id=str(number), model=told, score=value, source="feedback", weight=1.0,
                        at=datetime.now(UTC), features=features.pack(),
                    )
                )  # fmt: skip
    return (best - got) / 500 * 100, small_before / 300


def main() -> None:
    predictor = Predictor(weights_of(None), dict.fromkeys(MODELS, "small"))
    for name, size in (("600 characters", 600), ("400 kB", 400_000)):
        middle, slow = cpu_ms((TEXT * (size // len(TEXT) + 1))[:size], predictor)
        print(f"decision, {name}: p50 {middle:.2f} ms, p99 {slow:.2f} ms CPU")
    for share in (0.1, 0.3, 1.0):
        runs = [swap(seed, told_share=share) for seed in range(5)]
        lost, had = [points for points, _ in runs], sum(before for _, before in runs) / 5
        told = f"{sum(lost) / 5:.1f} points lost (worst {max(lost):.1f}), {had:.0%} small before"
        print(f"changed mid-run, {share:.0%} of outcomes told: {told}")


if __name__ == "__main__":
    main()
