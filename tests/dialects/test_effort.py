"""Effort words and thinking budgets: one table, read both ways."""

import pytest

from turnout.dialects.effort import BUDGETS, EFFORTS, budget_of, effort_of


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(-1, "medium"), (0, "none"), (1, "minimal"), (1024, "low"), (1025, "medium"), (24_576, "high"), (10**6, "xhigh")],
)
def test_a_budget_is_the_least_effort_that_covers_it(budget, effort):
    assert effort_of(budget) == effort


def test_there_and_back_it_is_the_same_and_more_effort_is_never_less():
    assert all(effort_of(BUDGETS[word]) == word for word in EFFORTS)
    assert sorted(BUDGETS.values()) == list(BUDGETS.values())
    assert budget_of("max") == budget_of("xhigh")
    assert budget_of("frantic") is None
