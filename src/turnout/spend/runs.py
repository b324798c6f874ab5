"""The sessions that brakes watch: what each has taken, who is paused, and what sessions of a feature usually cost.

Bounded memory. One event loop owns a table: no locks.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator

from turnout.spend.brakes import AgentRun, SessionRun, Verdict

__all__ = ["LearntCosts", "Runs"]

BUCKETS_PER_DOUBLING = 4
"""A cost is known to about a fifth of itself: enough to tell the usual from the unusual."""

MOST_CALLS = 256
"""Times of calls remembered of one session."""

MOST_AGENTS = 256
"""Conversations remembered of one session; the oldest go first."""

ENOUGH_SESSIONS = 100
"""Before so many, nobody can say what 99 of 100 stay below."""


class LearntCosts:
    """What sessions of each feature cost, as a histogram over logarithms. A session that is still going on counts with
    what it has cost so far, so the figure is low while most of them are young."""

    def __init__(self, *, features: int = 1_000) -> None:
        self._most = features
        self._counts: OrderedDict[str, Counter[int]] = OrderedDict()

    def move(self, feature: str, before_nano_usd: int, after_nano_usd: int) -> None:
        """A session of `feature` that had cost `before` has cost `after` now."""
        if (counts := self._counts.get(feature)) is None:
            counts = self._counts[feature] = Counter()
        self._counts.move_to_end(feature)
        if before_nano_usd and counts[was := _bucket(before_nano_usd)] > 0:
            counts[was] -= 1
        if after_nano_usd:
            counts[_bucket(after_nano_usd)] += 1
        while len(self._counts) > self._most:
            self._counts.popitem(last=False)

    def p99(self, feature: str) -> int | None:
        """What 99 of 100 sessions of `feature` stay below, in nano-dollars; None before there were enough."""
        counts = self._counts.get(feature)
        total = sum(counts.values()) if counts else 0
        if counts is None or total < ENOUGH_SESSIONS:
            return None
        over = total - math.ceil(total * 0.99)
        for bucket in sorted(counts, reverse=True):
            over -= counts[bucket]
            if over < 0:
                return _top(bucket)
        return None


def _bucket(nano: int) -> int:
    return math.floor(math.log2(nano) * BUCKETS_PER_DOUBLING)


def _top(bucket: int) -> int:
    return math.ceil(2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING))


class Runs:
    """Sessions by owner (a virtual key's name, or nothing) and id, least recently used first."""

    def __init__(self, *, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._runs: OrderedDict[tuple[str, str], SessionRun] = OrderedDict()
        self.costs = LearntCosts()

    def begin(
        self, owner: str, session: str, agent: str, *, now_s: float, feature: str = ""
    ) -> tuple[SessionRun, AgentRun]:
        """A request comes in: its session and its agent."""
        key = owner, session
        if (run := self._runs.get(key)) is None:
            run = self._runs[key] = SessionRun()
        run.belong(feature)
        self._runs.move_to_end(key)
        run.calls_s.append(now_s)
        del run.calls_s[:-MOST_CALLS]
        while len(self._runs) > self._capacity:
            del self._runs[next(iter(self._runs))]
        if (known := run.agents.get(agent)) is None:
            while len(run.agents) >= MOST_AGENTS:
                del run.agents[next(iter(run.agents))]
            known = run.agents[agent] = AgentRun()
        return run, known

    def settle(self, owner: str, session: str, *, tokens: int, cost_nano_usd: int, served: bool) -> None:
        """What a request took. One that nobody served is no step."""
        run = self._runs.get((owner, session))
        if run is None:
            return
        run.steps += served
        run.begun = run.begun or served
        run.tokens += tokens
        run.cost_nano_usd += cost_nano_usd
        run.total_nano_usd += cost_nano_usd
        self.costs.move(run.feature, run.learnt_nano_usd, run.total_nano_usd)
        run.learnt_nano_usd = run.total_nano_usd  # others may add to the total before this gateway serves it again

    def pause(self, owner: str, session: str, verdict: Verdict) -> None:
        """Hold a session until it is resumed."""
        if (run := self._runs.get((owner, session))) is not None:
            run.hold(verdict)

    def hold(self, owner: str, session: str, verdict: Verdict) -> SessionRun:
        """Hold a session by hand, one that is not in memory too. What is blocked stays so."""
        run = self._runs.setdefault((owner, session), SessionRun())
        if run.paused is None or run.paused.action != "block":
            run.hold(verdict)
        return run

    def of(self, session: str) -> list[tuple[str, SessionRun]]:
        """Owner and state of every session of that id. From any thread: requests come meanwhile."""
        return [(owner, run) for (owner, name), run in list(self._runs.items()) if name == session]

    def resume(self, session: str) -> int:
        """Let every session of that id go on, whoever owns it; how many there are."""
        found = [run for (_, name), run in self._runs.items() if name == session]
        for run in found:
            run.resume()
        return len(found)

    def find(self, owner: str, session: str) -> SessionRun | None:
        """A session's state; None where it is not known here."""
        return self._runs.get((owner, session))

    def meet(self, owner: str, session: str) -> SessionRun:
        """A session that another gateway tells of, known from now on."""
        run = self._runs.setdefault((owner, session), SessionRun())
        self._runs.move_to_end((owner, session))
        while len(self._runs) > self._capacity:
            del self._runs[next(iter(self._runs))]
        return run

    def __iter__(self) -> Iterator[tuple[str, str, SessionRun]]:
        """Owner, id and state of each session, the latest first."""
        return ((owner, session, run) for (owner, session), run in reversed(self._runs.items()))
