"""What the gateway knows of a model at a provider: a deployment, its tier and what it can do."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from turnout.catalog.prices import Price

__all__ = ["TIERS", "Capabilities", "Deployment", "Tier"]

Tier = Literal["small", "mid", "frontier"]
TIERS: tuple[Tier, ...] = ("small", "mid", "frontier")


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a model can take and give. `context_window` and `max_output_tokens` in tokens; None: not known,
    and then no request is refused for it."""

    context_window: int | None = None
    max_output_tokens: int | None = None
    tools: bool = True
    vision: bool = True
    files: bool = True
    audio: bool = False
    json_schema: bool = True
    reasoning: bool = True


class Deployment(Struct, frozen=True, kw_only=True):
    """One model at one provider. `id` is `provider/model`, `upstream_model` the name the provider knows.
    `price` None: unpriced, which is said and never taken as zero."""

    id: str
    provider: str
    upstream_model: str
    dialect: str
    tier: Tier | None = None
    capabilities: Capabilities = Capabilities()
    price: Price | None = None
