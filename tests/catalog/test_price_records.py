"""A cost that was booked can be worked out again from what was kept."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from turnout.catalog.catalog import Catalog
from turnout.catalog.price_records import price_digest, price_from_json, price_to_json, recost
from turnout.catalog.prices import Price, PriceTier, ServicePrice, cost_nano_usd
from turnout.chat import Usage

CATALOG = Catalog.load()
ALL = [c.price for p in CATALOG.providers for m in p.models for c in m.prices if c.price]
LUNA = CATALOG.price("openai", "gpt-5.6-luna")


def test_every_price_of_the_table_comes_back_as_it_was() -> None:
    assert len(ALL) > 500
    for price in ALL:
        assert price_from_json(price_to_json(price)) == price
    assert LUNA is not None
    assert LUNA.service
    assert price_from_json(price_to_json(LUNA)) == LUNA


def test_a_digest_names_the_figures_and_where_they_are_from() -> None:
    assert LUNA is not None
    assert price_digest(LUNA) == price_digest(price_from_json(price_to_json(LUNA)))
    others = [
        replace(LUNA, output=LUNA.output + 1),
        replace(LUNA, source="config"),
        replace(LUNA, service=LUNA.service[:1]),
        replace(LUNA, tiers=()),
    ]
    assert len({price_digest(p) for p in (LUNA, *others)}) == 5


def test_the_spelling_is_fixed() -> None:
    """Digests are kept for good: this very text must stay."""
    price = Price(
        input=1,
        output=2,
        cache_read=0,
        tiers=(PriceTier(above_input_tokens=9, input=3, output=4),),
        service=(ServicePrice(name="batch", input=1, output=1),),
        source="test",
    )
    assert price_to_json(price) == (
        b'{"cache_read":0,"input":1,"output":2,"service":[{"input":1,"name":"batch","output":1}],'
        b'"source":"test","tiers":[{"above_input_tokens":9,"input":3,"output":4}]}'
    )
    assert price_digest(price) == "b8df39836d16549f"


@given(st.sampled_from(ALL), st.tuples(*[st.integers(0, 500_000)] * 5), st.sampled_from([None, "batch", "scale"]))
def test_the_cost_is_what_it_was(price: Price, counts: tuple[int, ...], tier: str | None) -> None:
    total, read, write, hour, output = counts
    usage = Usage(
        input=total, cache_read=read, cache_write=write, cache_write_1h=hour, output=output, service_tier=tier
    )
    assert recost(usage, price_to_json(price)) == cost_nano_usd(usage, price)


def test_what_is_no_price_is_said() -> None:
    with pytest.raises(msgspec.MsgspecError):
        recost(Usage(input=1), b'{"input": 1}')
