"""A budget's money lasts its period: the shadow price of a dollar, learned against the usual week. Pure.

The price follows the dual rule of adaptive pacing (Balseiro and Gur, "Learning in repeated auctions with budgets",
Management Science 65(9), 2019): it rises by how much more is being spent than the money left would allow to the end,
and falls by how much less. What the money left allows is spread over the hours that are left as the usual week is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import accumulate

from turnout.context import Pressure

__all__ = ["HOURS_OF_WEEK", "Pacer", "Pacing", "Rung", "SpendCurve"]

HOURS_OF_WEEK = 168

FIRST_HOUR = 72
"""The hour of the week that 1970 began with, a Thursday."""

EVERY_S = 60.0
"""Between two looks."""

PATIENCE = 1 / 15
"""Over which part of the time that is left spending is compared: a day, while a month lies ahead, so that noon is not
taken for haste before the usual week is known; less and less towards the end."""

SHORTEST_S, LONGEST_S = 1800.0, 86_400.0

SPEED = 1.0
"""At twice the rate that would last, the price rises by a factor e in that part of the time, divided by this."""

SLACK = 0.2
"""By so much more than would last may be spent before the price moves: it is made up for later, or grows."""

KEPT = 0.01
"""The share of the amount that is not planned with: sessions that run at the end need it."""

DEAREST = 20.0

DWELL_S = 300.0
"""A rung is kept at least so long on the way down."""


class Rung(IntEnum):
    """How a gateway saves, each with all before it. Running sessions keep their model on every one."""

    NONE = 0
    EFFORT = 1
    """New sessions think less."""
    SMALLER = 2
    """New sessions begin one tier lower."""
    QUEUE = 3
    """New sessions begin two tiers lower; what nobody waits for (`x-turnout-latency: batch`) is put off."""
    PAUSE = 4
    """New sessions do not begin."""


UP = {Rung.EFFORT: 1.5, Rung.SMALLER: 2.0, Rung.QUEUE: 4.0, Rung.PAUSE: 8.0}
"""The price at which a rung is entered; it is left at `DOWN` of it."""

DOWN = 0.75


class SpendCurve:
    """How demand is spread over the week: requests in each hour, from Monday 00:00 UTC; None: not seen yet, taken as
    the mean of those that were. It learns from what was asked for, refused or not: what was spent would only show what
    pacing let through."""

    def __init__(self, hours: Iterable[float | None] = (None,) * HOURS_OF_WEEK) -> None:
        self.hours = list(hours)
        self._weigh()
        self._hour: int | None = None
        self._asked = 0

    def ask(self, now: datetime) -> None:
        """A request came in."""
        hour = int(now.timestamp() // 3600)
        if self._hour is None or hour > self._hour:
            if self._hour is not None:
                self._close(self._hour, hour)
            self._hour = hour
        self._asked += 1

    def _close(self, first: int, until: int) -> None:
        """Hours are over: each moves by a third towards what was asked in it, or begins there."""
        for hour in range(first, min(until, first + HOURS_OF_WEEK)):
            asked, self._asked = self._asked, 0
            slot = _slot(hour)
            known = self.hours[slot]
            self.hours[slot] = asked if known is None else known + (asked - known) / 3
        self._weigh()

    def _weigh(self) -> None:
        known = [asked for asked in self.hours if asked is not None]
        mean = max(sum(known) / len(known), 1e-3) if known else 1.0
        # No hour weighs nothing: something may be spent in it all the same.
        self._weights = [1.0 if asked is None else max(asked / mean, 0.05) for asked in self.hours]
        self._sums = (0.0, *accumulate(self._weights))  # of all the hours before each, and of the whole week

    def between(self, start: datetime, end: datetime) -> float:
        """The weight of the time from `start` to `end`, in mean hours."""
        return max(0.0, self._until(end) - self._until(start))

    def _until(self, moment: datetime) -> float:
        """The weight of the time since 1970, but for a number that is the same for all moments."""
        hours = moment.timestamp() / 3600
        hour = math.floor(hours)
        weeks, slot = (hour + FIRST_HOUR) // HOURS_OF_WEEK, _slot(hour)
        return weeks * self._sums[-1] + self._sums[slot] + (hours - hour) * self._weights[slot]


def _slot(hour: int) -> int:
    """The hour of the week of an hour since 1970."""
    return (hour + FIRST_HOUR) % HOURS_OF_WEEK


class Pacer:
    """The price of one budget's dollar, and the rung it puts new sessions on."""

    def __init__(self, curve: SpendCurve | None = None) -> None:
        self.curve = curve or SpendCurve()
        self.price = 1.0
        self.rung = Rung.NONE
        self._at: datetime | None = None
        self._start: datetime | None = None
        self._spent = 0
        self._recent = 0.0
        self._weight = 0.0
        self._since_rung_s = 0.0

    def update(self, now: datetime, *, spent: int, amount: int, start: datetime, end: datetime | None) -> None:
        """Look at a budget: nano-dollars spent of its amount in the period from `start` to `end` (aware; None: without
        an end, and then there is nothing to pace). Sooner than a minute after the last look nothing happens, nor where
        the clock went back."""
        now = now.astimezone(UTC)
        if end is None or amount <= 0:
            self.price, self.rung = 1.0, Rung.NONE
            return
        if self._at is None or start != self._start:
            self._begin(now, spent, start)
            return
        passed_s = (now - self._at).total_seconds()
        if passed_s < EVERY_S:
            if passed_s < 0:
                self._at = now
            return
        memory_s = min(LONGEST_S, max(SHORTEST_S, (end - now).total_seconds() * PATIENCE))
        passed_s = min(passed_s, memory_s)
        self._learn(now, passed_s, spent, memory_s)
        self._price(passed_s / memory_s, max(0.0, amount * (1 - KEPT) - spent), self.curve.between(now, end))
        self._step(passed_s)
        self._at, self._spent = now, spent

    def _begin(self, now: datetime, spent: int, start: datetime) -> None:
        """A new period has all its money: nothing of the old one's haste is left but the week's curve."""
        self.price, self.rung = 1.0, Rung.NONE
        self._at, self._start, self._spent = now, start, spent
        self._recent = self._weight = self._since_rung_s = 0.0

    def _learn(self, now: datetime, passed_s: float, spent: int, memory_s: float) -> None:
        kept = math.exp(-passed_s / memory_s)
        self._recent = self._recent * kept + max(0, spent - self._spent)
        self._weight = self._weight * kept + self.curve.between(now - timedelta(seconds=passed_s), now)

    def _price(self, passed: float, left: float, hours_left: float) -> None:
        allowed = left / hours_left * self._weight if hours_left > 0 else 0.0
        over = self._recent / allowed - 1.0 if allowed > 0 else 2.0 if self._recent else 0.0
        over = over - SLACK if over > SLACK else min(over, 0.0)
        moved = math.log(self.price) + over * passed * SPEED
        self.price = math.exp(min(math.log(DEAREST), max(0.0, moved)))

    def _step(self, passed_s: float) -> None:
        self._since_rung_s += passed_s
        reached = max((rung for rung, price in UP.items() if self.price >= price), default=Rung.NONE)
        if reached > self.rung:
            self.rung, self._since_rung_s = reached, 0.0
        elif self.rung and self._since_rung_s >= DWELL_S and self.price < DOWN * UP[self.rung]:
            self.rung, self._since_rung_s = Rung(self.rung - 1), 0.0


