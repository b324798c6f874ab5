"""Gemini's embeddings: `embedContent` for one text, `batchEmbedContents` for many (ai.google.dev/api/embeddings).

The model stands in the URL. Upstream is always asked by batch, which takes one text as well.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json, RequestOutline, Usage
from turnout.dialects.base import Encoded, Fault, Summary
from turnout.dialects.fields import decode_fields
from turnout.dialects.gemini.errors import decode_error, encode_error
from turnout.dialects.values import (
    bad,
    count_or_none,
    decode_object,
    list_at,
    object_at,
    object_or_empty,
    optional_text,
    text_at,
)
from turnout.embeddings import EmbeddingRequest, EmbeddingResponse
from turnout.errors import InvalidRequest, NotTranslatable, TurnoutError, UpstreamFailure

__all__ = ["GeminiEmbeddings"]

NAME = "gemini-embeddings"
_NO_ANSWER = "the provider's answer holds no embeddings"


class _Values(Struct):
    values: tuple[float, ...]


class _Answer(Struct):
    embeddings: list[_Values]
    usage: Any = msgspec.field(default=None, name="usageMetadata")


class GeminiEmbeddings:
    """An EmbeddingsDialect."""

    name = NAME

    def outline(self, body: bytes) -> RequestOutline:
        fields = decode_fields(body)
        said = fields.get("requests", fields.get("content"))
        if said is None:
            raise InvalidRequest("content is missing: what shall be embedded", param="content")
        return RequestOutline(
            model="",
            fields=fields,
            messages=(said,),
            roles=("user",),
            messages_bytes=len(memoryview(said)),
            max_output_tokens=1,
        )

    def decode_request(self, body: bytes) -> EmbeddingRequest:
        told = decode_object(body)
        single = "requests" not in told
        asks = [told] if single else list_at(told.get("requests"), "requests")
        if not asks:
            raise bad("requests", "a list with at least one request")
        first = object_at(asks[0], "requests[0]")
        size = first.get("outputDimensionality", first.get("output_dimensionality"))
        if size is not None and not isinstance(size, int):
            raise bad("outputDimensionality", "a whole number")
        return EmbeddingRequest(
            model="",
            texts=tuple(_text(object_at(ask, f"requests[{i}]"), f"requests[{i}]") for i, ask in enumerate(asks)),
            single=single,
            dimensions=size,
            task=optional_text(first.get("taskType", first.get("task_type")), "taskType"),
            title=optional_text(first.get("title"), "title"),
        )

    def encode_request(self, request: EmbeddingRequest) -> Encoded:
        if request.tokens:
            raise NotTranslatable("token ids mean something to one vocabulary alone; send the texts", param="input")
        shared = {"taskType": request.task, "title": request.title, "outputDimensionality": request.dimensions}
        asks = [
            {
                "model": f"models/{request.model}",
                "content": {"parts": [{"text": text}]},
                **{k: v for k, v in shared.items() if v is not None},
            }
            for text in request.texts
        ]
        return Encoded(msgspec.json.encode({"requests": asks}))

    def patch_request(self, outline: RequestOutline, model: str) -> bytes:
        """As a batch with the model's name in every request, as that API wants it."""
        told = decode_object(msgspec.json.encode(outline.fields))
        asks = list_at(told["requests"], "requests") if "requests" in told else [told]
        named = [{**object_at(ask, f"requests[{i}]"), "model": f"models/{model}"} for i, ask in enumerate(asks)]
        return msgspec.json.encode({"requests": named})

    def handed_on(self, raw: bytes, outline: RequestOutline) -> bytes:
        if "requests" in outline.fields:
            return raw
        return self.encode_response(self.decode_response(raw), EmbeddingRequest(model="", single=True))

    def summarise(self, body: bytes) -> Summary:
        return Summary(usage=self.decode_response(body).usage)

    def decode_response(self, body: bytes) -> EmbeddingResponse:
        try:
            told = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
        count = count_or_none(object_or_empty(told.usage).get("promptTokenCount"))
        usage = None if count is None else Usage(input=count, output=0, raw=told.usage)
        return EmbeddingResponse(model="", vectors=tuple(e.values for e in told.embeddings), usage=usage)

    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        values: list[Json] = [{"values": vector} for vector in response.vectors]
        if request.single:
            return msgspec.json.encode({"embedding": values[0] if values else {"values": []}})
        return msgspec.json.encode({"embeddings": values})

    def decode_error(self, body: bytes) -> Fault:
        return decode_error(body)

    def encode_error(self, error: TurnoutError) -> bytes:
        return encode_error(error)


def _text(ask: dict[str, Json], path: str) -> str:
    parts = list_at(object_at(ask.get("content"), f"{path}.content").get("parts"), f"{path}.content.parts")
    texts = [object_at(part, f"{path}.content.parts").get("text") for part in parts]
    return "".join(text_at(text, f"{path}.content.parts.text") for text in texts)
