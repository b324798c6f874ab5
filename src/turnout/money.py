"""Budgets between the config that names them, the ledger that remembers, and people who look."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from turnout.catalog.prices import NANO_PER_USD
from turnout.config import BudgetConfig, Config
from turnout.context import MARK
from turnout.spend.budgets import BudgetRule, Budgets, BudgetState, Match
from turnout.spend.journal import Journal
from turnout.spend.ledger import Ledger
from turnout.spend.periods import parse_period
from turnout.spend.spent import Asked, Spent, minute_of, questions_of

__all__ = [
    "Taking",
    "budget_rule",
    "budget_rules",
    "budget_story",
    "claimed",
    "nano",
    "open_budgets",
    "paced",
]

READ_S = 120.0
"""How long a ledger may be read: an old file of many millions is slow the first time."""

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


class Taking:
    """Rules on their way into `budgets`: what was spent in the current periods of those that count anew is read, as of
    the moment this is made, while the rules so far hold on. To be made and ended where requests are settled."""

    def __init__(self, rules: Sequence[BudgetRule], budgets: Budgets, ledger: Ledger) -> None:
        self._rules = rules
        self._budgets = budgets
        self._before = budgets.rules
        known = {rule.name: (rule.match, rule.period) for rule in self._before}
        counts_anew = [rule for rule in rules if known.get(rule.name) != (rule.match, rule.period)]
        # Whoever leases its budgets learns from the engine what was spent.
        self._fresh = [] if budgets.leased else counts_anew
        now = datetime.now(UTC)
        self._since = {rule.name: rule.period.since(now) for rule in self._fresh}
        self._asked: Asked | None = None
        self._askers: list[list[BudgetRule]] = []
        if self._fresh:
            asked = questions_of(self._fresh, now)
            self._askers = [rules for _, rules in asked]
            self._asked = ledger.ask_spending([question for question, _ in asked])

    @property
    def overtaken(self) -> bool:
        """Whether other rules were taken meanwhile: then this must not end."""
        return self._budgets.rules != self._before

    def wait(self, timeout_s: float = READ_S) -> None:
        """Block until the past is read. Raises TimeoutError, and Internal where it cannot be."""
        if self._asked is not None:
            self._asked.told.result(timeout_s)

    async def read(self, timeout_s: float = READ_S) -> None:
        """As `wait`, while others go on."""
        if self._asked is not None:
            async with asyncio.timeout(timeout_s):
                await asyncio.wrap_future(self._asked.told)

    def end(self) -> None:
        """Let the rules hold from now on."""
        self._budgets.reconfigure(self._rules)
        if self._asked is None:
            return
        told, later = self._asked.told.result(0), self._asked.later()
        self._asked = None
        for rules, spent in (*zip(self._askers, told.spent, strict=True), *((self._fresh, s) for s in later.spent)):
            self._restore(rules, spent)
        names = {rule.name for rule in self._fresh}
        for entry in (*told.entries, *later.entries):
            if entry.budget in names:
                lost, added = (entry.amount_nano_usd, 0) if entry.kind == "lost" else (0, entry.amount_nano_usd)
                self._budgets.restore_entry(entry.budget, at=entry.at, lost_nano_usd=lost, added_nano_usd=added)
        self._budgets.restored(self._fresh)

    def drop(self) -> None:
        """Nothing changes."""
        if self._asked is not None:
            self._asked.later()
            self._asked = None

    def _restore(self, rules: list[BudgetRule], spent: Iterable[Spent]) -> None:
        """A rule is told of its own period alone; a minute belongs to the window that begins in it."""
        since = [(minute_of(self._since[rule.name]), rule) for rule in rules]
        for s in spent:
            mine = [rule for begun, rule in since if s.at >= begun]
            self._budgets.restore(s.spender, s.deployment, s.provider, s.cost_nano_usd, at=s.at, rules=mine)


def open_budgets(rules: Sequence[BudgetRule], ledger: Ledger) -> Budgets:
    """Budgets of these rules as the ledger knows them, for somebody who looks: what open requests hold is not in it.
    Blocks while it is read. Raises TimeoutError and Internal."""
    budgets = Budgets(())
    taking = Taking(rules, budgets, ledger)
    try:
        taking.wait()
        taking.end()
    finally:
        taking.drop()
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
