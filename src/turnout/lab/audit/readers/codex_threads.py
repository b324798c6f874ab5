"""Whose conversation a Codex rollout holds, and which of its lines are copies of another's. Pure.

A fork's or a sub-agent's file may begin with all that the other thread had said and counted until then. Source: the
issues of ccusage (#897, #1370, #1460), tokscale (#679) and codeburn (#413, #1380), where such copies made totals up to
seven times too high, and some of the cures left out what was the thread's own.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct, field

from turnout.chat import Json
from turnout.dialects.values import object_or_empty
from turnout.lab.audit.readers.base import seconds_of

__all__ = ["Thread", "thread_of"]

BURST_S = 1.0
"""A copy is written at one go: lines that follow within this time are of it, where nothing better tells."""

UUID_VERSION = 7


class Thread(Struct):
    """`id` is the thread's own, `session` that of the thread at the root, `agent` "" there.

    `copied`: the lines being read are another thread's. It ends with the first turn that is as young as the thread:
    names of turns are UUIDs that begin with their time. Where turns have no such names, lines older than the thread are
    copies, and those that come in one burst with the other's header. `first_own`: the number of the first line that is
    the thread's own, where it is told.
    """

    id: str
    session: str
    agent: str = ""
    project: str = ""
    provider: str = ""
    parents: set[str] = field(default_factory=set[str])
    born: float | None = None
    first_own: int | None = None
    copied: bool = False
    header: bool = False
    last: float | None = None

    def see(self, kind: Json, payload: dict[str, Json], at: float | None, ordinal: Json) -> None:
        """A line, before it is looked at."""
        before, self.last = self.last, at if at is not None else self.last
        if not self.copied or kind == "session_meta":
            return
        if self.first_own is not None and isinstance(ordinal, int):
            self.copied = ordinal < self.first_own
            return
        begins = kind == "turn_context" or (kind == "event_msg" and payload.get("type") == "task_started")
        if begins and (turn := _time_of(payload.get("turn_id"))) is not None:
            self.copied = self.born is not None and turn < self.born
        elif begins or self._speaks(kind, payload):
            old = at is not None and self.born is not None and at < self.born - BURST_S
            burst = self.header and at is not None and before is not None and at - before < BURST_S
            self.copied = old or burst

    def _speaks(self, kind: Json, payload: dict[str, Json]) -> bool:
        """Whether somebody asks for something, in files whose turns have no names at all."""
        return kind == "event_msg" and payload.get("type") == "user_message" and not self.header

    def knows(self, payload: dict[str, Json]) -> bool:
        """Whether a header is this thread's own again, or that of one whose history it has a copy of."""
        name = _text(payload.get("id"))
        if name == self.id:
            return True
        if self.copied and name:
            self.parents.add(name)
            self.header = True
            return True
        return name in self.parents


def thread_of(payload: dict[str, Json], stem: str) -> Thread:
    """The thread of a `session_meta`. `stem`: the file's name, for one without."""
    name = _text(payload.get("id")) or _text(payload.get("session_id")) or stem
    source = object_or_empty(payload.get("source")).get("subagent")
    spawn = object_or_empty(object_or_empty(source).get("thread_spawn"))
    spawned_by = _text(payload.get("parent_thread_id")) or _text(spawn.get("parent_thread_id"))
    parent = spawned_by or _text(payload.get("forked_from_id"))
    is_agent = bool(spawned_by) or source is not None or payload.get("thread_source") == "subagent"
    start = payload.get("subagent_history_start_ordinal")
    start = int(start) if isinstance(start, str) and start.isdecimal() and len(start) < 10 else start
    root = _text(payload.get("session_id")) or spawned_by
    return Thread(
        id=name,
        session=root if is_agent and root else name,
        agent=name if is_agent and root and root != name else "",
        project=_text(payload.get("cwd")),
        provider=_text(payload.get("model_provider")),
        parents={parent} if parent else set(),
        born=_time_of(name) or seconds_of(payload.get("timestamp")),
        first_own=start if isinstance(start, int) and not isinstance(start, bool) else None,
        copied=bool(parent),
    )


def _time_of(name: Json) -> float | None:
    """The time in a UUID of version 7, in seconds since 1970 (RFC 9562, section 5.7); None for any other name."""
    if not isinstance(name, str) or len(name) != 36:
        return None
    try:
        read = UUID(name)
    except ValueError:
        return None
    return (read.int >> 80) / 1000 if read.version == UUID_VERSION else None


def _text(told: Json) -> str:
    return told if isinstance(told, str) else ""
