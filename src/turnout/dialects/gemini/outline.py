"""The outline of a generateContent request: what routing needs, by partial decoding, and the patch upstream."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, field

from turnout.chat import ReasoningConfig, RequestOutline
from turnout.dialects.billing import has_hosted_tools, wished_tier
from turnout.dialects.fields import decode_fields, decode_value, encode, get, join_fields
from turnout.dialects.gemini.spelling import snake
from turnout.dialects.gemini.thinking import encode_thinking
from turnout.errors import InvalidRequest

__all__ = ["OUR_LABELS", "outline", "patch"]

OUR_LABELS = frozenset({"mode", "session", "session_id", "tags"})
"""Keys that callers may put into `labels` for us."""

_IN_THE_URL = frozenset({"model", "stream"})
_CACHED = frozenset({"cachedContent", "cached_content"})


class _Blob(Struct):
    mime: str | None = field(default=None, name="mimeType")
    mime_snake: str | None = field(default=None, name="mime_type")

    @property
    def media_type(self) -> str:
        return self.mime or self.mime_snake or ""


class _Attached(Struct):
    inline: _Blob | None = field(default=None, name="inlineData")
    inline_snake: _Blob | None = field(default=None, name="inline_data")
    file: _Blob | None = field(default=None, name="fileData")
    file_snake: _Blob | None = field(default=None, name="file_data")

    @property
    def blob(self) -> _Blob | None:
        return self.inline or self.inline_snake or self.file or self.file_snake


class _Result(Struct):
    parts: list[_Attached] | None = None


class _PartHead(_Attached):
    result: _Result | None = field(default=None, name="functionResponse")
    result_snake: _Result | None = field(default=None, name="function_response")


class _ContentHead(Struct):
    role: Literal["user", "model", "function", "tool"] | None = None
    parts: list[_PartHead] | None = None


class _Generation(Struct):
    """The few settings that routing looks at."""

    limit: int | None = field(default=None, name="maxOutputTokens")
    limit_snake: int | None = field(default=None, name="max_output_tokens")
    count: Any = field(default=None, name="candidateCount")
    count_snake: Any = field(default=None, name="candidate_count")
    schema: Any = field(default=None, name="responseSchema")
    schema_snake: Any = field(default=None, name="response_schema")
    json_schema: Any = field(default=None, name="responseJsonSchema")
    json_schema_snake: Any = field(default=None, name="response_json_schema")
    thinking: Any = field(default=None, name="thinkingConfig")
    thinking_snake: Any = field(default=None, name="thinking_config")


class _ToolHead(Struct):
    functions: list[Raw] | msgspec.UnsetType | None = field(default=UNSET, name="functionDeclarations")
    functions_snake: list[Raw] | msgspec.UnsetType | None = field(default=UNSET, name="function_declarations")


class _Seen(Struct):
    """What the parts of contents are, counted."""

    images: int = 0
    files: int = 0
    audio: int = 0
    results: int = 0


_raws = msgspec.json.Decoder(list[Raw])
_object = msgspec.json.Decoder(dict[str, Any])
_objects = msgspec.json.Decoder(dict[str, Any] | None)
_raw_object = msgspec.json.Decoder(dict[str, Raw])
_content = msgspec.json.Decoder(_ContentHead)
_generation = msgspec.json.Decoder(_Generation)
_tool = msgspec.json.Decoder(_ToolHead)
_ROLES = {"model": "assistant", "function": "tool", "tool": "tool"}


def _either(fields: dict[str, Raw], name: str) -> str:
    """`name` as this caller spells it."""
    return other if (other := snake(name)) in fields else name


def outline(body: bytes) -> RequestOutline:
    """Model and stream are in the URL: the caller of this puts them in. Roles are the neutral ones. Raises
    InvalidRequest that names the field."""
    fields = decode_fields(body)
    raws = get(fields, "contents", _raws)
    if not raws:
        raise InvalidRequest("contents must be a list with at least one content", param="contents")
    seen, before, roles = _Seen(), 0, list[str]()
    for i, raw in enumerate(raws):
        before = seen.results
        head = decode_value(raw, f"contents[{i}]", _content)
        roles.append(_ROLES.get(head.role or "", "user"))
        for part in head.parts or ():
            _count(part, seen)
    tools = get(fields, "tools", _raws) or []
    system = _either(fields, "systemInstruction")
    config = get(fields, _either(fields, "generationConfig"), _generation) or _Generation()
    thinking = config.thinking or config.thinking_snake
    return RequestOutline(
        model="",
        fields=fields,
        messages=tuple(raws),
        roles=tuple(roles),
        prefix=tuple(fields[name] for name in ("tools", system) if name in fields),
        max_output_tokens=_limit(config),
        tools=sum(_tools_in(raw, f"tools[{i}]") for i, raw in enumerate(tools)),
        tools_bytes=sum(len(memoryview(raw)) for raw in tools),
        system_bytes=len(memoryview(fields[system])) if system in fields else 0,
        messages_bytes=sum(len(memoryview(raw)) for raw in raws),
        images=seen.images,
        files=seen.files,
        audio=seen.audio,
        json_schema=_asks_for_schema(config),
        reasoning=isinstance(thinking, dict)
        and 0 not in (thinking.get("thinkingBudget"), thinking.get("thinking_budget")),
        tool_result_last=seen.results > before,
        metadata=get(fields, "labels", _object) or {},
        service_tier=wished_tier(fields, "serviceTier", "service_tier"),
        answers=_answers(config),
        unseen=not _CACHED.isdisjoint(fields) or has_hosted_tools(fields.get("tools")),
    )


def _limit(config: _Generation) -> int | None:
    limit = config.limit if config.limit is not None else config.limit_snake
    if limit is not None and limit < 1:
        name = "generationConfig.maxOutputTokens"
        raise InvalidRequest(f"{name} must be 1 or more", param=name)
    return limit


def _answers(config: _Generation) -> int:
    return max((n for n in (config.count, config.count_snake) if isinstance(n, int)), default=1)


def _asks_for_schema(config: _Generation) -> bool:
    schemas = (config.schema, config.schema_snake, config.json_schema, config.json_schema_snake)
    return any(schema is not None for schema in schemas)


def _tools_in(raw: Raw, path: str) -> int:
    """Functions count each; a tool of Google's own is one."""
    head = decode_value(raw, path, _tool)
    told = [f for f in (head.functions, head.functions_snake) if f is not UNSET]
    return sum(len(f) for f in told if f) if told else 1


