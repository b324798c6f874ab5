"""What was said, as OpenTelemetry's GenAI conventions put it (`gen_ai.input.messages`): only where it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from turnout.chat import Json, Message, Part, Reasoning, Text, ToolCall, ToolResult

__all__ = ["messages_as_json", "parts_as_json"]


def messages_as_json(messages: Iterable[Message]) -> str:
    """A request's messages."""
    return _json([{"role": message.role, "parts": [_part(part) for part in message.parts]} for message in messages])


def parts_as_json(parts: Sequence[Part], finish: str | None) -> str:
    """An answer's one message."""
    return _json(
        [{"role": "assistant", "parts": [_part(part) for part in parts], "finish_reason": finish or "unknown"}]
    )


def _part(part: Part) -> Json:
    """Words and calls; of pictures and files only that they were there."""
    match part:
        case Text():
            return {"type": "text", "content": part.text}
        case Reasoning():
            return {"type": "reasoning", "content": part.text}
        case ToolCall():
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.arguments}
        case ToolResult():
            return {"type": "tool_call_response", "id": part.call_id, "response": [_part(p) for p in part.parts]}
        case _:
            return {"type": type(part).__name__.lower()}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
