"""What recorded answers cost, by each API's own way of counting: worked out by hand, and read by genai-prices."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache

import pytest
from genai_prices import extract_usage
from msgspec.structs import replace

from support.recordings import Case, load
from turnout.catalog.prices import Price, cost_nano_usd, price_from_usd_per_million, scaled, unpriced_tier
from turnout.chat import ResponseEnd, Usage
from turnout.dialects import DIALECTS


@cache
def cases(dialect: str) -> dict[str, Case]:
    return {c.name: c for c in load(dialect)}


def find(dialect: str, part: str) -> Case:
    (found,) = (c for name, c in cases(dialect).items() if part in name)
    return found


def usage_of(dialect: str, case: Case) -> Usage | None:
    """The usage that both ways tell: handed on untouched, and decoded."""
    d = DIALECTS[dialect]
    if not case.streaming:
        usage = d.summarise(case.response).usage
        assert d.decode_response(case.response).usage == usage
        return usage
    decoder, tap = d.stream_decoder(), d.stream_tap(include_usage=True)
    events = [*decoder.feed(case.response), *decoder.close()]
    tap.feed(case.response)
    tap.close()
    (end,) = (e for e in events if isinstance(e, ResponseEnd))
    assert end.usage == tap.usage
    return tap.usage


def usd(*figures: str, **cached: str) -> Price:
    """Prices in USD per million tokens, half of them for flex."""
    price = price_from_usd_per_million(*figures, **cached)
    return replace(price, service=(scaled(price, "flex", Decimal("0.5")),))


BY_HAND = [
    # OpenAI: input includes what was cached. 851 x 1.25 + 8,448 x 0.125 + 577 x 10 = 7,889.75 USD per million
    (
        "openai-responses",
        "responses_model_web_search_tool_0",
        usd("1.25", "10", cache_read="0.125"),
        (9_299, 8_448, None, 577, "standard"),
        7_889_750,
    ),
    # Served as flex, at half the price: 53 x 0.625 + 469 x 5 = 2,378.125
    (
        "openai-responses",
        "streaming_usage_0",
        usd("1.25", "10", cache_read="0.125"),
        (53, 0, None, 469, "flex"),
        2_378_125,
    ),
    # 110 x 0.27 + 256 x 0.07 + 59 x 1.1 = 112.52
    (
        "openai-responses",
        "deepseek_responses_function_tool_stream_0",
        usd("0.27", "1.1", cache_read="0.07"),
        (366, 256, None, 59, "standard"),
        112_520,
    ),
    # DeepSeek tells its hits in its own words, too: they are counted once. 175 x 0.27 + 320 x 0.07 + 144 x 1.1 = 228.05
    ("openai-chat", "deepseek-json", usd("0.27", "1.1", cache_read="0.07"), (495, 320, None, 144, None), 228_050),
    # 43 x 1 + 128 x 0.1 + 14 x 2 = 83.8
    ("openai-chat", "incremental-tool-call", usd("1", "2", cache_read="0.1"), (171, 128, None, 14, None), 83_800),
    # Anthropic: input leaves out reads and writes. 6 x 2 + 6,289 x 0.2 + 3,337 x 2.5 + 198 x 10 = 11,592.3
    (
        "anthropic-messages",
        "prompt-cache",
        usd("2", "10", cache_read="0.2", cache_write="2.5", cache_write_1h="4"),
        (9_632, 6_289, 3_337, 198, "standard"),
        11_592_300,
    ),
    # Gemini: input includes what was cached, thoughts are beside the candidates.
    # 8 x 0.3 + 3,512 x 0.03 + (2 + 42) x 2.5 = 217.76
    ("gemini", "cached_content_1", usd("0.3", "2.5", cache_read="0.03"), (3_520, 3_512, None, 44, "standard"), 217_760),
    # What its tools put in is beside the prompt: (11 + 90) x 0.3 + (105 + 131) x 2.5 = 620.3
    ("gemini", "native_tool_only_web_search", usd("0.3", "2.5"), (101, None, None, 236, "standard"), 620_300),
    # Vertex AI tells the tier as traffic. 5 x 0.25 + 101 x 1.5 = 152.75
    ("gemini", "vertex_service_tier_flex_stream", usd("0.5", "3"), (5, None, None, 101, "flex"), 152_750),
    # Bedrock: input leaves out reads and writes. 13 x 3 + 1,504 x 0.3 + 5 x 15 = 565.2
    (
        "bedrock-converse",
        "cache_usage_includes_cache_tokens",
        usd("3", "15", cache_read="0.3", cache_write="3.75"),
        (1_517, 1_504, 0, 5, None),
        565_200,
    ),
]


@pytest.mark.parametrize(("dialect", "name", "price", "counts", "nano"), BY_HAND, ids=[row[1] for row in BY_HAND])
def test_an_answer_costs_what_its_provider_bills(dialect, name, price, counts, nano) -> None:
    usage = usage_of(dialect, find(dialect, name))
    assert usage is not None
    assert (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.service_tier) == counts
    assert cost_nano_usd(usage, price) == nano
    assert unpriced_tier(usage, price) is None


FLAVORS = {
    "openai-chat": ("openai", "chat"),
    "openai-responses": ("openai", "responses"),
    "anthropic-messages": ("anthropic", "default"),
    "gemini": ("google", "default"),
}
WHOLE = [
    (dialect, case.name)
    for dialect in FLAVORS
    for case in load(dialect)
    if not case.streaming and case.status == 200 and json.loads(case.response).get("model", "gemini")
]


@pytest.mark.parametrize(("dialect", "name"), WHOLE, ids=[f"{d}-{n[:50]}" for d, n in WHOLE])
def test_usage_is_what_genai_prices_reads(dialect: str, name: str) -> None:
    case = cases(dialect)[name]
    provider, flavor = FLAVORS[dialect]
    try:
        theirs = extract_usage(json.loads(case.response), provider_id=provider, api_flavor=flavor).usage
    except (LookupError, ValueError):
        pytest.skip("it reads no usage there")
    usage = usage_of(dialect, case)
    assert usage is not None
    assert usage.input == theirs.input_tokens
    assert usage.output == theirs.output_tokens
    assert (usage.cache_read or 0) == (theirs.cache_read_tokens or 0)
    assert (usage.cache_write or 0) == (theirs.cache_write_tokens or 0)
