"""Whether to ask a small model first, check the form of what it says, and ask the larger one only where that fails.
Pure.

Going straight costs L. The small model first costs S, and L again with the chance that its answer does not pass:

    S + (1 - p) L < L    which is    S < p L

This is FrugalGPT's cascade (Chen, Zaharia and Zou 2023, arXiv 2305.05176) with one step, at the costs that are expected
of this very request, what is warm in either cache counted.
"""

from __future__ import annotations

from turnout.chat import RequestOutline
from turnout.context import Candidate, Decision
from turnout.routing.outlook import assumed_success

__all__ = ["cascade_cost", "may_cascade", "small_first"]

OTHERS_CHOICE = frozenset({"mode", "explicit", "quality", "escalated", "returned", "explored", "plugin"})
"""Reasons of decisions that a cascade would undo: somebody chose the model, or evidence did."""


def cascade_cost(small: float, large: float, passes: float) -> float:
    """Expected cost of the small model first, in the unit of `small` and `large`, where `passes` of its answers do."""
    return small + (1 - passes) * large


def may_cascade(outline: RequestOutline) -> bool:
    """Whether an answer to this can be checked before anybody sees it: it is whole, one, and has a form. What a model
    streams is on its way already; of what it alone can go on from, or a provider keeps, there is no second asking."""
    return not outline.stream and outline.answers == 1 and (outline.json_schema or outline.tools > 0)


def small_first(decision: Decision) -> Candidate | None:
    """The candidate that is worth asking before the first one, where there is one: of those that are well and for which
    that is cheaper than going straight, the one with which it is cheapest."""
    first, *others = decision.candidates
    large = first.expected_cost_nano_usd
    if decision.reason in OTHERS_CHOICE or large is None:
        return None
    best, least = None, float(large)
    for candidate in others:
        small, passes = candidate.expected_cost_nano_usd, _passes(candidate)
        if small is None or passes is None or candidate.unhealthy is not None:
            continue
        if (cost := cascade_cost(small, large, passes)) < least:
            best, least = candidate, cost
    return best


def _passes(candidate: Candidate) -> float | None:
    """The chance that an answer passes. That of solving the task stands in for it: more answers have the right form
    than are right, so what is expected to be saved is the least. The predictor's where it spoke, else the tier's."""
    if candidate.success is None and candidate.deployment.tier is not None:
        return assumed_success(candidate.deployment)
    return candidate.success
