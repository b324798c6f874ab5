"""Wire formats of embeddings: OpenAI's, which most hosts speak, and Gemini's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from turnout.chat import RequestOutline
from turnout.dialects.base import Encoded, Fault, Summary
from turnout.dialects.embeddings.gemini import GeminiEmbeddings
from turnout.dialects.embeddings.openai import OpenAIEmbeddings
from turnout.embeddings import EmbeddingRequest, EmbeddingResponse
from turnout.errors import TurnoutError

__all__ = ["EMBEDDINGS", "EmbeddingsDialect"]


class EmbeddingsDialect(Protocol):
    """One wire format. Decoding raises `InvalidRequest` (requests) or `UpstreamFailure` (answers)."""

    name: str

    def outline(self, body: bytes) -> RequestOutline: ...

    def decode_request(self, body: bytes) -> EmbeddingRequest: ...

    def encode_request(self, request: EmbeddingRequest) -> Encoded:
        """Raises NotTranslatable for token ids, where the format takes texts alone."""
        ...

    def patch_request(self, outline: RequestOutline, model: str) -> bytes: ...

    def handed_on(self, raw: bytes, outline: RequestOutline) -> bytes:
        """A provider's answer of the same format as the caller expects it: its bytes, unwrapped where one text was
        asked for by batch."""
        ...

    def summarise(self, body: bytes) -> Summary: ...

    def decode_response(self, body: bytes) -> EmbeddingResponse: ...

    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes: ...

    def decode_error(self, body: bytes) -> Fault: ...

    def encode_error(self, error: TurnoutError) -> bytes: ...


EMBEDDINGS: Mapping[str, EmbeddingsDialect] = {d.name: d for d in (OpenAIEmbeddings(), GeminiEmbeddings())}
"""Every wire format of embeddings by its name."""
