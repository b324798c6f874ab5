"""What one conversation's context is made of as it grows: estimates, held to what was measured where it was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import xxhash
from msgspec import Struct

from turnout.chat import Message, ToolCall, ToolSpec
from turnout.lab.audit.cargo import Cargo
from turnout.lab.audit.sums import Parts, no_parts
from turnout.lab.audit.weights import Piece, pieces_of, schema_tokens

__all__ = ["Context", "Grown"]

MOST_CALLS = 4_096
"""Tool calls of which the tool is remembered until results come."""


class Grown(Struct, frozen=True, kw_only=True):
    """What a request brought: `new` messages that the one before had not; `kept`: the share of what the one before had
    that still stands at the beginning of this one."""

    new: tuple[Message, ...]
    kept: float = 1.0


class Context:
    """One agent's conversation.

    What is seen of it is estimated in units of about a token; `scale` makes them the provider's own, so that all of it
    adds up to what was measured. `results`, `schemas` and `idle` follow what each tool's results and definition came
    to, and the definition while nobody had called the tool.
    """

    def __init__(self) -> None:
        self.scale = 1.0
        self.results, self.schemas, self.idle = Cargo(), Cargo(), Cargo()
        self._unseen = 0.0
        self._seen: Parts = no_parts()
        self._tools: dict[str, str] = {}
        self._called: set[str] = set()
        self._messages: list[tuple[int, list[Piece]]] = []
        self._offered: tuple[ToolSpec, ...] | None = None
        self._fitted = False

    @property
    def parts(self) -> Parts:
        """Tokens by part."""
        scale = self.scale
        told: Parts = {name: size * scale for name, size in self._seen.items()}
        told["unseen"] = self._unseen
        return told

    @property
    def shared(self) -> float:
        """Tokens of what stands first and seldom changes."""
        return self._unseen + (self._seen["system"] + self._seen["tools"]) * self.scale

    def tool_of(self, call_id: str) -> str:
        """The tool that a call asked, "" where the call was not seen."""
        return self._tools.get(call_id, "")

    def offer(self, tools: tuple[ToolSpec, ...] | None) -> None:
        """The definitions that this request carries; None: not known."""
        if tools is None or tools is self._offered or tools == self._offered:
            return
        for tool in self._offered or ():
            self.schemas.drop(tool.name)
            self.idle.drop(tool.name)
        self._offered = tools
        sizes = {tool.name: schema_tokens(tool) for tool in tools}
        for name, size in sizes.items():
            self.schemas.put(name, size)
            if name not in self._called:
                self.idle.put(name, size)
        self._seen["tools"] = sum(sizes.values())

    def grow(self, messages: tuple[Message, ...]) -> Grown:
        """These messages came after all others."""
        self._look(messages)
        self._put(pieces_of(messages))
        return Grown(new=messages)

    def become(self, messages: Sequence[Message]) -> Grown:
        """These are all messages that the request has."""
        prints = [xxhash.xxh3_64_intdigest(msgspec.json.encode(message)) for message in messages]
        same = 0
        for before, now in zip(self._messages, prints, strict=False):
            if before[0] != now:
                break
            same += 1
        had = sum(piece.tokens for _, pieces in self._messages for piece in pieces)
        kept = sum(piece.tokens for _, pieces in self._messages[:same] for piece in pieces)
        fresh = tuple(messages[same:])
        self._look(fresh)
        self._put([piece for _, pieces in self._messages[same:] for piece in pieces], sign=-1)
        self._messages[same:] = [(p, pieces_of((m,))) for p, m in zip(prints[same:], fresh, strict=True)]
        self._put([piece for _, pieces in self._messages[same:] for piece in pieces])
        # System text and tools stand before the first message, and count with it.
        return Grown(new=fresh, kept=kept / had if had else 0.0)

    def fit(self, measured: int | None) -> int:
        """Hold the parts to the tokens that the provider counted, and give their sum. The first time what is not seen
        in the log is told from what is; later, all that is seen is off by the same factor."""
        seen = sum(self._seen.values())
        if measured is None:
            return max(1, round(seen * self.scale + self._unseen))
        if not self._fitted:
            self._fitted = True
            if not self._offered or not self._seen["system"]:
                self._unseen = max(0.0, measured - seen)
        self._unseen = min(self._unseen, float(measured))  # it may be cut shorter than what it began with
        if seen <= 0.0:
            self._seen["history"], seen = 1.0, 1.0
        self.scale = (measured - self._unseen) / seen
        return measured

    def sent(self, nano_usd_per_token: float) -> None:
        """A request was made with it, at that price."""
        for cargo in (self.results, self.schemas, self.idle):
            cargo.sent(self.scale, nano_usd_per_token)

    def called(self, calls: Iterable[ToolCall]) -> None:
        """Calls whose results may come."""
        for call in calls:
            while len(self._tools) >= MOST_CALLS:
                del self._tools[next(iter(self._tools))]
            name = self._tools[call.id] = call.name[:200]
            if name not in self._called:
                self._called.add(name)
                self.idle.drop(name)

    def _put(self, pieces: Iterable[Piece], sign: int = 1) -> None:
        for piece in pieces:
            self._seen[piece.part] = max(0.0, self._seen[piece.part] + sign * piece.tokens)
            if piece.call:
                self.results.put(self._tools.get(piece.call) or "?", sign * piece.tokens)

    def _look(self, messages: Iterable[Message]) -> None:
        self.called(part for message in messages for part in message.parts if isinstance(part, ToolCall))
