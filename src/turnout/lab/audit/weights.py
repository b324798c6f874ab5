"""How much of a context each message is: estimated tokens by part, and the tool it came from. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from turnout.chat import Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, ToolSpec
from turnout.lab.sessions import MESSAGE_BYTES_PER_TOKEN, TOOL_BYTES_PER_TOKEN

__all__ = ["PART_NAMES", "PartName", "Piece", "answer_tokens", "pieces_of", "schema_tokens"]

PartName = Literal["unseen", "system", "tools", "history", "tool_results", "attachments", "reasoning"]
PART_NAMES: tuple[PartName, ...] = get_args(PartName)
"""`unseen`: what was sent and the log does not show, which is system text and tools mostly."""

MEDIA_TOKENS = 1_000
"""Any image or attachment. A guess, as elsewhere."""

MESSAGE_BYTES = 30
CALL_BYTES = 60
"""What a message, a tool call, weighs in JSON beside its texts."""


class Piece(Struct, frozen=True):
    """A part of a message: `tokens` are estimated; `call` is the tool call that a result answers."""

    part: PartName
    tokens: float
    call: str = ""


def pieces_of(messages: Iterable[Message]) -> list[Piece]:
    """What these messages weigh, piece by piece."""
    found: list[Piece] = []
    for message in messages:
        system = message.role in {"system", "developer"}
        found.append(Piece("system" if system else "history", MESSAGE_BYTES / MESSAGE_BYTES_PER_TOKEN))
        found += [_piece(part, system=system) for part in message.parts]
    return found


def answer_tokens(parts: Iterable[Part]) -> float:
    """Estimated tokens of an answer, as far as it can be seen."""
    return sum(_piece(part, system=False).tokens for part in parts)


def schema_tokens(tool: ToolSpec) -> float:
    """Estimated tokens of a tool's definition: half as much as text of that length (see `sessions.estimate_tokens`)."""
    size = len(tool.name) + len(tool.description or "") + len(msgspec.json.encode(tool.schema)) + CALL_BYTES
    return size / TOOL_BYTES_PER_TOKEN


def _piece(part: Part, *, system: bool) -> Piece:
    match part:
        case Text() | Refusal():
            return Piece("system" if system else "history", _tokens(part.text))
        case Reasoning():
            return Piece("reasoning", _tokens(part.text) or _tokens(part.redacted or part.signature or ""))
        case ToolCall():
            return Piece("history", _tokens(part.name) + _tokens(part.arguments) + CALL_BYTES / MESSAGE_BYTES_PER_TOKEN)
        case ToolResult():
            inner = sum(_tokens(p.text) if isinstance(p, Text) else MEDIA_TOKENS for p in part.parts)
            return Piece("tool_results", inner + CALL_BYTES / MESSAGE_BYTES_PER_TOKEN, part.call_id)
        case _:
            return Piece("attachments", MEDIA_TOKENS)


def _tokens(text: str) -> float:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return size / MESSAGE_BYTES_PER_TOKEN
