"""How long sessions last, and how much models write: assumed at first, then as seen."""

import pytest

from support.fleets import deployment
from turnout.routing.habits import LONGEST, Habits

MINI, BIG = deployment("openai/mini", "small", 1), deployment("openai/big", "frontier", 5)


def test_what_remains_is_what_those_that_came_so_far_went_on_to_take():
    habits = Habits()
    for _ in range(10_000):
        habits.ended(3)
        habits.ended(5)
    assert habits.remaining(0) == pytest.approx(4, abs=0.02)
    assert habits.remaining(3) == pytest.approx(2, abs=0.1)
    assert habits.at_least(0, 0.9) == 3
    assert habits.at_least(0, 0.4) == 5


def test_however_long_a_session_is_one_more_step_is_expected():
    habits = Habits()
    habits.ended(10**6)
    assert habits.remaining(LONGEST + 5) == habits.at_least(LONGEST + 5, 0.5) == 1


def test_a_model_that_writes_more_is_known_to():
    habits = Habits()
    assert habits.output(MINI, 300) == 300
    for _ in range(500):
        habits.wrote(BIG, 100)
        habits.wrote(MINI, 400)
    assert habits.output(BIG, 300) == pytest.approx(106, abs=5)
    assert habits.output(MINI, 300) == pytest.approx(394, abs=8)
    assert habits.output(deployment("new/model", "mid", 1), 300) == pytest.approx(250, abs=8), "as models write here"
