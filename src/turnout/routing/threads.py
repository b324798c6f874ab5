"""One conversation as the router remembers it, and the same as plain data that another gateway can go on from.

Clocks differ between gateways: what is written down are ages at a moment (UTC). Whoever reads adds what has passed
since by its own clock, but never less than nothing, so that a clock that is ahead makes no cache younger than it was
when it was written down.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from turnout.context import Visit
from turnout.routing.trajectory import Trajectory, TrajectoryRecord

__all__ = ["MOST_HEADS", "Head", "Key", "Thread", "ThreadGlance", "ThreadRecord", "age_read"]

MOST_HEADS = 16
"""Earlier requests of a thread that a fork may go on from; from before these it is a conversation of its own."""

LONGEST_AGE_S = 30 * 24 * 3600.0
LONGEST_TTL_S = 24 * 3600.0
"""No provider keeps a cache for longer; a record that says so is wrong."""

MOST_VISITS = 16
"""Targets that are written down of a thread: those used last."""

Key = tuple[str, str]
"""Owner and thread."""


class Head(Struct, frozen=True, array_like=True):
    """Where a request of a thread ended."""

    digest: bytes
    messages: int
    tokens: int


class Thread(Struct, kw_only=True):
    """A conversation. Times are monotonic. `answer` names what its newest answer said, while another conversation is
    alike but for that. `loose`: the newest prefix without system text; `volatile`: that text has changed under it.
    `key` is one object for the many places that keep it."""

    owner: str
    session: str
    thread: str
    agent: str
    source: str
    parent: str | None = None
    named: bool = False
    step: int = 0
    pinned: str | None = None
    home: str | None = None
    served_s: float | None = None
    seen_s: float = 0.0
    answer: int | None = None
    twin: bool = False
    trajectory: Trajectory = msgspec.field(default_factory=Trajectory)
    blamed: str | None = None
    looping: bool = False
    rose_from: str | None = None
    came_back: bool = False
    results: int = 0
    tools: int = 0
    system_bytes: int = 0
    loose: bytes | None = None
    volatile: bool = False
    heads: list[Head] = []
    visits: dict[str, Visit] = {}
    key: Key = "", ""

    def __post_init__(self) -> None:
        self.key = self.owner, self.thread

    def record(self, now_s: float) -> ThreadRecord:
        """It as plain data, at `now_s` (monotonic)."""
        visits = list(self.visits.items())
        if len(visits) > MOST_VISITS:
            visits = sorted(visits, key=lambda pair: pair[1].at_s)[-MOST_VISITS:]
        return ThreadRecord(
            **_alike(self),
            served_age_s=None if self.served_s is None else now_s - self.served_s,
            seen_age_s=now_s - self.seen_s,
            trajectory=self.trajectory.record(),
            heads=list(self.heads),
            visits=[(name, v.messages, v.tokens, now_s - v.at_s, v.ttl_s) for name, v in visits],
        )


class ThreadGlance(Struct, frozen=True, kw_only=True, array_like=True):
    """How a record of a thread begins: enough to tell which of several is wanted. Who decodes no more than this passes
    over the rest unread."""

    owner: str
    session: str
    thread: str
    agent: str
    source: str
    parent: str | None
    named: bool
    step: int


class ThreadRecord(ThreadGlance, frozen=True, kw_only=True, array_like=True):
    """A `Thread` as another gateway takes it over: ages in seconds in place of times; hashes and counts, no text of a
    conversation. `visits`: target, messages, tokens, age of the last use, lifetime. `trajectory` None: it was left
    out."""

    pinned: str | None
    home: str | None
    served_age_s: float | None
    seen_age_s: float
    answer: int | None
    trajectory: TrajectoryRecord | None
    blamed: str | None
    looping: bool
    rose_from: str | None
    came_back: bool
    results: int
    tools: int
    system_bytes: int
    loose: bytes | None
    volatile: bool
    heads: list[Head]
    visits: list[tuple[str, int, int, float, float]]

    def restored(self, now_s: float, elapsed_s: float) -> Thread:
        """The thread at `now_s` (monotonic, of the reader), written down `elapsed_s` before by the reader's clock."""

        def at(age_s: float) -> float:
            return now_s - age_read(age_s, elapsed_s)

        visits = {
            name: Visit(messages=messages, tokens=tokens, at_s=at(age_s), ttl_s=min(ttl_s, LONGEST_TTL_S))
            for name, messages, tokens, age_s, ttl_s in self.visits
        }
        return Thread(
            **_alike(self),
            served_s=None if self.served_age_s is None else at(self.served_age_s),
            seen_s=at(self.seen_age_s),
            trajectory=Trajectory() if self.trajectory is None else Trajectory.restored(self.trajectory),
            heads=list(self.heads[-MOST_HEADS:]),
            visits=visits,
        )


_ALIKE = tuple(
    name
    for name in ThreadRecord.__struct_fields__
    if name in Thread.__struct_fields__ and name not in {"trajectory", "heads", "visits"}
)
"""What a thread and its record have alike."""


def _alike(told: Thread | ThreadRecord) -> dict[str, Any]:
    return {name: getattr(told, name) for name in _ALIKE}


def age_read(age_s: float, elapsed_s: float) -> float:
    """How old a thing is now that was `age_s` old when that was written down; both may come from a clock that is
    wrong: never younger than it was, never negative."""
    age_s = age_s if 0 <= age_s <= LONGEST_AGE_S else LONGEST_AGE_S if age_s > 0 else 0.0
    return min(age_s + (elapsed_s if elapsed_s > 0 else 0.0), LONGEST_AGE_S)
