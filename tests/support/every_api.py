"""A provider on loopback that speaks every format and always answers Paris: what examples and pages are run against."""

from __future__ import annotations

from typing import Any

from support.upstream import Received, Script, ScriptedUpstream, answer
from support.wire import says

__all__ = ["EveryApi"]

PATHS = {
    "/chat/completions": "openai-chat",
    "/responses": "openai-responses",
    "/messages": "anthropic-messages",
}


class EveryApi(ScriptedUpstream):
    """Answers by the path that is asked, streamed where that is wanted. `/embeddings` gives vectors of two numbers."""

    def __init__(self) -> None:
        super().__init__(answer({}))

    def choose(self, told: Received) -> Script:
        path = told.path.partition("?")[0]
        if path.endswith("Content"):
            return says("gemini", streaming="stream" in path)
        body = told.json() if told.body else {}
        if path.endswith("/embeddings"):
            return answer(_vectors(body))
        for end, dialect in PATHS.items():
            if path.endswith(end):
                return says(dialect, streaming=bool(body.get("stream")))
        return answer({"error": {"message": f"nothing is at {path}", "type": "invalid_request_error"}}, 404)


def _vectors(body: Any) -> Any:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": i, "embedding": [len(t), 1.0]} for i, t in enumerate(texts)]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}
