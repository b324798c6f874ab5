"""Where a Messages request is marked for the cache: `cache_control` on a block.

Source: platform.claude.com/docs/en/build-with-claude/prompt-caching. Thinking and empty texts take no mark, nor do
tools whose loading is put off (docs/en/agents-and-tools/tool-use/tool-search-tool).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct

from turnout.chat import CacheTtl
from turnout.dialects.marks import MarkForm, appended, carried, last_of, missing, replaced

__all__ = ["MARK_FORM", "control", "marked_block", "marked_text", "with_control"]

_TAKE_MARKS = frozenset({"text", "image", "document", "tool_use", "tool_result", "search_result"})


class _Block(Struct):
    type: str = ""
    text: Raw = Raw()
    cache_control: Raw = Raw()


class _Tool(Struct):
    defer_loading: bool | None = None
    cache_control: Raw = Raw()


class _Message(Struct):
    content: Raw


_block = msgspec.json.Decoder(_Block)
_tool = msgspec.json.Decoder(_Tool)
_message = msgspec.json.Decoder(_Message)
_text = msgspec.json.Decoder(str)


def control(ttl: CacheTtl | None) -> bytes:
    """The value of `cache_control`."""
    return b'{"type":"ephemeral"}' if ttl is None else b'{"type":"ephemeral","ttl":"%b"}' % ttl.encode()


def marked_text(raw: Raw, ttl: CacheTtl | None) -> bytes | None:
    """A text as the list of one block that it stands for, marked; None for a blank one."""
    if not _text.decode(raw).strip():
        return None
    return b'[{"type":"text","text":' + bytes(raw) + b',"cache_control":' + control(ttl) + b"}]"


def marked_block(raw: Raw, ttl: CacheTtl | None, kinds: frozenset[str] = _TAKE_MARKS) -> bytes | None:
    """A block with a mark; None where its kind takes none."""
    told = _block.decode(raw)
    if told.type not in kinds:
        return None
    if told.type == "text" and (missing(told.text) or not _text.decode(told.text).strip()):
        return None
    return with_control(raw, ttl, there=bool(bytes(told.cache_control)))


def with_control(raw: Raw, ttl: CacheTtl | None, *, there: bool) -> bytes:
    """An object with a mark. Some clients write `null` for none (`there`): that is replaced."""
    value = control(ttl)
    return replaced(raw, "cache_control", value) if there else appended(raw, b'"cache_control":' + value)


def _marked_tool(raw: Raw, ttl: CacheTtl | None) -> bytes | None:
    told = _tool.decode(raw)
    return None if told.defer_loading else with_control(raw, ttl, there=bool(bytes(told.cache_control)))


def _tools(fields: Mapping[str, Raw], ttl: CacheTtl | None) -> tuple[str, bytes] | None:
    found = last_of(fields["tools"], lambda raw: _marked_tool(raw, ttl)) if "tools" in fields else None
    return None if found is None else ("tools", found)


def _content(raw: Raw, ttl: CacheTtl | None) -> bytes | None:
    if bytes(memoryview(raw)[:1]) == b'"':
        return marked_text(raw, ttl)
    return last_of(raw, lambda block: marked_block(block, ttl))


def _system(fields: Mapping[str, Raw], ttl: CacheTtl | None) -> tuple[str, bytes] | None:
    found = _content(fields["system"], ttl) if "system" in fields else None
    return None if found is None else ("system", found)


def _marked_message(raw: Raw, ttl: CacheTtl | None) -> bytes | None:
    found = _content(_message.decode(raw).content, ttl)
    return None if found is None else replaced(raw, "content", found)


def _carries(fields: Mapping[str, Raw], messages: Sequence[Raw]) -> bool:
    if not missing(fields.get("cache_control")):  # at the top it asks for automatic caching
        return True
    return any(carried(raw) for raw in (fields.get("tools"), fields.get("system"), *reversed(messages)))


MARK_FORM = MarkForm(carries=_carries, tools=_tools, system=_system, message=_marked_message)
