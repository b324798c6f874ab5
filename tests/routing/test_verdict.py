"""Whom the predictor would begin with: only on outcomes of its own, and only where the lower bound is good enough."""

from datetime import UTC, datetime

import pytest

from support.fleets import FLEET, NAMES, outline, session
from turnout.routing.economics import TIER_SUCCESS
from turnout.routing.features import features_of
from turnout.routing.outcomes import Outcome
from turnout.routing.predictor import Predictor, Weights
from turnout.routing.rank import Ask, Router

TEXT = "Fill the form from this letter"
TIERS = {d.id: d.tier for d in FLEET.all if d.tier}


def taught(**scores):
    """A predictor that has seen 120 outcomes of each model named."""
    predictor = Predictor(Weights(), TIERS)
    for number in range(120):
        for model, share in scores.items():
            predictor.observe(
                Outcome(
                    request_id=str(number),
                    model=f"openai/{model}",
                    score=float(number % 100 < share),
                    source="feedback",
                    weight=1.0,
                    at=datetime.now(UTC),
                    features=features_of(TEXT).pack(),
                )
            )
    return predictor


def decide(predictor, *, quality=0.95, **more):
    ask = Ask(
        outline=outline(("user", TEXT), tools=1),
        input_tokens=20,
        session=session(),
        quality=quality,
        look=lambda: features_of(TEXT),
        **more,
    )
    return Router(FLEET, NAMES, predictor=predictor).decide(ask)


def test_a_small_model_that_does_as_well_is_taken_even_for_an_agent():
    decision = decide(taught(nano=99, big=99), quality=0.9)
    assert (decision.reason, decision.candidates[0].deployment.id) == ("predicted", "openai/nano")
    assert "openai/nano succeeds at" in decision.explanation


def test_a_small_model_that_does_worse_is_not():
    decision = decide(taught(nano=60, big=99))
    assert (decision.reason, decision.candidates[0].deployment.id) == ("predicted", "openai/big")


@pytest.mark.parametrize("known", [{}, {"nano": 99}, {"nano": 99, "mini": 99}])
def test_without_outcomes_of_the_strongest_it_says_nothing(known):
    decision = decide(taught(**known))
    assert (decision.reason, decision.candidates[0].deployment.tier) == ("agent", "frontier")


def test_full_quality_and_a_budget_in_need_are_stronger():
    assert decide(taught(nano=99, big=99), quality=1.0).reason == "quality"
    assert decide(taught(nano=99, big=99), smaller=1).reason == "thrift"


def test_a_chance_that_was_predicted_weighs_in_what_is_told_and_one_that_was_not_is_assumed():
    predictor = taught(nano=60, big=99)
    told = {c.deployment.id: c for c in decide(predictor).candidates}
    seen = predictor.see(features_of(TEXT))
    for model in ("openai/nano", "openai/big"):
        said = predictor.predict(seen, model)
        assert (told[model].success, told[model].bounds) == (said.success, (said.low, said.high))
        assert told[model].predicted == said.success
    mini = told["openai/mini"]
    assert (mini.success, mini.bounds, mini.predicted) == (TIER_SUCCESS["mid"], None, None)


def test_what_a_task_costs_until_it_is_solved_follows_what_was_predicted():
    def rest(share):
        decision = decide(taught(nano=share, big=99))
        nano = next(c for c in decision.candidates if c.deployment.id == "openai/nano")
        return nano.expected_cost_nano_usd, decision.rest()["openai/nano"]

    (good, good_rest), (bad, bad_rest) = rest(95), rest(30)
    assert good == bad
    assert good_rest < bad_rest


def test_exploring_tries_one_tier_lower_and_says_so():
    ask = Ask(
        outline=outline(("user", "Explain in detail how the committee decided. " * 20)),
        input_tokens=250,
        session=session(),
        look=lambda: features_of("Explain in detail how the committee decided. " * 20),
        explores=True,
    )
    hard = Predictor(Weights())  # knows of nothing that is simple
    decision = Router(FLEET, NAMES, predictor=hard).decide(ask)
    assert (decision.reason, decision.candidates[0].deployment.tier) == ("explored", "mid")
