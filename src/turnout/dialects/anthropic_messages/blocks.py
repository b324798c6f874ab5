"""Content blocks of the Messages API to and from neutral parts, as they stand in requests and answers alike."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import cast

import msgspec
from msgspec.structs import replace

from turnout.chat import (
    Audio,
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
from turnout.dialects.loss import CITATIONS, UNKNOWN_BLOCK
from turnout.dialects.tool_shapes import arguments_of, safe_id
from turnout.dialects.values import bad, keys_of, object_at, optional_text, text_at
from turnout.errors import NotTranslatable

__all__ = [
    "NAME",
    "NOT_SIGNED",
    "cache_of",
    "cache_wire",
    "decode_block",
    "encode_blocks",
    "extras_of",
    "odd_cache",
    "own_keys",
    "shown",
]

NAME = "anthropic-messages"

NOT_SIGNED = "turnout-not-signed"
"""The signature under which callers of this API see other models' thinking. The API refuses a signature that is not
its own, an empty one too: what comes back with this mark is left out again."""

_PDF = "application/pdf"
_KNOWN: dict[str, frozenset[str]] = {
    "text": frozenset({"type", "text", "citations", "cache_control"}),
    "image": frozenset({"type", "source", "cache_control"}),
    "document": frozenset({"type", "source", "title", "cache_control"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": frozenset({"type", "id", "name", "input", "cache_control"}),
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"}),
}


def cache_of(value: Json, path: str) -> CacheBreakpoint | None:
    if value is None:
        return None
    ttl = object_at(value, path).get("ttl")
    if ttl is not None and ttl != "5m" and ttl != "1h":  # noqa: PLR1714 (a list would not be hashable)
        raise bad(f"{path}.ttl", "5m or 1h")
    return CacheBreakpoint(ttl)


def odd_cache(told: dict[str, Json]) -> dict[str, Json] | None:
    """The keys of `cache_control` besides type and lifetime: some clients send a `scope`."""
    value = told.get("cache_control")
    if not isinstance(value, dict):
        return None
    return {k: v for k, v in cast("dict[str, Json]", value).items() if k not in {"type", "ttl"}} or None


def cache_wire(cache: CacheBreakpoint | None, own: dict[str, Json]) -> dict[str, Json]:
    """`cache_control`; `own` are the extras that may hold its odd keys."""
    if cache is None:
        return {}
    ttl = {"ttl": cache.ttl} if cache.ttl else {}
    return {"cache_control": {"type": "ephemeral", **ttl, **own.get("_cache_control", {})}}


def own_keys(extras: Extras) -> dict[str, Json]:
    return keys_of(extras, NAME)


def extras_of(told: dict[str, Json], known: frozenset[str], **form: Json) -> Extras:
    """`extras` for the keys nobody else knows; `form` notes how something was spelled, where it was unusual."""
    rest = {k: v for k, v in told.items() if k not in known}
    kept = {f"_{k}": v for k, v in form.items() if v is not None}
    return {NAME: {**rest, **kept}} if rest or kept else {}


def decode_block(value: Json, path: str) -> Part:
    """One block. Raises InvalidRequest that names the field; blocks we do not know are kept whole."""
    told = object_at(value, path)
    kind = told.get("type")
    if not isinstance(kind, str) or kind not in _KNOWN:
        return Opaque(provider=NAME, data=told, cache=cache_of(told.get("cache_control"), f"{path}.cache_control"))
    cache = cache_of(told.get("cache_control"), f"{path}.cache_control")
    extras = extras_of(told, _KNOWN[kind], cache_control=odd_cache(told))
    match kind:
        case "text":
            return _said(told, path, cache)
        case "image" | "document":
            return _media(kind, told, path, cache)
        case "thinking":
            signature = optional_text(told.get("signature"), f"{path}.signature")
            thought = text_at(told.get("thinking", ""), f"{path}.thinking")
            author = None if signature == NOT_SIGNED else NAME
            return Reasoning(text=thought, signature=signature, provider=author, extras=extras)
        case "redacted_thinking":
            return Reasoning(redacted=text_at(told.get("data"), f"{path}.data"), provider=NAME, extras=extras)
        case "tool_use":
            arguments = msgspec.json.encode(told.get("input") or {}).decode()
            name = text_at(told.get("name"), f"{path}.name")
            return ToolCall(
                id=text_at(told.get("id"), f"{path}.id"), name=name, arguments=arguments, cache=cache, extras=extras
            )
        case _:
            return _result(told, path, cache)


def _said(told: dict[str, Json], path: str, cache: CacheBreakpoint | None) -> Text:
    citations = told.get("citations")
    if citations is not None and not isinstance(citations, list):
        raise bad(f"{path}.citations", "a list")
    form = "null" if "citations" in told and citations is None else None
    return Text(
        text=text_at(told.get("text"), f"{path}.text"),
        citations=tuple(cast("list[Json]", citations or ())),
        cache=cache,
        extras=extras_of(told, _KNOWN["text"], citations=form, cache_control=odd_cache(told)),
    )


def _media(kind: str, told: dict[str, Json], path: str, cache: CacheBreakpoint | None) -> Part:
    source = object_at(told.get("source"), f"{path}.source")
    at = f"{path}.source"
    match source.get("type"):
        case "base64":
            media_type = optional_text(source.get("media_type"), f"{at}.media_type")
            known = Source(media_type=media_type, data=text_at(source.get("data"), f"{at}.data"))
        case "url":
            known = Source(url=text_at(source.get("url"), f"{at}.url"))
        case "file":
            known = Source(file_id=text_at(source.get("file_id"), f"{at}.file_id"))
        case "text" if kind == "document":
            return _text_document(told, source, path, cache)
        case _:  # documents made of blocks: only this API has them
            return Opaque(provider=NAME, data=told, cache=cache)
    extras = extras_of(told, _KNOWN[kind], cache_control=odd_cache(told))
    if kind == "image":
        return Image(source=known, cache=cache, extras=extras)
    return File(source=known, filename=optional_text(told.get("title"), f"{path}.title"), cache=cache, extras=extras)


def _text_document(told: dict[str, Json], source: dict[str, Json], path: str, cache: CacheBreakpoint | None) -> Text:
    """A document made of plain text is text to every other API; `_document` holds its wrapping."""
    wrapping = {k: v for k, v in told.items() if k != "cache_control"}
    wrapping["source"] = {k: v for k, v in source.items() if k != "data"}
    form: dict[str, Json] = {"_document": wrapping}
    if odd := odd_cache(told):
        form["_cache_control"] = odd
    return Text(text=text_at(source.get("data"), f"{path}.source.data"), cache=cache, extras={NAME: form})


def _result(told: dict[str, Json], path: str, cache: CacheBreakpoint | None) -> ToolResult:
    content = told.get("content")
    if content is None or isinstance(content, str):
        parts: list[Part] = [] if content is None else [Text(text=content)]
        form = "absent" if "content" not in told else "string" if content is not None else "null"
    elif isinstance(content, list):
        parts = [_inner(b, f"{path}.content[{i}]") for i, b in enumerate(cast("list[Json]", content))]
        form = None
    else:
        raise bad(f"{path}.content", "a string or a list of blocks")
    flag = told.get("is_error")
    if flag is not None and not isinstance(flag, bool):
        raise bad(f"{path}.is_error", "true or false")
    return ToolResult(
        call_id=text_at(told.get("tool_use_id"), f"{path}.tool_use_id"),
        parts=tuple(p for p in parts if isinstance(p, (Text, Image, File, Audio, Opaque))),
        is_error=flag is True,
        cache=cache,
        extras=extras_of(
            told,
            _KNOWN["tool_result"],
            content=form,
            is_error="false" if flag is False else None,
            cache_control=odd_cache(told),
        ),
    )


def _inner(value: Json, path: str) -> Part:
    """A block within a tool's result; kinds that other APIs do not have there are kept whole."""
    part = decode_block(value, path)
    return Opaque(provider=NAME, data=value) if isinstance(part, (Reasoning, ToolCall, ToolResult)) else part


