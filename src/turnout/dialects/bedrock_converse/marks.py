"""Where a Converse request is marked for the cache: a `cachePoint` after what it ends.

Source: docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct

from turnout.chat import CacheTtl
from turnout.dialects.marks import MarkForm, appended, missing, replaced

__all__ = ["MARK_FORM"]


class _Block(Struct):
    point: Raw = msgspec.field(default_factory=Raw, name="cachePoint")


class _Message(Struct):
    content: Raw


class _ToolConfig(Struct):
    tools: Raw = Raw()


_blocks = msgspec.json.Decoder(list[_Block])
_message = msgspec.json.Decoder(_Message)
_tool_config = msgspec.json.Decoder(_ToolConfig)


def _pointed(array: Raw | None, ttl: CacheTtl | None) -> bytes | None:
    """An array of blocks or tools with a cache point at its end; None for an empty one."""
    if array is None or missing(array) or not _blocks.decode(array):
        return None
    lifetime = b"" if ttl is None else b',"ttl":"%b"' % ttl.encode()
    return appended(array, b'{"cachePoint":{"type":"default"' + lifetime + b"}}")


def _tools(fields: Mapping[str, Raw], ttl: CacheTtl | None) -> tuple[str, bytes] | None:
    if "toolConfig" not in fields:
        return None
    found = _pointed(_tool_config.decode(fields["toolConfig"]).tools, ttl)
    return None if found is None else ("toolConfig", replaced(fields["toolConfig"], "tools", found))


def _system(fields: Mapping[str, Raw], ttl: CacheTtl | None) -> tuple[str, bytes] | None:
    found = _pointed(fields.get("system"), ttl)
    return None if found is None else ("system", found)


def _marked(raw: Raw, ttl: CacheTtl | None) -> bytes | None:
    found = _pointed(_message.decode(raw).content, ttl)
    return None if found is None else replaced(raw, "content", found)


def _carries(fields: Mapping[str, Raw], messages: Sequence[Raw]) -> bool:
    tools = _tool_config.decode(fields["toolConfig"]).tools if "toolConfig" in fields else Raw()
    arrays = (tools, fields.get("system", Raw()), *(_message.decode(raw).content for raw in messages))
    return any(not missing(block.point) for array in arrays if not missing(array) for block in _blocks.decode(array))


MARK_FORM = MarkForm(carries=_carries, tools=_tools, system=_system, message=_marked)
