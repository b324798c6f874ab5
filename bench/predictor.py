"""What a prediction costs, and what a model that is changed under its name costs: `python bench/predictor.py`

Times are CPU of the thread: what is seen of a request, twelve predictions of it, and both, of predictors that know
nothing of the models, and that have learned of each. The texts are made of two thousand words, some of them much more
frequent, with numbers and marks between: no words repeat as in a text that is copied, and none are cheap.

The change is simulated, seeded: the small model falls from 95 to 40 % in the
middle of the run, every tenth outcome is told, and quality is compared with a router that knows of the change at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random

from turnout.predicting import weights_of
from turnout.routing.features import features_of
from turnout.routing.outcomes import Outcome
from turnout.routing.predictor import Predictor

MODELS = [f"lab/m{i}" for i in range(12)]
RUNS = 400


def text_of(random: Random, size: int) -> str:
    """So many characters of prose with some numbers and code in it."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(random.choices(letters, k=random.randint(2, 10))) for _ in range(2_000)]
    marks = [", ", ". ", "\n", " (", ") ", " = ", "; ", " 42 ", "[1999]"]
    text, length = list[str](), 0
    while length < size:
        # The n-th word about as often as 1/n says.
        word = words[int(len(words) ** random.random()) - 1]
        text.append(word + (random.choice(marks) if random.random() < 0.2 else " "))
        length += len(text[-1])
    return "".join(text)[:size]


def cpu_ms(step: Callable[[str], object], texts: Sequence[str]) -> str:
    """Median and 99th percentile of a step, each time with another text."""
    times: list[float] = []
    for number in range(RUNS):
        text = texts[number % len(texts)]
        begun = time.thread_time()
        step(text)
        times.append((time.thread_time() - begun) * 1e3)
    times.sort()
    return f"{times[RUNS // 2]:6.2f} {times[RUNS * 99 // 100]:6.2f}"


def outcome_of(model: str, text: str, score: float) -> Outcome:
    return Outcome(
        request_id="r", model=model, score=score, source="feedback", weight=1.0,
        at=datetime.now(UTC), features=features_of(text).pack(),
    )  # fmt: skip


def times(random: Random) -> None:
    """Print what seeing and predicting cost."""
    tiers = dict.fromkeys(MODELS, "small")
    fresh, taught = Predictor(weights_of(None), tiers), Predictor(weights_of(None), tiers)
    outcomes = [
        outcome_of(random.choice(MODELS), text_of(random, 1_500), float(random.random() < 0.8)) for _ in range(900)
    ]
    begun = time.thread_time()
    for outcome in outcomes:
        taught.observe(outcome)
    print(f"learning from an outcome: {(time.thread_time() - begun) / len(outcomes) * 1e3:.2f} ms CPU")

    def decides(predictor: Predictor) -> Callable[[str], object]:
        def decide(text: str) -> object:
            seen = predictor.see(features_of(text, "and now?"))
            return [predictor.predict(seen, model) for model in MODELS]

        return decide

    print("ms CPU, p50 and p99                     1 kB         40 kB        400 kB")
    texts = [[text_of(random, size) for _ in range(20)] for size in (1_000, 40_000, 400_000)]
    for name, step in (
        ("features", lambda text: features_of(text, "and now?")),
        ("all, nothing learned", decides(fresh)),
        ("all, 12 models learned", decides(taught)),
    ):
        print(f"{name:<30}", *(cpu_ms(step, some) for some in texts))


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
    times(Random(0))  # noqa: S311 (texts)
    for share in (0.1, 0.3, 1.0):
        runs = [swap(seed, told_share=share) for seed in range(5)]
        lost, had = [points for points, _ in runs], sum(before for _, before in runs) / 5
        told = f"{sum(lost) / 5:.1f} points lost (worst {max(lost):.1f}), {had:.0%} small before"
        print(f"changed mid-run, {share:.0%} of outcomes told: {told}")


if __name__ == "__main__":
    main()
