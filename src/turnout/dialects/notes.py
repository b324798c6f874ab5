"""A word of ours at the very end of a conversation: behind all that a provider's cache holds, which stays as it was."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from turnout.chat import ChatRequest, Message, RequestOutline, Text
from turnout.dialects.base import Dialect

__all__ = ["noted"]

LISTS = ("messages", "input", "contents")
"""Where the APIs keep the conversation."""


def noted(dialect: Dialect, outline: RequestOutline, note: str) -> bytes | None:
    """The request with `note` as one more user message; every byte before it is the caller's. None where the
    conversation is no list (a bare string)."""
    name = next((name for name in LISTS if name in outline.fields), None)
    if name is None or not (told := bytes(outline.fields[name]).rstrip()).endswith(b"]"):
        return None
    alone = ChatRequest(model=outline.model, messages=(Message(role="user", parts=(Text(text=note),)),))
    fields = msgspec.json.decode(dialect.encode_request(alone).body, type=dict[str, Raw])
    message = bytes(fields[name]).strip().removeprefix(b"[").removesuffix(b"]")
    before = told[:-1].rstrip()
    joined = before + (b"" if before.endswith(b"[") else b",") + message + b"]"
    return b"{%b}" % b",".join(
        msgspec.json.encode(key) + b":" + (joined if key == name else bytes(value))
        for key, value in outline.fields.items()
    )
