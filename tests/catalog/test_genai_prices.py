"""Prices as genai-prices publishes them: read as the shipped extract was made, and refused where they look wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from genai_prices.data import providers as their_providers
from genai_prices.types import ClauseAnd, ClauseOr, StartDateConstraint, TieredPrices
from msgspec.structs import replace

from turnout.catalog.catalog import Catalog, PriceTable, read_table
from turnout.catalog.genai_prices import faults_in, table_from_json

SHIPPED = Catalog.load().table


def raw(value: Any) -> Any:
    """A value of the library as its `data.json` has it (github.com/pydantic/genai-prices, prices/new_data/v2)."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case TieredPrices():
            return {"base": raw(value.base), "tiers": [{"start": t.start, "price": raw(t.price)} for t in value.tiers]}
        case ClauseOr():
            return {"or": [raw(c) for c in value.or_]}
        case ClauseAnd():
            return {"and": [raw(c) for c in value.and_]}
        case _:
            return dict(vars(value))


def raw_prices(prices: Any) -> dict[str, Any]:
    return {k: raw(v) for k, v in vars(prices).items() if v is not None}


def raw_condition(conditional: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"prices": raw_prices(conditional.prices)}
    match conditional.constraint:
        case None:
            pass
        case StartDateConstraint(start_date=day):
            row["constraint"] = {"start_date": day.isoformat()}
        case other:
            times = (other.start_time, other.end_time)
            row["constraint"] = dict(zip(("start_time", "end_time"), (f"{t:%H:%M:%S}Z" for t in times), strict=True))
    return row


def published() -> list[dict[str, Any]]:
    return [
        {
            "id": p.id,
            "name": p.name,
            "fallback_model_providers": p.fallback_model_providers,
            "models": [
                {
                    "id": m.id,
                    "match": raw(m.match),
                    "context_window": m.context_window,
                    "prices": [raw_condition(c) for c in m.prices]
                    if isinstance(m.prices, list)
                    else raw_prices(m.prices),
                }
                for m in p.models
            ],
        }
        for p in their_providers
    ]


PUBLISHED = json.dumps(published()).encode()


def test_the_published_table_reads_as_the_shipped_extract() -> None:
    table = table_from_json(PUBLISHED, SHIPPED, SHIPPED.source)
    assert [p.id for p in table.providers] == [p.id for p in SHIPPED.providers]
    for ours, theirs in zip(SHIPPED.providers, table.providers, strict=True):
        for row, other in zip(ours.models, theirs.models, strict=True):
            assert row == other, (ours.id, row.id)
    assert table == SHIPPED
    assert faults_in(table, SHIPPED) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>",
        b'[{"id": "openai"}]',
        b"[" * 100_000,
        b'[{"id":"openai","models":[{"id":"m","match":{"equals":"m"},"prices":{"input_mtok":-1}}]}]',
        (
            b'[{"id":"openai","models":[{"id":"m","match":{"equals":"m"},"prices":[{"prices":{"input_mtok":1},'
            b'"constraint":{"start_time":"01:00:00+02:00","end_time":"02:00:00+02:00"}}]}]}]'
        ),
    ],
)
def test_what_is_no_table_is_an_error(body: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, RecursionError, ValueError)):
        table_from_json(body, SHIPPED, "test")


def test_providers_that_nobody_can_be_sent_to_are_left_out() -> None:
    body = b'[{"id":"avian","models":[]},{"id":"azure","models":[],"fallback_model_providers":["avian","openai"]}]'
    (azure,) = table_from_json(body, SHIPPED, "test").providers
    assert azure.fallback == ("openai",)


def changed(table: PriceTable, provider: str, model: str, factor: float) -> PriceTable:
    """`table` with one model's price times `factor`."""

    def row(m: Any) -> Any:
        if m.id != model:
            return m
        prices = tuple(replace(c, price=replace(c.price, input=int(c.price.input * factor))) for c in m.prices)
        return replace(m, prices=prices)

    rows = tuple(replace(p, models=tuple(map(row, p.models))) if p.id == provider else p for p in table.providers)
    return replace(table, providers=rows)


@pytest.mark.parametrize(
    ("factor", "trusted"), [(1, True), (9.9, True), (0.11, True), (11, False), (0.09, False), (0, False)]
)
def test_a_price_that_moved_too_far_is_not_trusted(factor: float, trusted: bool) -> None:
    faults = faults_in(changed(SHIPPED, "openai", "gpt-5", factor), SHIPPED)
    assert bool(faults) is not trusted
    assert all("openai/gpt-5: input went from 1250000 to" in fault for fault in faults)


def test_a_table_that_lost_a_fifth_of_its_models_is_not_trusted() -> None:
    most = max(SHIPPED.providers, key=lambda p: len(p.models))
    without = replace(SHIPPED, providers=tuple(p for p in SHIPPED.providers if p is not most))
    (fault,) = faults_in(without, SHIPPED)
    assert "models are missing" in fault
    one_less = replace(most, models=most.models[1:])
    assert faults_in(replace(SHIPPED, providers=(one_less,)), replace(SHIPPED, providers=(most,))) == []


def test_a_table_that_cannot_be_read_is_the_shipped_one(tmp_path, caplog) -> None:
    file = tmp_path / "prices.json"
    assert read_table(file) is SHIPPED
    assert read_table(None) is SHIPPED
    file.write_bytes(b"half a ta")
    assert read_table(file) is SHIPPED
    assert "cannot be read" in caplog.text
    file.write_bytes(msgspec.json.encode(changed(SHIPPED, "openai", "gpt-5", 2)))
    price = Catalog(read_table(file)).price("openai", "gpt-5")
    assert price is not None
    assert price.input == 2_500_000
