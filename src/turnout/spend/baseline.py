"""What the model that savings are reported against would have cost for the same tokens. Pure.

Two baselines stand beside every saving, for most of what gateways call a saving is the provider's cache: the model
without any cache, and with one that reads all that the step before had sent. That another model writes as much is
assumed.
"""

from __future__ import annotations

from turnout.catalog.cache_rules import CacheRule, readable_tokens
from turnout.catalog.fleet import Fleet
from turnout.catalog.models import TIERS, Deployment
from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Usage
from turnout.errors import ConfigError

__all__ = ["baseline_nano_usd", "baseline_of"]


def baseline_of(fleet: Fleet, name: str | None) -> Deployment | None:
    """The model that savings are reported against: the one of that name, else the dearest of the strongest tier there
    is; None without a price. Raises ConfigError for a name that nobody knows."""
    if name is not None:
        found = fleet.find(name)
        if not found:
            near = ", ".join(fleet.near(name))
            hint = f"; near it: {near}" if near else ""
            raise ConfigError(f"routing.baseline: there is no model {name!r}{hint}", param="routing.baseline")
        return found[0] if found[0].price is not None else None
    priced = [(d, d.price) for d in fleet if d.price is not None and d.price.input]
    strongest = max(
        priced, key=lambda one: (TIERS.index(one[0].tier) if one[0].tier else -1, one[1].input), default=None
    )
    return None if strongest is None else strongest[0]


def baseline_nano_usd(usage: Usage, repeated: int, price: Price, rule: CacheRule) -> tuple[int, int] | None:
    """Nano-dollars without a cache and with one; None where the tokens are not known. `repeated`: tokens of the input
    that the step before had sent."""
    if usage.input is None or usage.output is None:
        return None
    without = cost_nano_usd(Usage(input=usage.input, output=usage.output), price)
    read = min(readable_tokens(rule, repeated), usage.input)
    keeps = bool(readable_tokens(rule, usage.input)) and bool(rule.max_breakpoints)
    if not read and not keeps:
        return without, without
    cached = Usage(
        input=usage.input, cache_read=read, cache_write=usage.input - read if keeps else 0, output=usage.output
    )
    # Writing a cache that nobody reads again costs more than none: the better of both is what one would pay.
    return without, min(without, cost_nano_usd(cached, price))
