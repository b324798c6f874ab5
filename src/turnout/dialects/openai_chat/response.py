"""Whole chat completions to and from `ChatResponse`."""

from __future__ import annotations

import time
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from turnout.chat import (
    ChatResponse,
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Unified,
)
from turnout.dialects.base import Encoded, Summary
from turnout.dialects.finish import FinishWords
from turnout.dialects.openai_chat.encode import encode_parts, encode_tool_call
from turnout.dialects.openai_chat.request import NAME, rest_of
from turnout.dialects.openai_chat.usage import decode_usage, encode_usage
from turnout.errors import UpstreamFailure

__all__ = [
    "FINISH",
    "decode_response",
    "encode_response",
    "message_parts",
    "summarise",
    "thinking_text",
]

_MEANING: dict[str, Unified] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    # Words of other hosts that speak this format.
    "end_turn": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "model_length": "length",
}
_WORDS: dict[Unified, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
    "error": "stop",
    "other": "stop",
}

FINISH = FinishWords(
    meaning=_MEANING,
    word=_WORDS,
    foreign=frozenset({"error", "end_turn", "eos", "max_tokens", "model_length"}),
)
_TOP = frozenset({"id", "object", "created", "model", "choices", "usage", "service_tier"})
_MESSAGE = frozenset({"role", "content", "tool_calls", "refusal", "reasoning_content", "reasoning"})


class _ChoiceHead(Struct):
    finish_reason: str | None = None


class _Head(Struct):
    choices: list[_ChoiceHead]
    id: str | None = None
    model: str | None = None
    usage: Raw = Raw(b"null")
    service_tier: Any = None


_head = msgspec.json.Decoder(_Head)
_NO_ANSWER = "the provider's answer is no chat completion"


def summarise(body: bytes) -> Summary:
    """Raises UpstreamFailure when the body is no chat completion."""
    try:
        head = _head.decode(body)
        usage = decode_usage(msgspec.json.decode(head.usage), head.service_tier)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
    finish = FINISH.read(head.choices[0].finish_reason) if head.choices else None
    return Summary(usage=usage, finish=finish, model=head.model, id=head.id)


