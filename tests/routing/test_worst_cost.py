"""The worst case that budgets hold: no answer within its bounds may cost more."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.fleets import outline
from turnout.catalog.catalog import Catalog
from turnout.catalog.models import Capabilities, Deployment
from turnout.catalog.prices import Price, PriceTier, ServicePrice, cost_nano_usd
from turnout.chat import Usage
from turnout.dialects import DIALECTS
from turnout.dialects.effort import BUDGETS
from turnout.routing.needs import MOST_THINKING_TOKENS, Needs, needs_of, worst_cost, worst_input, worst_output

USD = 1_000_000  # pico-dollars a token for 1 USD per million tokens
CATALOG = Catalog.load()


def sold(provider: str, model: str, dialect: str = "openai-chat", price: Price | None = None) -> Deployment:
    return Deployment(
        id=f"{provider}/{model}",
        provider=provider,
        upstream_model=model,
        dialect=dialect,
        price=price or CATALOG.price(provider, model),
    )


SONNET = sold("anthropic", "claude-sonnet-4-5", "anthropic-messages")
LUNA = sold("openai", "gpt-5.6-luna")

rates = st.integers(0, 100 * USD)
maybe = st.one_of(st.none(), rates)
tokens = st.integers(0, 400_000)
kinds = {"input": rates, "output": rates, "cache_read": maybe, "cache_write": maybe, "cache_write_1h": maybe}
price_tiers = st.lists(
    st.builds(PriceTier, above_input_tokens=st.integers(0, 300_000), **kinds),
    max_size=2,
    unique_by=lambda t: t.above_input_tokens,
).map(lambda found: tuple(sorted(found, key=lambda t: t.above_input_tokens)))
service = st.builds(ServicePrice, name=st.just("priority"), tiers=price_tiers, **kinds)
prices = st.builds(Price, tiers=price_tiers, service=st.one_of(st.just(()), service.map(lambda s: (s,))), **kinds)


@given(
    price=prices,
    estimate=st.integers(1, 300_000),
    bound=st.integers(1, 100_000),
    answers=st.integers(1, 4),
    asked=st.sampled_from(["5m", "1h", None]),
    wish=st.sampled_from([None, "standard", "priority"]),
    served=st.sampled_from([None, "standard", "priority"]),
    used=st.tuples(tokens, tokens, tokens, tokens, tokens),
)
def test_no_usage_within_the_bounds_costs_more(price, estimate, bound, answers, asked, wish, served, used):
    needs = Needs(
        input_tokens=estimate, max_output_tokens=bound, answers=answers, caches=asked, service_tier=wish, tools=True
    )
    where = sold("lab", "m", price=price)
    worst = worst_cost(where, needs)
    total = min(used[0], worst_input(where, needs))
    read = min(used[1], total)
    write = min(used[2], total - read)
    usage = Usage(
        input=total,
        cache_read=read,
        cache_write=write,
        cache_write_1h=min(used[3], write) if asked == "1h" else 0,
        output=min(used[4], worst_output(where, needs)),
        service_tier=served if wish == "priority" else "standard",
    )
    if worst is None:
        assert wish == "priority"
        assert price.at_service("priority") is None
    else:
        assert worst >= cost_nano_usd(usage, price)


def test_a_cache_write_that_was_asked_for_is_held() -> None:
    needs = Needs(input_tokens=10_000, max_output_tokens=10)
    plain, short, long = (worst_cost(SONNET, replace(needs, caches=c)) for c in (None, "5m", "1h"))
    # 10,000 x 1.1 x 1.3 + 500 + 700 = 15,500 tokens at 3, 3.75 and 6 USD per million, and 10 at 15.
    assert (plain, short, long) == tuple(15_500 * n + 10 * 15_000 for n in (3_000, 3_750, 6_000))


def test_who_writes_its_cache_unasked_is_held_at_the_price_of_writing() -> None:
    needs = Needs(input_tokens=10_000, max_output_tokens=10)
    assert worst_input(LUNA, needs) == 12_010  # 10,000 x 0.87 x 1.3 + 700
    assert worst_input(LUNA, replace(needs, tools=True)) == 13_010
    assert worst_cost(LUNA, needs) == 12_010 * 250 + 10 * 1_200


def test_a_request_near_the_edge_of_a_tier_is_held_at_the_dearer_one() -> None:
    # Estimated below 272,000 tokens, and with the margin above: 250,000 x 0.87 x 1.3 + 700.
    needs = Needs(input_tokens=250_000, max_output_tokens=1)
    assert worst_cost(LUNA, needs) == 283_450 * 500 + 1_800


@pytest.mark.parametrize(
    ("provider", "model", "wish", "times"),
    [
        ("openai", "gpt-5.6-luna", "priority", 2),
        ("openai", "gpt-5.6-luna", "flex", 1),  # it may yet be served as standard
        ("openai", "gpt-5-nano", "priority", None),
        ("openai", "gpt-5.6-luna", "scale", None),
        ("google", "gemini-3.5-flash", "priority", None),
        # Its API takes no such wish: it is left out on the way.
        ("anthropic", "claude-sonnet-4-5", "priority", 1),
        ("anthropic", "claude-sonnet-4-5", "fast-mode", None),
    ],
)
def test_the_service_tier_asked_for_is_held_or_unpriced(provider, model, wish, times) -> None:
    where, needs = sold(provider, model), Needs(input_tokens=1_000, max_output_tokens=100)
    standard = worst_cost(where, needs)
    assert standard
    assert worst_cost(where, replace(needs, service_tier=wish)) == (None if times is None else times * standard)


def test_on_a_host_that_costs_nothing_no_service_tier_costs_more() -> None:
    needs = Needs(input_tokens=10, service_tier="priority")
    assert worst_cost(sold("lab", "m", price=Price(input=0, output=0)), needs) == 0
    assert worst_cost(replace(LUNA, price=None), needs) is None


def test_what_the_body_does_not_show_is_held_as_the_whole_window() -> None:
    where = replace(LUNA, capabilities=Capabilities(context_window=200_000))
    for told in (outline(("user", "hi"), files=1), outline(("user", "hi"), unseen=True)):
        assert worst_input(where, needs_of(told, 10)) == 210_000
    assert worst_input(where, needs_of(outline(("user", "hi"), images=2), 2_010)) > 12_000


def test_an_answer_without_a_bound_is_held_as_a_long_one() -> None:
    open_end = Needs(input_tokens=10)
    assert worst_output(LUNA, open_end) == 16_384
    small = replace(LUNA, capabilities=Capabilities(max_output_tokens=4_096))
    assert worst_output(small, open_end) == 4_096
    assert worst_output(small, replace(open_end, max_output_tokens=100, answers=3)) == 300


def test_thinking_that_bedrock_is_given_comes_on_top() -> None:
    assert max(BUDGETS.values()) == MOST_THINKING_TOKENS
    where = sold("aws", "anthropic.claude-sonnet-4-5", "bedrock-converse")
    assert worst_output(where, Needs(input_tokens=1, max_output_tokens=10)) == 10 + MOST_THINKING_TOKENS


TOLD = {
    "openai-chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai-responses": {"model": "m", "input": "hi"},
    "anthropic-messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"parts": [{"text": "hi"}]}]},
    "bedrock-converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
}


@pytest.mark.parametrize(
    ("dialect", "more", "told"),
    [
        *((name, {}, (None, None, 1, False)) for name in TOLD),
        ("openai-chat", {"service_tier": "priority", "n": 3}, ("priority", None, 3, False)),
        ("openai-chat", {"service_tier": "auto", "web_search_options": {}}, (None, None, 1, True)),
        ("openai-chat", {"service_tier": 7, "n": "2"}, (None, None, 1, False)),
        ("openai-responses", {"service_tier": "fast", "previous_response_id": "r"}, ("priority", None, 1, True)),
        ("openai-responses", {"tools": [{"type": "web_search"}]}, (None, None, 1, True)),
        ("openai-responses", {"tools": [{"type": "function", "name": "web_search"}]}, (None, None, 1, False)),
        ("anthropic-messages", {"service_tier": "standard_only"}, ("standard", None, 1, False)),
        ("anthropic-messages", {"speed": "fast"}, ("fast-mode", None, 1, False)),
        ("anthropic-messages", {"cache_control": {"type": "ephemeral"}}, (None, "5m", 1, False)),
        ("anthropic-messages", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, (None, "1h", 1, False)),
        (
            "anthropic-messages",
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            (None, None, 1, True),
        ),
        ("gemini", {"serviceTier": "SERVICE_TIER_FLEX"}, ("flex", None, 1, False)),
        (
            "gemini",
            {"service_tier": "priority", "generationConfig": {"candidateCount": 2}},
            ("priority", None, 2, False),
        ),
        ("gemini", {"cachedContent": "cachedContents/x"}, (None, None, 1, True)),
        ("gemini", {"tools": [{"googleSearch": {}}]}, (None, None, 1, True)),
        ("bedrock-converse", {"serviceTier": {"type": "priority"}}, ("priority", None, 1, False)),
        (
            "bedrock-converse",
            {"system": [{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]},
            (None, "1h", 1, False),
        ),
    ],
)
def test_the_outline_tells_what_decides_the_price(dialect, more, told) -> None:
    found = DIALECTS[dialect].outline(msgspec.json.encode({**TOLD[dialect], **more}))
    assert (found.service_tier, found.caches, found.answers, found.unseen) == told


def test_a_mark_in_escaped_letters_is_not_missed_and_other_escapes_are_none() -> None:
    body = msgspec.json.encode({**TOLD["anthropic-messages"], "cache_control": {"type": "ephemeral", "ttl": "1h"}})
    hidden = body.replace(b"cache_control", rb"cache\u005fcontrol")
    assert msgspec.json.decode(hidden) == msgspec.json.decode(body)
    assert DIALECTS["anthropic-messages"].outline(hidden).caches == "1h"
    # As Go and ASCII-only clients write them.
    plain = msgspec.json.encode(TOLD["anthropic-messages"]).replace(b'"hi"', rb'"\u003cb\u003e \u0434 \u00e9 \u0026"')
    assert DIALECTS["anthropic-messages"].outline(plain).caches is None


def test_the_decision_record_names_the_figures_in_the_code() -> None:
    record = Path(__file__).parents[2] / "docs" / "decisions" / "0006-worst-case.md"
    assert "1.3" in record.read_text(encoding="utf-8")


MARK = {"cache_control": {"type": "ephemeral"}}
SPEAKS = "Write of cache_control, cachePoint and \\u0063ache_control."


@pytest.mark.parametrize(
    ("message", "more", "caches"),
    [
        ({"role": "user", "content": SPEAKS}, {}, None),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}, {}, "5m"),
        ({"role": "user", "content": "Hi", **MARK}, {}, "5m"),
        ({"role": "user", "content": "Hi", "x": {"cache_control": 0}}, {}, "5m"),
        ({"role": "assistant", "content": "Hi", "cachePoint": 0}, {}, "5m"),
        ({"role": "user", "content": "Hi"}, MARK, "5m"),
        ({"role": "user", "content": "Hi"}, {"tools": [{"type": "function", "function": {"name": "f"}, **MARK}]}, "5m"),
        ({"role": "user", "content": "Hi"}, {"x": {"cache_control": {"ttl": "1h"}}}, "1h"),
    ],
)
def test_a_text_that_speaks_of_the_cache_asks_nothing_of_it(message, more, caches):
    first = {"role": "system", "content": SPEAKS}
    body = json.dumps({"model": "m", "messages": [first, message], **more})
    assert DIALECTS["openai-chat"].outline(body.encode()).caches == caches
    assert DIALECTS["openai-chat"].outline(body.replace(": ", ":").encode()).caches == caches
