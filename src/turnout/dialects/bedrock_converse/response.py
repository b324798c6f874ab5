"""Converse answers to and from `ChatResponse`, with their usage and reasons."""

from __future__ import annotations

from typing import Any

import msgspec

from turnout.chat import ChatResponse, Json, Unified, Usage
from turnout.dialects.base import Encoded, Summary
from turnout.dialects.bedrock_converse.blocks import NAME, decode_blocks, encode_blocks, own_keys
from turnout.dialects.billing import tier_word
from turnout.dialects.finish import FinishWords
from turnout.dialects.values import count_or_none, object_or_empty, told_once
from turnout.errors import InvalidRequest, UpstreamFailure

__all__ = [
    "decode_response",
    "decode_usage",
    "encode_response",
    "encode_usage",
    "summarise",
]

_MEANING: dict[str, Unified] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
_WORDS: dict[Unified, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "content_filtered",
    "pause": "end_turn",
    "error": "malformed_model_output",
    "other": "end_turn",
}
FINISH = FinishWords(
    meaning=_MEANING,
    word=_WORDS,
)
_TOP = frozenset({"output", "stopReason", "usage"})
_NO_ANSWER = "the provider's answer is no conversation turn"


def decode_usage(value: Json, tier: Json = None) -> Usage | None:
    """The neutral usage. `inputTokens` leaves out what was read from and written to the cache (as Anthropic's). `tier`
    is the `serviceTier` that stands beside it."""
    if not isinstance(value, dict):
        return None
    told = object_or_empty(value)
    plain, read, write = (
        count_or_none(told.get(name)) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    )
    return Usage(
        input=None if plain is None else plain + (read or 0) + (write or 0),
        cache_read=read,
        cache_write=write,
        output=count_or_none(told.get("outputTokens")),
        service_tier=tier_word(object_or_empty(tier).get("type")),
        raw=told,
    )


def encode_usage(usage: Usage | None) -> dict[str, Json]:
    """The `usage` object: the provider's own when it was of this format."""
    told = usage or Usage()
    raw: Json = told.raw
    if isinstance(raw, dict) and "inputTokens" in raw:
        return object_or_empty(raw)
    read = told.cache_read or 0
    write = min(told.cache_write or 0, max(0, (told.input or 0) - read))
    return {
        "inputTokens": max(0, (told.input or 0) - read - write),
        "outputTokens": told.output or 0,
        "totalTokens": (told.input or 0) + (told.output or 0),
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": write,
    }


def decode_response(body: bytes) -> ChatResponse:
    """Raises UpstreamFailure when the body is no answer. It names neither itself nor its model."""
    try:
        told = msgspec.convert(msgspec.json.decode(body), dict[str, Any])
        message = msgspec.convert(told["output"]["message"], dict[str, Any])
        return ChatResponse(
            id="",
            model="",
            parts=decode_blocks(message["content"], "content"),
            finish=FINISH.read(msgspec.convert(told.get("stopReason"), str | None)),
            usage=decode_usage(told.get("usage"), told.get("serviceTier")),
            extras={NAME: {k: v for k, v in told.items() if k not in _TOP}},
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, InvalidRequest):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None


def summarise(body: bytes) -> Summary:
    """Raises UpstreamFailure when the body is no answer."""
    told = decode_response(body)
    return Summary(usage=told.usage, finish=told.finish)


def encode_response(response: ChatResponse) -> Encoded:
    warnings: list[str] = []
    out: dict[str, Json] = {
        "output": {"message": {"role": "assistant", "content": encode_blocks(response.parts, warnings)}},
        "stopReason": FINISH.write(response.finish),
        "usage": encode_usage(response.usage),
        **({} if NAME in response.extras else {"metrics": {"latencyMs": 0}}),
        **own_keys(response.extras),
    }
    return Encoded(msgspec.json.encode(out), told_once(warnings))
