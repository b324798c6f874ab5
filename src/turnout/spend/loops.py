"""The trail of one agent: which tools it called with what, and what came back. Sees loops, keeps no text. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import msgspec
import xxhash
from msgspec import Struct

from turnout.chat import Message, Text, ToolCall, ToolResult

__all__ = ["Trail"]

MAX_KINDS = 5_000
"""Different results remembered of one agent; the oldest go first."""

MAX_PENDING = 256
"""Calls whose result has not come yet."""

LONGEST_CYCLE = 5

Print = tuple[str, int]
"""A tool's name, and a hash of it with its arguments and its result."""


class _Pending(Struct, frozen=True):
    name: str
    arguments: bytes


class Trail:
    """Fed with what a conversation has grown by. A call counts when its result has come."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._counts: Counter[Print] = Counter()
        self._latest: deque[Print] = deque(maxlen=LONGEST_CYCLE * 16)
        self._errors: tuple[str, int] = "", 0
        self._stale = 0

    def feed(self, messages: Iterable[Message]) -> None:
        """New messages, oldest first."""
        for message in messages:
            for part in message.parts:
                if isinstance(part, ToolCall):
                    self._called(part)
                elif isinstance(part, ToolResult):
                    self._came(part)

    def forget(self) -> None:
        """Count from here on: somebody looked and let the run go on."""
        self._counts.clear()
        self._latest.clear()
        self._errors = "", 0
        self._stale = 0

    @property
    def repeated(self) -> tuple[str, int]:
        """The tool whose newest call has been made before with the same arguments and result, and how often in all,
        over the whole session. ("", 0) without tools."""
        if not self._latest:
            return "", 0
        newest = self._latest[-1]
        return newest[0], self._counts[newest]

    @property
    def cycle(self) -> tuple[int, int]:
        """How many calls long the cycle is in which the agent goes round now (1 to 5), and how many rounds it has made.
        The shortest cycle counts; (0, 0) for none: one round is none."""
        calls = list(self._latest)
        for length in range(1, LONGEST_CYCLE + 1):
            rounds = 1
            last = calls[-length:]
            while len(last) == length and calls[-(rounds + 1) * length : -rounds * length] == last:
                rounds += 1
            if rounds > 1:
                return length, rounds
        return 0, 0

    @property
    def errors(self) -> tuple[str, int]:
        """The tool that failed last, and how often it did in a row, whatever else was called between."""
        return self._errors

    @property
    def steps_without_news(self) -> int:
        """Results in a row that had all been seen before."""
        return self._stale

    def _called(self, call: ToolCall) -> None:
        while len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[call.id] = _Pending(call.name, _canonical(call.arguments))

    def _came(self, result: ToolResult) -> None:
        call = self._pending.pop(result.call_id, None)
        if call is None:
            return
        text = "\0".join(part.text if isinstance(part, Text) else repr(part) for part in result.parts)
        whole = b"\0".join((call.name.encode(), call.arguments, text.encode("utf-8", "surrogatepass")))
        told = call.name, xxhash.xxh3_64_intdigest(whole)
        self._stale = self._stale + 1 if told in self._counts else 0
        self._counts[told] += 1
        self._latest.append(told)
        while len(self._counts) > MAX_KINDS:
            del self._counts[next(iter(self._counts))]
        name, count = self._errors
        if result.is_error:
            self._errors = call.name, count + 1 if name == call.name else 1
        elif name == call.name:
            self._errors = "", 0


def _canonical(arguments: str) -> bytes:
    """Arguments without differences of white space or key order; malformed ones as they are."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="sorted")
    except (msgspec.DecodeError, RecursionError):
        return arguments.encode("utf-8", "surrogatepass")
