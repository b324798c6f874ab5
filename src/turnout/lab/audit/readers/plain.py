"""Messages without what moves from step to step though nothing was said: cache marks, and notes on spelling. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import xxhash
from msgspec.structs import replace

from turnout.chat import Message, Part, ToolResult, ToolSpec

__all__ = ["plain_messages", "plain_parts", "plain_tools", "print_of"]


def plain_messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The same talk, equal wherever the client put its marks and however it wrote it."""
    return tuple(Message(role=message.role, parts=plain_parts(message.parts)) for message in messages)


def plain_parts(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(_plain(part) for part in parts)


def _plain(part: Part) -> Part:
    if isinstance(part, ToolResult):
        inner = tuple(replace(p, cache=None, extras={}) if p.cache or p.extras else p for p in part.parts)
        return replace(part, parts=inner, cache=None, extras={})
    return replace(part, cache=None, extras={}) if part.cache or part.extras else part


def plain_tools(tools: Iterable[ToolSpec]) -> tuple[ToolSpec, ...]:
    return tuple(replace(tool, cache=None, extras={}) for tool in tools)


def print_of(message: Message) -> bytes:
    """A message's hash."""
    return xxhash.xxh3_128_digest(msgspec.json.encode(message))
