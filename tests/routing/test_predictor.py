"""The chance that a model does a request well: what the file says, and what outcomes add."""

from datetime import UTC, datetime
from random import Random

import pytest

from turnout.errors import ConfigError
from turnout.predicting import weights_of
from turnout.routing.features import DENSE, features_of
from turnout.routing.outcomes import Outcome
from turnout.routing.predictor import LEARNED_ROWS, Curve, Exemplar, Predictor, Weights

NOTHING = (0.0,) * len(DENSE)
NARROW = (0.1,) * (3 + len(DENSE))
EASY, HARD = "What is the capital of France?", "Prove that this group is not solvable. " * 30
LENGTH = tuple(float(name == "length") for name in DENSE)


def weights(**more):
    """Longer is harder, for small models more than for large ones."""
    return Weights(
        structure=LENGTH,
        d_centre=5.0,
        tiers={
            "small": Curve((0.5, -0.8, 0.0, *NOTHING), NARROW, 100),
            "frontier": Curve((1.5, -0.2, 0.0, *NOTHING), NARROW, 100),
        },
        **more,
    )


def outcome(model, text, score, weight=1.0):
    return Outcome(
        request_id="r",
        model=model,
        score=score,
        source="feedback",
        weight=weight,
        at=datetime.now(UTC),
        features=features_of(text).pack(),
    )


def chance(predictor, text, model):
    return predictor.predict(predictor.see(features_of(text)), model)


def test_a_model_without_outcomes_is_taken_for_one_of_its_tier():
    predictor = Predictor(weights(), {"a/tiny": "small", "a/big": "frontier"})
    assert chance(predictor, HARD, "a/tiny") == chance(predictor, HARD, "small")
    assert chance(predictor, EASY, "a/tiny").success > chance(predictor, HARD, "a/tiny").success
    need = [predictor.need(predictor.see(features_of(text)), "a/tiny", "a/big") for text in (EASY, HARD)]
    assert need[0] < need[1], "a hard request needs the large model more"


def test_bounds_hold_the_estimate_and_narrow_with_outcomes():
    predictor = Predictor(weights(), {"a/tiny": "small"})
    before = chance(predictor, EASY, "a/tiny")
    for _ in range(60):
        predictor.observe(outcome("a/tiny", EASY, 1.0))
    after = chance(predictor, EASY, "a/tiny")
    assert before.low < before.success < before.high
    assert after.success > before.success
    assert after.high - after.low < before.high - before.low
    assert predictor.count("a/tiny") == 60


def test_what_one_model_shows_says_nothing_of_another():
    predictor = Predictor(weights(), {"a/tiny": "small", "b/tiny": "small"})
    before = chance(predictor, EASY, "b/tiny")
    for _ in range(30):
        predictor.observe(outcome("a/tiny", EASY, 0.0))
    assert chance(predictor, EASY, "b/tiny") == before


def test_requests_that_read_alike_count_more_than_others():
    kept = Exemplar(features_of("How tall is the Eiffel tower in Paris?").buckets, {"small": -0.5})
    predictor, plain = Predictor(weights(exemplars=(kept,), shrink=1.0)), Predictor(weights())
    near, far = "How tall is the Eiffel tower in metres?", "Sort these seven cards by suit and rank"
    assert chance(predictor, near, "small").success < chance(plain, near, "small").success - 0.2
    assert chance(predictor, far, "small").success == pytest.approx(chance(plain, far, "small").success, abs=0.05)


def test_one_that_was_prepared_says_what_one_says_that_was_not():
    told = weights(exemplars=(Exemplar(features_of(EASY).buckets, {"small": -0.5}),), shrink=1.0)
    ready, plain = Predictor(told), Predictor(told)
    ready.prepare()
    assert chance(ready, EASY, "small") == chance(plain, EASY, "small")
    assert ready.exemplars == plain.exemplars == 1


def test_a_model_that_was_changed_under_its_name_is_seen_as_it_is():
    predictor = Predictor(weights(), {"a/tiny": "small"})
    for _ in range(400):
        predictor.observe(outcome("a/tiny", EASY, 1.0))
    good = chance(predictor, EASY, "a/tiny").success
    for _ in range(100):
        predictor.observe(outcome("a/tiny", EASY, 0.0))
    assert good > 0.9
    assert chance(predictor, EASY, "a/tiny").success < 0.5


