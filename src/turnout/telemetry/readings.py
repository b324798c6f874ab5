"""What is read at the moment of a scrape: the state of budgets, breakers, the ledger, the queue. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = ["BudgetReading", "Readings"]


class BudgetReading(Struct, frozen=True, kw_only=True):
    """A budget in nano-dollars. `elapsed`: the share of its period that is over (0..1), None for one without an end.
    `price` is what a dollar weighs in routing, `rung` how many of the ways to save are used; None: it is not paced."""

    name: str
    amount_nano_usd: int
    spent_nano_usd: int
    held_nano_usd: int
    elapsed: float | None = None
    price: float | None = None
    rung: int | None = None


class Readings(Struct, frozen=True, kw_only=True):
    """`breakers` by target or account, those that were heard of. `alarms` are (model, kind) pairs of
    drift. `webhooks` counts messages by what became of them, `peers` what was asked of other gateways and told to them;
    `shared_healthy` None: there are no others. The rest is as its metric says (`exposition.py`)."""

    version: str
    breakers: Mapping[str, Literal["closed", "half_open", "open"]] = {}
    budgets: tuple[BudgetReading, ...] = ()
    in_flight: int = 0
    queued: int = 0
    concurrency_limit: int = 0
    ledger_healthy: bool = True
    ledger_dropped: int = 0
    ledger_waiting: int = 0
    alarms: tuple[tuple[str, str], ...] = ()
    webhooks: Mapping[str, int] = {}
    log_lines_dropped: int = 0
    shared_healthy: bool | None = None
    peers: Mapping[str, int] = {}
