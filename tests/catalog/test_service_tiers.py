"""Service tiers: what they cost where that is known, and that it is said where it is not."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from support.calls import post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.catalog.catalog import Catalog
from turnout.catalog.prices import Price, PriceTier, cost_nano_usd, rates_for, scaled, unpriced_tier
from turnout.catalog.service_tiers import service_rules
from turnout.chat import Usage
from turnout.config import parse_config
from turnout.describing import price_of
from turnout.dialects.billing import tier_word
from turnout.errors import ConfigError

CATALOG = Catalog.load()
DAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("model", "tier", "input_", "cached", "output"),
    [
        # openai.com/api-fast-mode, read 2026-11-24: USD per million tokens, short context.
        ("gpt-5.6-sol", "priority", "8", "0.8", "40"),
        ("gpt-5.6-terra", "priority", "4", "0.4", "24"),
        ("gpt-5.6-luna", "priority", "0.4", "0.04", "2.4"),
        ("gpt-5.5", "priority", "12.5", "1.25", "75"),
        ("gpt-5.4", "priority", "5", "0.5", "30"),
        ("gpt-5.4-mini", "priority", "1.5", "0.15", "9"),
        ("gpt-5.2", "priority", "3.5", "0.35", "28"),
        ("gpt-5", "priority", "2.5", "0.25", "20"),
        ("gpt-5-mini", "priority", "0.45", "0.045", "3.6"),
        ("gpt-4.1", "priority", "3.5", "0.875", "14"),
        ("gpt-5.5", "flex", "2.5", "0.25", "15"),
        ("gpt-5.5", "batch", "2.5", "0.25", "15"),
    ],
)
def test_published_prices_come_out(model: str, tier: str, input_: str, cached: str, output: str) -> None:
    price = CATALOG.price("openai", model, DAY)
    assert price is not None
    rates = rates_for(price, tier, 1_000)
    assert [rates.input, rates.cache_read, rates.output] == [int(Decimal(f) * 10**6) for f in (input_, cached, output)]


def test_a_long_request_of_a_service_tier_has_its_own_prices() -> None:
    # openai.com/api-fast-mode: GPT-5.6 Sol, long context, 16, 1.6 and 60 USD.
    price = CATALOG.price("openai", "gpt-5.6-sol", DAY)
    assert price is not None
    rates = rates_for(price, "priority", 272_001)
    assert (rates.input, rates.cache_read, rates.output) == (16_000_000, 1_600_000, 60_000_000)


@pytest.mark.parametrize(
    ("provider", "model", "tiers"),
    [
        ("openai", "gpt-5-nano", {"batch", "flex"}),
        ("anthropic", "claude-opus-5", {"batch"}),
        ("vertex", "gemini-3.5-flash", {"batch", "flex"}),
        ("azure", "gpt-5", set()),
        ("mistral", "mistral-large-latest", set()),
    ],
)
def test_only_what_a_row_says_is_priced(provider: str, model: str, tiers: set[str]) -> None:
    price = CATALOG.price(provider, model, DAY)
    assert price is not None
    assert {s.name for s in price.service} == tiers


def test_every_row_says_where_and_when_it_was_read_and_matches_a_model_of_the_table() -> None:
    models = {p.id: [m.id.lower() for m in p.models] for p in CATALOG.providers}
    for rule in service_rules():
        assert "https://" in rule.source
        assert date.fromisoformat(rule.read) <= date(2027, 12, 31)
        assert set(rule.tiers) <= {"batch", "flex", "priority"}
        assert all(0 < factor < 5 for factor in rule.tiers.values())
        assert any(re.search(rule.match, name) for name in models[rule.provider]), rule.match


def test_an_unpriced_tier_costs_as_standard_and_is_named() -> None:
    price = Price(input=2_000, output=4_000)
    usage = Usage(input=10, output=5, service_tier="scale")
    assert cost_nano_usd(usage, price) == 40
    assert unpriced_tier(usage, price) == "scale"
    assert unpriced_tier(Usage(input=10, service_tier="standard"), price) is None
    assert unpriced_tier(usage, Price(input=0, output=0)) is None, "nothing is nothing in any tier"


def test_a_scaled_price_is_never_too_low() -> None:
    price = Price(input=5, output=3, cache_read=1, tiers=(PriceTier(above_input_tokens=9, input=7, output=7),))
    half = scaled(price, "batch", Decimal("0.5"))
    assert (half.input, half.output, half.cache_read, half.cache_write) == (3, 2, 1, None)
    assert half.tiers == (PriceTier(above_input_tokens=9, input=4, output=4),)


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        ("default", "standard"),
        ("SERVICE_TIER_PRIORITY", "priority"),
        ("ON_DEMAND_FLEX", "flex"),
        ("on_demand", "standard"),
        ("fast", "priority"),
        ("auto", None),
        ("", None),
        (None, None),
        ({"type": "x"}, None),
        ("Scale", "scale"),
        ("x" * 99, "x" * 32),
    ],
)
def test_providers_words_become_ours(told: object, ours: str | None) -> None:
    assert tier_word(told) == ours


ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 0, "total_tokens": 1_000},
}
ASK = msgspec.json.encode({"model": "lab/small", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})


@pytest.mark.parametrize(
    ("tier", "cost", "warned"),
    [
        ("flex", "0.0005", None),
        ("priority", "0.002", None),
        ("default", "0.001", None),
        ("scale", "0.001", "service tier scale unpriced: standard price taken"),
    ],
)
async def test_the_price_is_that_of_the_tier_the_answer_was_served_in(tmp_path, tier, cost, warned) -> None:
    script = answer({**ANSWER, "service_tier": tier})
    async with ScriptedUpstream(script) as up:
        config = lab(up.url).replace("cache_read = 0.1", "flex = 0.5, priority = { input = 2, output = 8 }")
        async with gateway(config, tmp_path) as gw:
            _, headers, _ = await post(gw.url, "/v1/chat/completions", ASK)
            told = dict(headers)
            assert told["x-turnout-cost-usd"] == cost
            assert told.get("x-turnout-warnings") == warned


def config_price(text: str) -> Price:
    told = parse_config(f'[models."lab/m"]\n[models."lab/m".price]\ninput = 1\noutput = 4\n{text}', {}).models["lab/m"]
    assert told.price is not None
    return price_of("lab/m", told.price)


def test_a_config_prices_tiers_by_input_and_by_service() -> None:
    price = config_price(
        "batch = 0.5\npriority = 2\nflex = { input = 0.7, output = 2, cache_read = 0.1 }\n"
        "tiers = [{ above_input_tokens = 200000, input = 2, output = 6, cache_write_1h = 4 }]\n"
    )
    assert rates_for(price, None, 200_000).input == 1_000_000
    assert rates_for(price, None, 200_001).cache_write_1h == 4_000_000
    assert rates_for(price, "batch", 200_001).output == 3_000_000
    assert rates_for(price, "priority", 1).output == 8_000_000
    assert rates_for(price, "flex", 200_001).cache_read == 100_000
    assert price.source == "config"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("batch = 0", ".batch"),
        ("priority = -2", ".priority"),
        ('flex = "half"', ".flex"),
        ("flex = { input = 1, output = -1 }", ".flex.output"),
        ("flex = { input = 1, outptu = 1 }", ".flex.outptu"),
        ("batch = { input = 1 }", "batch"),
        ("tiers = [{ above_input_tokens = 5, input = -1, output = 1 }]", ".tiers[0].input"),
        ("tiers = [{ above_input = 5, input = 1, output = 1 }]", ".tiers[0].above_input"),
        (
            (
                "tiers = [{ above_input_tokens = 5, input = 1, output = 1 }, { above_input_tokens = 5, input = 1, "
                "output = 1 }]"
            ),
            ".tiers",
        ),
        ("slow = 2", ".slow"),
    ],
)
def test_an_error_of_the_config_names_its_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_price(text)
    assert key in caught.value.message
