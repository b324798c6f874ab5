"""Where the prefix of a conversation changes from request to request, and what stands there.

A provider's cache is read up to the first byte that differs. System text and tools come first of all, so a time of day
in them makes every request a new one. What is remembered of a prefix is hashes of its pieces, never its text.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import xxhash
from msgspec import Raw, Struct

from turnout.chat import RequestOutline
from turnout.routing.identity import agent_hash

__all__ = ["Change", "Part", "Place", "Prefix", "PrefixWatch", "prefix_of", "volatile_place"]

PIECE = 256
"""Bytes of the longest piece that is hashed as one."""

SHORTEST = 48
"""Bytes of a piece, at least, that ends with its line. Pieces end with lines so that a longer word moves no other
line into another piece."""

MOST_PIECES = 1_024
MOST_TOOLS = 256
"""What lies beyond is one last piece."""

COMMON = 256
"""Prefixes of agents that are remembered beside those of conversations; at most about 10 kB each."""

ALIKE = 0.5
"""Share of pieces that two prefixes must have in common to be the same one, changed, and not two agents'."""

Part = Literal["tools", "system"]

_HASH = 8
_LINE_ENDS = (b"\\n", b"\n")
_INSTRUCTORS = frozenset({"system", "developer"})

_SHAPES = (
    (re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "a UUID"),
    (re.compile(rb"(?<!\d)\d{1,2}:\d\d(?::\d\d)?(?!\d)"), "a time"),
    (re.compile(rb"(?<!\d)(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})(?!\d)"), "a date"),
    (re.compile(rb"(?<!\d)(?:\d{10}|\d{13}|\d{16}|\d{19})(?!\d)"), "a time stamp"),
    (re.compile(rb"(?<!\w)(?=\w*\d)(?=\w*[A-Za-z])[\w-]{12,}(?!\w)"), "an id"),
    (re.compile(rb"(?<!\w)\d+(?!\w)"), "a number"),
)
"""By shape alone, whatever the language; the first that is found names the thing."""

_raws = msgspec.json.Decoder(list[Raw])


class Prefix(Struct, frozen=True, kw_only=True):
    """A prefix as hashes of 8 bytes: `system` of its pieces, `tools` of each definition."""

    system: bytes = b""
    tools: bytes = b""

    def common(self, other: Prefix) -> float:
        """Share of the pieces, of the one that has more, that both have; 1 for none at all."""
        mine, its = set(_hashes(self.system + self.tools)), set(_hashes(other.system + other.tools))
        most = max(len(mine), len(its))
        return len(mine & its) / most if most else 1.0


class Place(Struct, frozen=True, kw_only=True):
    """Where a prefix first differs: in which `part`, in words (bytes of the JSON as it was sent), and what stands there
    where its shape tells."""

    part: Part
    where: str
    what: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.what else self.where


def prefix_of(outline: RequestOutline) -> Prefix:
    """What is remembered of a request's prefix."""
    tools = b"".join(xxhash.xxh3_64_digest(raw) for raw in _tools(outline)[:MOST_TOOLS])
    return Prefix(system=b"".join(xxhash.xxh3_64_digest(p) for _, p in _pieces(_system(outline))), tools=tools)


def volatile_place(before: Prefix, now: RequestOutline) -> Place | None:
    """The first place where the prefix of `now` differs from that of the request before it; None where it does not, or
    where text was only added at its end. Tools come before the system text, as in providers' caches."""
    return _in_tools(before, now) or _in_system(before, now)


def _in_tools(before: Prefix, now: RequestOutline) -> Place | None:
    tools = _tools(now)
    old, new = list(_hashes(before.tools)), [xxhash.xxh3_64_digest(raw) for raw in tools[:MOST_TOOLS]]
    if old == new:
        return None
    if sorted(old) == sorted(new):
        return Place(part="tools", where="tools: their order")
    i = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if i >= len(new):
        return Place(part="tools", where=f"tools: definition {i + 1} is gone")
    name = _name_of(tools[i])
    return Place(
        part="tools",
        where=f"tools: definition {i + 1}" + (f' "{name}"' if name else ""),
        what=_shape(bytes(tools[i])) if len(old) == len(new) else None,
    )


def _in_system(before: Prefix, now: RequestOutline) -> Place | None:
    system = _system(now)
    old = list(_hashes(before.system))
    for i, (at, piece) in enumerate(_pieces(system)):
        if i >= len(old) or old[i] != xxhash.xxh3_64_digest(piece):
            told = _shape(bytes(piece[:PIECE])) if i < len(old) else None
            return Place(part="system", where=f"system at byte {at:,} of {len(system):,}", what=told)
    return None


def _hashes(joined: bytes) -> Iterator[bytes]:
    return (joined[i : i + _HASH] for i in range(0, len(joined), _HASH))


def _system(outline: RequestOutline) -> bytes:
    """The system text's JSON, of all fields and messages that hold it."""
    tools = outline.fields.get("tools")
    apart = [bytes(raw) for raw in outline.prefix if raw is not tools]
    return b"".join(apart + [bytes(raw) for raw in outline.messages[: heads(outline)]])


