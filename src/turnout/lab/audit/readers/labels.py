"""What a request was for, as gateways label it, and names of answers that can be told apart. Pure."""

from __future__ import annotations

from turnout.chat import Json
from turnout.lab.audit.readers.loose import list_of, object_in, text_in, unwrapped

__all__ = ["NOT_TALK", "answer_name", "project_of"]

NOT_TALK = (
    *("embedding", "image", "transcription", "speech", "rerank", "moderation", "ocr", "search", "file", "video"),
    *("vector_store", "batch", "mcp", "fine_tun", "realtime", "container"),
)
"""Parts of LiteLLM's `call_type` that are no request of a conversation."""

PROJECTS = ("project", "project_name", "app", "application", "feature", "service")
KEYS = ("user_api_key_alias", "user_api_key_project_alias", "user_api_key_team_alias", "user_api_key_team_id")

SHORTEST_NAME = 20


def answer_name(name: str, created: int | None) -> str:
    """An answer's id where it is one of a kind. Some hosts draw theirs from a thousand (Ollama's `chatcmpl-417`), or
    give every answer the same: short ones count together with their second, and not at all without."""
    if len(name) >= SHORTEST_NAME or not name:
        return name
    return f"{name}@{created}" if created else ""


def project_of(line: dict[str, Json]) -> str:
    """By a name that says so, by the first tag that a caller set, by the key's or the team's name."""
    metadata = object_in(unwrapped(line.get("metadata")))
    tags = list_of(unwrapped(line.get("request_tags") or line.get("tags")))
    named = (
        text_in(line, *PROJECTS) or text_in(metadata, *PROJECTS) or text_in(object_in(metadata.get("tags")), *PROJECTS)
    )
    # LiteLLM adds the client's name as tags of its own.
    own = next((tag for tag in tags if isinstance(tag, str) and tag and not tag.startswith("User-Agent:")), "")
    return named or own[:300] or text_in(metadata, *KEYS) or text_in(line, "team_id", "end_user")
