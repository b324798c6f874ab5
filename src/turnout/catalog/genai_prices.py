"""The table that genai-prices publishes (JSON) to ours; and whether a new one is to be trusted.

`tools/update_catalog.py` makes the shipped extract of the same rows from the installed package; a test holds the two
together. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
from msgspec import Struct, convert

from turnout.catalog.catalog import Clause, Condition, ModelRow, PriceTable, ProviderRow
from turnout.catalog.prices import PICO_PER_USD_PER_MILLION, Price

__all__ = ["KEYS", "faults_in", "table_from_json"]

KEYS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
}
"""Their key -> ours. Audio, image, search and per-request prices have no counterpart in our usage."""

MOST_LOST = 0.2
"""Share of the models that a new table may lack: more are no retirements."""

MOST_CHANGED = 10
"""No provider has changed a price by more than this factor at once: beyond it somebody mistook the unit."""


class _Tier(Struct, frozen=True):
    start: int
    price: Decimal


class _Tiered(Struct, frozen=True):
    base: Decimal
    tiers: tuple[_Tier, ...]

    def at(self, start: int) -> Decimal:
        reached = [tier.price for tier in self.tiers if tier.start <= start]
        return reached[-1] if reached else self.base


_Figures = dict[str, Decimal | _Tiered | None]


class _Constraint(Struct, frozen=True):
    start_date: date | None = None
    start_time: str | None = None
    end_time: str | None = None


class _Conditional(Struct, frozen=True):
    prices: _Figures
    constraint: _Constraint | None = None


class _Model(Struct, frozen=True):
    id: str
    match: Clause
    prices: _Figures | tuple[_Conditional, ...]
    context_window: int | None = None


class _Provider(Struct, frozen=True):
    id: str
    models: tuple[_Model, ...]
    fallback_model_providers: tuple[str, ...] | None = None


_table = msgspec.json.Decoder(tuple[_Provider, ...])


def table_from_json(body: bytes, keep: PriceTable, source: str) -> PriceTable:
    """The table in a `data.json` of genai-prices, of the providers that `keep` has and in its order; `source` names it
    in the books. Raises msgspec.MsgspecError or ValueError for what is no such table."""
    found = {provider.id: provider for provider in _table.decode(body)}
    known = [p.id for p in keep.providers]
    rows = tuple(_provider(found[name], known) for name in known if name in found)
    return PriceTable(source=source, licence=keep.licence, providers=rows)


def _provider(told: _Provider, known: list[str]) -> ProviderRow:
    fallback = tuple(name for name in told.fallback_model_providers or () if name in known)
    return ProviderRow(id=told.id, fallback=fallback, models=tuple(map(_model, told.models)))


def _model(told: _Model) -> ModelRow:
    prices = (_Conditional(prices=told.prices),) if isinstance(told.prices, dict) else told.prices
    conditions = tuple(_condition(p, told.id) for p in prices)
    return ModelRow(id=told.id, match=told.match, prices=conditions, context_window=told.context_window)


def _condition(told: _Conditional, model: str) -> Condition:
    price = _price({k: v for k, v in told.prices.items() if v is not None}, model)
    when = told.constraint or _Constraint()
    daily = (_utc(when.start_time), _utc(when.end_time)) if when.start_time and when.end_time else None
    return Condition(price=price, since=when.start_date, daily=daily)


def _utc(text: str) -> str:
    """`HH:MM` of a time of day in UTC. Raises ValueError for another zone."""
    bare = text.removesuffix("Z").removesuffix("+00:00")
    if bare == text:
        raise ValueError(f"a time of day that is not UTC: {text}")
    return bare[:5]


def _price(figures: Mapping[str, Decimal | _Tiered], model: str) -> Price | None:
    """None for what is not sold by the token, or in other units too: as `price_of` of tools/update_catalog.py."""
    if not figures and model.endswith(":free"):
        return Price(input=0, output=0)
    other_output = any(key.startswith("output_") and key not in KEYS for key in figures)
    if "input_mtok" not in figures or "requests_kcount" in figures or ("output_mtok" not in figures and other_output):
        return None
    known = {ours: figures.get(theirs, Decimal(0)) for theirs, ours in KEYS.items() if theirs in figures}
    known.setdefault("output", Decimal(0))
    starts = sorted({t.start for f in known.values() if isinstance(f, _Tiered) for t in f.tiers})
    row: dict[str, object] = {k: _pico(f.base if isinstance(f, _Tiered) else f) for k, f in known.items()}
    row["tiers"] = [
        {
            "above_input_tokens": start,
            **{k: _pico(f.at(start) if isinstance(f, _Tiered) else f) for k, f in known.items()},
        }
        for start in starts
    ]
    return convert(row, Price)


def _pico(usd_per_million: Decimal) -> int:
    pico = int((usd_per_million * PICO_PER_USD_PER_MILLION).to_integral_value(ROUND_HALF_EVEN))
    if pico < 0:
        raise ValueError(f"{usd_per_million} is no price")
    return pico


def faults_in(new: PriceTable, old: PriceTable) -> list[str]:
    """Why `new` should not stand in for `old`, one sentence each; empty where it may."""
    before, after = _models(old), _models(new)
    faults: list[str] = []
    lost = len(before.keys() - after.keys())
    if lost > MOST_LOST * len(before):
        faults.append(f"{lost} of {len(before)} models are missing")
    for name in before.keys() & after.keys():
        for kind in ("input", "output"):
            was, now = (_latest(row, kind) for row in (before[name], after[name]))
            if was and now is not None and not was <= now * MOST_CHANGED <= was * MOST_CHANGED**2:
                faults.append(f"{'/'.join(name)}: {kind} went from {was} to {now} pico-dollars a token")
    return sorted(faults)


def _models(table: PriceTable) -> dict[tuple[str, str], ModelRow]:
    return {(p.id, m.id): m for p in table.providers for m in p.models}


def _latest(row: ModelRow, kind: str) -> int | None:
    """The price that is told last: of those that begin on a day, the newest."""
    price = row.prices[-1].price if row.prices else None
    return None if price is None else getattr(price, kind)
