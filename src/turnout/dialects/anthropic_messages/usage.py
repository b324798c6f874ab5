"""Token usage as Anthropic counts it: `input_tokens` leaves out what was read from and written to the cache."""

from __future__ import annotations

from typing import cast

from turnout.chat import Json, Usage

__all__ = ["decode_usage", "encode_usage"]


def decode_usage(value: Json) -> Usage | None:
    """The neutral usage, whose input includes the cached tokens. Strange values count as not reported.

    Source: docs.anthropic.com/en/docs/build-with-claude/prompt-caching, "Tracking cache performance".
    """
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Json]", value)
    plain, read, write = (
        _count(told.get(name)) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    split: Json = told.get("cache_creation")
    long = cast("dict[str, Json]", split).get("ephemeral_1h_input_tokens") if isinstance(split, dict) else None
    return Usage(
        input=None if plain is None else plain + (read or 0) + (write or 0),
        cache_read=read,
        cache_write=write,
        cache_write_1h=_count(long),
        output=_count(told.get("output_tokens")),
        raw=told,
    )


def encode_usage(usage: Usage | None) -> dict[str, Json]:
    """The `usage` object: the provider's own when it was of this format, else zero where nothing was reported."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    if isinstance(usage.raw, dict) and "input_tokens" in usage.raw and "prompt_tokens" not in usage.raw:
        return cast("dict[str, Json]", usage.raw)
    read, write = usage.cache_read or 0, usage.cache_write or 0
    return {
        "input_tokens": max(0, (usage.input or 0) - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output or 0,
    }


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
