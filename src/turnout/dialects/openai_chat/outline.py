"""The outline of a chat completion request: what routing needs, by partial decoding, and the patch upstream."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter, itemgetter, sub
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from turnout.chat import RequestOutline
from turnout.dialects.billing import MARK_BYTES, answers_in, asked_cache, wished_tier
from turnout.dialects.fields import decode_fields, decode_value, encode, get, join_fields
from turnout.errors import InvalidRequest

__all__ = ["outline", "patch"]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
RESULTS = frozenset({"tool", "function"})
_QUOTE, _BRACKET, _N = b'"[n'
_ROOM = len('{"role":"","content":}') + MARK_BYTES
_ANSWERS = len('"tool_call_id":,')
Positive = Annotated[int, Meta(ge=1)]


class _MessageHead(Struct):
    role: str = ""
    content: Raw = Raw(b"null")
    tool_call_id: Raw = Raw(b"")
    tool_calls: Raw | UnsetType = UNSET


class _PartHead(Struct):
    type: str = ""


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _ResponseFormat(Struct):
    type: str = "text"


_role = attrgetter("role")
_content = attrgetter("content")
_first = itemgetter(0)
_string = msgspec.json.Decoder(str)
_bool = msgspec.json.Decoder(bool)
_positive = msgspec.json.Decoder(Positive)
_object = msgspec.json.Decoder(dict[str, Any])
_raws = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_MessageHead)
_heads = msgspec.json.Decoder(list[_MessageHead])
_parts = msgspec.json.Decoder(list[_PartHead])
_stream_options = msgspec.json.Decoder(_StreamOptions)
_response_format = msgspec.json.Decoder(_ResponseFormat)


def outline(body: bytes) -> RequestOutline:
    """Raises InvalidRequest that names the field."""
    fields = decode_fields(body)
    model = get(fields, "model", _string)
    if not model:
        raise InvalidRequest("model is missing: name one, or `auto`", param="model")
    raws = get(fields, "messages", _raws)
    if not raws:
        raise InvalidRequest("messages must be a list with at least one message", param="messages")
    heads = _heads_of(fields["messages"], raws)
    contents = list(map(memoryview, map(_content, heads)))
    firsts = bytes(map(_first, contents))
    kinds = _part_kinds(heads, firsts)
    sizes = list(map(len, map(memoryview, raws)))
    beside = map(sub, sizes, map(len, contents))
    tools = get(fields, "tools", _raws) or ()
    options = get(fields, "stream_options", _stream_options)
    response_format = get(fields, "response_format", _response_format)
    limit = get(fields, "max_completion_tokens", _positive) or get(fields, "max_tokens", _positive)
    return RequestOutline(
        model=model,
        fields=fields,
        messages=tuple(raws),
        roles=tuple(map(_role, heads)),
        prefix=tuple(fields[name] for name in ("tools", "functions") if name in fields),
        stream=get(fields, "stream", _bool) or False,
        include_usage=bool(options and options.include_usage),
        max_output_tokens=limit,
        tools=len(tools) + len(get(fields, "functions", _raws) or ()),
        tools_bytes=sum(map(len, map(memoryview, tools))),
        messages_bytes=sum(sizes),
        images=kinds.count("image_url"),
        files=kinds.count("file"),
        audio=kinds.count("input_audio"),
        json_schema=response_format is not None and response_format.type == "json_schema",
        reasoning=get(fields, "reasoning_effort", _string) not in {None, "none", "minimal"},
        tool_result_last=heads[-1].role in RESULTS,
        acts=tuple([i for i, head in enumerate(heads) if head.tool_calls is not UNSET or head.role in RESULTS]),
        metadata=get(fields, "metadata", _object) or {},
        user=get(fields, "user", _string),
        prompt_cache_key=get(fields, "prompt_cache_key", _string),
        service_tier=wished_tier(fields, "service_tier"),
        caches=_asked_cache(fields, _marking(raws, heads, firsts, beside)),
        answers=answers_in(fields, "n"),
        unseen="web_search_options" in fields,
    )


def _heads_of(whole: Raw, raws: list[Raw]) -> list[_MessageHead]:
    """All heads in one go; one by one where something is wrong, to say which."""
    try:
        heads = _heads.decode(whole)
    except (msgspec.DecodeError, RecursionError):
        heads = []
    if not heads or not ROLES.issuperset(map(_role, heads)):
        return [_head(raw, f"messages[{i}]") for i, raw in enumerate(raws)]
    return heads


def _head(raw: Raw, path: str) -> _MessageHead:
    head = decode_value(raw, path, _message)
    if head.role not in ROLES:
        wanted = "system, developer, user, assistant or tool"
        raise InvalidRequest(f"{path}.role must be {wanted}", param=f"{path}.role")
    return head


def _marking(raws: list[Raw], heads: list[_MessageHead], firsts: bytes, beside: Iterable[int]) -> list[Raw]:
    """The messages that may ask for the cache: those whose content is a list, and those that have, beside their
    content, a role and an id, room for the words."""
    return [
        raw
        for raw, head, first, room in zip(raws, heads, firsts, beside, strict=True)
        if first == _BRACKET or (room >= _ROOM and room - _named(head) >= _ROOM)
    ]


def _named(head: _MessageHead) -> int:
    """How many bytes a message's role and id take."""
    answered = len(memoryview(head.tool_call_id))
    return len(head.role) + (answered + _ANSWERS if answered else 0)


def _asked_cache(fields: dict[str, Raw], marking: list[Raw]) -> Literal["5m", "1h"] | None:
    """What a request asks of the cache: where else the words stand, a text speaks of it. That part alone is looked
    through: it is small where all else is plain text."""
    others = (piece for name, raw in fields.items() if name != "messages" for piece in (encode(name), raw))
    return asked_cache(b"\n".join((*others, *marking)))


def _part_kinds(heads: list[_MessageHead], firsts: bytes) -> list[str]:
    """The types of all content parts; texts are passed over, not copied."""
    kinds: list[str] = []
    if not firsts.translate(None, b'"n'):
        return kinds
    for i, first in enumerate(firsts):
        path = f"messages[{i}].content"
        if first == _BRACKET:
            kinds.extend([part.type for part in decode_value(heads[i].content, path, _parts)])
        elif first not in {_QUOTE, _N}:
            raise InvalidRequest(f"{path} must be a string or a list of parts", param=path)
    return kinds


def patch(told: RequestOutline, model: str, effort: str | None = None) -> bytes:
    """The caller's bytes with the model exchanged, usage asked for in a stream, and the effort a mode sets."""
    fields: dict[str, Raw | bytes] = {**told.fields, "model": encode(model)}
    if told.stream and not told.include_usage:
        options = get(told.fields, "stream_options", _object) or {}
        fields["stream_options"] = encode({**options, "include_usage": True})
    if effort is not None:
        fields["reasoning_effort"] = encode(effort)
    return join_fields(fields)
