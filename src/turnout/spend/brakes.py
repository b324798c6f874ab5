"""Brakes for agents that run away: limits on one session's money and steps, and on repeating itself. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from turnout.catalog.prices import format_usd
from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.context import SessionView
from turnout.errors import RunPaused

__all__ = ["Brakes", "most_repeated_call"]


class Brakes(Struct, frozen=True, kw_only=True):
    """Limits of a session; None: no limit. `repeat_call`: how often the same tool may be called with the same
    arguments and give the same result before the run is stopped."""

    max_session_nano_usd: int | None = None
    max_session_steps: int | None = None
    repeat_call: int | None = None

    def check(self, session: SessionView, messages: Callable[[], Iterable[Message]]) -> None:
        """Raises RunPaused when a limit is reached. `messages` decodes the conversation, only if needed."""
        limit = self.max_session_nano_usd
        if limit is not None and session.cost_nano_usd >= limit:
            raise RunPaused(
                f"session {session.id} has spent {format_usd(session.cost_nano_usd)} of {format_usd(limit)}; "
                "raise brakes.max_session_usd to go on, or begin a new session"
            )
        if self.max_session_steps is not None and session.step >= self.max_session_steps:
            raise RunPaused(
                f"session {session.id} has made {session.step} steps; "
                "raise brakes.max_session_steps to go on, or begin a new session"
            )
        if self.repeat_call is not None:
            name, count = most_repeated_call(messages())
            if count >= self.repeat_call:
                raise RunPaused(
                    f"tool {name!r} was called {count} times with the same arguments and the same result; "
                    "change the conversation to go on, or raise brakes.repeat_call"
                )


def most_repeated_call(messages: Iterable[Message]) -> tuple[str, int]:
    """The tool call (same name, arguments and result) made most often in a conversation, counted over the whole
    of it and not only in a row, and how often. Arguments are compared as JSON values. ("", 0) without tools."""
    calls: dict[str, ToolCall] = {}
    seen: Counter[tuple[str, bytes, str]] = Counter()
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                calls[part.id] = part
            elif isinstance(part, ToolResult) and (call := calls.get(part.call_id)):
                result = "".join(p.text for p in part.parts if isinstance(p, Text))
                seen[call.name, _canonical(call.arguments), result] += 1
    if not seen:
        return "", 0
    (name, _, _), count = seen.most_common(1)[0]
    return name, count


def _canonical(arguments: str) -> bytes:
    """Arguments without differences of white space or key order; malformed ones as they are."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="sorted")
    except msgspec.DecodeError:
        return arguments.encode()
