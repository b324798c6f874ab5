"""Budgets that an admin looks at, makes and changes, with how they stand against the pace."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json
from turnout.config import MOST_USD, BudgetConfig
from turnout.engine import Engine
from turnout.errors import InvalidRequest, NotFound
from turnout.money import budget_story
from turnout.server.reading import decoded
from turnout.spend.budgets import BudgetState
from turnout.spend.ledger import BudgetEntry
from turnout.spend.pacing import SpendCurve

__all__ = ["add", "budgets", "change", "create", "remove"]


class _Amount(Struct, forbid_unknown_fields=True):
    usd: float


def budgets(engine: Engine, _: str, __: bytes) -> object:
    """Every budget as it stands."""
    return {"data": [_story(engine, state) for state in engine.state.memory.budgets.states()]}


async def add(engine: Engine, name: str, body: bytes) -> object:
    """More money for a budget's current period. Raises NotFound, InvalidRequest, and NoCapacity where gateways share
    it and their engine is away."""
    told = decoded(body, _Amount, '{"usd": 10}')
    if not -MOST_USD <= told.usd <= MOST_USD:
        raise InvalidRequest(f"usd = {told.usd}: must lie between -{MOST_USD:,} and {MOST_USD:,}", param="usd")
    memory, amount = engine.state.memory, round(told.usd * NANO_PER_USD)
    entry_id = f"add_{secrets.token_hex(8)}"
    try:
        if memory.leasing is None:
            memory.budgets.add(name, amount)
        else:
            await memory.leasing.add(name, amount, entry=entry_id)
    except KeyError:
        names = ", ".join(rule.name for rule in memory.budgets.rules) or "none is set"
        raise NotFound(f"there is no budget {name!r}; there are: {names}") from None
    memory.ledger.enter(
        BudgetEntry(id=entry_id, budget=name, at=datetime.now(UTC), kind="added", amount_nano_usd=amount)
    )
    return _story(engine, memory.budgets.state(name))


async def create(engine: Engine, _: str, body: bytes) -> object:
    """A new budget, which holds at once. Raises InvalidRequest."""
    told = decoded(body, dict[str, Json], '{"name": "search", "amount_usd": 50, "period": "month"}')
    name = told.pop("name", None)
    if not isinstance(name, str):
        raise InvalidRequest("name: what the budget is called, a string", param="name")
    await engine.budgets.create(name, msgspec.json.encode(told))
    return _one(engine, name)


async def change(engine: Engine, name: str, body: bytes) -> object:
    """Other figures for a budget that was made here. Raises NotFound and InvalidRequest."""
    await engine.budgets.change(name, body)
    return _one(engine, name)


async def remove(engine: Engine, name: str, _: bytes) -> object:
    """A budget that was made here is no more. Raises NotFound and InvalidRequest."""
    await engine.budgets.remove(name)
    return {"name": name, "state": "removed"}


def _one(engine: Engine, name: str) -> dict[str, Json]:
    return _story(engine, engine.state.memory.budgets.state(name))


def _story(engine: Engine, state: BudgetState) -> dict[str, Json]:
    """A budget as JSON, with who may change it and whether its money lasts."""
    name = state.rule.name
    told = engine.budgets.told.get(name)
    return {
        **budget_story(state),
        "source": "config" if engine.budgets.configured(name) else "store",
        "pacing": told.pacing if told else "off",
        "alerts": state.rule.alerts,
        "small_reserve_usd": state.rule.small_reserve_nano_usd / NANO_PER_USD,
        "period_text": told.period if told else state.rule.period.kind,
        "own_amount_usd": state.rule.amount_nano_usd / NANO_PER_USD,
        **_pace(engine, state, told),
    }


def _pace(engine: Engine, state: BudgetState, told: BudgetConfig | None) -> dict[str, Json]:
    """`pace_usd`: what may be spent by now if the money is to last, spread as the usual week is; `forecast_usd`: what
    will be at the end if it goes on as it did. None where no period ends, and for the forecast in a period's first
    fiftieth: it would say nothing."""
    pacing, name, now = engine.state.memory.pacing, state.rule.name, datetime.now(UTC)
    paced = name in pacing.names
    pacer = pacing[name] if paced else None
    figures: dict[str, Json] = {
        "pace_usd": None,
        "forecast_usd": None,
        "price": pacer.price if pacer else None,
        "rung": pacer.rung.name.lower() if pacer else None,
    }
    if state.end is None or told is None:
        return figures
    curve = pacer.curve if pacer else SpendCurve()
    whole, passed = curve.between(state.start, state.end), curve.between(state.start, min(now, state.end))
    if whole > 0:
        figures["pace_usd"] = state.amount_nano_usd * passed / whole / NANO_PER_USD
        if passed >= whole / 50:
            figures["forecast_usd"] = state.spent_nano_usd * whole / passed / NANO_PER_USD
    return figures
