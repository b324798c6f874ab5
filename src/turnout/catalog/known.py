"""What we know of models by their names: their tier, what they cannot do, and which of a host are usual.

The rows (`data/models.json`, made by hand) are patterns of families, not a list of models: a new member of a
family gets its family's place. They are judgement, and the config overrides each of them. A tier is the
maker's own rank (opus over sonnet over haiku, pro over flash over flash-lite, no suffix over mini over nano).
Where a maker has no ranks, open weights count by size: small below 15 billion parameters, else mid. What a
model cannot do is what its maker's model page said when the row was written (November 2026); what nothing is
said of is taken as possible, so that no request is refused on a guess.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

import msgspec
from msgspec import Struct

from turnout.catalog.catalog import ALIASES, Catalog
from turnout.catalog.models import Capabilities, Tier

__all__ = ["capabilities_of", "default_models", "tier_of"]

MODELS = Path(__file__).parent / "data" / "models.json"


class TierRule(Struct, frozen=True, forbid_unknown_fields=True):
    """`tier` None: not a model one chats with."""

    match: str
    tier: Tier | None


class CapabilityRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What a family can do; a field left out stays as in `Capabilities`. `context_window` is used only where
    the price data has none."""

    match: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    tools: bool = True
    vision: bool = True
    files: bool = True
    audio: bool = False
    json_schema: bool = True
    reasoning: bool = True


class KnownModels(Struct, frozen=True, forbid_unknown_fields=True):
    """Both lists of rules are ordered: the first pattern found anywhere in a model's lower-case name decides.
    `usual` is by provider, the highest tier first."""

    tiers: tuple[TierRule, ...]
    capabilities: tuple[CapabilityRule, ...]
    usual: dict[str, tuple[str, ...]]


@cache
def known_models() -> KnownModels:
    """The rows, read on first use."""
    return msgspec.json.decode(MODELS.read_bytes(), type=KnownModels)


def default_models(provider: str) -> tuple[str, ...]:
    """The models to offer of a provider when the config names none: its current one of each tier, as far as it
    has them. Empty for a provider we have no choice for."""
    return known_models().usual.get(ALIASES.get(provider, provider), ())


# Callers choose model names, so what is remembered of them has a bound.
@lru_cache(maxsize=4096)
def tier_of(model: str) -> Tier | None:
    """The tier of a model by its name (a provider's prefix before it does no harm); None: not known, or not a
    model for chat."""
    name = model.lower()
    rule = next((r for r in known_models().tiers if re.search(r.match, name)), None)
    return None if rule is None else rule.tier


@lru_cache(maxsize=4096)
def capabilities_of(provider: str, model: str) -> Capabilities:
    """What `model` at `provider` can take and give. The context window is the price data's, in tokens."""
    name = model.lower()
    rule = next((r for r in known_models().capabilities if re.search(r.match, name)), CapabilityRule(match=""))
    return Capabilities(
        context_window=Catalog.load().context_window(provider, model) or rule.context_window,
        max_output_tokens=rule.max_output_tokens,
        tools=rule.tools,
        vision=rule.vision,
        files=rule.files,
        audio=rule.audio,
        json_schema=rule.json_schema,
        reasoning=rule.reasoning,
    )
