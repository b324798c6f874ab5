"""Content blocks of the Converse API to and from neutral parts, as they stand in requests and answers alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

import msgspec
from msgspec.structs import replace

from turnout.chat import (
    CacheBreakpoint,
    Extras,
    File,
    Image,
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from turnout.dialects.loss import THINKING, UNKNOWN_BLOCK
from turnout.dialects.tool_shapes import arguments_of, safe_id
from turnout.dialects.values import keys_of, list_at, object_at, optional_text, text_at
from turnout.errors import NotTranslatable

__all__ = ["NAME", "cache_point", "decode_blocks", "encode_blocks", "own_keys"]

NAME = "bedrock-converse"

_MEDIA = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""Media types by the API's `format` of documents."""
_FORMATS = {media: word for word, media in _MEDIA.items()}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")


def own_keys(extras: Extras) -> dict[str, Json]:
    return keys_of(extras, NAME)


def decode_blocks(value: Json, path: str) -> tuple[Part, ...]:
    """Blocks as parts; a cache point becomes a mark on what it follows. Raises InvalidRequest that names the field."""
    parts: list[Part] = []
    for i, item in enumerate(list_at(value, path)):
        block = object_at(item, f"{path}[{i}]")
        point = block.get("cachePoint")
        if isinstance(point, dict) and parts and parts[-1].cache is None and not isinstance(parts[-1], Opaque):
            parts[-1] = _marked(parts[-1], cast("dict[str, Json]", point))
        else:
            parts.append(_decode(block, f"{path}[{i}]"))
    return tuple(parts)


def _marked(part: Part, point: dict[str, Json]) -> Part:
    ttl = point.get("ttl")
    own = {**part.extras.get(NAME, {}), "_cache": point}
    cache = CacheBreakpoint(ttl if ttl in {"5m", "1h"} else None)  # pyright: ignore[reportArgumentType]
    return replace(part, cache=cache, extras={**part.extras, NAME: own})


def _decode(block: dict[str, Json], path: str) -> Part:
    kind = next(iter(block), "")
    if len(block) != 1:
        return Opaque(provider=NAME, data=block)
    inner, at = block[kind], f"{path}.{kind}"
    if kind == "text":
        return Text(text=text_at(inner, at), extras={NAME: {}})
    told = cast("dict[str, Json]", inner) if isinstance(inner, dict) else {}
    source = told.get("source")
    data = cast("dict[str, Json]", source).get("bytes") if isinstance(source, dict) else None
    match kind:
        case "image" if isinstance(data, str):
            return Image(source=Source(media_type=f"image/{told.get('format')}", data=data), extras=_rest(told))
        case "document" if isinstance(data, str):
            media = _MEDIA.get(str(told.get("format")))
            name = optional_text(told.get("name"), f"{at}.name")
            return File(source=Source(media_type=media, data=data), filename=name, extras=_rest(told, "name"))
        case "toolUse" if "type" not in told:
            return ToolCall(
                id=text_at(told.get("toolUseId"), f"{at}.toolUseId"),
                name=text_at(told.get("name"), f"{at}.name"),
                arguments=msgspec.json.encode(told.get("input") or {}).decode(),
                extras={NAME: {k: v for k, v in told.items() if k not in {"toolUseId", "name", "input"}}},
            )
        case "toolResult" if "type" not in told:
            return _result(told, at)
        case "reasoningContent":
            return _reasoning(object_at(inner, at), at)
        case _:
            return Opaque(provider=NAME, data=block)


def _rest(told: dict[str, Json], *known: str) -> Extras:
    rest = {k: v for k, v in told.items() if k not in {"source", "format", *known}}
    return {NAME: {**rest, "_format": told.get("format")}}


def _result(told: dict[str, Json], path: str) -> ToolResult:
    parts: list[Text | Image | File | Opaque] = []
    for i, item in enumerate(list_at(told.get("content"), f"{path}.content")):
        block = object_at(item, f"{path}.content[{i}]")
        if list(block) == ["json"]:
            parts.append(
                Text(text=msgspec.json.encode(block["json"]).decode(), extras={NAME: {"_json": block["json"]}})
            )
            continue
        part = _decode(block, f"{path}.content[{i}]")
        parts.append(part if isinstance(part, (Text, Image, File)) else Opaque(provider=NAME, data=block))
    rest = {k: v for k, v in told.items() if k not in {"toolUseId", "content", "status"}}
    return ToolResult(
        call_id=text_at(told.get("toolUseId"), f"{path}.toolUseId"),
        parts=tuple(parts),
        is_error=told.get("status") == "error",
        extras={NAME: {**rest, "_status": told.get("status")}},
    )


