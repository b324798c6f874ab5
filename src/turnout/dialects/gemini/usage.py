"""Token usage as Gemini counts it: cached tokens are within the prompt's, thoughts are beside the candidates'."""

from __future__ import annotations

from typing import cast

from turnout.chat import Json, Usage
from turnout.dialects.billing import tier_word
from turnout.dialects.values import count_or_none

__all__ = ["TIERS", "decode_usage", "encode_usage", "tier_of"]

TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}
"""Service tiers in OpenAI's words, which are the neutral ones."""

_OURS = frozenset({"promptTokenCount", "candidatesTokenCount", "totalTokenCount", "trafficType"})


def decode_usage(value: Json) -> Usage | None:
    """The neutral usage. What tools put into the prompt (`toolUsePromptTokenCount`) is input, too. Strange values
    count as not reported. The service tier is `serviceTier`, at Vertex AI `trafficType`.

    Source: ai.google.dev/api/generate-content#UsageMetadata.
    """
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Json]", value)
    prompt, tools, cached, said, thought = (
        count_or_none(told.get(name))
        for name in (
            "promptTokenCount",
            "toolUsePromptTokenCount",
            "cachedContentTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
        )
    )
    return Usage(
        input=_sum(prompt, tools),
        cache_read=cached,
        output=_sum(said, thought),
        reasoning=thought,
        service_tier=tier_word(told.get("serviceTier") or told.get("trafficType")),
        raw=told,
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def encode_usage(usage: Usage | None) -> dict[str, Json]:
    """`usageMetadata`: the provider's own when it was of this format, else its totals by our counts."""
    if usage is None:
        return {}
    if isinstance(usage.raw, dict) and not _OURS.isdisjoint(usage.raw) and decode_usage(usage.raw) == usage:
        return {"usageMetadata": usage.raw}
    thought = min(usage.reasoning or 0, usage.output or 0)
    out: dict[str, Json] = {
        "promptTokenCount": usage.input or 0,
        "candidatesTokenCount": (usage.output or 0) - thought,
        "totalTokenCount": (usage.input or 0) + (usage.output or 0),
    }
    if usage.reasoning is not None:
        out["thoughtsTokenCount"] = thought
    if usage.cache_read is not None:
        out["cachedContentTokenCount"] = usage.cache_read
    return {"usageMetadata": out}


def tier_of(usage: Usage | None) -> str | None:
    """The service tier that an answer's usage tells."""
    raw = cast("dict[str, Json]", usage.raw) if usage is not None and isinstance(usage.raw, dict) else {}
    tier = raw.get("serviceTier")
    return TIERS.get(tier.lower()) if isinstance(tier, str) else None
