"""Token usage as the Responses API counts it: input includes cached tokens, output includes reasoning."""

from __future__ import annotations

from typing import cast

from turnout.chat import Json, Usage
from turnout.dialects.billing import tier_word
from turnout.dialects.values import count_or_none, object_or_empty

__all__ = ["decode_usage", "encode_usage"]


def decode_usage(value: Json, tier: Json = None) -> Usage | None:
    """The neutral usage of a `usage` object; None where there is none. Strange values count as not reported. `tier` is
    the answer's `service_tier`, which stands beside the usage."""
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Json]", value)
    into = object_or_empty(told.get("input_tokens_details"))
    out = object_or_empty(told.get("output_tokens_details"))
    return Usage(
        input=count_or_none(told.get("input_tokens")),
        cache_read=count_or_none(into.get("cached_tokens")),
        cache_write=count_or_none(into.get("cache_write_tokens")),
        output=count_or_none(told.get("output_tokens")),
        reasoning=count_or_none(out.get("reasoning_tokens")),
        service_tier=tier_word(tier),
        raw=told,
    )


def encode_usage(usage: Usage | None) -> dict[str, Json] | None:
    """The `usage` object: the provider's own when it was of this format. Anthropic's has an `input_tokens` too, which
    leaves cached tokens out: only what reads here as the same numbers is of this one."""
    if usage is None:
        return None
    if (
        isinstance(usage.raw, dict)
        and "input_tokens" in usage.raw
        and decode_usage(usage.raw, usage.service_tier) == usage
    ):
        return cast("dict[str, Json]", usage.raw)
    details = {"cached_tokens": usage.cache_read or 0}
    if usage.cache_write is not None:
        details["cache_write_tokens"] = usage.cache_write
    return {
        "input_tokens": usage.input or 0,
        "input_tokens_details": details,
        "output_tokens": usage.output or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": (usage.input or 0) + (usage.output or 0),
    }
