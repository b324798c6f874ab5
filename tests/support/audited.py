"""Steps of made-up logs, for tests of the audit: as any reader would give them."""

from turnout.chat import Message, Text, ToolCall, ToolResult, Usage
from turnout.lab.audit.digest import Digest, digest_of
from turnout.lab.audit.pricing import Pricer
from turnout.lab.audit.readers.base import Reader, Source
from turnout.lab.audit.records import Event, Step

__all__ = ["MODEL", "asked", "digested", "result", "said", "step", "used"]

MODEL = "claude-sonnet-4-5"


def said(text: str, role: str = "user") -> Message:
    return Message(role=role, parts=(Text(text=text),))


def asked(call: str, tool: str = "read", arguments: str = "{}") -> tuple[ToolCall, ...]:
    return (ToolCall(id=call, name=tool, arguments=arguments),)


def result(call: str, text: str, *, failed: bool = False) -> Message:
    return Message(role="tool", parts=(ToolResult(call_id=call, parts=(Text(text=text),), is_error=failed),))


def used(total: int, read: int = 0, write: int = 0, output: int = 10, **more: int) -> Usage:
    """`total` input tokens, what was read and written among them."""
    return Usage(input=total, cache_read=read, cache_write=write, output=output, **more)


def step(*new: Message, at: float | None = None, **more: object) -> Step:
    return Step(**{"session": "s", "model": MODEL, "provider": "anthropic", "new": new, "at": at, **more})


def digested(*events: Event, keep_text: bool = False, skip: frozenset[int] = frozenset()) -> Digest:
    """What these events come to, through the same door as a file's."""
    reader = Reader(name="made", title="made", claims=lambda _: True, read=lambda _source, _told: iter(events))
    return digest_of(reader, Source(paths=()), Pricer(), skip=skip, keep_text=keep_text)
