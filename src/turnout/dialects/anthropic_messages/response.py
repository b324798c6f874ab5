"""Whole answers of the Messages API to and from `ChatResponse`."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec
from msgspec import Raw, Struct

from turnout.chat import ChatResponse, Json, Unified
from turnout.dialects.anthropic_messages.blocks import decode_block, encode_blocks, extras_of, own_keys, shown
from turnout.dialects.anthropic_messages.usage import decode_usage, encode_usage
from turnout.dialects.base import Encoded, Summary
from turnout.dialects.finish import FinishWords
from turnout.errors import InvalidRequest, UpstreamFailure

__all__ = ["FINISH", "decode_response", "encode_response", "summarise"]

_MEANING: dict[str, Unified] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}
_WORDS: dict[Unified, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
    "error": "end_turn",
    "other": "end_turn",
}
FINISH = FinishWords(
    meaning=_MEANING,
    word=_WORDS,
)
_TOP = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage"})
_NO_ANSWER = "the provider's answer is no message"


class _Head(Struct):
    type: Literal["message"]
    content: Raw
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Raw = Raw(b"null")


_head = msgspec.json.Decoder(_Head)


def summarise(body: bytes) -> Summary:
    """Raises UpstreamFailure when the body is no message."""
    try:
        head = _head.decode(body)
        usage = decode_usage(msgspec.json.decode(head.usage))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
    return Summary(usage=usage, finish=FINISH.read(head.stop_reason), model=head.model, id=head.id)


def decode_response(body: bytes) -> ChatResponse:
    """Raises UpstreamFailure when the body is no message."""
    try:
        told: Any = msgspec.json.decode(body)
        blocks = msgspec.convert(told["content"], list[Any])
        parts = tuple(decode_block(block, f"content[{i}]") for i, block in enumerate(blocks))
        fields = cast("dict[str, Json]", told)
        return ChatResponse(
            id=str(fields.get("id") or ""),
            model=str(fields.get("model") or ""),
            parts=parts,
            finish=FINISH.read(msgspec.convert(fields.get("stop_reason"), str | None)),
            usage=decode_usage(fields.get("usage")),
            extras=extras_of(fields, _TOP),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, InvalidRequest):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None


def encode_response(response: ChatResponse) -> Encoded:
    warnings: list[str] = []
    own = own_keys(response.extras)
    out: dict[str, Json] = {
        "id": response.id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": encode_blocks((shown(part) for part in response.parts), warnings),
        "stop_reason": FINISH.write(response.finish),
        **({} if own else {"stop_sequence": None}),
        "usage": encode_usage(response.usage),
    }
    return Encoded(msgspec.json.encode({**out, **own}), tuple(dict.fromkeys(warnings)))
