"""Alarms when what was learned holds no more, and none while it does."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.routing.drift import (
    ENOUGH,
    MOST_ERROR,
    MOST_SHIFT,
    SHIFT_WINDOW,
    Drift,
    Falling,
    calibration_error,
    chance_error,
    stability_index,
)
from turnout.routing.outcomes import Outcome

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def outcome(score, predicted=None, source="feedback", at=NOW, model="lab/small"):
    return Outcome(request_id="r", model=model, score=score, source=source, weight=1.0, at=at, predicted=predicted)


def noted(drift, outcomes):
    return [alarm for told in outcomes for alarm in drift.note(told)]


def test_the_calibration_error_is_the_mean_distance_of_what_was_said_from_what_came():
    assert calibration_error([]) == 0
    assert calibration_error([(0.8, 1.0, 1.0)] * 8 + [(0.8, 0.0, 1.0)] * 2) == pytest.approx(0)
    assert calibration_error([(0.8, 0.0, 1.0)] * 5) == pytest.approx(0.8)
    assert calibration_error([(0.8, 0.0, 3.0), (0.2, 0.2, 1.0)]) == pytest.approx(0.6), "three quarters weigh 0.8"


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 1)),
        max_size=50,
    )
)
def test_it_lies_between_nothing_and_everything(points):
    assert 0 <= calibration_error(points) <= 1 + 1e-9
    assert 0 <= chance_error(points) <= 1


def test_predictions_that_hold_raise_nothing_and_those_that_do_not_are_told_once_an_hour():
    random, drift = Random(3), Drift()

    def some(count, truth, at=NOW):
        for _ in range(count):
            predicted = random.random()
            yield outcome(float(random.random() < truth(predicted)), predicted, at=at)

    assert noted(drift, some(2_000, lambda p: p)) == [], "chance alone is no drift, though it shows an error"
    (standing,) = drift.standings(NOW)
    assert standing.calibration_error is not None
    assert standing.calibration_error < MOST_ERROR
    alarms = [a for a in noted(drift, some(400, lambda p: p * 0.5)) if a.kind == "calibration"]
    assert len(alarms) == 1
    assert "predicted" in alarms[0].why
    later = [a for a in noted(drift, some(20, lambda p: p * 0.5, NOW + timedelta(hours=2))) if a.kind == "calibration"]
    assert len(later) == 1
    (standing,) = drift.standings(NOW + timedelta(hours=3))
    assert {alarm.kind for alarm in standing.alarms} >= {"calibration"}
    assert drift.standings(NOW + timedelta(days=2))[0].alarms == ()


def test_too_few_outcomes_and_those_that_measure_less_than_success_say_nothing_of_calibration():
    drift = Drift()
    assert noted(drift, [outcome(0.0, 0.9) for _ in range(ENOUGH - 1)]) == []
    assert noted(drift, [outcome(1.0, 0.3, "tool", model="b") for _ in range(500)]) == []
    (few, tools) = sorted(drift.standings(NOW), key=lambda s: s.measured, reverse=True)
    assert (few.calibration_error, few.measured) == (None, ENOUGH - 1)
    assert (tools.calibration_error, tools.measured, tools.observed) == (None, 0, 1.0)


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.9, 0.99])
def test_success_that_stays_raises_hardly_an_alarm_in_ten_thousand_outcomes(rate):
    random, falling = Random(7), Falling()
    assert sum(falling.feed("feedback", float(random.random() < rate), 1.0) for _ in range(10_000)) <= 1


def test_success_that_falls_is_told_within_a_hundred_outcomes():
    found = []
    for seed in range(20):
        random, falling = Random(seed), Falling()
        for _ in range(300):
            falling.feed("feedback", float(random.random() < 0.9), 1.0)
        found.append(next(n for n in range(1_000) if falling.feed("feedback", float(random.random() < 0.5), 1.0)))
    assert sorted(found)[10] < 60
    assert max(found) < 150


def test_more_complaints_are_no_fall_where_only_complaints_speak():
    falling = Falling()
    assert not any(falling.feed("tool", 1.0, 0.2) for _ in range(500))
    assert not any(falling.feed("retry", 0.0, 0.4) for _ in range(500))


def test_that_somebody_begins_to_predict_is_no_fall():
    drift, random = Drift(), Random(5)
    before = [outcome(float(random.random() < 0.9)) for _ in range(100)]
    after = [outcome(float(random.random() < 0.9), 0.9) for _ in range(100)]
    assert noted(drift, [*before, *after, *before, *after]) == []


def test_requests_of_another_kind_are_told_and_then_usual():
    drift, random, at = Drift(), Random(1), NOW

    def asked(count, mean):
        return [a for _ in range(count) for a in drift.asked("lab/small", (random.gauss(mean, 1), 3.0), at)]

    assert asked(4 * SHIFT_WINDOW, 10) == []
    (alarm,) = asked(SHIFT_WINDOW, 12)
    assert (alarm.kind, alarm.model) == ("features", "lab/small")
    at = NOW + timedelta(hours=2)
    assert asked(2 * SHIFT_WINDOW, 12) == []


@given(st.lists(st.floats(-100, 100), max_size=100), st.lists(st.floats(-100, 100), max_size=100))
def test_the_stability_index_is_never_negative_and_nothing_for_the_same(one, other):
    assert stability_index(one, other) >= -1e-9
    assert stability_index(one, one) == pytest.approx(0)
    assert stability_index([0.0] * 100, [1.0] * 100) > MOST_SHIFT
