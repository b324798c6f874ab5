"""Which path asks for what: the originals' own paths, so that a client changes only its base URL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from turnout.dialects import DIALECTS
from turnout.dialects.embeddings import EMBEDDINGS
from turnout.providers.counting import CountOperation
from turnout.providers.embedding import EmbeddingOperation
from turnout.providers.operations import ChatOperation, Named, Operation

__all__ = ["ROUTE", "counted_at", "operation_at", "shape_of"]

ROUTE = "/v1/route"

_CHAT: Mapping[str, str] = {
    "/v1/chat/completions": "openai-chat",
    "/chat/completions": "openai-chat",
    "/v1/responses": "openai-responses",
    "/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
}
_EMBEDDINGS = frozenset({"/v1/embeddings", "/embeddings"})
_GEMINI = re.compile(r"/(?:v1|v1alpha|v1beta)/models/(?P<model>.+):(?P<verb>\w+)")


def operation_at(path: str) -> Operation | None:
    """What a POST to `path` asks for; None where nobody is asked anything."""
    if path in _CHAT:
        return ChatOperation(DIALECTS[_CHAT[path]])
    if path in _EMBEDDINGS:
        return EmbeddingOperation(EMBEDDINGS["openai-embeddings"])
    found = _GEMINI.fullmatch(path)
    if found is None:
        return None
    model, verb = found["model"], found["verb"]
    if verb in {"generateContent", "streamGenerateContent"}:
        return ChatOperation(DIALECTS["gemini"], Named(model, stream=verb == "streamGenerateContent"))
    if verb in {"embedContent", "batchEmbedContents"}:
        return EmbeddingOperation(EMBEDDINGS["gemini-embeddings"], model)
    return None


def counted_at(path: str) -> CountOperation | None:
    """Whose tokens a POST to `path` wants counted; None where nobody's."""
    if path == "/v1/messages/count_tokens":
        return CountOperation("anthropic-messages")
    found = _GEMINI.fullmatch(path)
    return CountOperation("gemini", Named(found["model"])) if found and found["verb"] == "countTokens" else None


def shape_of(path: str, headers: Mapping[str, str]) -> Operation:
    """In whose words an error at `path` is told, where no operation is there."""
    if path.startswith(("/v1beta", "/v1alpha")):
        return ChatOperation(DIALECTS["gemini"])
    anthropic = path.startswith("/v1/messages") or "anthropic-version" in headers
    return ChatOperation(DIALECTS["anthropic-messages" if anthropic else "openai-chat"])
