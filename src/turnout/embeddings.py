"""Provider-neutral types of embedding requests and answers."""

from __future__ import annotations

from msgspec import Struct

from turnout.chat import Extras, Usage

__all__ = ["EmbeddingRequest", "EmbeddingResponse"]


class EmbeddingRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Texts to be turned into vectors. `tokens`: for formats that take token ids in place of texts, which only a model
    with the same vocabulary understands. `base64`: vectors are wanted as base64 of little-endian float32."""

    model: str
    texts: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    single: bool = False
    dimensions: int | None = None
    base64: bool = False
    task: str | None = None
    title: str | None = None
    extras: Extras = {}


class EmbeddingResponse(Struct, frozen=True, kw_only=True):
    """One vector a text, in order."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
