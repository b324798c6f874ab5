"""What service tiers cost beside the standard one: rows made by hand from providers' price lists.

A row (`data/service_tiers.json`) says of one provider's models by how much a tier's every price differs from the
standard one, where that was read and when. genai-prices has standard prices alone. What no row says is unpriced.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.prices import Price, factor_from, scaled

__all__ = ["TierRule", "service_rules", "with_service_tiers"]

SERVICE_TIERS = Path(__file__).parent / "data" / "service_tiers.json"


class TierRule(Struct, frozen=True, forbid_unknown_fields=True):
    """`match` is a pattern found in a model's lower-case name; `tiers` a factor for each service tier, in words
    of `chat.Usage`. `source` is where it was read, `read` the day (ISO)."""

    provider: str
    match: str
    tiers: dict[str, float]
    source: str
    read: str


@cache
def service_rules() -> tuple[TierRule, ...]:
    """The rows, read on first use."""
    return msgspec.json.decode(SERVICE_TIERS.read_bytes(), type=tuple[TierRule, ...])


@lru_cache(maxsize=4096)  # callers choose model names
def _factors(provider: str, model: str) -> tuple[tuple[str, float], ...]:
    """The first row that speaks of a tier decides."""
    found: dict[str, float] = {}
    for rule in service_rules():
        if rule.provider == provider and re.search(rule.match, model):
            found = {**rule.tiers, **found}
    return tuple(sorted(found.items()))


def with_service_tiers(provider: str, model: str, price: Price) -> Price:
    """`price` with the service tiers that are known of `model` at `provider` (by its name in the price table)."""
    factors = _factors(provider, model.lower())
    service = tuple(scaled(price, name, factor_from(factor, name)) for name, factor in factors)
    return replace(price, service=service) if service else price
