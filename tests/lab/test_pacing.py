"""The month in the laboratory: what pacing promises holds for other seeds than the one that is printed."""

import pytest

from turnout.lab.pacing import SCENARIOS, simulate

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("name", ["3x the budget", "bursts of 10x", "a quiet first half"])
def test_a_paced_month_spends_its_money_and_is_never_dark_at_the_end(name, seed):
    told = simulate(BY_NAME[name], "paced", seed=seed)
    assert told.overspent <= 0.005
    assert told.spent >= 0.97
    assert told.last_days_blackout_h == 0


def test_what_fits_is_left_alone():
    told = simulate(BY_NAME["half the budget"], "paced", seed=2)
    assert (told.served, told.frontier) == (1.0, 1.0)


def test_a_hard_cap_alone_is_dark_at_the_end_and_nothing_at_all_overspends():
    assert simulate(BY_NAME["3x the budget"], "cap", seed=2).last_days_blackout_h > 24
    assert simulate(BY_NAME["3x the budget"], "none", seed=2).overspent > 1.5
