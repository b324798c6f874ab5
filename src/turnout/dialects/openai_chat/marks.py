"""Where a chat completion request is marked for the cache, at hosts that hand marks on to Claude.

Source: openrouter.ai/docs/features/prompt-caching (`cache_control` in content parts); a tool's result bears it beside
its content, as OpenRouter's own SDK writes it (@openrouter/ai-sdk-provider). OpenAI itself takes no such key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct

from turnout.chat import CacheTtl
from turnout.dialects.anthropic_messages.marks import marked_block, marked_text, with_control
from turnout.dialects.marks import MarkForm, carried, last_of, missing, replaced

__all__ = ["MARK_FORM"]

_TAKE_MARKS = frozenset({"text", "image_url", "file"})


class _Message(Struct):
    role: str
    content: Raw = Raw(b"null")
    cache_control: Raw = Raw()


_message = msgspec.json.Decoder(_Message)


def _marked(raw: Raw, ttl: CacheTtl | None) -> bytes | None:
    told = _message.decode(raw)
    if told.role == "tool":
        return with_control(raw, ttl, there=bool(bytes(told.cache_control)))
    match bytes(memoryview(told.content)[:1]):
        case b'"':
            found = marked_text(told.content, ttl)
        case b"[":
            found = last_of(told.content, lambda part: marked_block(part, ttl, _TAKE_MARKS))
        case _:
            found = None
    return None if found is None else replaced(raw, "content", found)


def _none(fields: Mapping[str, Raw], ttl: CacheTtl | None) -> None:
    """Tools take no mark here: the system text's is after them, and system texts are messages."""
    del fields, ttl


def _carries(fields: Mapping[str, Raw], messages: Sequence[Raw]) -> bool:
    return not missing(fields.get("cache_control")) or any(
        carried(raw) for raw in (fields.get("tools"), *reversed(messages))
    )


MARK_FORM = MarkForm(
    carries=_carries,
    tools=_none,
    system=_none,
    message=_marked,
    system_within=True,
    turns=frozenset({"user", "tool"}),
)
