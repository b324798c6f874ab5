"""Conversations regrouped for APIs whose system text stands apart and whose user and assistant take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec.structs import replace

from turnout.chat import Message, Part, Text

__all__ = ["Turn", "alternating", "split_system"]

Turn = tuple[Literal["user", "assistant"], list[Part]]

_MOVED = "a system message in mid-conversation became the user's: the chosen model's API has none there"
_INSTRUCTORS = frozenset({"system", "developer"})


def _never(_: Message) -> bool:
    return False


def split_system(
    messages: Sequence[Message], is_turn: Callable[[Message], bool] = _never
) -> tuple[list[Message], list[Message]]:
    """System messages at the head, and the rest. `is_turn`: a system message that belongs to the conversation.

    These APIs want a user's turn: of instructions alone the last become the user's.
    """
    count = 0
    while count < len(messages) and messages[count].role in _INSTRUCTORS and not is_turn(messages[count]):
        count += 1
    if count and count == len(messages):
        count -= 1
        return list(messages[:count]), [replace(messages[count], role="user")]
    return list(messages[:count]), list(messages[count:])


def alternating(messages: Iterable[Message], warnings: list[str]) -> list[Turn]:
    """Neighbours of one role as one turn; results of tools are the user's. A system message in mid-conversation is the
    user's, marked, with a warning."""
    turns: list[Turn] = []
    for message in messages:
        parts = list(message.parts)
        if message.role in _INSTRUCTORS:
            warnings.append(_MOVED)
            parts = [replace(p, text=f"<system>{p.text}</system>") if isinstance(p, Text) else p for p in parts]
        role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts))
    return turns
