"""Server-sent events (WHATWG HTML standard, 9.2.6): bytes split anywhere to whole events, and back."""

from __future__ import annotations

import re

from msgspec import Struct

from turnout.errors import UpstreamFailure

__all__ = ["SseEvent", "SseParser", "format_event"]

_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_LONGEST_END = 4

_MIXED = b"mixed"
"""In place of a line's end, where lines end in several ways, or in a way of old. Hardly anybody writes that, and it
takes expressions, which cost ten times what all else does that is done with an event."""


class SseEvent(Struct, frozen=True):
    """One event. `raw` is exactly what came, with the blank line that ends it; a block of comments alone is an
    event with no data."""

    event: str | None
    data: bytes
    raw: bytes


class SseParser:
    """Feed it bytes as they come. The `raw` of all events, joined, is the input.

    An event above `limit` bytes raises UpstreamFailure: nobody sends one in good faith.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._ending = b""  # of the lines in the buffer; empty: it has none yet

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that `data` completes."""
        self._ending = ending = _joined(self._ending, _ending_of(data))
        buffer = self._buffer
        buffer += data
        events: list[SseEvent] = []
        begin = 0
        while (end := _after_blank(buffer, max(begin, self._searched), ending)) > 0:
            events.append(parse_event(bytes(buffer[begin:end]), ending))
            begin = end
        if begin:
            del buffer[:begin]
        self._searched = max(0, len(buffer) - _LONGEST_END)
        if not buffer:
            self._ending = b""
        elif len(buffer) > self._limit:
            raise UpstreamFailure(f"the provider sent an event of over {self._limit:,} bytes")
        return events

    def close(self) -> list[SseEvent]:
        """What is left when the connection ends: many hosts leave out the last blank line."""
        rest, ending = bytes(self._buffer), self._ending
        self._buffer.clear()
        self._searched, self._ending = 0, b""
        return [parse_event(rest, ending)] if rest else []


def parse_event(raw: bytes, ending: bytes) -> SseEvent:
    """One block of lines, that end so, as an event. Several `data:` lines are joined with a line feed."""
    if ending != _MIXED and raw.startswith(b"data: ") and (end := len(raw) - 2 * len(ending)) == raw.find(ending):
        return SseEvent(None, raw[6:end], raw)  # one line, as nearly all are
    name: str | None = None
    data: list[bytes] = []
    text = raw.removeprefix(b"\xef\xbb\xbf")
    for line in _LINE.split(text) if ending == _MIXED else text.split(ending) if ending else (text,):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode("utf-8", "replace")
    return SseEvent(name, data[0] if len(data) == 1 else b"\n".join(data), raw)


def _ending_of(data: bytes) -> bytes:
    """How all lines of `data` end; empty where there is but one."""
    returns = data.count(b"\r")
    if not returns:
        return b"\n" if data.find(b"\n") >= 0 else b""
    return b"\r\n" if returns == data.count(b"\r\n") == data.count(b"\n") else _MIXED


def _joined(one: bytes, other: bytes) -> bytes:
    """How lines end in two pieces together."""
    return one or other if one == other or not (one and other) else _MIXED


def _after_blank(buffer: bytearray, start: int, ending: bytes) -> int:
    """Where the first event ends that does so behind `start`; 0 where none does."""
    if ending != _MIXED:
        at = buffer.find(ending + ending, start) if ending else -1
        return at + 2 * len(ending) if at >= 0 else 0
    found = _BLANK.search(buffer, start)
    # A `\r` at the very end may be half of `\r\n`: the event ends only when the next byte is known.
    if found is None or (found.end() == len(buffer) and buffer[-1] == 0x0D):
        return 0
    return found.end()


def format_event(data: bytes, event: str | None = None) -> bytes:
    """The bytes of one event; `data` must hold no line break (JSON never does)."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"
