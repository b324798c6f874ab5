"""The trail of one agent: which tools it called with what, and what came back. Sees loops, keeps no text. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import xxhash
from msgspec import Struct

from turnout.chat import Message, ToolCall, ToolResult
from turnout.spend.calls import Calls, result_text

__all__ = ["Trail", "TrailRecord"]

MAX_KINDS = 5_000
"""Different results remembered of one agent; the oldest go first."""

MOST_RECORDED = 200
"""Different results that are written down of one agent: the newest, and those that it came by last."""

LONGEST_CYCLE = 5
MOST_LATEST = LONGEST_CYCLE * 16

Print = tuple[str, int]
"""A tool's name, and a hash of it with its arguments and its result."""


class TrailRecord(Struct, frozen=True, array_like=True):
    """A trail as plain data: names of tools, and hashes. `counts`: which tool (its number in `tools`), a hash, and how
    often; `latest`: the newest calls, as numbers in `counts`. `errors` and `stale` as the trail's own."""

    tools: list[str] = []
    counts: list[tuple[int, int, int]] = []
    latest: list[int] = []
    errors: tuple[str, int] = ("", 0)
    stale: int = 0


class Trail:
    """Fed with what a conversation has grown by. A call counts when its result has come."""

    def __init__(self) -> None:
        self._calls = Calls()
        self._counts: dict[Print, int] = {}
        self._latest: list[Print] = []
        self.errors: tuple[str, int] = "", 0
        """The tool that failed last, and how often it did in a row, whatever else was called between."""
        self.steps_without_news = 0
        """Results in a row that had all been seen before."""

    def feed(self, messages: Iterable[Message]) -> None:
        """New messages, oldest first."""
        for message in messages:
            for part in message.parts:
                if isinstance(part, ToolCall):
                    self._calls.called(part)
                elif isinstance(part, ToolResult):
                    self._came(part)

    def forget(self) -> None:
        """Count from here on: somebody looked and let the run go on."""
        self._counts.clear()
        self._latest.clear()
        self.errors = "", 0
        self.steps_without_news = 0

    def record(self) -> TrailRecord:
        """It as plain data, bounded. Calls whose results have not come are left out: their arguments are text."""
        known, kept, tools = self._counts, list(self._counts)[-MOST_RECORDED:], dict[str, int]()
        places = {told: number for number, told in enumerate(kept)}
        if len(kept) < len(known):
            for told in self._latest:
                if told in known:
                    places.setdefault(told, len(places))
        counts = [(tools.setdefault(told[0], len(tools)), told[1], known[told]) for told in places]
        return TrailRecord(
            tools=list(tools),
            counts=counts,
            latest=[places[told] for told in self._latest if told in places],
            errors=self.errors,
            stale=self.steps_without_news,
        )

    @classmethod
    def restored(cls, told: TrailRecord) -> Trail:
        """The trail of a record."""
        trail = cls()
        prints: list[Print] = [(told.tools[tool], digest) for tool, digest, _ in told.counts]
        trail._counts.update({was: count for was, (_, _, count) in zip(prints, told.counts, strict=True)})
        trail._latest.extend(prints[place] for place in told.latest)
        trail.errors, trail.steps_without_news = told.errors, told.stale
        return trail

    @property
    def repeated(self) -> tuple[str, int]:
        """The tool whose newest call has been made before with the same arguments and result, and how often in all,
        over the whole session. ("", 0) without tools."""
        if not self._latest:
            return "", 0
        newest = self._latest[-1]
        return newest[0], self._counts.get(newest, 0)

    @property
    def cycle(self) -> tuple[int, int]:
        """How many calls long the cycle is in which the agent goes round now (1 to 5), and how many rounds it has made.
        The shortest cycle counts; (0, 0) for none: one round is none."""
        calls = self._latest
        if len(calls) < 2 or calls[-1] not in calls[-1 - LONGEST_CYCLE : -1]:
            return 0, 0
        for length in range(1, LONGEST_CYCLE + 1):
            rounds = 1
            last = calls[-length:]
            while len(last) == length and calls[-(rounds + 1) * length : -rounds * length] == last:
                rounds += 1
            if rounds > 1:
                return length, rounds
        return 0, 0

    def _came(self, result: ToolResult) -> None:
        call = self._calls.answered(result)
        if call is None:
            return
        text = result_text(result).encode("utf-8", "surrogatepass")
        whole = b"\0".join((call.name.encode("utf-8", "surrogatepass"), call.arguments, text))
        told = call.name, xxhash.xxh3_64_intdigest(whole)
        before = self._counts.get(told, 0)
        self.steps_without_news = self.steps_without_news + 1 if before else 0
        self._counts[told] = before + 1
        self._latest.append(told)
        del self._latest[:-MOST_LATEST]
        while len(self._counts) > MAX_KINDS:
            del self._counts[next(iter(self._counts))]
        name, count = self.errors
        if result.is_error:
            self.errors = call.name, count + 1 if name == call.name else 1
        elif name == call.name:
            self.errors = "", 0