def heads(outline: RequestOutline) -> int:
    """How many messages at the head are system text."""
    return next((i for i, role in enumerate(outline.roles) if role not in _INSTRUCTORS), len(outline.roles))


def _tools(outline: RequestOutline) -> list[Raw]:
    try:
        return _raws.decode(outline.fields.get("tools", Raw(b"[]")))
    except msgspec.DecodeError:  # whoever answers it will say what is wrong
        return []


def _pieces(text: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(MOST_PIECES - 1):
        if at >= len(text):
            return
        ends = [found + len(e) for e in _LINE_ENDS if (found := text.find(e, at + SHORTEST, at + PIECE)) >= 0]
        end = min(ends, default=at + PIECE)
        yield at, text[at:end]
        at = end
    if at < len(text):
        yield at, text[at:]


class _Named(Struct):
    name: str | None = None


class _Tool(_Named):
    function: _Named | None = None


_tool = msgspec.json.Decoder(_Tool)


def _name_of(raw: Raw) -> str | None:
    try:
        told = _tool.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return (told.name or (told.function.name if told.function else None) or "")[:64] or None


def _shape(text: bytes) -> str | None:
    return next((what for shape, what in _SHAPES if shape.search(text)), None)


# ---- What each conversation's prefix was ---------------------------------------------------------------------


class _Known(Struct):
    """One agent's prefix, and how far its conversation had come: `last` is the hash of its `count`-th message."""

    agent: str
    prefix: Prefix
    count: int
    last: bytes
    changes: int = 0


class Change(Struct, frozen=True, kw_only=True):
    """A prefix that is not what it was a request ago; `times` in a row."""

    place: Place
    times: int

    @property
    def always(self) -> bool:
        """Whether it is a habit: then nothing behind the place will ever be read."""
        return self.times > 1

    def __str__(self) -> str:
        how, lost = ("changes at every request", "can") if self.always else ("changed since the last request", "could")
        return f"the prefix {how} ({self.place}): nothing after it {lost} be read from the cache"


class PrefixWatch:
    """Notices prefixes that change within a conversation. Bounded: `capacity` openings, the longest unused go first.
    One event loop owns it: no locks.

    Different agents of one session have different prefixes by right. So a change is told only where the conversation
    is the same one gone on (the same opening, the same message where it had ended), and against the prefix that is
    most like it."""

    def __init__(self, capacity: int = 2_000, agents: int = 4) -> None:
        self._capacity = capacity
        self._agents = agents
        self._known: OrderedDict[tuple[str, str, bytes], list[_Known]] = OrderedDict()
        # Of agents that many conversations have in common: a new one is not cut into pieces again.
        self._common: OrderedDict[str, Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def seen(self, owner: str, session: str, outline: RequestOutline) -> Change | None:
        """Note a request; what changed where the prefix of its conversation is not what it was, None where it is.
        `session`: empty where the caller names none (a changed prefix could look like another session). A prefix that
        is the same as before is hashed once and not looked at."""
        talk = outline.messages[heads(outline) :]
        if not talk:
            return None
        key = owner, session, xxhash.xxh3_64_digest(talk[0])
        known, agent = self._known.setdefault(key, []), agent_hash(outline)
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        mine = next((k for k in known if k.agent == agent), None)
        change = None
        if mine is None:
            prefix = self._prefix(agent, outline)
            mine = _nearest(known, prefix, talk)
            if mine is None:
                mine = _Known(agent=agent, prefix=prefix, count=0, last=b"")
            else:
                known.remove(mine)
                change = _changed(mine, outline)
                mine.agent, mine.prefix = agent, prefix
        else:
            known.remove(mine)
            mine.changes = 0
        mine.count, mine.last = len(talk), xxhash.xxh3_64_digest(talk[-1])
        known.append(mine)
        del known[: -self._agents]
        return change

    def _prefix(self, agent: str, outline: RequestOutline) -> Prefix:
        """The prefix that an agent is named after; where clients mark what to cache, the marks are not in the name."""
        if outline.caches is not None:
            return prefix_of(outline)
        found = self._common.get(agent)
        if found is None:
            found = self._common[agent] = prefix_of(outline)
            while len(self._common) > COMMON:
                self._common.popitem(last=False)
        self._common.move_to_end(agent)
        return found


def _nearest(known: Sequence[_Known], prefix: Prefix, talk: Sequence[Raw]) -> _Known | None:
    """The prefix most like this one, of the same conversation at an earlier step."""
    earlier = [k for k in known if k.count < len(talk) and k.last == xxhash.xxh3_64_digest(talk[k.count - 1])]
    best = max(earlier, key=lambda k: k.prefix.common(prefix), default=None)
    return best if best is not None and best.prefix.common(prefix) >= ALIKE else None


def _changed(known: _Known, outline: RequestOutline) -> Change | None:
    place = volatile_place(known.prefix, outline)
    if place is None:
        return None
    known.changes += 1
    return Change(place=place, times=known.changes)
