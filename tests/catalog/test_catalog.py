"""Our extract of genai-prices against the library itself: same model found, same cost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import types as theirs
from genai_prices.data import providers as their_providers

from turnout.catalog.catalog import ALIASES, PRICES, Catalog, Clause, Condition, ModelRow
from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Usage

CATALOG = Catalog.load()
PROVIDERS = [p.id for p in CATALOG.providers]

USAGES = [
    Usage(input=1_000, output=500),
    Usage(input=150_000, cache_read=140_000, output=3_000),
    Usage(input=90_001, cache_read=30_000, cache_write=50_000, output=7),
    Usage(input=90_001, cache_read=30_000, cache_write=50_000, cache_write_1h=20_000, output=7),
    # On both sides of every tier's edge, of which 200,000 and 272,000 are the commonest.
    *(Usage(input=n, cache_read=n // 3, output=11) for n in (128_000, 200_000, 200_001, 272_001, 900_000)),
]

MOMENTS = [
    datetime(2025, 3, 1, 12, tzinfo=UTC),
    datetime(2026, 8, 1, 0, 29, 59, tzinfo=UTC),
    datetime(2026, 11, 23, 2, tzinfo=UTC),
    datetime(2026, 11, 23, 10, tzinfo=UTC),
]


@cache
def their_provider(provider: str) -> theirs.Provider:
    return next(p for p in their_providers if p.id == provider)


def names_in(clause: Clause) -> Iterator[str]:
    """Names that a clause is made of: each should lead somewhere, and to the same row for both."""
    for text in (clause.equals, clause.starts_with, clause.ends_with, clause.contains):
        if text is not None:
            yield text
    for part in (*clause.any_of, *clause.all_of):
        yield from names_in(part)


def names_of(row: ModelRow) -> set[str]:
    found = {row.id, *names_in(row.match)}
    return found | {f"{n}-20260131" for n in found} | {n.upper() for n in found} | {f"{n}-preview" for n in found}


def their_cost(model: theirs.ModelInfo, usage: Usage, provider: theirs.Provider, at: datetime) -> Decimal:
    counted = TheirUsage(
        input_tokens=usage.input,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
    )
    result = model.calc_price(counted, provider, genai_request_timestamp=at)
    return result.total_price * 1_000_000_000


def unpriced_on_purpose(prices: theirs.ModelPrice) -> bool:
    """What the library calls free, or prices only in part, and we call unpriced."""
    keys = {k for k, v in vars(prices).items() if v is not None}
    by_other_output = any(k.startswith("output_") for k in keys - {"output_mtok"}) and "output_mtok" not in keys
    return "input_mtok" not in keys or "requests_kcount" in keys or by_other_output


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_name_finds_the_row_that_the_library_finds(provider: str) -> None:
    home = their_provider(provider)
    rows = next(p for p in CATALOG.providers if p.id == provider).models
    assert [r.id for r in rows] == [m.id for m in home.models]
    for name in sorted({n for row in rows for n in names_of(row)} | {"no-such-model"}):
        expected = home.find_model(name, all_providers=their_providers)
        found = CATALOG.find(provider, name)
        assert (found and found.id) == (expected and expected.id), name
        assert CATALOG.context_window(provider, name) == (expected and expected.context_window), name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_model_costs_what_the_library_says(provider: str) -> None:
    home = their_provider(provider)
    rows = next(p for p in CATALOG.providers if p.id == provider).models
    compared = 0
    for row, model in zip(rows, home.models, strict=True):
        for at in MOMENTS:
            # Another row of the provider may stand before this one and match its id: look the row up itself.
            condition = next((c for c in reversed(row.prices) if c.holds(at.replace(tzinfo=None))), row.prices[0])
            if condition.price is None:
                assert unpriced_on_purpose(model.get_prices(at)), (row.id, at)
                continue
            for usage in USAGES:
                expected = their_cost(model, usage, home, at)
                ours = cost_nano_usd(usage, condition.price)
                # Exact but for the one rounding to whole nano-dollars; a figure that the provider gives as a
                # quotient (OpenRouter's 0.0833...) is off by under half a pico-dollar for each token written.
                slack = Decimal(usage.cache_write or 0) / 2000 if provider == "openrouter" else 0
                assert abs(ours - expected) <= Decimal("0.5") + slack, (row.id, at, usage)
                compared += 1
    assert compared > len(rows)


def test_price_picks_the_condition_that_holds_and_names_its_source() -> None:
    # gpt-5.6-luna became cheaper on 2026-07-30.
    before = CATALOG.price("openai", "gpt-5.6-luna", date(2026, 7, 29))
    after = CATALOG.price("openai", "gpt-5.6-luna", date(2026, 7, 30))
    assert before is not None
    assert after is not None
    assert (before.input, after.input) == (1_000_000, 200_000)
    assert after.source == f"genai-prices {version('genai-prices')}" == CATALOG.source


def test_a_time_of_another_zone_is_compared_in_utc() -> None:
    # DeepSeek's peak hours are given in UTC; 10:00 at +08:00 is 02:00 UTC, within 01:00 to 04:00.
    peak = CATALOG.price("deepseek", "deepseek-v4-pro", datetime.fromisoformat("2026-11-23T10:00:00+08:00"))
    calm = CATALOG.price("deepseek", "deepseek-v4-pro", datetime.fromisoformat("2026-11-23T10:00:00+00:00"))
    assert peak is not None
    assert calm is not None
    assert peak.input == 2 * calm.input


@pytest.mark.parametrize(("hour", "minute", "holds"), [(23, 0, True), (0, 29, True), (0, 30, False), (22, 59, False)])
def test_a_daily_price_may_run_past_midnight(hour: int, minute: int, holds: bool) -> None:
    night = Condition(price=None, daily=("23:00", "00:30"))
    assert night.holds(datetime(2026, 1, 1, hour, minute)) is holds  # noqa: DTZ001 - the table's times are naive UTC


def test_what_nobody_prices_is_none_and_never_zero() -> None:
    assert CATALOG.price("openai", "imaginary-99") is None
    assert CATALOG.price("lab", "gpt-5.5") is None
    # The library would take this host for OpenAI, because its name contains it.
    assert CATALOG.price("openai-proxy-lab", "gpt-5.5") is None
    # Sold by the hour of audio, by the image, or given away for now: no price for tokens.
    assert CATALOG.price("openai", "whisper-1") is None
    assert CATALOG.price("google", "gemma-3") is None
    assert CATALOG.context_window("lab", "gpt-5.5") is None


def test_a_model_named_free_is_free_and_an_embedding_writes_nothing() -> None:
    free = CATALOG.price("openrouter", "agentica-org/deepcoder-14b-preview:free")
    assert free is not None
    assert (free.input, free.output) == (0, 0)
    embedding = CATALOG.price("openai", "text-embedding-3-small")
    assert embedding is not None
    assert (embedding.input, embedding.output) == (20_000, 0)


@pytest.mark.parametrize(("alias", "provider"), sorted(ALIASES.items()))
def test_aliases_lead_to_a_provider_that_is_there(alias: str, provider: str) -> None:
    assert provider in PROVIDERS
    assert alias not in PROVIDERS


def test_clauses_made_by_hand(tmp_path: Path) -> None:
    def price(name: str, match: object) -> Price | None:
        row = {"id": "m", "match": match, "prices": [{"price": {"input": 1, "output": 2}}]}
        table = {"source": "test 1", "licence": "", "providers": [{"id": "p", "fallback": [], "models": [row]}]}
        file = tmp_path / "prices.json"
        file.write_text(json.dumps(table), encoding="utf-8")
        return Catalog(file).price("p", name)

    assert price("Alpha-1", {"and": [{"starts_with": "ALPHA"}, {"ends_with": "1"}]})
    assert not price("alpha-2", {"and": [{"starts_with": "alpha"}, {"ends_with": "1"}]})
    assert price("x-gamma-y", {"or": [{"equals": "gamma"}, {"contains": "Gamma"}]})
    assert price("o3-mini", {"regex": r"^o\d-"})
    assert not price("go3-mini", {"regex": r"^o\d-"})


def test_the_shipped_file_is_what_the_tool_makes_of_the_installed_library(tmp_path: Path) -> None:
    tool = Path(__file__).parents[2] / "tools" / "update_catalog.py"
    out = tmp_path / "prices.json"
    subprocess.run([sys.executable, str(tool), "--out", str(out)], check=True, capture_output=True)
    assert out.read_bytes() == PRICES.read_bytes()
    assert PRICES.stat().st_size < 400_000


def test_importing_the_catalogue_reads_no_file() -> None:
    code = (
        "import sys, turnout.catalog.known as k, turnout.catalog.catalog as c\n"
        "assert 'table' not in vars(c.Catalog.load()) and k.known_models.cache_info().currsize == 0\n"
        "c.Catalog.load().price('openai', 'gpt-5.5')\n"
        "assert 'table' in vars(c.Catalog.load()) and 'genai_prices' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(PRICES.parents[3])})
