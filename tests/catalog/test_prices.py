"""What an answer costs: each figure is worked out by hand beside it, from the provider's price list."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.catalog.prices import Price, PriceTier, cost_nano_usd, format_usd, price_from_usd_per_million
from turnout.chat import Usage
from turnout.errors import ConfigError

GPT_5 = price_from_usd_per_million("1.25", "10", cache_read="0.125")
SONNET = price_from_usd_per_million("3", "15", cache_read="0.3", cache_write="3.75", cache_write_1h="6")


def test_openai_counting_input_includes_the_cached_tokens() -> None:
    # OpenAI's own example: prompt_tokens 2006, of which cached_tokens 1920; completion_tokens 300.
    # 86 x 1.25 + 1920 x 0.125 + 300 x 10 = 107.5 + 240 + 3000 USD per million
    usage = Usage(input=2006, cache_read=1920, output=300)
    assert cost_nano_usd(usage, GPT_5) == 3_347_500


def test_anthropic_counting_once_its_three_counts_are_added_up() -> None:
    # Anthropic reports input_tokens 21, cache_read_input_tokens 10000, cache_creation_input_tokens 2000
    # (1500 of them for 5m, 500 for 1h), output_tokens 393.
    # 21 x 3 + 10000 x 0.3 + 1500 x 3.75 + 500 x 6 + 393 x 15 = 63 + 3000 + 5625 + 3000 + 5895 USD per million
    usage = Usage(input=12_021, cache_read=10_000, cache_write=2_000, cache_write_1h=500, output=393)
    assert cost_nano_usd(usage, SONNET) == 17_583_000


def test_reasoning_is_within_output_and_not_billed_twice() -> None:
    assert cost_nano_usd(Usage(input=0, output=100, reasoning=90), GPT_5) == 1_000_000


def test_what_is_not_priced_apart_costs_as_input() -> None:
    plain = price_from_usd_per_million("2", "0")
    usage = Usage(input=100, cache_read=40, cache_write=30, cache_write_1h=30)
    assert cost_nano_usd(usage, plain) == 200_000
    no_hour = price_from_usd_per_million("2", "0", cache_write="3")
    assert cost_nano_usd(usage, no_hour) == (70 * 2 + 30 * 3) * 1000


def test_a_tier_is_chosen_by_total_input_and_holds_for_the_whole_request() -> None:
    price = Price(
        input=1_250_000,
        output=10_000_000,
        cache_read=125_000,
        tiers=(PriceTier(above_input_tokens=200_000, input=2_500_000, output=15_000_000, cache_read=250_000),),
    )
    at = Usage(input=200_000, cache_read=150_000, output=10)
    above = Usage(input=200_001, cache_read=150_000, output=10)
    assert cost_nano_usd(at, price) == 50_000 * 1250 + 150_000 * 125 + 10 * 10_000
    assert cost_nano_usd(above, price) == 50_001 * 2500 + 150_000 * 250 + 10 * 15_000


@pytest.mark.parametrize(
    ("pico", "nano"), [(499, 0), (500, 0), (501, 1), (1_499, 1), (1_500, 2), (2_500, 2), (3_500, 4)]
)
def test_rounding_is_half_to_even_and_happens_once(pico: int, nano: int) -> None:
    assert cost_nano_usd(Usage(input=1), Price(input=pico, output=0)) == nano
    assert cost_nano_usd(Usage(input=1_000), Price(input=pico, output=0)) == pico


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(), 0),
        (Usage(input=-5, output=-1), 0),
        # Reads beyond the input: they are billed, no plain input is.
        (Usage(input=10, cache_read=100), 100 * 300),
        # A one-hour part larger than all writes is at most all of them.
        (Usage(input=10, cache_write=10, cache_write_1h=99), 10 * 6000),
        (Usage(input=10**30), 10**9 * 3000),
    ],
)
def test_absurd_usage_is_bounded(usage: Usage, nano: int) -> None:
    assert cost_nano_usd(usage, SONNET) == nano


counts = st.one_of(st.none(), st.integers(min_value=-(2**70), max_value=2**70))


@given(counts, counts, counts, counts, counts)
def test_no_usage_costs_less_than_nothing_or_overflows_a_database(
    input_: int | None, read: int | None, write: int | None, hour: int | None, output: int | None
) -> None:
    usage = Usage(input=input_, cache_read=read, cache_write=write, cache_write_1h=hour, output=output)
    assert 0 <= cost_nano_usd(usage, SONNET) < 2**63


def test_a_float_of_the_config_is_the_figure_it_prints_as() -> None:
    price = price_from_usd_per_million(0.1, 0.4, cache_read=0.01, cache_write=0.125)
    assert price == Price(input=100_000, output=400_000, cache_read=10_000, cache_write=125_000)
    assert price_from_usd_per_million(Decimal("0.000001"), 0).input == 1


@pytest.mark.parametrize("figure", [-1, "-0.01", "NaN", "Infinity", "1e300", "dear", "", True, 100_001, "0.0000001"])
def test_a_figure_that_is_no_price_names_its_key(figure: str | float) -> None:
    with pytest.raises(ConfigError) as caught:
        price_from_usd_per_million("1", "1", cache_write=figure, key='models."lab/x".price')
    assert caught.value.param == 'models."lab/x".price.cache_write'
    assert caught.value.param in caught.value.message


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_250, "$0.00000125"),
        (12_345_678, "$0.0123"),
        (12_000_000, "$0.012"),
        (50_000_000, "$0.05"),
        (123_456_789, "$0.123"),
        (999_600_000, "$1.00"),
        (1_005_000_000, "$1.00"),
        (1_234_500_000_000, "$1,234.50"),
        (-50_000_000, "-$0.05"),
    ],
)
def test_money_for_people(nano: int, text: str) -> None:
    assert format_usd(nano) == text