# ---- And back ----------------------------------------------------------------------------------------------


def encode_blocks(parts: Iterable[Part], warnings: list[str]) -> list[dict[str, Json]]:
    """Blocks for `parts`. What has no counterpart is left out with a warning; empty texts are, too, because the
    API refuses them. Raises NotTranslatable for audio."""
    out: list[dict[str, Json]] = []
    for part in parts:
        wire = _block(part, warnings)
        if wire is None:
            continue
        if isinstance(part, Opaque):
            out.append(wire)
        else:
            cache = cache_wire(part.cache, part.extras.get(NAME, {}))
            out.append({**wire, **cache, **own_keys(part.extras)})
    return out


def _block(part: Part, warnings: list[str]) -> dict[str, Json] | None:
    match part:
        case Text() | Refusal():
            return _text(part, warnings)
        case Reasoning():
            return _thinking(part, warnings)
        case ToolCall():
            arguments = arguments_of(part, warnings)
            return {"type": "tool_use", "id": safe_id(part.id), "name": part.name, "input": arguments}
        case ToolResult():
            return _tool_result(part, warnings)
        case Opaque():
            return _opaque(part, warnings)
        case Image() | File() | Audio():
            return _attached(part, warnings)


def _attached(part: Image | File | Audio, warnings: list[str]) -> dict[str, Json] | None:
    if isinstance(part, Image):
        return {"type": "image", "source": _source(part.source)}
    if isinstance(part, File):
        return _document(part, warnings)
    raise NotTranslatable("audio has no counterpart in the chosen model's API; name a model that hears")


