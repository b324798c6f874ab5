"""How providers cache prompts: what they keep, from which length on, in which steps, for how long and at what price.

The rows (`data/cache_rules.json`) are the providers' published rules, each with its source. None of them promises a
hit: what really comes back corrects them (`routing/warmth.py`).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

__all__ = ["NO_CACHE", "CacheRule", "cache_rule_of", "readable_tokens"]

RULES = Path(__file__).parent / "data" / "cache_rules.json"


class CacheRule(Struct, frozen=True, kw_only=True):
    """One provider's way of caching a model's prompts. Lengths in tokens, lifetimes in seconds since the last use.

    `automatic`: nothing need be asked for. `granularity_tokens`: a match is cut to a multiple of it, 1 for
    matches that end at a marked block, 0 for no cache at all. `long_ttl_s`: the longer lifetime that can be
    asked for. `max_breakpoints`: how many marks a request may carry. `lookback`: how many blocks, the marked one
    included (Anthropic), or earlier breakpoints (OpenAI) before a mark are searched for a match; None: all.
    `*_multiplier` are over the price of input, where the price list has no price of its own; None: not published.
    `slots`: how many different conversations a local server keeps; None: as many as there is room for.
    """

    name: str = "none"
    source: str
    confidence: Literal["documented", "reported", "assumed"]
    automatic: bool = False
    minimum_tokens: int = 0
    granularity_tokens: int = 0
    ttl_s: int = 0
    long_ttl_s: int | None = None
    max_breakpoints: int = 0
    lookback: int | None = None
    write_multiplier: float | None = None
    long_write_multiplier: float | None = None
    read_multiplier: float | None = None
    slots: int | None = None

    @property
    def by_marks(self) -> bool:
        """Whether only what a request marks is kept: unasked nothing is written, and nothing is billed for it."""
        return not self.automatic and self.max_breakpoints > 0


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    read: str
    families: dict[str, dict[str, object]]
    rows: tuple[dict[str, object], ...]


class _Row(Struct, frozen=True):
    provider: re.Pattern[str]
    model: re.Pattern[str]
    rule: CacheRule


NO_CACHE = CacheRule(source="a provider that publishes no rule: nothing is counted on", confidence="assumed")


@cache
def _rows() -> tuple[_Row, ...]:
    """The rows, read on first use. Each is its family's with what it says otherwise."""
    table = msgspec.json.decode(RULES.read_bytes(), type=_Table)
    rows: list[_Row] = []
    for told in table.rows:
        family = str(told["like"])
        own = {key: value for key, value in told.items() if key not in {"provider", "model", "like"}}
        rule = NO_CACHE if family == NO_CACHE.name else _rule({"name": family, **table.families[family], **own})
        rows.append(_Row(re.compile(str(told.get("provider", ".*"))), re.compile(str(told.get("model", ""))), rule))
    return tuple(rows)


def _rule(fields: dict[str, object]) -> CacheRule:
    return msgspec.convert(fields, CacheRule)


# Callers choose model names, so what is remembered of them has a bound.
@lru_cache(maxsize=4096)
def cache_rule_of(provider: str, model: str) -> CacheRule:
    """The rule by which `provider` caches prompts to `model`; `NO_CACHE` where none is published.

    Claude is Claude wherever it is sold. A model resold by a router (OpenRouter) follows its maker's rule as
    far as that rule is automatic or the mark is passed on, which OpenRouter does.
    """
    name = model.lower()
    found = (row.rule for row in _rows() if row.provider.fullmatch(provider) and row.model.search(name))
    return next(found, NO_CACHE)


def readable_tokens(rule: CacheRule, matching_prefix_tokens: int) -> int:
    """How many tokens of a prefix that the provider has kept are read from its cache: none below the rule's
    minimum, else cut to its steps."""
    if rule.granularity_tokens == 0 or matching_prefix_tokens < max(rule.minimum_tokens, 1):
        return 0
    return matching_prefix_tokens - matching_prefix_tokens % rule.granularity_tokens
