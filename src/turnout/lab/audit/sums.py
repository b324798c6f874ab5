"""What an audit adds up: calls and money by place and model, parts of contexts, tools, cache misses, sessions. Pure.

Every sum knows how to take another of its kind, so that files are read side by side and put together in order.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

from msgspec import Struct, field

from turnout.lab.audit.misses import Reason
from turnout.lab.audit.weights import PART_NAMES, PartName
from turnout.spend.volume import LATER_STEPS

__all__ = [
    "CURVE_STEPS",
    "Cell",
    "Curve",
    "Effort",
    "Kind",
    "Miss",
    "Parts",
    "SessionSum",
    "Sums",
    "ToolSum",
    "bucket_of",
    "no_parts",
]

CURVE_STEPS = (*range(LATER_STEPS[0]), *LATER_STEPS)
"""Steps at which the growth of contexts is told."""

MOST_SESSIONS = 200_000
"""Sessions told apart; more are summed only."""

MOST_TOOLS = 2_000


class _Sum(Protocol):
    def add(self, other: Self, /) -> None: ...


S = TypeVar("S", bound=_Sum)
K = TypeVar("K")


class Addable(Struct, kw_only=True):
    """Numbers that add up field by field."""

    def add(self, other: Self) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Cell(Addable, kw_only=True):
    """Calls of one project, day and model. Tokens as `chat.Usage` counts them; money at list price in nano-dollars,
    `logged_nano_usd` as the log says. `unpriced`: calls that nobody has a price for; `estimated`: calls whose tokens
    the log does not tell; `failed`: calls without an answer."""

    calls: int = 0
    failed: int = 0
    estimated: int = 0
    unpriced: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    input_nano_usd: int = 0
    cost_nano_usd: int = 0
    logged: int = 0
    logged_nano_usd: int = 0


Parts = dict[PartName, float]
"""Tokens by part of the context."""


class Curve(Struct, kw_only=True):
    """Contexts at one step of their conversations: how many, and the sum of their parts in tokens."""

    calls: int = 0
    output: int = 0
    parts: Parts = field(default_factory=dict[PartName, float])

    def add(self, other: Curve) -> None:
        self.calls += other.calls
        self.output += other.output
        for name, tokens in other.parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + tokens


class ToolSum(Addable, kw_only=True):
    """One tool: how often it was called and failed, the tokens that its results brought and those that they were in
    all requests that carried them; of its definition likewise, `idle_tokens` while nobody had called it yet in the
    conversation. All tokens estimated."""

    calls: int = 0
    errors: int = 0
    result_tokens: float = 0.0
    carried_tokens: float = 0.0
    carried_nano_usd: float = 0.0
    offered: int = 0
    schema_tokens: float = 0.0
    idle: int = 0
    idle_tokens: float = 0.0
    idle_nano_usd: float = 0.0


class Miss(Addable, kw_only=True):
    """Requests that could have read a cache and did not, for one reason: tokens, and what reading them would have
    saved in nano-dollars."""

    calls: int = 0
    tokens: int = 0
    nano_usd: int = 0


class SessionSum(Struct, kw_only=True):
    """One session, all its agents. `first` and `last` in seconds since 1970. `solved` and `why` as its log says;
    `bad_end`: its last results had failed. `opening`: the beginning of its first user message, where asked for."""

    session: str
    project: str = ""
    model: str = ""
    calls: int = 0
    agents: int = 0
    input: int = 0
    output: int = 0
    cost_nano_usd: int = 0
    deepest: int = 0
    first: float | None = None
    last: float | None = None
    solved: bool | None = None
    why: str = ""
    bad_end: bool = False
    loop_calls: int = 0
    loop_nano_usd: int = 0
    opening: str = ""

    def add(self, other: SessionSum) -> None:
        for name in ("calls", "agents", "input", "output", "cost_nano_usd", "loop_calls", "loop_nano_usd"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.deepest = max(self.deepest, other.deepest)
        self.first = min((at for at in (self.first, other.first) if at is not None), default=None)
        self.last = max((at for at in (self.last, other.last) if at is not None), default=None)
        self.solved = self.solved if other.solved is None else other.solved
        self.why = other.why or self.why
        self.bad_end = self.bad_end or other.bad_end
        self.project, self.model = self.project or other.project, self.model or other.model
        self.opening = self.opening or other.opening


class Kind(Addable, kw_only=True):
    """Routine steps answered by models of one tier: how many, in how many no tool failed next, what they cost."""

    calls: int = 0
    judged: int = 0
    went_well: int = 0
    cost_nano_usd: int = 0
    reasoning: int = 0
    reasoning_nano_usd: int = 0


class Effort(Addable, kw_only=True):
    """Calls that asked for one reasoning effort."""

    calls: int = 0
    output: int = 0
    reasoning: int = 0
    cost_nano_usd: int = 0


class Sums(Struct, kw_only=True):
    """All of it. `cells` by project, day (UTC, "" unknown) and model (`provider/model`); `misses` by reason; `routine`
    by tier; `repeated` and `read` are tokens of steps after the first, of which the provider tells what it read."""

    cells: dict[tuple[str, str, str], Cell] = field(default_factory=dict[tuple[str, str, str], Cell])
    parts_nano_usd: dict[PartName, float] = field(default_factory=dict[PartName, float])
    curve: dict[int, Curve] = field(default_factory=dict[int, Curve])
    tools: dict[str, ToolSum] = field(default_factory=dict[str, ToolSum])
    misses: dict[Reason, Miss] = field(default_factory=dict[Reason, Miss])
    sessions: dict[str, SessionSum] = field(default_factory=dict[str, SessionSum])
    routine: dict[str, Kind] = field(default_factory=dict[str, Kind])
    efforts: dict[str, Effort] = field(default_factory=dict[str, Effort])
    repeated: int = 0
    repeated_known: int = 0
    read_known: int = 0
    final_context: int = 0
    copies: int = 0
    sessions_in_sum: int = 0

    @property
    def parts(self) -> Parts:
        """Tokens of all requests' contexts by part."""
        told = no_parts()
        for curve in self.curve.values():
            for name, tokens in curve.parts.items():
                told[name] += tokens
        return told

    def add(self, other: Sums) -> None:
        _merge(self.cells, other.cells)
        _merge(self.curve, other.curve)
        _merge(self.misses, other.misses)
        _merge(self.routine, other.routine)
        _merge(self.efforts, other.efforts)
        _merge(self.tools, other.tools, MOST_TOOLS)
        for part, money in other.parts_nano_usd.items():
            self.parts_nano_usd[part] = self.parts_nano_usd.get(part, 0.0) + money
        for name in ("repeated", "repeated_known", "read_known", "final_context", "copies", "sessions_in_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.sessions_in_sum += _merge(self.sessions, other.sessions, MOST_SESSIONS)


def _merge(mine: dict[K, S], others: dict[K, S], most: int | None = None) -> int:
    """Add by key; how many keys found no place."""
    lost = 0
    for key, told in others.items():
        if key in mine:
            mine[key].add(told)
        elif most is None or len(mine) < most:
            mine[key] = told
        else:
            lost += 1
    return lost


def bucket_of(step: int) -> int:
    """The step that a step (from 0) is counted with: itself, or where its span begins (`LATER_STEPS`)."""
    return max((begins for begins in LATER_STEPS if begins <= step), default=step)


def no_parts() -> Parts:
    return dict.fromkeys(PART_NAMES, 0.0)
