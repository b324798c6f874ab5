"""How providers cache prompts: what they keep, from which length on, in which steps and for how long.

Prices of reads and writes are not here but in the model's `Price`. The rules are the providers' published ones;
none of them promises a hit.
"""

from __future__ import annotations

import re

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["NO_CACHE", "CacheRule", "cache_rule_of", "readable_tokens"]


class CacheRule(Struct, frozen=True, kw_only=True):
    """One provider's way of caching. Lengths in tokens, lifetimes in seconds since the last use.

    `automatic`: nothing need be asked for. `granularity_tokens`: a match is cut to a multiple of it, 1 for
    matches that end at a marked block, 0 for no cache at all. `long_ttl_s`: the longer lifetime that can be
    asked for. `max_breakpoints`: how many marks a request may carry. `lookback`: how many blocks (Anthropic) or
    earlier breakpoints (OpenAI) before a mark are searched for a match; None: all.
    """

    name: str
    source: str
    automatic: bool
    minimum_tokens: int
    granularity_tokens: int
    ttl_s: int
    long_ttl_s: int | None = None
    max_breakpoints: int = 0
    lookback: int | None = None


NO_CACHE = CacheRule(
    name="none",
    source="a provider that publishes no rule: nothing is counted on",
    automatic=False,
    minimum_tokens=0,
    granularity_tokens=0,
    ttl_s=0,
)

OPENAI_AUTOMATIC = CacheRule(
    name="openai-automatic",
    # From 1,024 tokens in steps of 128; cleared after 5 to 10 minutes of inactivity: the shorter is taken.
    # Writes cost nothing extra.
    source="developers.openai.com/api/docs/guides/prompt-caching, models before gpt-5.6",
    automatic=True,
    minimum_tokens=1024,
    granularity_tokens=128,
    ttl_s=300,
)

OPENAI_BREAKPOINTS = CacheRule(
    name="openai-breakpoints",
    # One implicit breakpoint, up to four written; ttl 30m is a minimum and the only value; writes cost 1.25x.
    source="OpenAI API reference, prompt_cache_options, gpt-5.6 and later",
    automatic=True,
    minimum_tokens=1024,
    granularity_tokens=1,
    ttl_s=1800,
    max_breakpoints=4,
    lookback=80,
)

ANTHROPIC_EXPLICIT = CacheRule(
    name="anthropic-explicit",
    # A write costs 1.25x (5m) or 2x (1h) and a read 0.1x; each read renews the lifetime.
    source="platform.claude.com/docs/en/build-with-claude/prompt-caching",
    automatic=False,
    minimum_tokens=1024,
    granularity_tokens=1,
    ttl_s=300,
    long_ttl_s=3600,
    max_breakpoints=4,
    lookback=20,
)

GEMINI_IMPLICIT = CacheRule(
    name="gemini-implicit",
    # No lifetime is published ("a short amount of time"), so OpenAI's shorter one is taken.
    source="ai.google.dev/gemini-api/docs/caching, October 2026",
    automatic=True,
    minimum_tokens=4096,
    granularity_tokens=1,
    ttl_s=300,
)

DEEPSEEK_DISK = CacheRule(
    name="deepseek-disk",
    # Kept "a few hours to a few days": an hour is safe. Newer models keep whole prefix units (the end of each
    # input and output), which are no shorter than the 64-token units counted here.
    source="api-docs.deepseek.com/guides/kv_cache",
    automatic=True,
    minimum_tokens=64,
    granularity_tokens=64,
    ttl_s=3600,
)

ANTHROPIC_MINIMUM = (
    # The same page's table. The first pattern found decides; others have 1,024.
    (r"opus-5|fable-5|mythos-5", 512),
    (r"opus-4[-.][56]|haiku-4[-.]5", 4096),
    (r"opus-4[-.]7|haiku-3|3[-.]5-haiku|3-haiku", 2048),
)

OPENAI_HOSTS = frozenset({"openai", "azure"})

_BEFORE_GPT_5_6 = re.compile(r"gpt-[34]|gpt-5($|[-:]|\.[0-5])|(^|/)o\d|codex-mini|chatgpt-4")


def cache_rule_of(provider: str, model: str) -> CacheRule:
    """The rule by which `provider` caches prompts to `model`; `NO_CACHE` where none is published.

    Claude is Claude wherever it is sold. A model resold by a router (OpenRouter) follows its maker's rule as
    far as that rule is automatic or the mark is passed on, which OpenRouter does.
    """
    name = model.lower()
    if "claude" in name:
        least = next((n for pattern, n in ANTHROPIC_MINIMUM if re.search(pattern, name)), None)
        return ANTHROPIC_EXPLICIT if least is None else replace(ANTHROPIC_EXPLICIT, minimum_tokens=least)
    maker = name.partition("/")[0] if provider == "openrouter" else provider
    if maker in OPENAI_HOSTS:
        return OPENAI_AUTOMATIC if _BEFORE_GPT_5_6.search(name) else OPENAI_BREAKPOINTS
    if maker in {"google", "gemini", "vertex"}:
        old = "gemini-2.5" in name
        return replace(GEMINI_IMPLICIT, minimum_tokens=2048) if old else GEMINI_IMPLICIT
    return DEEPSEEK_DISK if maker == "deepseek" else NO_CACHE


def readable_tokens(rule: CacheRule, matching_prefix_tokens: int) -> int:
    """How many tokens of a prefix that the provider has kept are read from its cache: none below the rule's
    minimum, else cut to its steps."""
    if rule.granularity_tokens == 0 or matching_prefix_tokens < max(rule.minimum_tokens, 1):
        return 0
    return matching_prefix_tokens - matching_prefix_tokens % rule.granularity_tokens
