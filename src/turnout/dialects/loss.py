"""What a translation loses or refuses, in the same words whatever the two wire formats are."""

from __future__ import annotations

from collections.abc import Iterable

from turnout.chat import ChatRequest, ToolSpec
from turnout.errors import NotTranslatable

__all__ = ["CITATIONS", "THINKING", "UNKNOWN_BLOCK", "foreign_tool", "left_out", "nothing_left", "unknown_fields"]

THINKING = "thinking of another model was left out: its author alone may have it back"
UNKNOWN_BLOCK = "a block of another API has no counterpart in the chosen model's and was left out"
CITATIONS = "citations of another API were left out: the caller's has another form for them"

_NOBODY_MISSES = frozenset(
    {
        "client_metadata",
        "include",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "stream_options",
        "truncation",
    }
)
"""Fields whose loss changes nothing about the answer: bookkeeping, caching and the shape of the stream."""


def left_out(names: Iterable[str]) -> list[str]:
    """A warning for each field that the chosen model's API does not know."""
    return [f"{name} is not known to the chosen model's API and was left out" for name in names]


def unknown_fields(request: ChatRequest, dialect: str) -> list[str]:
    """Warnings for the fields that only other wire formats than `dialect` know."""
    kept = (rest for name, rest in request.extras.items() if name != dialect)
    return left_out(key for rest in kept for key in rest if not key.startswith("_") and key not in _NOBODY_MISSES)


def foreign_tool(tool: ToolSpec, index: int) -> NotTranslatable:
    """The error for a server-side tool of another provider."""
    return NotTranslatable(
        f"tools[{index}] ({tool.name}) runs at another provider, the chosen model's API has no such tool; "
        "leave it out or name a model of that provider",
        param=f"tools[{index}]",
    )


def nothing_left() -> NotTranslatable:
    """The error for a conversation of things that only its own API can read."""
    return NotTranslatable("nothing is left of the conversation that the chosen model could read", param="messages")
