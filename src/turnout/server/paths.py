"""Which path asks for what: the originals' own paths, so that a client changes only its base URL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from turnout.dialects import DIALECTS
from turnout.providers.operations import ChatOperation, Named, Operation

__all__ = ["ROUTE", "operation_at", "shape_of"]

ROUTE = "/v1/route"

_CHAT: Mapping[str, str] = {
    "/v1/chat/completions": "openai-chat",
    "/chat/completions": "openai-chat",
    "/v1/responses": "openai-responses",
    "/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
}
_GEMINI = re.compile(r"/(?:v1|v1alpha|v1beta)/models/(?P<model>.+):(?P<verb>\w+)")


def operation_at(path: str) -> Operation | None:
    """What a POST to `path` asks for; None where nobody is asked anything."""
    if path in _CHAT:
        return ChatOperation(DIALECTS[_CHAT[path]])
    found = _GEMINI.fullmatch(path)
    if found and found["verb"] in {"generateContent", "streamGenerateContent"}:
        return ChatOperation(DIALECTS["gemini"], Named(found["model"], found["verb"] == "streamGenerateContent"))
    return None


def shape_of(path: str, headers: Mapping[str, str]) -> Operation:
    """In whose words an error at `path` is told, where no operation is there."""
    if path.startswith(("/v1beta", "/v1alpha")):
        return ChatOperation(DIALECTS["gemini"])
    anthropic = path.startswith("/v1/messages") or "anthropic-version" in headers
    return ChatOperation(DIALECTS["anthropic-messages" if anthropic else "openai-chat"])
