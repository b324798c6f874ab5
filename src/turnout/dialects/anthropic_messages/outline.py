"""The outline of a Messages request: what routing needs, by partial decoding, and the patch upstream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from turnout.chat import RequestOutline
from turnout.dialects.fields import decode_fields, decode_value, encode, get, join_fields
from turnout.errors import InvalidRequest

__all__ = ["OUR_METADATA", "outline", "patch"]

OUR_METADATA = frozenset({"mode", "session", "session_id", "tags"})
"""Keys that callers may put into `metadata` for us; the API itself takes `user_id` alone."""

Role = Literal["user", "assistant", "system"]
Positive = Annotated[int, Meta(ge=1)]


class _MessageHead(Struct):
    role: Role
    content: Raw


class _BlockHead(Struct):
    type: str = ""


class _Thinking(Struct):
    type: str = "disabled"


class _OutputConfig(Struct):
    format: Any = None


_string = msgspec.json.Decoder(str)
_bool = msgspec.json.Decoder(bool)
_positive = msgspec.json.Decoder(Positive)
_object = msgspec.json.Decoder(dict[str, Any])
_raws = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_MessageHead)
_blocks = msgspec.json.Decoder(list[_BlockHead])
_thinking = msgspec.json.Decoder(_Thinking)
_output_config = msgspec.json.Decoder(_OutputConfig)


def outline(body: bytes) -> RequestOutline:
    """Raises InvalidRequest that names the field."""
    fields = decode_fields(body)
    model = get(fields, "model", _string)
    if not model:
        raise InvalidRequest("model is missing: name one, or `auto`", param="model")
    raws = get(fields, "messages", _raws)
    if not raws:
        raise InvalidRequest("messages must be a list with at least one message", param="messages")
    limit = get(fields, "max_tokens", _positive)
    if limit is None:
        raise InvalidRequest("max_tokens is missing: this API asks for it", param="max_tokens")
    heads = [decode_value(raw, f"messages[{i}]", _message) for i, raw in enumerate(raws)]
    kinds = [_kinds(head, i) for i, head in enumerate(heads)]
    tools = get(fields, "tools", _raws) or ()
    thinking = get(fields, "thinking", _thinking)
    output = get(fields, "output_config", _output_config)
    metadata = get(fields, "metadata", _object) or {}
    user = metadata.get("user_id")
    return RequestOutline(
        model=model,
        fields=fields,
        messages=tuple(raws),
        roles=tuple(head.role for head in heads),
        prefix=tuple(fields[name] for name in ("tools", "system") if name in fields),
        stream=get(fields, "stream", _bool) or False,
        max_output_tokens=limit,
        tools=len(tools),
        tools_bytes=sum(len(memoryview(raw)) for raw in tools),
        system_bytes=len(memoryview(fields["system"])) if "system" in fields else 0,
        messages_bytes=sum(len(memoryview(raw)) for raw in raws),
        images=sum(k.count("image") for k in kinds),
        files=sum(k.count("document") for k in kinds),
        json_schema="output_format" in fields or (output is not None and output.format is not None),
        reasoning=thinking is not None and thinking.type != "disabled",
        tool_result_last="tool_result" in kinds[-1],
        metadata=metadata,
        user=user if isinstance(user, str) else None,
    )


def _kinds(head: _MessageHead, index: int) -> list[str]:
    """The types of a message's blocks; texts are passed over, not copied."""
    first = bytes(memoryview(head.content)[:1])
    if first == b'"':
        return []
    path = f"messages[{index}].content"
    if first != b"[":
        raise InvalidRequest(f"{path} must be a string or a list of blocks", param=path)
    return [block.type for block in decode_value(head.content, path, _blocks)]


def patch(told: RequestOutline, model: str, effort: str | None) -> bytes:
    """The caller's bytes with the model exchanged, the effort a mode sets, and our own hints taken out."""
    fields: dict[str, Raw | bytes] = {**told.fields, "model": encode(model)}
    if not OUR_METADATA.isdisjoint(told.metadata):
        fields["metadata"] = encode({k: v for k, v in told.metadata.items() if k not in OUR_METADATA})
    if effort is not None:
        config = get(told.fields, "output_config", _object) or {}
        fields["output_config"] = encode({**config, "effort": effort})
    return join_fields(fields)
