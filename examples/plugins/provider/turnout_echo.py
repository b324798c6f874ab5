"""A provider that says what it was told, in OpenAI's format, whole and streamed: where a model of your own would stand.

[providers.mine]
plugin = "echo"
options = { prefix = "You said: " }
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from turnout.plugins import (
    API,
    ConfigError,
    ProviderParts,
    ProviderPlugin,
    ProviderSetup,
    UpstreamRequest,
    UpstreamResponse,
)


class Answered:
    """An answer that is there already. An UpstreamResponse."""

    status = 200

    def __init__(self, kind: str, pieces: list[bytes]) -> None:
        self.headers = [("content-type", kind)]
        self._pieces = pieces

    async def read(self, limit: int) -> bytes:
        return b"".join(self._pieces)[:limit]

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        """Nothing is open."""


class EchoTransport:
    """Takes the request that would have gone over the network. A Transport."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        told = json.loads(request.body)
        text = self._prefix + _text(told["messages"][-1]["content"])
        usage = {"prompt_tokens": len(request.body) // 4, "completion_tokens": len(text) // 4 + 1}
        head = {"id": "echo-1", "created": 0, "model": told["model"]}
        if not told.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            return Answered("application/json", [json.dumps(whole).encode()])
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": w} for w in _words(text))]
        choices: list[dict[str, Any]] = [{"index": 0, "delta": d, "finish_reason": None} for d in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
        chunks.append({"choices": [], "usage": usage})
        events = [json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        return Answered("text/event-stream", [f"data: {event}\n\n".encode() for event in (*events, "[DONE]")])

    async def aclose(self) -> None:
        """Nothing is open."""


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]


def make(setup: ProviderSetup) -> ProviderParts:
    prefix = setup.options.get("prefix", "")
    if not isinstance(prefix, str):
        raise ConfigError(f"providers.{setup.name}.options.prefix = {prefix!r}: must be a text")
    return ProviderParts(transport=EchoTransport(prefix), dialect="openai-chat", models=("parrot",), local=True)


PLUGIN = ProviderPlugin(api=API, make=make)
