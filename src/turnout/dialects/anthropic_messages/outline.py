"""The outline of a Messages request: what routing needs, by partial decoding, and the patch upstream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from turnout.chat import RequestOutline
from turnout.dialects.anthropic_messages.blocks import NOT_SIGNED
from turnout.dialects.billing import asked_cache, has_hosted_tools, wished_tier
from turnout.dialects.fields import decode_fields, decode_value, encode, get, join_fields
from turnout.errors import InvalidRequest

__all__ = ["EFFORTS", "OUR_METADATA", "effort_keys", "outline", "patch"]

OUR_METADATA = frozenset({"mode", "session", "session_id", "tags"})
"""Keys that callers may put into `metadata` for us; the API itself takes `user_id` alone."""

EFFORTS = {
    "none": None,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""Other APIs' effort words in this one's (`output_config.effort`); `none` turns thinking off. Words not listed go as
they are."""

Role = Literal["user", "assistant", "system"]
Positive = Annotated[int, Meta(ge=1)]


class _MessageHead(Struct):
    role: Role
    content: Raw


class _BlockHead(Struct):
    type: str = ""
    content: Raw = Raw()
    source: Raw = Raw()


class _SourceHead(Struct):
    type: str = ""


class _Seen(Struct):
    """What the blocks of messages are, counted."""

    images: int = 0
    files: int = 0
    results: int = 0
    calls: int = 0


class _Thinking(Struct):
    type: str = "disabled"


class _Thought(Struct):
    signature: Any = None


class _OutputConfig(Struct):
    format: Any = None


_string = msgspec.json.Decoder(str)
_bool = msgspec.json.Decoder(bool)
_positive = msgspec.json.Decoder(Positive)
_object = msgspec.json.Decoder(dict[str, Any])
_raws = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_MessageHead)
_blocks = msgspec.json.Decoder(list[_BlockHead])
_source = msgspec.json.Decoder(_SourceHead)
_raw_object = msgspec.json.Decoder(dict[str, Raw])
_thinking = msgspec.json.Decoder(_Thinking)
_thought = msgspec.json.Decoder(_Thought)
_MARK = encode(NOT_SIGNED)
_NOTHING = encode({"type": "text", "text": "(empty)"})
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
    heads = [_head(raw, f"messages[{i}]") for i, raw in enumerate(raws)]
    seen, before = _Seen(), 0
    acts: list[int] = []
    for i, head in enumerate(heads):
        before, acted = seen.results, seen.results + seen.calls
        _look(head.content, f"messages[{i}].content", seen)
        if seen.results + seen.calls > acted:
            acts.append(i)
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
        images=seen.images,
        files=seen.files,
        json_schema=get(fields, "output_format", _object) is not None or bool(output and output.format is not None),
        reasoning=thinking is not None and thinking.type != "disabled",
        tool_result_last=seen.results > before,
        acts=tuple(acts),
        metadata=metadata,
        user=user if isinstance(user, str) else None,
        service_tier=_tier(fields),
        caches=asked_cache(body),
        unseen="mcp_servers" in fields or has_hosted_tools(fields.get("tools")),
    )


def _tier(fields: dict[str, Raw]) -> str | None:
    """The tier asked for; fast mode (`speed`) has a price of its own, as one."""
    fast = "speed" in fields and bytes(fields["speed"]) == b'"fast"'
    return "fast-mode" if fast else wished_tier(fields, "service_tier")


def _head(raw: Raw, path: str) -> _MessageHead:
    """A message's role and content. Raises InvalidRequest that names the very field."""
    try:
        return _message.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = decode_value(raw, path, _raw_object)
    if "content" not in told:
        raise InvalidRequest(f"{path}.content is missing", param=f"{path}.content")
    raise InvalidRequest(f"{path}.role must be user, assistant or system", param=f"{path}.role")


def _look(content: Raw, path: str, seen: _Seen, *, nested: bool = False) -> None:
    """Count a content's blocks, those in tools' results too (an agent's screenshots are there); texts are passed
    over, not copied."""
    first = bytes(memoryview(content)[:1])
    if first == b'"' or (nested and first != b"["):
        return
    if first != b"[":
        raise InvalidRequest(f"{path} must be a string or a list of blocks", param=path)
    for i, block in enumerate(decode_value(content, path, _blocks)):
        match block.type:
            case "image":
                seen.images += 1
            case "document" if decode_value(block.source, f"{path}[{i}].source", _source).type != "text":
                seen.files += 1  # one made of text is text to any model
            case "tool_result" if not nested:
                seen.results += 1
                _look(block.content, f"{path}[{i}].content", seen, nested=True)
            case "tool_use" if not nested:
                seen.calls += 1
            case _:
                pass


def effort_keys(effort: str, config: dict[str, Any]) -> dict[str, Any]:
    """The top-level keys that ask for `effort`, over the `output_config` there is."""
    word = EFFORTS.get(effort, effort)
    if word is None:
        return {"thinking": {"type": "disabled"}}
    return {"output_config": {**config, "effort": word}}


def patch(told: RequestOutline, model: str, effort: str | None = None) -> bytes:
    """The caller's bytes with the model exchanged, the effort a mode sets, our own hints taken out, and the thinking
    of other models that we showed (`NOT_SIGNED`): the API refuses to see it. All else byte for byte."""
    fields: dict[str, Raw | bytes] = {**told.fields, "model": encode(model)}
    if not OUR_METADATA.isdisjoint(told.metadata):
        fields["metadata"] = encode({k: v for k, v in told.metadata.items() if k not in OUR_METADATA})
    if effort is not None:
        config = get(told.fields, "output_config", _object) or {}
        fields.update({k: encode(v) for k, v in effort_keys(effort, config).items()})
    if _MARK in bytes(told.fields["messages"]):
        kept = (_signed(raw) if _MARK in bytes(raw) else bytes(raw) for raw in told.messages)
        fields["messages"] = b"[" + b",".join(kept) + b"]"
    return join_fields(fields)


def _signed(raw: Raw) -> bytes:
    """A message less the thinking that is not its reader's own."""
    message = msgspec.json.decode(raw, type=dict[str, Raw])
    blocks = decode_value(message["content"], "content", _raws) if bytes(message["content"])[:1] == b"[" else []
    kept = [bytes(block) for block in blocks if _thought.decode(block).signature != NOT_SIGNED]
    if len(kept) == len(blocks):
        return bytes(raw)
    return join_fields({**message, "content": b"[" + b",".join(kept or [_NOTHING]) + b"]"})