class Pacing:
    """The pacers of a gateway's budgets."""

    def __init__(self) -> None:
        self._pacers: dict[str, Pacer] = {}
        self._strict: dict[str, bool] = {}
        self._looked_s = -math.inf

    def reconfigure(self, strict: Mapping[str, bool]) -> None:
        """Pace these budgets; one that was paced before goes on. Where it says True, pacing may also put off and pause:
        else it only makes new sessions cheaper."""
        self._pacers = {name: self._pacers.get(name) or Pacer() for name in strict}
        self._strict = dict(strict)
        self._looked_s = -math.inf

    def __getitem__(self, name: str) -> Pacer:
        return self._pacers[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._pacers)

    def due(self, now_s: float) -> bool:
        """Whether it is time to look at the budgets again (monotonic seconds)."""
        if now_s - self._looked_s < EVERY_S:
            return False
        self._looked_s = now_s
        return True

    def asked(self, names: Iterable[str], now: datetime) -> None:
        """A request came in that these budgets cover."""
        for name in names:
            if (pacer := self._pacers.get(name)) is not None:
                pacer.curve.ask(now)

    def strictest(self, names: Iterable[str]) -> Pressure:
        """What the budgets that cover a request ask of it."""
        found = [(p.rung, p.price, name) for name in names if (p := self._pacers.get(name)) is not None]
        if not found:
            return Pressure()
        rung, _, name = max(found)
        if not rung:
            return Pressure(price=max([price for _, price, _ in found]))
        strict = max((r for r, _, n in found if self._strict[n]), default=Rung.NONE)
        return Pressure(
            budget=name if rung else None,
            price=max(price for _, price, _ in found),
            effort=rung >= Rung.EFFORT,
            smaller=(rung >= Rung.SMALLER) + (rung >= Rung.QUEUE),
            queue=strict >= Rung.QUEUE,
            pause=strict >= Rung.PAUSE,
        )
