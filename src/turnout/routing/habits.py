"""What sessions and models usually do: how long a session still goes on, how much a model writes. Learned. Pure.

One event loop owns a table: no locks. Bounded: a count for each length, two figures for each model.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from operator import mul

from turnout.catalog.models import Deployment

__all__ = ["Habits"]

LONGEST = 200
"""Steps; a longer session counts as one of this many."""

MOST_MODELS = 2_000

PRIOR_LENGTHS = (4, 6, 8, 9, 10, 11, 12, 13, 15, 18, 24)
"""Steps of a session, each as often as the others: the 5th, 15th, ... 95th percentile and the tail of the recorded ones
(`turnout replay` prints the lengths of those it is given)."""

PRIOR_ANSWERS = 20
"""Answers that weigh as much as what is assumed of a model nobody has seen write."""


class Habits:
    """Lengths of sessions that ended (forgotten ones have), and tokens written an answer by each deployment."""

    def __init__(self) -> None:
        self._lengths = [0] * (LONGEST + 1)
        for length in PRIOR_LENGTHS:
            self._lengths[length] += 1
        self._known: dict[tuple[int, float | None], float] = {}
        self._written: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._all: tuple[int, int] = 0, 0

    def ended(self, steps: int) -> None:
        """A session is over after so many steps."""
        self._lengths[min(steps, LONGEST)] += 1
        self._known.clear()

    def remaining(self, step: int) -> float:
        """Steps still expected of a session that has taken `step` already, the one that begins now among them: the mean
        of what those that came so far went on to take, at least one."""
        found = self._known.get((step, None))
        if found is None:
            later = self._later(step)
            count = sum(later)
            found = sum(map(mul, later, range(1, len(later) + 1))) / count if count else 1.0
            self._known[step, None] = found
        return found

    def at_least(self, step: int, share: float) -> int:
        """Steps that `share` of the sessions that came as far as this one still take, this one among them."""
        found = self._known.get((step, share))
        if found is None:
            found = self._known[step, share] = self._quantile(self._later(step), share)
        return int(found)

    def _later(self, step: int) -> list[int]:
        """How many sessions took one step more than that, two, three, ..."""
        return self._lengths[step + 1 :] if step < LONGEST else []

    @staticmethod
    def _quantile(later: list[int], share: float) -> int:
        gone = list(accumulate(later))
        more = bisect_right(gone, (1 - share) * gone[-1]) if gone else 0
        return more + 1 if more < len(gone) else 1

    def wrote(self, deployment: Deployment, tokens: int) -> None:
        """An answer had so many tokens, thinking included."""
        count, total = self._written.get(deployment.id, (0, 0))
        self._written[deployment.id] = count + 1, total + tokens
        self._written.move_to_end(deployment.id)
        self._all = self._all[0] + 1, self._all[1] + tokens
        while len(self._written) > MOST_MODELS:
            self._written.popitem(last=False)

    def seen(self, deployment: Deployment) -> int:
        """Answers that its mean was learned from."""
        return self._written.get(deployment.id, (0, 0))[0]

    def output(self, deployment: Deployment, assumed: float) -> float:
        """Tokens a deployment writes an answer: what it has written, shrunk to what all models have, and that to
        `assumed`."""
        count, total = self._all
        everybody = (PRIOR_ANSWERS * assumed + total) / (PRIOR_ANSWERS + count)
        count, total = self._written.get(deployment.id, (0, 0))
        return (PRIOR_ANSWERS * everybody + total) / (PRIOR_ANSWERS + count)
