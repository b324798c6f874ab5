"""What the model that savings are reported against would have cost."""

import pytest

from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of
from turnout.catalog.fleet import Fleet
from turnout.catalog.models import Deployment
from turnout.catalog.prices import Price
from turnout.chat import Usage
from turnout.errors import ConfigError
from turnout.spend.baseline import baseline_nano_usd, baseline_of

PRICE = Price(input=3_000_000, output=15_000_000, cache_read=300_000, cache_write=3_750_000)


def deployment(name, tier, price):
    return Deployment(
        id=f"lab/{name}",
        provider="lab",
        upstream_model=name,
        dialect="openai-chat",
        tier=tier,
        price=None if price is None else Price(input=price, output=price),
    )


def test_without_a_cache_and_with_one():
    rule = cache_rule_of("anthropic", "claude-sonnet-4-5")
    usage = Usage(input=20_000, cache_read=5, output=100)
    assert baseline_nano_usd(usage, 18_000, PRICE, rule) == (
        20_000 * 3_000 + 100 * 15_000,
        18_000 * 300 + 2_000 * 3_750 + 100 * 15_000,
    )


def test_writing_a_cache_that_is_never_read_is_not_done():
    rule = cache_rule_of("anthropic", "claude-sonnet-4-5")
    without, cached = baseline_nano_usd(Usage(input=20_000, output=0), 0, PRICE, rule)
    assert cached == without


def test_a_provider_that_keeps_nothing():
    without, cached = baseline_nano_usd(Usage(input=20_000, output=0), 18_000, PRICE, NO_CACHE)
    assert cached == without


def test_tokens_that_nobody_told():
    assert baseline_nano_usd(Usage(input=20_000), 0, PRICE, NO_CACHE) is None


def test_the_dearest_of_the_strongest_tier_unless_it_is_named():
    fleet = Fleet([deployment("a", "small", 9), deployment("b", "frontier", 2), deployment("c", "frontier", 5)])
    assert baseline_of(fleet, None).id == "lab/c"
    assert baseline_of(fleet, "lab/a").id == "lab/a"
    assert baseline_of(Fleet([deployment("d", "frontier", None)]), None) is None
    with pytest.raises(ConfigError, match=r"routing\.baseline: there is no model 'lab/cc'"):
        baseline_of(fleet, "lab/cc")
