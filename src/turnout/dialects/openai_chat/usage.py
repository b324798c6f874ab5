"""Token usage as OpenAI and its kin count it: input includes cached tokens, output includes reasoning."""

from __future__ import annotations

from typing import cast

from turnout.chat import Json, Usage
from turnout.dialects.billing import tier_word
from turnout.dialects.values import count_or_none, object_or_empty

__all__ = ["decode_usage", "encode_usage"]


def decode_usage(value: Json, tier: Json = None) -> Usage | None:
    """The neutral usage of a `usage` object; None where there is none. Strange values count as not reported.
    `tier` is the answer's `service_tier`, which stands beside the usage.

    Besides OpenAI's own details it reads DeepSeek's `prompt_cache_hit_tokens` and the `cache_write_tokens`
    that OpenRouter and newer OpenAI models report.
    """
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Json]", value)
    cache_read = cache_write = reasoning = None
    if details := object_or_empty(told.get("prompt_tokens_details")):
        cache_read = count_or_none(details.get("cached_tokens"))
        cache_write = count_or_none(details.get("cache_write_tokens"))
    if details := object_or_empty(told.get("completion_tokens_details")):
        reasoning = count_or_none(details.get("reasoning_tokens"))
    if cache_read is None:
        cache_read = count_or_none(told.get("prompt_cache_hit_tokens"))
    return Usage(
        input=count_or_none(told.get("prompt_tokens")),
        cache_read=cache_read,
        cache_write=cache_write,
        output=count_or_none(told.get("completion_tokens")),
        reasoning=reasoning,
        service_tier=tier_word(tier),
        raw=told,
    )


def encode_usage(usage: Usage | None) -> dict[str, Json] | None:
    """The `usage` object: the provider's own when it was of this format."""
    if usage is None:
        return None
    if isinstance(usage.raw, dict) and "prompt_tokens" in usage.raw:
        return cast("dict[str, Json]", usage.raw)
    details = {"cached_tokens": usage.cache_read or 0}
    if usage.cache_write is not None:
        details["cache_write_tokens"] = usage.cache_write
    out: dict[str, Json] = {
        "prompt_tokens": usage.input or 0,
        "completion_tokens": usage.output or 0,
        "total_tokens": (usage.input or 0) + (usage.output or 0),
        "prompt_tokens_details": details,
    }
    if usage.reasoning is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return out