def test_what_is_asked_late_is_answered_as_if_every_outcome_had_been_learned_at_once():
    late, at_once, resting = (Predictor(weights(), {"a/tiny": "small"}) for _ in range(3))
    for number in range(70):
        told = outcome("a/tiny", f"{EASY} {number}", float(number % 3 == 0))
        for predictor in (late, at_once, resting):
            predictor.observe(told)
        assert at_once.count("a/tiny") == number + 1
        resting.catch_up()
    assert chance(late, EASY, "a/tiny") == chance(at_once, EASY, "a/tiny") == chance(resting, EASY, "a/tiny")


def test_memory_is_bounded_however_many_outcomes_come():
    predictor = Predictor(weights())
    for number in range(LEARNED_ROWS + 50):
        predictor.observe(outcome("a/tiny", f"question {number}", 1.0))
    assert len(predictor.see(features_of(EASY)).near) <= 40
    assert predictor.exemplars == LEARNED_ROWS


def test_outcomes_without_features_or_of_another_version_teach_nothing():
    predictor = Predictor(weights())
    told = outcome("a/tiny", EASY, 1.0)
    for features in (b"", b"\xc1 no msgpack", b"\x93\x90\x90\xcb\x00\x00\x00\x00\x00\x00\x00\x00"):
        predictor.observe(Outcome(**{f: getattr(told, f) for f in told.__struct_fields__} | {"features": features}))
    assert predictor.count("a/tiny") == 0


def test_an_outcome_that_is_believed_less_says_less_among_neighbours():
    near = "How do I reverse a linked list in C?"
    told = []
    for good, bad in ((1.0, 0.1), (0.1, 1.0)):
        predictor = Predictor(weights(shrink=1_000.0), {"a/tiny": "small"})
        begun = predictor._posterior("a/tiny")
        predictor.observe(outcome("a/tiny", near, 1.0, good))
        predictor.observe(outcome("a/tiny", near, 0.0, bad))
        told.append(predictor._alike(predictor.see(features_of(near)), "a/tiny", begun, 0.5)[0])
    assert told[0] > told[1]


def test_a_file_survives_and_a_foreign_one_is_refused():
    told = weights(exemplars=(Exemplar((1, 2), {"small": 0.1}),))
    assert Weights.decode(told.encode()) == told
    for data in (b"", b"nonsense", Weights(format=99).encode()):
        with pytest.raises(ConfigError, match="turnout train"):
            Weights.decode(data)


def test_the_packaged_file_is_small_and_holds_plain_questions_for_simple():
    packaged = weights_of(None)
    assert len(packaged.encode()) < 2_000_000
    predictor = Predictor(packaged)
    assert predictor.simple(predictor.see(features_of(EASY)), 0.95)
    assert not predictor.simple(predictor.see(features_of(HARD)), 0.95)
    assert not predictor.simple(predictor.see(features_of(EASY)), 1.0), "nothing is held to keep all of it"


def taught(predictor, rate, count, seed):
    """`count` outcomes of requests that are alike, and the chance after each."""
    random, chances = Random(seed), []
    for number in range(count):
        features = features_of(f"Sort ticket {random.randrange(10**6)} into a queue")
        told = float(random.random() < rate)
        predictor.observe(
            Outcome(
                request_id=str(number),
                model="m",
                score=told,
                source="feedback",
                weight=1.0,
                at=datetime.now(UTC),
                features=features.pack(),
            )
        )
        chances.append(predictor.predict(predictor.see(features), "m"))
    return chances


def test_a_hundred_and_fifty_like_outcomes_say_how_a_model_does_on_their_like():
    """The exact interval of 143 in 150 begins at 0.91 (Clopper and Pearson): one that leaves 0.75 would save nobody
    anything."""
    for seed in range(3):
        last = taught(Predictor(Weights(), {"m": "small"}), 0.95, 150, seed)[-1]
        assert last.low > 0.8
        assert last.low < 0.95 < last.high


def test_a_model_that_fell_is_forgotten_and_one_that_did_not_is_not():
    for seed in range(3):
        predictor = Predictor(Weights(), {"m": "small"})
        taught(predictor, 0.95, 300, seed)
        assert predictor.count("m") == 300, "nothing was forgotten"
        taught(predictor, 0.4, 30, seed)
        assert predictor.count("m") < 30, "what was learned before the fall"
