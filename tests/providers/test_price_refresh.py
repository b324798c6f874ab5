"""Newer prices over a real socket: fetched where the config asks, kept, used by the next build; bad ones refused."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime

import msgspec
import pytest

from support.gateway import gateway
from support.upstream import Script, ScriptedUpstream, answer
from turnout.catalog.catalog import Catalog, read_table
from turnout.config import parse_config
from turnout.engine import price_source
from turnout.errors import ConfigError
from turnout.providers.http import HttpTransport
from turnout.providers.price_refresh import PriceSource, fetch_prices, refreshing

SHIPPED = Catalog.load().table
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def published(times: float = 1.0, keep: float = 1.0) -> list[object]:
    """The shipped table in the publisher's words, with OpenAI's prices times `times` and a share of the models."""
    out: list[object] = []
    for provider in SHIPPED.providers:
        models: list[object] = []
        for model in provider.models[: round(len(provider.models) * keep)]:
            price = model.prices[-1].price if model.prices else None
            factor = times if provider.id == "openai" else 1.0
            figures = (
                {} if price is None else {"input_mtok": price.input * factor / 1e6, "output_mtok": price.output / 1e6}
            )
            match = {k: v for k, v in msgspec.to_builtins(model.match).items() if v}
            models.append({"id": model.id, "match": match, "prices": figures})
        out.append({"id": provider.id, "models": models})
    return out


async def fetched(tmp_path, *scripts: Script) -> list[bool]:
    transport = HttpTransport()
    async with ScriptedUpstream(*scripts) as up:
        source = PriceSource(url=up.url + "/data.json", file=tmp_path / "p.json", every_s=3600)
        out = [await fetch_prices(source, transport, NOW) for _ in scripts]
        assert [r.path for r in up.requests] == ["/data.json"] * len(scripts)
    await transport.aclose()
    return out


async def test_new_prices_are_kept_and_the_same_again_are_no_news(tmp_path) -> None:
    assert await fetched(tmp_path, answer(published(2)), answer(published(2)), answer(published(1))) == [
        True,
        False,
        True,
    ]
    table = read_table(tmp_path / "p.json")
    assert table.source == "genai-prices of 2026-11-24"
    assert [f.name for f in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (Script(body=b"<html>"), "no price table"),
        (answer([], status=503), "status 503"),
        (Script(drop=True), "not refreshed"),
        (answer(published(20)), "went from"),
        (answer(published(keep=0.5)), "models are missing"),
        (answer([]), "models are missing"),
    ],
)
async def test_what_is_not_to_be_trusted_changes_nothing(tmp_path, caplog, script, why) -> None:
    with caplog.at_level(logging.WARNING, "turnout"):
        assert await fetched(tmp_path, script) == [False]
    assert why in caplog.text
    assert list(tmp_path.iterdir()) == []


async def test_it_is_fetched_while_entered_and_whoever_builds_engines_is_told(tmp_path) -> None:
    told = asyncio.Event()
    transport = HttpTransport()

    async def changed() -> None:
        told.set()

    async with ScriptedUpstream(answer(published(2))) as up:
        source = PriceSource(url=up.url, file=tmp_path / "p.json", every_s=3600)
        async with refreshing(source, transport, changed):
            await asyncio.wait_for(told.wait(), 10)
        assert len(up.requests) == 1
        async with refreshing(None, transport, changed):
            pass
        assert len(up.requests) == 1
    await transport.aclose()


MODEL = '[providers.openai]\napi_key = "k"\n[models."openai/gpt-5"]\n'


def input_price(engine) -> int:
    (found,) = engine.fleet.find("openai/gpt-5")
    assert found.price is not None
    return found.price.input


async def test_the_next_build_uses_what_is_kept_where_the_config_asks(tmp_path) -> None:
    asks = MODEL + '[prices]\nrefresh = true\nurl = "http://127.0.0.1:9/"\n'
    async with gateway(asks, tmp_path) as gw:
        assert input_price(gw.engine) == 1_250_000, "nothing was fetched by building alone"
    kept = json.loads(msgspec.json.encode(SHIPPED))
    for provider in kept["providers"]:
        for model in provider["models"]:
            if (provider["id"], model["id"]) == ("openai", "gpt-5"):
                model["prices"][0]["price"]["input"] = 1_000_000
    (tmp_path / "ledger.db.prices.json").write_text(json.dumps(kept))
    async with gateway(asks, tmp_path) as gw:
        assert input_price(gw.engine) == 1_000_000
    async with gateway(MODEL, tmp_path) as gw:
        assert input_price(gw.engine) == 1_250_000


def test_a_config_says_so_or_nothing_is_fetched() -> None:
    assert price_source(parse_config("", {})) is None
    source = price_source(parse_config("[prices]\nrefresh = true\nevery_hours = 6\n", {}))
    assert source is not None
    assert source.every_s == 6 * 3600
    assert source.file.name == "turnout.db.prices.json"
    with pytest.raises(ConfigError, match=r"prices.every_hours = 0"):
        parse_config("[prices]\nevery_hours = 0\n", {})
