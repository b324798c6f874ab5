"""OpenAI's embeddings (platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from turnout.chat import Json, RequestOutline, Usage
from turnout.dialects.base import Encoded, Fault, Summary
from turnout.dialects.fields import decode_fields, encode, get, join_fields
from turnout.dialects.loss import left_out
from turnout.dialects.openai_chat.errors import decode_error, encode_error
from turnout.dialects.openai_chat.usage import decode_usage
from turnout.dialects.values import bad, checked, decode_object
from turnout.embeddings import EmbeddingRequest, EmbeddingResponse
from turnout.errors import InvalidRequest, TurnoutError, UpstreamFailure

__all__ = ["OpenAIEmbeddings"]

NAME = "openai-embeddings"
_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_NO_ANSWER = "the provider's answer holds no embeddings"
_string = msgspec.json.Decoder(str)


class _Head(Struct):
    data: list[Raw]
    model: str | None = None
    usage: Any = None


class _Item(Struct):
    embedding: str | tuple[float, ...]
    index: int = 0


class _Answer(Struct):
    data: list[_Item]
    model: str = ""
    usage: Any = None


class OpenAIEmbeddings:
    """An EmbeddingsDialect."""

    name = NAME

    def outline(self, body: bytes) -> RequestOutline:
        fields = decode_fields(body)
        model = get(fields, "model", _string)
        if not model:
            raise InvalidRequest("model is missing: name one that embeds", param="model")
        if "input" not in fields:
            raise InvalidRequest("input is missing: a text, or a list of texts", param="input")
        return RequestOutline(
            model=model,
            fields=fields,
            messages=(fields["input"],),
            roles=("user",),
            messages_bytes=len(memoryview(fields["input"])),
            max_output_tokens=1,
            user=get(fields, "user", _string),
        )

    def decode_request(self, body: bytes) -> EmbeddingRequest:
        told = decode_object(body)
        texts, tokens = _input(told.get("input"))
        form = checked(told.get("encoding_format"), "encoding_format", str | None)
        if form not in {None, "float", "base64"}:
            raise bad("encoding_format", "float or base64")
        return EmbeddingRequest(
            model=checked(told.get("model"), "model", str),
            texts=texts,
            tokens=tokens,
            dimensions=checked(told.get("dimensions"), "dimensions", int | None),
            base64=form == "base64",
            extras={NAME: {k: v for k, v in told.items() if k not in _KNOWN}},
        )

    def encode_request(self, request: EmbeddingRequest) -> Encoded:
        out: dict[str, Json] = {"model": request.model, "input": request.tokens or request.texts}
        if request.dimensions is not None:
            out["dimensions"] = request.dimensions
        lost = [name for name in ("task", "title") if getattr(request, name) is not None]
        return Encoded(msgspec.json.encode(out), tuple(left_out(lost)))

    def patch_request(self, outline: RequestOutline, model: str) -> bytes:
        return join_fields({**outline.fields, "model": encode(model)})

    def handed_on(self, raw: bytes, outline: RequestOutline) -> bytes:
        del outline
        return raw

    def summarise(self, body: bytes) -> Summary:
        try:
            head = msgspec.json.decode(body, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
        return Summary(usage=usage_of(head.usage), model=head.model)

    def decode_response(self, body: bytes) -> EmbeddingResponse:
        try:
            told = msgspec.json.decode(body, type=_Answer)
            ordered = sorted(told.data, key=lambda item: item.index)
            vectors = tuple(_vector(item.embedding) for item in ordered)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, struct.error):
            raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
        return EmbeddingResponse(model=told.model, vectors=vectors, usage=usage_of(told.usage))

    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        tokens = (response.usage.input if response.usage else None) or 0
        data = [
            {"object": "embedding", "index": i, "embedding": packed(vector) if request.base64 else vector}
            for i, vector in enumerate(response.vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return msgspec.json.encode({"object": "list", "data": data, "model": response.model, "usage": usage})

    def decode_error(self, body: bytes) -> Fault:
        return decode_error(body)

    def encode_error(self, error: TurnoutError) -> bytes:
        return encode_error(error)


def usage_of(value: Json) -> Usage | None:
    """Embeddings have no output: that is known, and not merely unreported."""
    told = decode_usage(value)
    return None if told is None else msgspec.structs.replace(told, output=0)


def _input(value: Json) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """A text, texts, token ids, or lists of token ids."""
    if isinstance(value, str):
        return (value,), ()
    items: list[Json] = cast("list[Json]", value) if isinstance(value, list) else []
    if not items:
        raise bad("input", "a text, a list of texts, or of token ids")
    if isinstance(items[0], str):
        return checked(items, "input", tuple[str, ...]), ()
    if isinstance(items[0], int):
        return (), (checked(items, "input", tuple[int, ...]),)
    return (), checked(items, "input", tuple[tuple[int, ...], ...])


def _vector(value: str | tuple[float, ...]) -> tuple[float, ...]:
    if not isinstance(value, str):
        return value
    raw = base64.b64decode(value, validate=True)
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def packed(vector: Sequence[float]) -> str:
    """A vector as base64 of little-endian float32, as OpenAI's SDKs ask for it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
