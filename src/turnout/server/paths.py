"""Which path asks for what: the originals' own paths, so that a client changes only its base URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from turnout.dialects import DIALECTS
from turnout.dialects.embeddings import EMBEDDINGS
from turnout.providers.counting import CountOperation
from turnout.providers.embedding import EmbeddingOperation
from turnout.providers.operations import ChatOperation, Named, Operation

__all__ = ["FEEDBACK", "FIXED", "GEMINI_VERBS", "ROUTE", "operation_at", "shape_of"]

ROUTE = "/v1/route"

FEEDBACK = "/v1/feedback"

FIXED: Mapping[str, Operation] = {
    "/v1/chat/completions": ChatOperation(DIALECTS["openai-chat"]),
    "/chat/completions": ChatOperation(DIALECTS["openai-chat"]),
    "/v1/responses": ChatOperation(DIALECTS["openai-responses"]),
    "/responses": ChatOperation(DIALECTS["openai-responses"]),
    "/v1/messages": ChatOperation(DIALECTS["anthropic-messages"]),
    "/v1/messages/count_tokens": CountOperation("anthropic-messages"),
    "/v1/embeddings": EmbeddingOperation(EMBEDDINGS["openai-embeddings"]),
    "/embeddings": EmbeddingOperation(EMBEDDINGS["openai-embeddings"]),
}
"""Paths as they stand."""

GEMINI_VERBS: Mapping[str, Callable[[str], Operation]] = {
    "generateContent": lambda model: ChatOperation(DIALECTS["gemini"], Named(model)),
    "streamGenerateContent": lambda model: ChatOperation(DIALECTS["gemini"], Named(model, stream=True)),
    "countTokens": lambda model: CountOperation("gemini", Named(model)),
    "embedContent": lambda model: EmbeddingOperation(EMBEDDINGS["gemini-embeddings"], model),
    "batchEmbedContents": lambda model: EmbeddingOperation(EMBEDDINGS["gemini-embeddings"], model),
}
"""What stands behind the colon of `/v1beta/models/{model}:verb`."""

_GEMINI = re.compile(r"/(?:v1|v1alpha|v1beta)/models/(?P<model>.+):(?P<verb>\w+)")


def operation_at(path: str) -> Operation | None:
    """What a POST to `path` asks for; None where nobody is asked anything."""
    if path in FIXED:
        return FIXED[path]
    found = _GEMINI.fullmatch(path)
    verb = GEMINI_VERBS.get(found["verb"]) if found else None
    return verb(found["model"]) if found and verb else None


def shape_of(path: str, headers: Mapping[str, str]) -> Operation:
    """In whose words an error at `path` is told, where no operation is there."""
    if path.startswith(("/v1beta", "/v1alpha")):
        return ChatOperation(DIALECTS["gemini"])
    anthropic = path.startswith("/v1/messages") or "anthropic-version" in headers
    return ChatOperation(DIALECTS["anthropic-messages" if anthropic else "openai-chat"])
