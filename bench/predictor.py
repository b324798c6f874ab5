"""What a prediction costs, and what a model that is changed under its name costs: `python bench/predictor.py`

Times are CPU of the thread: what is seen of a request, and that with twelve predictions of it, of predictors that know
nothing of the models, and that have learned of each. The texts are made of two thousand words, some of them much more
frequent, with numbers and marks between: no words repeat as in a text that is copied, and none are cheap.

The changes are simulated, seeded: after 400 requests the small model falls, or rises, or a new one comes; the 500 after
that are compared with a router that knows of it at once, with no change, and with a predictor that learns no more.
Nobody is told what the model that was not asked would have done, but for shadows (5 % of the requests, judged by
truth). The rule is the engine's (`verdict_of`), else the large model. `python bench/predictor.py SEEDS`; 0: times only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random
from statistics import fmean

from msgspec import Struct

from support.fleets import deployment
from turnout.learning import Learner
from turnout.predicting import weights_of
from turnout.routing.features import features_of
from turnout.routing.outcomes import Outcome
from turnout.routing.predictor import Predictor
from turnout.routing.verdict import Odds, verdict_of

MODELS = [f"lab/m{i}" for i in range(12)]
RUNS = 400

SMALL, NEWER, LARGE = (
    deployment("lab/small", "small", 1),
    deployment("lab/newer", "small", 1),
    deployment("lab/large", "frontier", 10),
)
COSTS = {SMALL.id: 1.0, NEWER.id: 0.5, LARGE.id: 10.0}
BEFORE, AFTER, SHADOWS, QUALITY = 400, 500, 0.05, 0.85


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


class Change(Struct, frozen=True):
    """Chances of success of models before and after; who is not there has none."""

    name: str
    before: dict[str, float]
    after: dict[str, float]


CHANGES = (
    Change("falls 95 -> 85", {SMALL.id: 0.95, LARGE.id: 0.96}, {SMALL.id: 0.85, LARGE.id: 0.96}),
    Change("falls 95 -> 70", {SMALL.id: 0.95, LARGE.id: 0.96}, {SMALL.id: 0.70, LARGE.id: 0.96}),
    Change("falls 95 -> 40", {SMALL.id: 0.95, LARGE.id: 0.96}, {SMALL.id: 0.40, LARGE.id: 0.96}),
    Change("a new one comes", {SMALL.id: 0.70, LARGE.id: 0.96}, {SMALL.id: 0.70, NEWER.id: 0.96, LARGE.id: 0.96}),
)


class Run(Struct, frozen=True, kw_only=True):
    """Of the requests after a change: how many were solved, their mean cost, and the share of the small models; that
    before it too."""

    solved: float
    cost: float
    small: float
    small_before: float


Chooses = Callable[[dict[str, float], Odds], str]


def knowing(rates: dict[str, float], _: Odds) -> str:
    """The cheapest that is as good as asked for, as it truly is."""
    most = max(rates.values())
    return min((m for m in rates if rates[m] >= QUALITY * most), key=COSTS.__getitem__)


def predicting(rates: dict[str, float], odds: Odds) -> str:
    """As the engine decides."""
    able = [d for d in (SMALL, NEWER, LARGE) if d.id in rates]
    verdict = verdict_of(odds, able, QUALITY, lambda d: COSTS[d.id])
    return LARGE.id if verdict is None else verdict.first.id


def run(change: Change, seed: int, chooses: Chooses, *, told: float, learns: bool = True, changes: bool = True) -> Run:
    """One run; `told` is the share of the answers that somebody says how good they were."""
    random = Random(seed)  # noqa: S311 (a simulation)
    predictor = Predictor(weights_of(None), {SMALL.id: "small", NEWER.id: "small", LARGE.id: "frontier"})
    learner = Learner()
    learner.predictor = predictor
    solved, costs, small, before = list[float](), list[float](), list[bool](), list[bool]()
    for number in range(BEFORE + AFTER):
        over = number >= BEFORE
        rates = change.after if over and changes else change.before
        features = features_of(f"Sort ticket {random.randrange(10**6)} into a queue")
        dice = {model: random.random() for model in COSTS}
        drawn, shadowed = random.random(), random.random()
        chosen = chooses(rates, Odds(predictor, predictor.see(features)))
        if over:
            solved.append(rates[chosen])
            costs.append(COSTS[chosen])
            small.append(chosen != LARGE.id)
        else:
            before.append(chosen != LARGE.id and number >= BEFORE // 2)
        # At the beginning all are asked beside: there is nothing to decide by yet.
        beside = number < BEFORE // 4 or shadowed < SHADOWS
        heard = {chosen} if drawn < told else set[str]()
        for model in heard | (set(rates) if beside else set()):
            if learns or not over:
                score = float(dice[model] < rates[model])
                learner.record(
                    Outcome(
                        request_id=str(number), model=model, score=score, source="feedback", weight=1.0,
                        at=datetime.now(UTC), features=features.pack(),
                    )
                )  # fmt: skip
    return Run(solved=fmean(solved), cost=fmean(costs), small=fmean(small), small_before=2 * fmean(before))


def compare(change: Change, told: float, seeds: int) -> None:
    """Print one change."""
    runs = [run(change, seed, predicting, told=told) for seed in range(seeds)]
    frozen = [run(change, seed, predicting, told=told, learns=False) for seed in range(seeds)]
    still = [run(change, seed, predicting, told=told, changes=False) for seed in range(seeds)]
    knew = run(change, 0, knowing, told=0.0, learns=False)
    lost = [100 * (knew.solved - r.solved) for r in runs]
    print(
        f"{change.name}, {told:.0%} told: {fmean(lost):+.1f} points lost ({min(lost):+.1f} to {max(lost):+.1f})"
        f"; small {fmean(r.small for r in runs):.0%} after, {fmean(r.small_before for r in runs):.0%} before\n "
        f"  adapts {_told(runs)}; knows {_told([knew])}; frozen {_told(frozen)}; no change {_told(still)}",
        flush=True,
    )


def _told(runs: Sequence[Run]) -> str:
    return f"{fmean(r.solved for r in runs):.1%} solved at {fmean(r.cost for r in runs):.2f}"


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    times(Random(0))  # noqa: S311 (texts)
    for change in CHANGES if seeds else ():
        for told in (0.1, 0.3, 1.0):
            compare(change, told, seeds)


if __name__ == "__main__":
    main()
