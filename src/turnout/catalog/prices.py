"""What tokens cost: exact integer prices, and the cost of one answer's usage."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import Struct

from turnout.chat import Usage

__all__ = ["NANO_PER_USD", "Price", "PriceTier", "cost_nano_usd", "format_usd"]

NANO_PER_USD = 1_000_000_000
"""Money is counted in integer nano-dollars: one token of the cheapest model sold costs several of them."""


class PriceTier(Struct, frozen=True, kw_only=True):
    """Prices from `above_input_tokens` total input tokens on, for the whole request. Unit as in `Price`."""

    above_input_tokens: int
    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class Price(Struct, frozen=True, kw_only=True):
    """Prices in pico-dollars a token (1 USD per million tokens = 1,000,000 pico-dollars a token).

    None for a cache price: the provider does not price it apart, so it costs as input.
    `source` says where the figures come from and of which version, e.g. `genai-prices 0.2.3` or `config`.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    tiers: tuple[PriceTier, ...] = ()
    source: str = "config"
