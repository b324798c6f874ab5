"""Whole answers of the Responses API to and from `ChatResponse`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import (
    ChatResponse,
    FinishReason,
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from turnout.dialects.base import Encoded, Summary
from turnout.dialects.loss import UNKNOWN_BLOCK
from turnout.dialects.openai_responses.items import (
    NAME,
    SHOWN,
    call_item,
    decode_item,
    output_part,
    own_keys,
    reasoning_item,
)
from turnout.dialects.openai_responses.usage import decode_usage, encode_usage
from turnout.dialects.values import object_or_empty, told_once
from turnout.errors import InvalidRequest, UpstreamFailure

__all__ = [
    "Namer",
    "decode_output",
    "decode_response",
    "encode_response",
    "finish_of",
    "item_of",
    "response_object",
    "summarise",
]

_TOP = frozenset({"id", "object", "created_at", "model", "output", "usage", "service_tier"})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_INCOMPLETE: dict[str, Literal["length", "content_filter"]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_NO_ANSWER = "the provider's answer is no response"


class _ItemHead(Struct):
    type: str = ""


class _Head(Struct):
    output: list[_ItemHead]
    id: str | None = None
    model: str | None = None
    status: str | None = None
    incomplete_details: Any = None
    usage: Any = None
    service_tier: Any = None


_head = msgspec.json.Decoder(_Head)


def finish_of(status: Json, incomplete: Json, *, calls: bool) -> FinishReason:
    """Why an answer ended. The API has no word for a tool's call: it is an item of the output."""
    if status == "incomplete":
        why = object_or_empty(incomplete).get("reason")
        word = why if isinstance(why, str) else "incomplete"
        return FinishReason(_INCOMPLETE.get(word, "other"), word)
    if isinstance(status, str) and status in {"failed", "cancelled"}:
        return FinishReason("error", status)
    return FinishReason("tool_calls" if calls else "stop", status if isinstance(status, str) else None)


def summarise(body: bytes) -> Summary:
    """Raises UpstreamFailure when the body is no response."""
    try:
        head = _head.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
    calls = any(item.type in _CALLS for item in head.output)
    finish = finish_of(head.status, head.incomplete_details, calls=calls)
    return Summary(usage=decode_usage(head.usage, head.service_tier), finish=finish, model=head.model, id=head.id)


def decode_response(body: bytes) -> ChatResponse:
    """Raises UpstreamFailure when the body is no response."""
    try:
        told = msgspec.convert(msgspec.json.decode(body), dict[str, Any])
        return response_of(told, decode_output(msgspec.convert(told["output"], list[Any])))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, InvalidRequest):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None


def response_of(told: dict[str, Json], parts: tuple[Part, ...]) -> ChatResponse:
    calls = any(isinstance(part, ToolCall) for part in parts)
    created, tier = told.get("created_at"), told.get("service_tier")
    return ChatResponse(
        id=str(told.get("id") or ""),
        model=str(told.get("model") or ""),
        parts=parts,
        finish=finish_of(told.get("status"), told.get("incomplete_details"), calls=calls),
        usage=decode_usage(told.get("usage"), tier),
        created=int(created) if isinstance(created, (int, float)) else None,
        service_tier=tier if isinstance(tier, str) else None,
        extras={NAME: {k: v for k, v in told.items() if k not in _TOP}},
    )


def decode_output(items: Sequence[Json]) -> tuple[Part, ...]:
    """The parts of an answer. Those of one message remember which (`_at`) and what else was told of it (`_item`).
    Raises InvalidRequest."""
    parts: list[Part] = []
    for at, item in enumerate(items):
        message = decode_item(item, f"output[{at}]")
        if NAME not in message.extras:
            parts.extend(message.parts)
            continue
        told = {"_at": at, "_item": own_keys(message.extras)}
        # A message with no content at all is an empty text: its phase and id must not be lost.
        inner = message.parts or (Text(text="", extras={NAME: {"_empty": True}}),)
        parts.extend(replace(p, extras={NAME: {**p.extras.get(NAME, {}), **told}}) for p in inner)
    return tuple(parts)


class Namer:
    """Ids for items that come from other APIs, in this one's fashion. Stable: the same answer, the same ids."""

    def __init__(self, response_id: str) -> None:
        self._root = response_id.removeprefix("resp_").removeprefix("chatcmpl-").removeprefix("msg_") or "0"
        self._count = 0

    def __call__(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._root}_{self._count}"

    @property
    def response(self) -> str:
        return f"resp_{self._root}"


def response_object(
    name: str, model: str, created: int | None, status: str, own: dict[str, Json] | None
) -> dict[str, Json]:
    """A response without its output. Of another API's answer the echo of the request is left at its defaults."""
    head = {
        "id": name,
        "object": "response",
        "created_at": created if created is not None else int(time.time()),
        "model": model,
    }
    if own is not None:
        return {**head, **own}
    return {
        **head,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
    }


def status_of(finish: FinishReason) -> dict[str, Json]:
    match finish.unified:
        case "length":
            return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        case "content_filter" | "refusal":
            return {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
        case "error":
            return {"status": "failed", "error": {"code": "server_error", "message": "the model failed"}}
        case _:
            return {"status": "completed"}


def encode_response(response: ChatResponse) -> Encoded:
    warnings: list[str] = []
    ours = response.extras.get(NAME)
    namer = Namer(response.id)
    name = response.id if ours is not None else namer.response
    status = {} if ours is not None else status_of(response.finish)
    out = response_object(name, response.model, response.created, "completed", ours) | status
    out["output"] = list(_output(response.parts, namer, warnings))
    if (usage := encode_usage(response.usage)) is not None:
        out["usage"] = usage
    if response.service_tier is not None:
        out["service_tier"] = response.service_tier
    return Encoded(msgspec.json.encode(out), told_once(warnings))


def _output(parts: tuple[Part, ...], namer: Namer, warnings: list[str]) -> Iterable[dict[str, Json]]:
    """Items: texts and refusals that belong together as one message, all else one by one."""
    said: list[Part] = []
    for part in parts:
        spoken = isinstance(part, (Text, Refusal)) or _place(part) is not None
        if said and (not spoken or _place(said[-1]) != _place(part)):
            yield _message(said, namer, warnings)
            said = []
        if spoken:
            said.append(part)
        elif (item := item_of(part, namer, warnings)) is not None:
            yield item
    if said:
        yield _message(said, namer, warnings)


def _place(part: Part) -> Json:
    return part.extras.get(NAME, {}).get("_at")


def _message(parts: list[Part], namer: Namer, warnings: list[str]) -> dict[str, Json]:
    told = cast("dict[str, Json] | None", parts[0].extras.get(NAME, {}).get("_item"))
    item = told if told is not None else {"type": "message", "id": namer("msg_"), "status": "completed"}
    content = [output_part(p, warnings) for p in parts if "_empty" not in p.extras.get(NAME, {})]
    return {**item, "role": "assistant", "content": content}


def item_of(part: Part, namer: Namer, warnings: list[str]) -> dict[str, Json] | None:
    """The whole item of a part that is no text; None, with a warning, where there is no counterpart."""
    match part:
        case ToolCall():
            ours = {} if NAME in part.extras else {"id": namer("fc_"), "status": "completed"}
            return {**call_item(part), **ours}
        case Reasoning() if part.provider == NAME:
            return reasoning_item(part)
        case Reasoning() if part.text:
            return reasoning_item(Reasoning(text=part.text, id=namer(SHOWN)))
        case Reasoning():
            return None
        case Opaque() if part.provider == NAME:
            return part.data
        case _:
            warnings.append(UNKNOWN_BLOCK)
            return None
