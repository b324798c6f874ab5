"""What logs of several agents share: messages and usage in the shape of OpenAI's chat API, money, small values.

A harness writes what it sent and got, with fields of its own beside it; its messages go through the dialect's decoders.
What they refuse is kept as plain text, so that its size still counts, and told as broken.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json, Message, Part, Reasoning, Role, Text, ToolSpec, Usage
from turnout.dialects.openai_chat.request import decode_message
from turnout.dialects.openai_chat.usage import decode_usage
from turnout.dialects.values import count_or_none
from turnout.errors import InvalidRequest
from turnout.lab.audit.readers import lines
from turnout.lab.audit.records import ReadTally

__all__ = [
    "answer_of",
    "count_of",
    "decoded",
    "dict_of",
    "dicts_of",
    "effort_of",
    "json_text",
    "message_of",
    "model_of",
    "nano_usd",
    "specs_of",
    "text_of",
    "usage_of",
    "usage_since",
]

_ROLES: frozenset[str] = frozenset({"system", "developer", "user", "assistant", "tool"})
_HARNESS_KEYS = frozenset({"extra", "thinking_blocks", "provider_specific_fields", "audio", "annotations"})
MOST_USD = 1_000_000.0
"""No single call costs more; a log that says so is wrong."""

T = TypeVar("T")


def decoded(raw: bytes, decoder: msgspec.json.Decoder[T], place: str, told: ReadTally) -> T | None:
    """What `raw` holds; None, and told as broken, where it is damaged or of another shape."""
    try:
        return lines.decoded(decoder, raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        told.broken(place, error)
        return None


def dict_of(value: Json) -> dict[str, Json]:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def dicts_of(value: Json) -> list[dict[str, Json]]:
    """The objects of a list; what else stands in it is no object of anybody's."""
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Json]", one) for one in cast("list[Json]", value) if isinstance(one, dict)]


def text_of(value: Json) -> str:
    return value if isinstance(value, str) else ""


def json_text(value: Json) -> str:
    """A value as JSON text: the arguments of a call that its log keeps as an object."""
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.EncodeError, RecursionError, UnicodeEncodeError, TypeError):
        return str(value)


def count_of(value: Json) -> int | None:
    """A count of tokens; whole numbers only, though a log may write them with a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return count_or_none(value)


def nano_usd(value: Json) -> int | None:
    """Dollars as a log writes them. None for nothing, for zero (which logs write where they know no price), and for
    what can be no price."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_USD:
        return None
    return round(value * NANO_PER_USD)


def usage_of(value: Json) -> Usage | None:
    """The usage of a chat completion as LiteLLM and the harnesses on it write it: Anthropic's cache counts may stand
    beside OpenAI's. None where no count was told."""
    usage = decode_usage(value)
    if usage is None:
        return None
    raw = dict_of(value)
    read = usage.cache_read if usage.cache_read is not None else count_or_none(raw.get("cache_read_input_tokens"))
    write = usage.cache_write if usage.cache_write is not None else _written(raw)
    usage = msgspec.structs.replace(usage, cache_read=read, cache_write=write, raw=None)
    if usage.input is None and usage.output is None:
        return None
    cached = (read or 0) + (write or 0)
    # Some count cached tokens beside the prompt's and not within: then there are more of them.
    if usage.input is not None and cached > usage.input:
        usage = msgspec.structs.replace(usage, input=usage.input + cached)
    return usage


def _written(raw: dict[str, Json]) -> int | None:
    for at in (raw, dict_of(raw.get("prompt_tokens_details"))):
        for name in ("cache_creation_input_tokens", "cache_creation_tokens"):
            if (count := count_or_none(at.get(name))) is not None:
                return count
    return None


def usage_since(now: Usage, before: Usage | None) -> Usage | None:
    """What was used between two readings of a counter. None: nothing. A counter that went back began anew."""
    if before is None:
        return now if (now.input or 0) + (now.output or 0) else None
    names = ("input", "cache_read", "cache_write", "output", "reasoning")
    pairs = {name: (getattr(now, name), getattr(before, name)) for name in names}
    if any((new or 0) < (old or 0) for new, old in pairs.values()):
        return now if (now.input or 0) + (now.output or 0) else None
    grown: dict[str, Any] = {name: None if new is None else new - (old or 0) for name, (new, old) in pairs.items()}
    return Usage(**grown) if (grown["input"] or 0) + (grown["output"] or 0) else None


def message_of(value: Json, place: str, told: ReadTally) -> Message | None:
    """A message in the shape of OpenAI's chat API, whatever its harness wrote beside it. None: it holds nothing."""
    plain = dict_of(value)
    thinking = tuple(_thinking(block) for block in dicts_of(plain.get("thinking_blocks")))
    wire = {key: one for key, one in plain.items() if key not in _HARNESS_KEYS}
    if thinking:  # the same thoughts once more
        wire.pop("reasoning_content", None)
    try:
        message = decode_message(wire, "message")
    except (InvalidRequest, TypeError) as error:  # TypeError: a list or an object where a word belongs
        told.broken(place, error)
        return _salvaged(plain)
    if thinking:
        message = msgspec.structs.replace(message, parts=(*thinking, *message.parts))
    return message if message.parts else None


def answer_of(value: Json, place: str, told: ReadTally) -> tuple[Part, ...]:
    """What an assistant's message says and calls."""
    message = message_of({"role": "assistant", **dict_of(value)}, place, told)
    return () if message is None else tuple(p for p in message.parts if not (isinstance(p, Text) and not p.text))


def _thinking(block: dict[str, Json]) -> Reasoning:
    return Reasoning(
        text=text_of(block.get("thinking")),
        signature=text_of(block.get("signature")) or None,
        redacted=text_of(block.get("data")) or None,
    )


def _salvaged(plain: dict[str, Json]) -> Message | None:
    role, content = plain.get("role"), plain.get("content")
    text = content if isinstance(content, str) else json_text(content) if content else ""
    if not text:
        return None
    known = cast("Role", role) if isinstance(role, str) and role in _ROLES and role != "tool" else "user"
    return Message(role=known, parts=(Text(text=text),))


def specs_of(value: Json) -> tuple[ToolSpec, ...]:
    """Definitions of tools in the shape of OpenAI's chat API; those without a name are none."""
    functions = [dict_of(tool.get("function")) for tool in dicts_of(value)]
    return tuple(
        ToolSpec(
            name=function["name"],
            description=text_of(function.get("description")) or None,
            schema=function.get("parameters"),
        )
        for function in functions
        if isinstance(function.get("name"), str)
    )


def effort_of(arguments: Json) -> str | None:
    """The effort that a model was called with, among the arguments of its calls."""
    return text_of(dict_of(arguments).get("reasoning_effort")) or None


def model_of(name: Json) -> tuple[str, str]:
    """Model and provider of a name as LiteLLM takes it (`anthropic/claude-x`); the provider is "" where it is not in
    front, and a proxy's name in front is none."""
    whole = text_of(name)
    front, slash, rest = whole.partition("/")
    if not slash:
        return whole, ""
    return (rest, "") if front in _PROXIES else (rest, front)


_PROXIES = frozenset({"litellm_proxy", "openhands", "openai_like", "custom_openai", "hosted_vllm"})
