"""Tool calls and the results that answer them, told apart by what they asked and what came back. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from turnout.chat import Text, ToolCall, ToolResult

__all__ = ["Asked", "Calls", "canonical", "result_text"]

MAX_PENDING = 256
"""Calls whose result has not come yet."""


class Asked(Struct, frozen=True):
    """A call as it is compared with others: the tool's name and its arguments, made canonical."""

    name: str
    arguments: bytes


class Calls:
    """The calls of a conversation that wait for their results; the oldest go first."""

    def __init__(self) -> None:
        self._pending: dict[str, Asked] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def called(self, call: ToolCall) -> Asked:
        """A call was made."""
        while len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        asked = self._pending[call.id] = Asked(call.name, canonical(call.arguments))
        return asked

    def answered(self, result: ToolResult) -> Asked | None:
        """The call that `result` answers, which waits no longer; None where there was none."""
        return self._pending.pop(result.call_id, None)


def canonical(arguments: str) -> bytes:
    """Arguments without differences of white space or key order; malformed ones as they are."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="sorted")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments.encode("utf-8", "surrogatepass")


def result_text(result: ToolResult) -> str:
    """All that a result says, as one text; what is no text as its description."""
    return "\0".join(part.text if isinstance(part, Text) else repr(part) for part in result.parts)