def _opaque(part: Opaque, warnings: list[str]) -> Json:
    if part.provider == NAME:
        return part.data
    warnings.append(UNKNOWN_BLOCK)
    return None


def _text(part: Text | Refusal, warnings: list[str]) -> dict[str, Json] | None:
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text} if part.text else None
    form = part.extras.get(NAME, {})
    if "_document" in form:
        wrapping: dict[str, Json] = form["_document"]
        return {**wrapping, "source": {**wrapping["source"], "data": part.text}}
    if not part.text and NAME not in part.extras and not part.citations:
        return None
    out: dict[str, Json] = {"type": "text", "text": part.text}
    if part.citations:
        ours = [c for c in part.citations if _is_ours(c)]
        if len(ours) < len(part.citations):
            warnings.append(CITATIONS)
        out |= {"citations": ours} if ours else {}
    elif form.get("_citations") == "null":
        out["citations"] = None
    return out


def _is_ours(citation: Json) -> bool:
    """This API's citations are all named after a place: `char_location`, `web_search_result_location`, ..."""
    kind = cast("dict[str, Json]", citation).get("type") if isinstance(citation, dict) else None
    return isinstance(kind, str) and kind.endswith("_location")


def shown(part: Part) -> Part:
    """In an answer, other models' thinking may be shown, under a mark that keeps it from coming back."""
    if isinstance(part, Reasoning) and part.provider != NAME and part.text:
        return Reasoning(text=part.text, signature=NOT_SIGNED, provider=NAME)
    return part


def _thinking(part: Reasoning, warnings: list[str]) -> dict[str, Json] | None:
    if part.provider == NAME and part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    if part.provider == NAME and part.signature is not None:
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    warnings.append("thinking of another model was left out: its author alone may have it back")
    return None


def _tool_result(part: ToolResult, warnings: list[str]) -> dict[str, Json]:
    form = part.extras.get(NAME, {}).get("_content")
    out: dict[str, Json] = {"type": "tool_result", "tool_use_id": safe_id(part.call_id)}
    if form in {"string", "null"}:
        out["content"] = None if form == "null" else "".join(p.text for p in part.parts if isinstance(p, Text))
    elif form != "absent":
        out["content"] = encode_blocks(part.parts, warnings)
    if part.is_error:
        out["is_error"] = True
    elif part.extras.get(NAME, {}).get("_is_error") == "false":
        out["is_error"] = False
    return out


def _source(source: Source) -> dict[str, Json]:
    if source.file_id is not None:
        return {"type": "file", "file_id": source.file_id}
    if source.data is not None:
        return {"type": "base64", "media_type": source.media_type or "application/octet-stream", "data": source.data}
    return {"type": "url", "url": source.url}


def _document(part: File, warnings: list[str]) -> dict[str, Json] | None:
    """A document: the API reads PDF and plain text."""
    title = {"title": part.filename} if part.filename else {}
    media_type, data = part.source.media_type, part.source.data
    if data is None or media_type in {None, _PDF} or part.extras:
        source = _source(part.source if media_type or data is None else replace(part.source, media_type=_PDF))
        return {"type": "document", "source": source, **title}
    text = _plain_text(data) if media_type and media_type.startswith("text/") else None
    if text is None:
        warnings.append(f"a file of type {media_type} has no counterpart in the chosen model's API and was left out")
        return None
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, **title}


def _plain_text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:
        return None
