"""Budgets between the config that names them, the ledger that remembers, and people who look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from turnout.catalog.prices import NANO_PER_USD
from turnout.config import BudgetConfig, Config
from turnout.context import MARK
from turnout.spend.budgets import BudgetRule, Budgets, BudgetState, Match
from turnout.spend.journal import Journal
from turnout.spend.ledger import Ledger
from turnout.spend.periods import parse_period

__all__ = ["budget_rule", "budget_rules", "budget_story", "claimed", "nano", "open_budgets", "paced", "take_budgets"]

SHADOW_BUDGET = "turnout-shadow"
"""The budget that shadow traffic has to itself."""


def nano(usd: Decimal) -> int:
    """Nano-dollars of a config's dollars."""
    return int(usd * NANO_PER_USD)


def budget_rules(config: Config) -> list[BudgetRule]:
    """The config's budgets, and that of shadow traffic where there is any."""
    shadow = config.learning.shadow
    own = BudgetRule(
        name=SHADOW_BUDGET,
        amount_nano_usd=nano(shadow.budget_usd_per_day),
        period=parse_period("day", "UTC"),
        match=Match(tag=f"{MARK}=shadow"),
    )
    return [
        *((own,) if shadow.share else ()),
        *(budget_rule(name, told) for name, told in config.budgets.items()),
    ]


def budget_rule(name: str, told: BudgetConfig) -> BudgetRule:
    """The rule of a budget as a config tells it."""
    reserve = told.amount_usd / 20 if told.small_reserve_usd is None else told.small_reserve_usd
    return BudgetRule(
        name=name,
        amount_nano_usd=nano(told.amount_usd),
        period=parse_period(told.period, told.timezone),
        match=told.match,
        on_exhausted=told.on_exhausted,
        small_reserve_nano_usd=nano(reserve),
        alerts=tuple(sorted(told.alerts)),
    )


def paced(budgets: Mapping[str, BudgetConfig]) -> dict[str, bool]:
    """The budgets that are paced, and whether strictly. What never ends, or may be overrun, has nothing to last for."""
    return {
        name: told.pacing == "strict"
        for name, told in budgets.items()
        if told.pacing != "off" and told.period in {"day", "week", "month"} and told.on_exhausted != "warn"
    }


def claimed(rules: list[BudgetRule], journal: Journal, ledger: Ledger) -> list[BudgetRule]:
    """`rules`, with the journal ours where one of them is hard. Raises ConfigError where another process has it."""
    if any(rule.hard for rule in rules):
        journal.claim(ledger)
    return rules


def take_budgets(rules: Sequence[BudgetRule], budgets: Budgets, ledger: Ledger) -> None:
    """Let `budgets` keep these rules, with what the ledger says was spent in their current periods."""
    fresh = budgets.reconfigure(rules)
    if not fresh or budgets.leased:  # whoever leases learns from the engine what was spent
        return
    ledger.flush()
    now = datetime.now(UTC)
    since = min(rule.period.since(now) for rule in fresh)
    for spent in ledger.spending(since):
        budgets.restore(spent.spender, spent.deployment, spent.provider, spent.cost_nano_usd, at=spent.at, rules=fresh)
    names = {rule.name for rule in fresh}
    for entry in ledger.entries(since):
        if entry.budget in names:
            lost, added = (entry.amount_nano_usd, 0) if entry.kind == "lost" else (0, entry.amount_nano_usd)
            budgets.restore_entry(entry.budget, at=entry.at, lost_nano_usd=lost, added_nano_usd=added)
    budgets.restored(fresh)


def open_budgets(rules: Sequence[BudgetRule], ledger: Ledger) -> Budgets:
    """Budgets of these rules as the ledger knows them, for somebody who looks: what open requests hold is not in it."""
    budgets = Budgets(())
    take_budgets(rules, budgets, ledger)
    return budgets


def budget_story(state: BudgetState) -> dict[str, object]:
    """A budget as JSON. USD; times in UTC."""
    rule = state.rule
    match = {name: value for name in rule.match.__struct_fields__ if (value := getattr(rule.match, name))}
    return {
        "name": rule.name,
        "match": match,
        "period": rule.period.kind,
        "timezone": rule.period.zone,
        "on_exhausted": rule.on_exhausted,
        "amount_usd": state.amount_nano_usd / NANO_PER_USD,
        "spent_usd": state.spent_nano_usd / NANO_PER_USD,
        "held_usd": state.held_nano_usd / NANO_PER_USD,
        "left_usd": state.left_nano_usd / NANO_PER_USD,
        "start": state.start,
        "end": state.end,
    }
