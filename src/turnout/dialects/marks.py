"""Marks of where to cache, put into a request whose caller set none: what is marked, and how bytes are cut for it.

A provider that caches by marks alone reads nothing that was not marked when it was written. So the ends are marked
that the next request will have again. Each wire format says in a `MarkForm` what a mark looks like there; everything
around the marks stays as it came, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from turnout.chat import CacheTtl
from turnout.dialects.billing import asked_cache
from turnout.dialects.fields import join_fields

__all__ = [
    "End",
    "Ends",
    "MarkForm",
    "Marked",
    "Marks",
    "answers_ago",
    "appended",
    "carried",
    "last_of",
    "marked",
    "missing",
    "replaced",
    "spliced",
]

End = Literal["tools", "system", "newest"]

_NEAR = 8
"""How many messages back a block is looked for that takes a mark."""

_SPACE = b" \t\r\n"
_KEY = re.compile(rb'[\s{,]*("(?:[^"\\]|\\.)*")\s*:\s*')
_raws = msgspec.json.Decoder(list[Raw])
_object = msgspec.json.Decoder(dict[str, Raw])


class Marks(Struct, frozen=True, kw_only=True):
    """What to mark. `most` marks at most; `ttl` None: the provider's default lifetime. `before` is how many messages
    the previous request of this conversation had: its end is marked again, so that it is found however many blocks
    came after it (providers look only so far back from a mark). None, or a number that cannot be: the end before the
    last answer is taken for it."""

    ends: tuple[End, ...] = ("tools", "system", "newest")
    most: int = 4
    ttl: CacheTtl | None = None
    before: int | None = None


class Marked(Struct, frozen=True):
    """The top-level values and the messages that have marks now; empty where nothing was to be marked."""

    fields: Mapping[str, bytes] = {}
    messages: Mapping[int, bytes] = {}


class MarkForm(Struct, frozen=True, kw_only=True):
    """How one wire format marks. `carries` says whether the caller set marks itself. `tools` and `system` give the
    changed top-level value by its name; `message` a message with a mark at its last block that takes one; each None
    where there is none. `system_within`: system texts are messages. `turns`: roles whose messages end a turn."""

    carries: Callable[[Mapping[str, Raw], Sequence[Raw]], bool]
    tools: Callable[[Mapping[str, Raw], CacheTtl | None], tuple[str, bytes] | None]
    system: Callable[[Mapping[str, Raw], CacheTtl | None], tuple[str, bytes] | None]
    message: Callable[[Raw, CacheTtl | None], bytes | None]
    system_within: bool = False
    turns: frozenset[str] = frozenset({"user"})


class Ends(Struct, frozen=True):
    """A request as far as marking needs it. `asked`: the words of a mark stand somewhere in it."""

    fields: Mapping[str, Raw]
    messages: Sequence[Raw]
    roles: Sequence[str]
    asked: bool = True


def marked(form: MarkForm, request: Ends, marks: Marks) -> Marked:
    """The request with marks of ours, or nothing where it has some of the caller's own: those are never moved, and
    none is added to them. What cannot be read gets no mark: whoever answers it will say what is wrong."""
    try:
        if request.asked and form.carries(request.fields, request.messages):
            return Marked()
        return _marked(form, request, marks)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Marked()


def _marked(form: MarkForm, request: Ends, marks: Marks) -> Marked:
    fields, messages, roles = request.fields, request.messages, request.roles
    out = dict(
        found
        for name, mark in (("tools", form.tools), ("system", form.system))
        if name in marks.ends and (found := mark(fields, marks.ttl)) is not None
    )
    head = _heads(roles) if form.system_within else 0
    places: dict[int, bytes] = {}
    if head and "system" in marks.ends:
        places |= _last(form, messages, range(head - 1, -1, -1), marks.ttl)
    if "newest" in marks.ends:
        for end in _ends(roles, marks.before):
            turns = (i for i in range(end - 1, head - 1, -1) if roles[i] in form.turns)
            if len(out) + len(places) < marks.most:
                places |= _last(form, messages, turns, marks.ttl)
    if places:
        out["messages"] = spliced(fields["messages"], messages, places)
    return Marked(out, places)


def _heads(roles: Sequence[str]) -> int:
    return next((i for i, role in enumerate(roles) if role not in {"system", "developer"}), len(roles))


def _ends(roles: Sequence[str], before: int | None) -> Iterable[int]:
    """Where turns end that are worth a mark, each as a count of messages: all of them, those of the previous request,
    those before the last answer."""
    yield len(roles)
    if before is not None and 0 < before < len(roles):
        yield before
    end = len(roles)
    while end and roles[end - 1] != "assistant":
        end -= 1
    while end and roles[end - 1] == "assistant":
        end -= 1
    if end:
        yield end


def answers_ago(roles: Sequence[str], before: int | None, elsewhere: Sequence[str]) -> int | None:
    """Where the first `before` messages end in a conversation that was regrouped: before as many runs of answers as
    came after them. None where none came."""
    if before is None or not 0 < before < len(roles):
        return None
    later = sum(1 for i in range(before, len(roles)) if roles[i] == "assistant" != roles[i - 1])
    starts = [i for i, role in enumerate(elsewhere) if role == "assistant" and (i == 0 or elsewhere[i - 1] != role)]
    return starts[-later] if 0 < later <= len(starts) else None


def _last(form: MarkForm, messages: Sequence[Raw], places: Iterable[int], ttl: CacheTtl | None) -> dict[int, bytes]:
    """The first of these messages that takes a mark, by its place."""
    for _, i in zip(range(_NEAR), places, strict=False):
        if (found := form.message(messages[i], ttl)) is not None:
            return {i: found}
    return {}


# ---- Bytes ------------------------------------------------------------------------------------------------


def last_of(array: Raw, mark: Callable[[Raw], bytes | None]) -> bytes | None:
    """A JSON array whose last item that `mark` takes is changed; None where it takes none."""
    items = _raws.decode(array)
    for i in range(len(items) - 1, -1, -1):
        if (found := mark(items[i])) is not None:
            return spliced(array, items, {i: found})
    return None


def appended(raw: Raw | bytes, more: bytes) -> bytes:
    """A JSON array with one more item, or an object with one more member; neither is empty."""
    told = bytes(raw)
    return told[:-1] + b"," + more + told[-1:]


def spliced(array: Raw, items: Sequence[Raw], changed: Mapping[int, bytes]) -> bytes:
    """A JSON array with these items changed and every other byte as it was, white space too."""
    data = memoryview(array)
    kept, end = len(data), len(data) - 1
    pieces: list[bytes | memoryview] = []
    for i in range(len(items) - 1, min(changed) - 1, -1):
        while data[end - 1] in _SPACE:
            end -= 1
        start = end - len(memoryview(items[i]))
        if i in changed:
            pieces += (data[end:kept], changed[i])
            kept = start
        end = start
        while data[end - 1] in _SPACE:
            end -= 1
        end -= 1  # the comma before it
    return b"".join([data[:kept], *reversed(pieces)])


def replaced(raw: Raw, name: str, value: bytes) -> bytes:
    """A JSON object with `value` for its member `name`, which it has; every other byte as it was unless a name is
    written twice."""
    told, data, at = _object.decode(raw), bytes(raw), 0
    for key, old in told.items():
        found = _KEY.match(data, at)
        start = found.end() if found else 0
        at = start + len(memoryview(old))
        if found is None or data[start:at] != bytes(old):
            break
        if key == name:
            return data[:start] + value + data[at:]
    return join_fields({**told, name: value})


def missing(raw: Raw | None) -> bool:
    """Whether a member is not there, or null."""
    return raw is None or bytes(memoryview(raw)[:4]) in {b"", b"null"}


class _Holder(Struct):
    cache_control: Raw = Raw()
    content: Raw = Raw()


_holders = msgspec.json.Decoder(list[_Holder])
_holder = msgspec.json.Decoder(_Holder)


def carried(raw: Raw | None) -> bool:
    """Whether an object or one of an array's has `cache_control`, or one within its `content`. Texts that speak of it
    do not count."""
    told = bytes(raw or b"")
    if asked_cache(told) is None or told[:1] not in {b"{", b"["}:
        return False
    holders = _holders.decode(told) if told[:1] == b"[" else [_holder.decode(told)]
    return any(not missing(h.cache_control) or carried(h.content) for h in holders)
