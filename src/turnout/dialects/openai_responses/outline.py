"""The outline of a Responses request: what routing needs, by partial decoding, and the patch upstream."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from turnout.chat import RequestOutline
from turnout.dialects.billing import asked_cache, has_hosted_tools, wished_tier
from turnout.dialects.fields import decode_fields, decode_value, encode, get, join_fields
from turnout.dialects.openai_responses.items import SHOWN
from turnout.errors import InvalidRequest

__all__ = ["outline", "patch"]

Positive = Annotated[int, Meta(ge=1)]


class _ItemHead(Struct):
    type: str = "message"
    role: str = ""
    content: Raw = Raw(b"null")
    output: Raw = Raw(b"null")


class _PartHead(Struct):
    type: str = ""


class _Named(Struct):
    id: str | None = None


class _Reasoning(Struct):
    effort: str | None = None


class _Text(Struct):
    format: _PartHead | None = None


_string = msgspec.json.Decoder(str)
_bool = msgspec.json.Decoder(bool)
_positive = msgspec.json.Decoder(Positive)
_object = msgspec.json.Decoder(dict[str, Any])
_raws = msgspec.json.Decoder(list[Raw])
_item = msgspec.json.Decoder(_ItemHead)
_named = msgspec.json.Decoder(_Named)
_parts = msgspec.json.Decoder(list[_PartHead])
_reasoning = msgspec.json.Decoder(_Reasoning)
_text = msgspec.json.Decoder(_Text)
_MARK = SHOWN.encode()
_ELSEWHERE = frozenset({"prompt", "conversation", "previous_response_id"})


def outline(body: bytes) -> RequestOutline:
    """Raises InvalidRequest that names the field."""
    fields = decode_fields(body)
    model = get(fields, "model", _string)
    if not model:
        raise InvalidRequest("model is missing: name one, or `auto`", param="model")
    raws = _input(fields)
    heads = [_head(raw, f"input[{i}]") for i, raw in enumerate(raws)]
    kinds = _part_kinds(heads)
    tools = get(fields, "tools", _raws) or ()
    text = get(fields, "text", _text)
    thinking = get(fields, "reasoning", _reasoning)
    return RequestOutline(
        model=model,
        fields=fields,
        messages=tuple(raws),
        roles=tuple(_role(head) for head in heads),
        prefix=tuple(fields[name] for name in ("tools", "instructions") if name in fields),
        stream=get(fields, "stream", _bool) or False,
        max_output_tokens=get(fields, "max_output_tokens", _positive),
        tools=len(tools),
        tools_bytes=sum(len(memoryview(raw)) for raw in tools),
        system_bytes=len(memoryview(fields["instructions"])) if "instructions" in fields else 0,
        messages_bytes=sum(len(memoryview(raw)) for raw in raws),
        images=kinds.count("input_image"),
        files=kinds.count("input_file"),
        audio=kinds.count("input_audio"),
        json_schema=bool(text and text.format and text.format.type == "json_schema"),
        reasoning=thinking is not None and thinking.effort not in {None, "none", "minimal"},
        tool_result_last=bool(heads) and heads[-1].type.endswith("_output"),
        acts=tuple(i for i, head in enumerate(heads) if head.type not in {"message", "reasoning"}),
        metadata=get(fields, "metadata", _object) or {},
        user=get(fields, "user", _string),
        prompt_cache_key=get(fields, "prompt_cache_key", _string),
        service_tier=wished_tier(fields, "service_tier"),
        caches=asked_cache(body),
        unseen=not _ELSEWHERE.isdisjoint(fields) or has_hosted_tools(fields.get("tools")),
    )


def _input(fields: dict[str, Raw]) -> list[Raw]:
    """The items; a text is one. None where the conversation is kept elsewhere (`prompt`, `conversation`, ...)."""
    raw = fields.get("input")
    if raw is None or bytes(raw) == b"null":
        if not _ELSEWHERE.isdisjoint(fields):
            return []
        raise InvalidRequest("input is missing: a text, or a list of items", param="input")
    if bytes(memoryview(raw)[:1]) == b'"':
        return [raw]
    if bytes(memoryview(raw)[:1]) != b"[":
        raise InvalidRequest("input must be a string or a list of items", param="input")
    return decode_value(raw, "input", _raws)


def _head(raw: Raw, path: str) -> _ItemHead:
    if bytes(memoryview(raw)[:1]) == b'"' and path == "input[0]":
        return _ItemHead(role="user")
    head = decode_value(raw, path, _item)
    if head.type == "message" and head.role not in {"system", "developer", "user", "assistant"}:
        wanted = "system, developer, user or assistant"
        raise InvalidRequest(f"{path}.role must be {wanted}", param=f"{path}.role")
    return head


def _role(head: _ItemHead) -> str:
    if head.type == "message":
        return head.role
    return "tool" if head.type.endswith("_output") else "assistant"


def _part_kinds(heads: list[_ItemHead]) -> list[str]:
    """The types of all content parts, those in tools' results too; texts are passed over, not copied."""
    kinds: list[str] = []
    for i, head in enumerate(heads):
        for name, raw in (("content", head.content), ("output", head.output)):
            if bytes(memoryview(raw)[:1]) == b"[":
                kinds.extend(part.type for part in decode_value(raw, f"input[{i}].{name}", _parts))
    return kinds


def patch(told: RequestOutline, model: str, effort: str | None = None) -> bytes:
    """The caller's bytes with the model exchanged, the effort a mode sets, and the thinking of other models that we
    showed (`SHOWN`) taken out: the API knows no such items. All else byte for byte."""
    fields: dict[str, Raw | bytes] = {**told.fields, "model": encode(model)}
    if effort is not None:
        fields["reasoning"] = encode({**(get(told.fields, "reasoning", _object) or {}), "effort": effort})
    if any(_MARK in bytes(raw) for raw in told.messages):
        kept = (bytes(raw) for raw in told.messages if not _is_shown(raw))
        fields["input"] = b"[" + b",".join(kept) + b"]"
    return join_fields(fields)


def _is_shown(raw: Raw) -> bool:
    """Whether an item is thinking that we showed, and not merely a text that speaks of such ids."""
    if _MARK not in bytes(raw) or bytes(memoryview(raw)[:1]) != b"{":
        return False
    return (_named.decode(raw).id or "").startswith(SHOWN)
