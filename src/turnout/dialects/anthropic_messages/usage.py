"""Token usage as Anthropic counts it: `input_tokens` leaves out what was read from and written to the cache."""

from __future__ import annotations

from typing import cast

from turnout.chat import Json, Usage
from turnout.dialects.billing import tier_word
from turnout.dialects.values import count_or_none, object_or_empty

__all__ = ["decode_usage", "encode_usage"]


def decode_usage(value: Json) -> Usage | None:
    """The neutral usage, whose input includes the cached tokens. Strange values count as not reported.

    Source: docs.anthropic.com/en/docs/build-with-claude/prompt-caching, "Tracking cache performance". Fast mode has a
    price of its own and is told as a service tier (`speed`: platform.claude.com/docs/en/build-with-claude/fast-mode).
    """
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Json]", value)
    plain, read, write = (
        count_or_none(told.get(name))
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    split = object_or_empty(told.get("cache_creation"))
    details = object_or_empty(told.get("output_tokens_details"))
    return Usage(
        input=None if plain is None else plain + (read or 0) + (write or 0),
        cache_read=read,
        cache_write=write,
        cache_write_1h=count_or_none(split.get("ephemeral_1h_input_tokens")),
        output=count_or_none(told.get("output_tokens")),
        reasoning=count_or_none(details.get("thinking_tokens")),
        service_tier="fast-mode" if told.get("speed") == "fast" else tier_word(told.get("service_tier")),
        raw=told,
    )


def encode_usage(usage: Usage | None) -> dict[str, Json]:
    """The `usage` object: the provider's own when it was of this format, else zero where nothing was reported.

    Other formats have an `input_tokens` too that counts cached tokens in: only what reads here as the same
    numbers is of this one.
    """
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    if isinstance(usage.raw, dict) and "input_tokens" in usage.raw and decode_usage(usage.raw) == usage:
        return cast("dict[str, Json]", usage.raw)
    read, long = usage.cache_read or 0, usage.cache_write_1h
    # Some hosts count what was written as read, too: together they are no more than the input.
    write = min(usage.cache_write or 0, max(0, (usage.input or 0) - read))
    out: dict[str, Json] = {
        "input_tokens": max(0, (usage.input or 0) - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output or 0,
    }
    if long is not None:
        out["cache_creation"] = {"ephemeral_5m_input_tokens": write - long, "ephemeral_1h_input_tokens": long}
    if usage.reasoning is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return out