def decode_response(body: bytes) -> ChatResponse:
    """Raises UpstreamFailure when the body is no chat completion."""
    try:
        told: Any = msgspec.json.decode(body)
        choices: list[dict[str, Json]] = msgspec.convert(told["choices"], list[dict[str, Any]])
        first = choices[0]
        message = msgspec.convert(first["message"], dict[str, Any])
        parts = message_parts(message)
        finish = msgspec.convert(first.get("finish_reason"), str | None)
        response = ChatResponse(
            id=str(told.get("id") or ""),
            model=str(told.get("model") or ""),
            parts=tuple(parts),
            finish=FINISH.read(finish),
            usage=decode_usage(told.get("usage"), told.get("service_tier")),
            created=told.get("created") if isinstance(told.get("created"), int) else None,
            service_tier=told.get("service_tier"),
            extras=rest_of(told, _TOP),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
    kept = {
        "_choice": {k: v for k, v in first.items() if k not in {"message", "finish_reason", "index"}}
        | ({} if FINISH.write(response.finish) == finish else {"finish_reason": finish}),  # none, or an unknown word
        "_message": {k: v for k, v in message.items() if k not in _MESSAGE},
        "_choices": choices[1:],
    }
    own = {**response.extras.get(NAME, {}), **{k: v for k, v in kept.items() if v}}
    return msgspec.structs.replace(response, extras={NAME: own} if own else {})


def message_parts(message: dict[str, Json]) -> list[Part]:
    """The parts of an assistant message, thinking first, calls last. Raises TypeError or KeyError."""
    parts: list[Part] = []
    for key in ("reasoning_content", "reasoning"):
        if isinstance(message.get(key), str) and message[key]:
            parts.append(Reasoning(text=message[key], provider=NAME, extras={NAME: {"key": key}}))
            break
    content = message.get("content")
    if isinstance(content, str):
        if content:
            parts.append(Text(text=content))
    elif isinstance(content, list):
        parts.extend(_content_part(block) for block in cast("list[dict[str, Json]]", content))
    if isinstance(message.get("refusal"), str):
        parts.append(Refusal(text=message["refusal"], extras={NAME: {"key": True}}))
    for call in message.get("tool_calls") or ():
        kind = call.get("type") or "function"
        inner = call[kind]
        parts.append(
            ToolCall(
                id=str(call["id"]),
                name=str(inner["name"]),
                arguments=str(inner.get("arguments", inner.get("input", "")) or ""),
                freeform=kind == "custom",
                extras=_call_extras(call, kind),
            )
        )
    return parts


def _call_extras(call: dict[str, Json], kind: str) -> dict[str, dict[str, Json]]:
    if kind != "function":
        return {NAME: {"type": kind}}
    form = "no type" if "type" not in call else None if call[kind].get("arguments") else "no arguments"
    return rest_of(call, frozenset({"id", "type", kind}), form)


def _content_part(block: dict[str, Json]) -> Part:
    own = {NAME: {"_block": block}}
    if block.get("type") == "text":
        return Text(text=str(block.get("text") or ""), extras=own)
    if block.get("type") == "thinking":
        return Reasoning(text=thinking_text(block), provider=NAME, extras=own)
    return Opaque(provider=NAME, data=block)


def thinking_text(block: dict[str, Json]) -> str:
    """The text of Mistral's thinking block: a string, or a list of text blocks."""
    inner = block.get("thinking")
    if isinstance(inner, list):
        texts = (b.get("text") for b in cast("list[Json]", inner) if isinstance(b, dict))
        return "".join(t for t in texts if isinstance(t, str))
    return inner if isinstance(inner, str) else ""


def encode_response(response: ChatResponse) -> Encoded:
    warnings: list[str] = []
    own = dict(response.extras.get(NAME, {}))
    choice, message, others = own.pop("_choice", {}), own.pop("_message", {}), own.pop("_choices", [])
    told = encode_message(response.parts, warnings)
    out: dict[str, Json] = {
        "id": response.id,
        "object": "chat.completion",
        "created": response.created if response.created is not None else int(time.time()),
        "model": response.model,
        "choices": [
            {
                "index": 0,
                "message": {**told, **message},
                "finish_reason": FINISH.write(response.finish),
                **choice,
            },
            *others,
        ],
    }
    if (usage := encode_usage(response.usage)) is not None:
        out["usage"] = usage
    if response.service_tier is not None:
        out["service_tier"] = response.service_tier
    return Encoded(msgspec.json.encode({**out, **own}), tuple(dict.fromkeys(warnings)))


def encode_message(parts: tuple[Part, ...], warnings: list[str]) -> dict[str, Json]:
    """The assistant message of an answer. Several texts are joined: this format has one, but for Mistral's blocks,
    which come back as they were."""
    blocks = [p.extras[NAME]["_block"] for p in parts if "_block" in p.extras.get(NAME, {})]
    texts = [p.text for p in parts if isinstance(p, Text)]
    thoughts = [p for p in parts if isinstance(p, Reasoning) and p.text]
    refusals = [p.text for p in parts if isinstance(p, Refusal)]
    calls = [encode_tool_call(p) for p in parts if isinstance(p, ToolCall)]
    out: dict[str, Json] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if blocks:
        out["content"] = blocks
    elif thoughts:
        key = thoughts[0].extras.get(NAME, {}).get("key", "reasoning_content")
        out[key] = "".join(p.text for p in thoughts)
    if refusals:
        out["refusal"] = "".join(refusals)
    if calls:
        out["tool_calls"] = calls
    if any(p.citations for p in parts if isinstance(p, Text)):
        warnings.append("citations have no counterpart in the caller's API and were left out")
    known = (Text, Reasoning, Refusal, ToolCall)
    encode_parts([p for p in parts if not isinstance(p, (*known, ToolResult))], warnings)
    return out
