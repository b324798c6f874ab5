"""The models of a gateway as an admin looks at them: health, pace, what was learnt, prices and their age."""

from __future__ import annotations

from datetime import UTC, datetime

from turnout.catalog.models import Deployment
from turnout.catalog.prices import Price
from turnout.chat import Json
from turnout.engine import Engine
from turnout.routing.drift import Standing

__all__ = ["models"]

PICO_PER_USD_PER_MILLION = 1_000_000

ASSUMED_OUTPUT = 400.0
"""Tokens an answer, of a model that nobody has seen write."""


def models(engine: Engine, _: str, __: bytes) -> object:
    """Every model that a request may be routed to."""
    standings = {told.model: told for told in engine.state.memory.learner.drift.standings(datetime.now(UTC))}
    return {
        "data": [_model(engine, deployment, standings.get(deployment.id)) for deployment in engine.fleet],
        "notes": "prices in USD per million tokens; ttft_s and tokens_per_s are moving averages of recent answers; "
        "observed and predicted: how often answers were good, of the last 200 outcomes",
    }


def _model(engine: Engine, deployment: Deployment, standing: Standing | None) -> dict[str, Json]:
    habits = engine.state.memory.foresight.habits
    wrote = habits.seen(deployment)
    return {
        "model": deployment.id,
        "tier": deployment.tier,
        "context_window": deployment.capabilities.context_window,
        "price": _price(deployment.price),
        "places": engine.state.board.story(deployment),
        "answers": wrote,
        "output_per_answer": round(habits.output(deployment, ASSUMED_OUTPUT)) if wrote else None,
        "outcomes": standing.outcomes if standing else 0,
        "observed": standing.observed if standing else None,
        "predicted": standing.predicted if standing else None,
        "alarms": [alarm.why for alarm in standing.alarms] if standing else [],
    }


def _price(price: Price | None) -> dict[str, Json] | None:
    if price is None:
        return None
    rates = {"input": price.input, "output": price.output, "cache_read": price.cache_read}
    rates["cache_write"] = price.cache_write
    per_million = {name: None if pico is None else pico / PICO_PER_USD_PER_MILLION for name, pico in rates.items()}
    return {**per_million, "source": price.source, "tiers": len(price.tiers)}
