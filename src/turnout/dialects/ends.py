"""The ends of a conversation: its newest messages, a note of ours behind them, and what stands before its first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec
import xxhash
from msgspec import Raw

from turnout.chat import ChatRequest, Message, Part, RequestOutline, Text, ToolCall
from turnout.dialects.base import Dialect
from turnout.dialects.fields import join_fields
from turnout.errors import InvalidRequest

__all__ = ["acting", "newest", "noted", "opened", "picked", "said_in", "said_of"]

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
    if start >= max(1, len(outline.messages)):
        return ()
    return picked(dialect, outline, range(start, len(outline.messages)))


def acting(dialect: Dialect, outline: RequestOutline, start: int) -> tuple[Message, ...]:
    """Of those messages, what agents do and what comes of it: those that call tools or bring their results, and the
    newest. What was only said is not decoded. Raises InvalidRequest."""
    last = len(outline.messages) - 1
    if outline.acts is None or start > last:
        return newest(dialect, outline, start)
    numbers = list(outline.acts[bisect_left(outline.acts, start) :])
    if not numbers or numbers[-1] != last:
        numbers.append(last)
    return picked(dialect, outline, numbers)


def picked(dialect: Dialect, outline: RequestOutline, numbers: Sequence[int]) -> tuple[Message, ...]:
    """The messages of these numbers, decoded; a conversation that is no list is decoded whole. Raises
    InvalidRequest."""
    name = next((name for name in LISTS if name in outline.fields), None)
    if name is None:
        return ()
    told: Raw | bytes = outline.fields[name]
    if bytes(memoryview(told)[:1]) == b"[":
        raws = [outline.messages[number] for number in numbers]
        if dialect.decode_messages is not None:
            return dialect.decode_messages(raws)
        told = b"[" + b",".join(map(bytes, raws)) + b"]"
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


def said_of(parts: Iterable[Part]) -> int:
    """Names what an answer says (its words and calls, not its thoughts), the same in the answer and in the request
    that sends it back."""
    digest = xxhash.xxh3_64()
    for part in parts:
        if isinstance(part, Text) and part.text.strip():
            digest.update(b"\0text\0" + part.text.strip().encode("utf-8", "surrogatepass"))
        elif isinstance(part, ToolCall):
            digest.update(f"\0call\0{part.name}\0{part.arguments}".encode("utf-8", "surrogatepass"))
    return digest.intdigest()


def said_in(dialect: Dialect, outline: RequestOutline, number: int) -> int:
    """The same of a request's `number`-th message; 0 where it cannot be read."""
    try:
        messages = picked(dialect, outline, (number,)) if number < len(outline.messages) else ()
    except InvalidRequest:
        return 0
    return said_of(part for message in messages for part in message.parts)
