"""Server-sent events (WHATWG HTML standard, 9.2.6): bytes split anywhere to whole events, and back."""

from __future__ import annotations

import re

from msgspec import Struct

from turnout.errors import UpstreamFailure

__all__ = ["SseEvent", "SseParser", "format_event"]

_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"\r\n|\n|\r")
_LONGEST_END = 4


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

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that `data` completes."""
        self._buffer += data
        events: list[SseEvent] = []
        begin, search = 0, self._searched
        while found := _BLANK.search(self._buffer, search):
            # A `\r` at the very end may be half of `\r\n`: the event ends only when the next byte is known.
            if found.end() == len(self._buffer) and self._buffer[-1] == 0x0D:
                break
            events.append(parse_event(bytes(self._buffer[begin : found.end()])))
            begin = search = found.end()
        if begin:
            del self._buffer[:begin]
        self._searched = max(0, len(self._buffer) - _LONGEST_END)
        if len(self._buffer) > self._limit:
            raise UpstreamFailure(f"the provider sent an event of over {self._limit:,} bytes")
        return events

    def close(self) -> list[SseEvent]:
        """What is left when the connection ends: many hosts leave out the last blank line."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return [parse_event(rest)] if rest else []


def parse_event(raw: bytes) -> SseEvent:
    """One block of lines as an event. Several `data:` lines are joined with a line feed."""
    name: str | None = None
    data: list[bytes] = []
    for line in _LINE.split(raw.removeprefix(b"\xef\xbb\xbf")):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return SseEvent(name, b"\n".join(data), raw)


def format_event(data: bytes, event: str | None = None) -> bytes:
    """The bytes of one event; `data` must hold no line break (JSON never does)."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"