def _reasoning(told: dict[str, Json], path: str) -> Reasoning:
    if "reasoningText" not in told:
        return Reasoning(redacted=optional_text(told.get("redactedContent"), f"{path}.redactedContent"), provider=NAME)
    inner = object_at(told["reasoningText"], f"{path}.reasoningText")
    return Reasoning(
        text=text_at(inner.get("text", ""), f"{path}.reasoningText.text"),
        signature=optional_text(inner.get("signature"), f"{path}.reasoningText.signature"),
        provider=NAME,
    )


# ---- And back ----------------------------------------------------------------------------------------------


def encode_blocks(parts: Iterable[Part], warnings: list[str]) -> list[dict[str, Json]]:
    """Blocks for `parts`, a cache point after those that are marked. What has no counterpart is left out with a
    warning; blank texts are, too, because the API refuses them. Raises NotTranslatable for what it takes by no URL."""
    out: list[dict[str, Json]] = []
    for part in parts:
        block = _encode(part, warnings)
        if block is None:
            continue
        out.append(block)
        if part.cache is not None:
            out.append(cache_point(part.cache, part.extras.get(NAME, {}).get("_cache")))
    return out


def cache_point(cache: CacheBreakpoint, spelled: Json = None) -> dict[str, Json]:
    ttl = {"ttl": cache.ttl} if cache.ttl else {}
    return {"cachePoint": spelled if spelled is not None else {"type": "default", **ttl}}


def _encode(part: Part, warnings: list[str]) -> dict[str, Json] | None:
    match part:
        case Text() | Refusal():
            ours = NAME in part.extras
            return {"text": part.text} if ours or part.text.strip() else None
        case Image() | File():
            return _media(part)
        case ToolCall():
            use = {
                "toolUseId": part.id if NAME in part.extras else safe_id(part.id),
                "name": part.name,
                "input": arguments_of(part, warnings),
            }
            return {"toolUse": {**use, **own_keys(part.extras)}}
        case ToolResult():
            return _tool_result(part, warnings)
        case Reasoning() if part.provider == NAME:
            if part.redacted is not None:
                return {"reasoningContent": {"redactedContent": part.redacted}}
            signature = {"signature": part.signature} if part.signature is not None else {}
            return {"reasoningContent": {"reasoningText": {"text": part.text, **signature}}}
        case Reasoning():
            warnings.append(THINKING)
        case Opaque() if part.provider == NAME:
            return part.data
        case _:
            warnings.append(UNKNOWN_BLOCK)
    return None


def _media(part: Image | File) -> dict[str, Json]:
    source = part.source
    if source.data is None:
        kind = "image" if isinstance(part, Image) else "file"
        raise NotTranslatable(f"the chosen model's API takes an {kind} by its bytes alone; send it as a data URL")
    own = part.extras.get(NAME, {})
    subtype = (source.media_type or "").rpartition("/")[2]
    if isinstance(part, Image):
        word = own.get("_format") or {"jpg": "jpeg"}.get(subtype, subtype or "png")
        return {"image": {"format": word, "source": {"bytes": source.data}, **own_keys(part.extras)}}
    word = own.get("_format") or _FORMATS.get(source.media_type or "", subtype or "pdf")
    name = part.filename if own else _NOT_IN_NAMES.sub(" ", (part.filename or "file").rpartition(".")[0] or "file")
    named = {"name": name} if name is not None else {}
    return {"document": {"format": word, **named, "source": {"bytes": source.data}, **own_keys(part.extras)}}


def _tool_result(part: ToolResult, warnings: list[str]) -> dict[str, Json]:
    own = part.extras.get(NAME)
    content: list[dict[str, Json]] = []
    for inner in part.parts:
        if "_json" in inner.extras.get(NAME, {}):
            content.append({"json": inner.extras[NAME]["_json"]})
        else:
            content += encode_blocks([inner], warnings)
    status = (own or {}).get("_status") if own is not None else "error" if part.is_error else "success"
    told = {
        "toolUseId": part.call_id if own is not None else safe_id(part.call_id),
        "content": content or ([] if own is not None else [{"text": "(empty)"}]),
    }
    return {"toolResult": {**told, **({"status": status} if status else {}), **own_keys(part.extras)}}
