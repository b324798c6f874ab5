"""The ends of a conversation: its newest messages, a note of ours behind them, and what stands before its first."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from turnout.chat import ChatRequest, Message, RequestOutline, Text
from turnout.dialects.base import Dialect
from turnout.dialects.fields import join_fields

__all__ = ["newest", "noted", "opened"]

LISTS = ("messages", "input", "contents")
"""Where the APIs keep the conversation."""

OPENING = ("model", "max_tokens", "tools", "toolConfig", "system", "instructions", "systemInstruction")
"""What the APIs put before it, and what no request goes without."""


def opened(dialect: Dialect, outline: RequestOutline) -> ChatRequest:
    """A whole conversation with the tools and the system text before it; fields that say other things are left out.
    Raises InvalidRequest."""
    kept = {key: raw for key, raw in outline.fields.items() if key in OPENING or key in LISTS}
    return dialect.decode_request(join_fields(kept))


def newest(dialect: Dialect, outline: RequestOutline, start: int) -> tuple[Message, ...]:
    """The messages from the wire's `start`-th on, decoded; a conversation that is no list is decoded whole. Raises
    InvalidRequest."""
    name = next((name for name in LISTS if name in outline.fields), None)
    if name is None or start >= max(1, len(outline.messages)):
        return ()
    told = bytes(outline.fields[name])
    if told.lstrip().startswith(b"["):
        told = b"[" + b",".join(bytes(message) for message in outline.messages[start:]) + b"]"
    kept = {key: outline.fields[key] for key in ("model", "max_tokens") if key in outline.fields}
    return dialect.decode_request(join_fields({**kept, name: told})).messages


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
    return join_fields({**outline.fields, name: joined})
