"""Advice: exact arithmetic on stated figures, nothing where a price is not known."""

from turnout.catalog.prices import Price
from turnout.spend.volume import Volume, advise

BIG = Price(input=5_000_000, output=25_000_000, cache_read=500_000)
SMALL = Price(input=1_000_000, output=4_000_000, cache_read=100_000)
PRICES = {"a/big": BIG, "b/small": SMALL}.get


def volume(**fields):
    told = {"group": "search", "deployment": "a/big", "tier": "frontier", "requests": 10, "input_tokens": 1_000_000}
    return Volume(**{**told, **fields})


def test_a_cache_that_is_not_read_is_the_difference_of_two_list_prices():
    (advice, *_) = advise([volume(repeated_tokens=900_000, cache_read_tokens=100_000)], PRICES)
    assert advice.saving_nano_usd == 800_000 * 4_500
    assert "800,000 input tokens repeated" in advice.how


def test_short_steps_are_advised_to_a_small_model_that_is_in_use():
    told = [volume(brief_requests=8, brief_cost_nano_usd=1_000_000_000), volume(deployment="b/small", tier="small")]
    (advice, *_) = advise(told, PRICES)
    assert (advice.title, advice.saving_nano_usd) == ("let b/small take the short steps of a/big", 800_000_000)
    assert advise(told[:1], PRICES) == [], "without a small model nothing is said of one"


def test_three_at_most_and_the_best_first():
    told = [
        volume(
            repeated_tokens=500_000, tools=300_000, tool_results=400_000, brief_cost_nano_usd=10**9, brief_requests=1
        ),
        volume(deployment="b/small", tier="small"),
    ]
    found = advise(told, PRICES)
    assert len(found) == 3
    assert [a.saving_nano_usd for a in found] == sorted((a.saving_nano_usd for a in found), reverse=True)


def test_of_what_has_no_price_nothing_is_said():
    assert advise([volume(deployment="lab/mystery", repeated_tokens=10**6)], PRICES) == []
