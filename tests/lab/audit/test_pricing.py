"""Models as logs name them, priced as genai-prices prices them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import calc_price
from genai_prices import types as theirs

from turnout.catalog.prices import NANO_PER_USD, cost_nano_usd
from turnout.chat import Usage
from turnout.lab.audit.pricing import Pricer


@pytest.mark.parametrize(
    ("provider", "model", "home"),
    [
        ("", "claude-opus-4-5-20251101", ("anthropic", "claude-opus-4-5-20251101")),
        ("", "claude-sonnet-4-5[1m]", ("anthropic", "claude-sonnet-4-5")),
        ("", "anthropic/claude-haiku-4-5", ("anthropic", "claude-haiku-4-5")),
        ("", "gpt-4.1-mini", ("openai", "gpt-4.1-mini")),
        ("", "gemini/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("", "claude-opus-4-1@20250805", ("anthropic", "claude-opus-4-1-20250805")),
        ("", "who-knows", ("", "who-knows")),
        ("lab", "who-knows", ("lab", "who-knows")),
        ("", "", ("", "")),
    ],
)
def test_whose_model_a_name_means(provider, model, home):
    assert Pricer().home(provider, model) == home


@pytest.mark.parametrize("model", ["claude-opus-4-5", "claude-sonnet-4-5", "gpt-4.1", "gpt-5-mini", "gemini-2.5-pro"])
@pytest.mark.parametrize("total", [900, 150_000, 260_000])
def test_costs_are_those_of_genai_prices(model, total):
    at = datetime(2026, 6, 1, tzinfo=UTC)
    pricer = Pricer()
    home, name = pricer.home("", model)
    price = pricer.price(home, name, at.timestamp())
    read, written = total // 2, (total // 4 if home == "anthropic" else 0)
    ours = cost_nano_usd(Usage(input=total, cache_read=read, cache_write=written, output=777), price)
    usage = theirs.Usage(input_tokens=total, cache_read_tokens=read, cache_write_tokens=written, output_tokens=777)
    told = calc_price(usage, model, provider_id=home, genai_request_timestamp=at).total_price
    assert abs(Decimal(ours) / NANO_PER_USD - told) <= told / 1000


def test_times_that_are_none():
    pricer = Pricer()
    assert pricer.price("openai", "gpt-4.1", 1e300) == pricer.price("openai", "gpt-4.1", None)