def _count(part: _PartHead, seen: _Seen) -> None:
    """A part, or what is attached to a tool's result: an agent's screenshots are there."""
    result = part.result or part.result_snake
    attached = list(result.parts or ()) if result is not None else []
    seen.results += result is not None
    for blob in (p.blob for p in (part, *attached)):
        match None if blob is None else blob.media_type.partition("/")[0]:
            case None:
                pass
            case "image":
                seen.images += 1
            case "audio":
                seen.audio += 1
            case _:
                seen.files += 1


def patch(told: RequestOutline, model: str, effort: str | None = None) -> bytes:
    """The caller's bytes less what belongs into the URL and our own hints, with the thinking that a mode asks for.
    `model` is not written: it says how thinking is asked of it."""
    fields: dict[str, Raw | bytes] = {k: v for k, v in told.fields.items() if k not in _IN_THE_URL}
    if not OUR_LABELS.isdisjoint(told.metadata):
        labels = {k: v for k, v in told.metadata.items() if k not in OUR_LABELS}
        fields["labels"] = encode(labels)
        if not labels:
            del fields["labels"]
    if effort is not None:
        wanted = encode_thinking(ReasoningConfig(effort=effort), model, [])
        name = _either(told.fields, "generationConfig")
        config: dict[str, Raw | bytes] = dict(get(told.fields, name, _raw_object) or {})
        fields[name] = join_fields(_thinking_fields(config, wanted))
    return join_fields(fields)


def _thinking_fields(config: dict[str, Raw | bytes], wanted: dict[str, Any]) -> dict[str, Raw | bytes]:
    """`generationConfig` with other thinking; whether thoughts are shown stays the caller's."""
    out = {k: v for k, v in config.items() if k not in {"thinkingConfig", "thinking_config"}}
    before = config.get("thinkingConfig") or config.get("thinking_config")
    shown = decode_value(before, "generationConfig.thinkingConfig", _objects) if before else None
    show = shown.get("includeThoughts", shown.get("include_thoughts")) if shown else None
    new: dict[str, Any] = dict(wanted.get("thinkingConfig") or {})
    if new and show is not None:
        new["includeThoughts"] = show
    return {**out, "thinkingConfig": encode(new)} if new else out
