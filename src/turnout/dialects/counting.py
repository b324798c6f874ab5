"""Wire formats of token counting: what a request would cost in input tokens, asked before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from turnout.chat import RequestOutline
from turnout.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from turnout.dialects.fields import decode_fields, encode, join_fields
from turnout.dialects.gemini import GEMINI
from turnout.errors import UpstreamFailure

__all__ = ["COUNTING", "CountingDialect"]

T = TypeVar("T")

_NO_COUNT = "the provider's answer is no count of tokens"


class CountingDialect(Protocol):
    """One wire format. `outline` raises InvalidRequest, `decode_count` UpstreamFailure."""

    name: str

    def outline(self, body: bytes) -> RequestOutline: ...

    def patch_request(self, outline: RequestOutline, model: str) -> bytes: ...

    def decode_count(self, body: bytes) -> int: ...

    def encode_count(self, tokens: int) -> bytes: ...


class _AnthropicCount(Struct):
    input_tokens: int


class AnthropicCounting:
    """`/v1/messages/count_tokens` (docs.anthropic.com/en/api/messages-count-tokens): a message request that needs no
    `max_tokens`."""

    name = ANTHROPIC_MESSAGES.name

    def outline(self, body: bytes) -> RequestOutline:
        fields = decode_fields(body)
        told = ANTHROPIC_MESSAGES.outline(join_fields({"max_tokens": b"1", **fields}))
        return replace(told, fields=fields)

    def patch_request(self, outline: RequestOutline, model: str) -> bytes:
        return ANTHROPIC_MESSAGES.patch_request(outline, model)

    def decode_count(self, body: bytes) -> int:
        return _decoded(body, _AnthropicCount).input_tokens

    def encode_count(self, tokens: int) -> bytes:
        return msgspec.json.encode({"input_tokens": tokens})


class _GeminiCount(Struct, rename="camel"):
    total_tokens: int


class GeminiCounting:
    """`:countTokens` (ai.google.dev/api/tokens): contents alone, or a whole `generateContentRequest`."""

    name = GEMINI.name

    def outline(self, body: bytes) -> RequestOutline:
        fields = decode_fields(body)
        whole = fields.get("generateContentRequest", fields.get("generate_content_request"))
        told = GEMINI.outline(bytes(whole) if whole is not None else body)
        return replace(told, fields=fields)

    def patch_request(self, outline: RequestOutline, model: str) -> bytes:
        """With the model's name inside the whole request, where the caller put one."""
        fields: dict[str, Raw | bytes] = dict(outline.fields)
        for key in ("generateContentRequest", "generate_content_request"):
            if key in outline.fields:
                inner = decode_fields(bytes(outline.fields[key]))
                fields[key] = join_fields({**inner, "model": encode(f"models/{model}")})
        return join_fields(fields)

    def decode_count(self, body: bytes) -> int:
        return _decoded(body, _GeminiCount).total_tokens

    def encode_count(self, tokens: int) -> bytes:
        return msgspec.json.encode({"totalTokens": tokens})


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(_NO_COUNT, body=body[:2_000]) from None


COUNTING: Mapping[str, CountingDialect] = {d.name: d for d in (AnthropicCounting(), GeminiCounting())}
"""The wire formats that count, by their names."""
