"""A month of agents against a budget, minute by minute, seeded: with pacing, with a hard cap alone, with neither.

Sessions begin as people work (more by day, fewer at weekends), run for twenty minutes and keep the tier they began in.
What a session costs at each tier stands to the others as list prices do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal

from msgspec import Struct

from turnout.spend.pacing import Pacer, Rung

__all__ = ["POLICIES", "SCENARIOS", "Outcome", "Policy", "Scenario", "simulate"]

Policy = Literal["none", "cap", "paced"]
POLICIES: tuple[Policy, ...] = ("none", "cap", "paced")

DAYS = 30
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
BUDGET = 500 * 10**9
MINUTES = 20
"""How long a session runs; it spends evenly."""

COST = {"frontier": 1.0, "mid": 0.4, "small": 0.08}
"""A session's cost by tier, over frontier: 5 and 25, 2 and 10, 0.4 and 2 USD a million tokens."""

LESS_EFFORT = 0.85
"""What a session costs that thinks less; an assumption."""

BATCH = 0.2
"""The share of sessions that nobody waits for."""


class Scenario(Struct, frozen=True, kw_only=True):
    """`demand` is what all sessions would cost on the frontier, over the budget; `shape` multiplies it by minute."""

    name: str
    demand: float
    shape: Callable[[int], float] = lambda _: 1.0


def _bursts(minute: int) -> float:
    return 10.0 if minute % (2 * 1440) < 90 else 0.6


def _quiet_half(minute: int) -> float:
    return 0.1 if minute < DAYS * 720 else 1.9


SCENARIOS = (
    Scenario(name="half the budget", demand=0.5),
    Scenario(name="as much as the budget", demand=1.05),
    Scenario(name="3x the budget", demand=3.0),
    Scenario(name="bursts of 10x", demand=2.0, shape=_bursts),
    Scenario(name="a quiet first half", demand=1.6, shape=_quiet_half),
    Scenario(name="30x, beyond small models", demand=30.0),
)


class Outcome(Struct, frozen=True, kw_only=True):
    """Shares of the budget (spent, overspent) and of demand (served at all, served on the frontier); hours in which the
    money was gone and all were refused, in the month and in its last three days."""

    scenario: str
    policy: Policy
    spent: float
    overspent: float
    served: float
    frontier: float
    blackout_h: float
    last_days_blackout_h: float


class _Month(Struct):
    """What is running and what has been."""

    spent: float = 0.0
    asked: float = 0.0
    served: float = 0.0
    frontier: float = 0.0
    blackout: int = 0
    late_blackout: int = 0
    waiting: float = 0.0


def simulate(scenario: Scenario, policy: Policy, *, seed: int) -> Outcome:
    """One month under one policy."""
    random, month, pacer = Random(seed), _Month(), Pacer()  # noqa: S311 (a simulation)
    end = BEGIN + timedelta(days=DAYS)
    usual = [_rhythm(minute) for minute in range(7 * 1440)]
    unit = BUDGET * scenario.demand / (sum(usual) / 7 * DAYS)
    running: deque[float] = deque([0.0] * MINUTES, maxlen=MINUTES)
    for minute in range(DAYS * 1440):
        now = BEGIN + timedelta(minutes=minute)
        mean = usual[minute % (7 * 1440)] * scenario.shape(minute)
        wanted = _poisson(random, mean)
        for _ in range(wanted):
            pacer.curve.ask(now)
        if policy == "paced":
            pacer.update(now, spent=int(month.spent), amount=BUDGET, start=BEGIN, end=end)
        begun = _begin(month, wanted, pacer.rung, held=policy == "paced")
        running.append(begun * unit / MINUTES)
        _spend(month, sum(running), minute, capped=policy != "none")
    return Outcome(
        scenario=scenario.name,
        policy=policy,
        spent=month.spent / BUDGET,
        overspent=max(0.0, month.spent / BUDGET - 1.0),
        served=month.served / max(1.0, month.asked),
        frontier=month.frontier / max(1.0, month.asked),
        blackout_h=month.blackout / 60,
        last_days_blackout_h=month.late_blackout / 60,
    )


def _begin(month: _Month, wanted: float, rung: Rung, *, held: bool) -> float:
    """The sessions that begin this minute, as what they will cost over a session on the frontier."""
    month.asked += wanted
    batch = wanted * BATCH
    here = wanted
    if held and rung >= Rung.QUEUE:
        month.waiting += batch
        here -= batch
    elif month.waiting:
        ready = min(month.waiting, 1.0)
        month.waiting -= ready
        here += ready
    if held and rung >= Rung.PAUSE:
        here = 0.0
    month.served += here
    # As the router does: one tier lower, then two.
    tier = "mid" if rung >= Rung.SMALLER else "frontier"
    if rung >= Rung.QUEUE:
        tier = "small"
    month.frontier += here if tier == "frontier" else 0.0
    return here * COST[tier] * (LESS_EFFORT if rung >= Rung.EFFORT else 1.0)


def _spend(month: _Month, wanted: float, minute: int, *, capped: bool) -> None:
    """What runs spends; a hard cap lets nothing through that does not fit."""
    if capped and month.spent + wanted > BUDGET:
        if wanted:
            month.blackout += 1
            month.late_blackout += minute >= (DAYS - 3) * 1440
        return
    month.spent += wanted


def _rhythm(minute: int) -> float:
    """Sessions a minute as people work: most at two in the afternoon, a tenth at night, a third at weekends."""
    day, hour = divmod(minute / 60, 24)
    busy = 0.1 + 0.9 * max(0.0, math.cos((hour - 14) / 9 * math.pi / 2)) ** 2 if 5 < hour < 23 else 0.1
    return 0.5 * busy * (0.33 if day >= 5 else 1.0)


def _poisson(random: Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count
