"""Brakes for agents that run away: loops, and limits on what one session may take. Each has a limit and an action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from turnout.catalog.prices import format_usd
from turnout.spend.loops import Trail

__all__ = [
    "ACTIONS",
    "BRAKE_NAMES",
    "BY_HAND",
    "DEFAULTS",
    "LIMITS",
    "Action",
    "AgentRun",
    "Brake",
    "BrakeName",
    "BrakeRules",
    "Brakes",
    "LimitName",
    "SessionRun",
    "Verdict",
]

Action = Literal["warn", "escalate", "pause", "block"]
ACTIONS: tuple[Action, ...] = ("warn", "escalate", "pause", "block")
"""What a brake can do, mildest first."""

BrakeName = Literal[
    "repeat_call",
    "cycle",
    "tool_errors",
    "no_progress",
    "max_session_steps",
    "max_session_tokens",
    "max_session_usd",
    "calls_per_second",
    "cost_p99",
]


BRAKE_NAMES: tuple[BrakeName, ...] = get_args(BrakeName)

LimitName = Literal["max_session_usd", "max_session_steps", "max_session_tokens"]

LIMITS: tuple[LimitName, ...] = get_args(LimitName)
"""The brakes on what one session may take: a person may set another limit for one session."""

BY_HAND = "by_hand"
"""Of a session that a person paused."""


class Brake(Struct, frozen=True):
    """Acts where what is measured reaches `limit` (its unit is the brake's own; money in nano-dollars)."""

    limit: float
    action: Action


class Verdict(Struct, frozen=True, kw_only=True):
    """A brake that acts, or a person (`BY_HAND`). `why` is a phrase with the figures."""

    brake: BrakeName | Literal["by_hand"]
    action: Action
    why: str

    @property
    def note(self) -> str:
        """What the model itself may be told."""
        return f"Note from the gateway: {self.why}. Doing the same again will give the same; take another way, or stop."


class AgentRun(Struct, kw_only=True):
    """One agent of a session: its trail, how much of its conversation that has seen, and what a brake has done to it.
    `tokens`: the size of its last request. `thrifty`: it began while a budget was short, and goes on as it began."""

    trail: Trail = msgspec.field(default_factory=Trail)
    seen: int = 0
    tokens: int = 0
    escalated: bool = False
    thrifty: bool = False

    def unseen(self, messages: int, shared: int) -> int:
        """From which of a request's messages on the trail has not seen the conversation, which counts as seen from now
        on; the first `shared` are those of its earlier requests. One that was rewritten is counted anew from its
        beginning: what only another branch did is no repetition in this one."""
        start = self.seen
        if start > shared:
            self.trail.forget()
            start = 0
        self.seen = messages
        return start


class SessionRun(Struct, kw_only=True):
    """One session, all its agents: what it has taken since it began or was last resumed. `calls_s` are monotonic times.
    `begun`: it has been served. `paused` is the verdict that holds it. `limits`: what a person set for it alone, in the
    units of `Brake`; 0: none. `version` counts what was done to it (paused, resumed, limited), `epoch` how often it was
    resumed: of two gateways' words the later one holds. `elsewhere_s`: its calls at other gateways, by their names.
    `learnt_nano_usd`: with what it counts among this gateway's `LearntCosts`."""

    steps: int = 0
    tokens: int = 0
    cost_nano_usd: int = 0
    total_nano_usd: int = 0
    learnt_nano_usd: int = 0
    begun: bool = False
    feature: str = ""
    calls_s: list[float] = []
    agents: dict[str, AgentRun] = {}
    paused: Verdict | None = None
    limits: dict[LimitName, float] = {}
    version: int = 0
    epoch: int = 0
    elsewhere_s: dict[str, list[float]] = {}

    def belong(self, feature: str) -> None:
        """The first feature that is named is its own, unless its cost was learnt before that."""
        if not self.feature and not self.learnt_nano_usd:
            self.feature = feature

    def hold(self, verdict: Verdict) -> None:
        """Hold it until it is resumed."""
        self.paused = verdict
        self.version += 1

    def limit(self, told: dict[LimitName, float]) -> None:
        """Set other limits for it; it goes on where it was held by one of them and has room again, counting on."""
        self.limits = {**self.limits, **told}
        self.version += 1
        held = self.paused
        if held is None or held.action == "block":
            return
        for name, most in told.items():
            if name == held.brake and (not most or _limit(name, most, self) is None):
                self.paused = None

    def resume(self) -> None:
        """Let it go on: every limit counts anew from here. What is blocked stays so."""
        if self.paused is not None and self.paused.action == "block":
            return
        self.paused = None
        self.version += 1
        self.epoch += 1
        self.anew()

    def anew(self) -> None:
        """Count from here on."""
        self.steps = self.tokens = self.cost_nano_usd = 0
        self.calls_s.clear()
        self.elsewhere_s.clear()
        for agent in self.agents.values():
            agent.trail.forget()
            agent.escalated = False


class Brakes(Struct, frozen=True, kw_only=True):
    """The brakes of a gateway by name; one that is not there is off."""

    brakes: dict[BrakeName, Brake] = {}

    def check(
        self, run: SessionRun, agent: AgentRun, *, now_s: float, p99_nano_usd: int | None = None
    ) -> list[Verdict]:
        """What acts before the next step, strongest first. `p99_nano_usd`: what 99 of 100 sessions of the feature stay
        below, where that is known."""
        found: list[Verdict] = []
        for name, brake in self._of(run).items():
            measure = _MEASURES.get(name)
            if measure is not None and measure(run, agent.trail) < brake.limit:
                continue
            why = _why(name, brake.limit, run, agent, now_s=now_s, p99=p99_nano_usd)
            if why is not None:
                action = brake.action
                if action == "escalate" and agent.escalated:
                    action = "pause" if _doubled(name, brake.limit, run, agent.trail) else "warn"
                found.append(Verdict(brake=name, action=action, why=why))
        if "repeat_call" in self.brakes and not found and agent.trail.repeated[1] == 2:
            tool = agent.trail.repeated[0]
            why = f"tool {tool!r} gave the same result to the same arguments for the second time"
            found.append(Verdict(brake="repeat_call", action="warn", why=why))
        return sorted(found, key=lambda v: -ACTIONS.index(v.action)) if len(found) > 1 else found

    def _of(self, run: SessionRun) -> dict[BrakeName, Brake]:
        """The brakes of one session: a limit that was set for it alone pauses."""
        if not run.limits:
            return self.brakes
        brakes: dict[BrakeName, Brake] = {n: brake for n, brake in self.brakes.items() if n not in run.limits}
        for name, limit in run.limits.items():
            if limit > 0:
                brakes[name] = Brake(limit, "pause")
        return brakes


DEFAULTS: dict[BrakeName, Brake] = {
    "repeat_call": Brake(3, "pause"),
    "cycle": Brake(3, "warn"),
    "tool_errors": Brake(3, "warn"),
    "no_progress": Brake(5, "warn"),
    "cost_p99": Brake(1.0, "warn"),
}
"""What holds where the config says nothing. On 595 recorded sessions the third identical call and result paused all 5
that were in a loop and 1 of 336 that passed (`bench/brakes.py`)."""


class BrakeRules(Struct, frozen=True, kw_only=True):
    """Brakes for everybody, for sessions of a feature, and for those of a key; the more special come first."""

    everybody: Brakes = Brakes(brakes=DEFAULTS)
    features: dict[str, Brakes] = {}
    keys: dict[str, Brakes] = {}
    note: bool = False

    def of(self, feature: str, key: str | None) -> Brakes:
        return self.features.get(feature) or self.keys.get(key or "") or self.everybody


_LOOPS = frozenset({"repeat_call", "cycle", "tool_errors", "no_progress"})

_MEASURES: dict[BrakeName, Callable[[SessionRun, Trail], float]] = {
    "repeat_call": lambda _, trail: trail.repeated[1],
    "cycle": lambda _, trail: trail.cycle[1],
    "tool_errors": lambda _, trail: trail.errors[1],
    "no_progress": lambda _, trail: trail.steps_without_news,
    "max_session_steps": lambda run, _: run.steps,
    "max_session_tokens": lambda run, _: run.tokens,
    "max_session_usd": lambda run, _: run.cost_nano_usd,
}
"""What is held against a limit, where it is counted."""


def _doubled(name: BrakeName, limit: float, run: SessionRun, trail: Trail) -> bool:
    """Whether an agent that was taken one tier up has gone on as before for as long again."""
    counted = _MEASURES[name](run, trail) if name in _LOOPS else 0
    return counted >= 2 * limit


def _why(
    name: BrakeName, limit: float, run: SessionRun, agent: AgentRun, *, now_s: float, p99: int | None
) -> str | None:
    if name in _LOOPS:
        return _loop(name, limit, agent.trail)
    if name == "calls_per_second":
        recent = sum(at > now_s - 10 for calls in (run.calls_s, *run.elsewhere_s.values()) for at in calls)
        return f"it made {recent} calls in 10 s, the limit is {limit:g} a second" if recent >= limit * 10 else None
    if name == "cost_p99":
        if p99 is None or run.total_nano_usd <= p99 * limit:
            return None
        return (
            f"it has cost {format_usd(run.total_nano_usd)}; 99 of 100 sessions of its kind stay below {format_usd(p99)}"
        )
    return _limit(name, limit, run)


def _loop(name: BrakeName, limit: float, trail: Trail) -> str | None:
    if name == "repeat_call":
        tool, count = trail.repeated
        if count < limit:
            return None
        return f"tool {tool!r} was called {count} times with the same arguments and the same result"
    if name == "cycle":
        length, rounds = trail.cycle
        return f"the last {length} calls were made {rounds} times over" if rounds >= limit else None
    if name == "tool_errors":
        tool, count = trail.errors
        return f"tool {tool!r} failed {count} times in a row" if count >= limit else None
    count = trail.steps_without_news
    return f"the last {count} tool results had all been seen before" if count >= limit else None


def _limit(name: BrakeName, limit: float, run: SessionRun) -> str | None:
    if name == "max_session_usd":
        if run.cost_nano_usd < limit:
            return None
        return f"it has spent {format_usd(run.cost_nano_usd)} of {format_usd(int(limit))}"
    count, unit = (run.steps, "steps") if name == "max_session_steps" else (run.tokens, "tokens")
    return f"it has taken {count:,} of {limit:,.0f} {unit}" if count >= limit else None
