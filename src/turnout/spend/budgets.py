"""Budgets that hold: the worst case is reserved before a call, the true cost settled after it.

One event loop owns a `Budgets`: check and reservation are one step, so concurrent requests cannot both pass
on the same money. What was spent before a restart is given back by `restore` from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.catalog.prices import format_usd
from turnout.context import Reservation, Spender
from turnout.errors import BudgetExhausted

__all__ = ["BudgetRule", "Budgets", "Match", "period_start"]

Period = Literal["day", "week", "month"]


class Match(Struct, frozen=True, kw_only=True):
    """Which spending a budget covers; None matches everything. `tag` is `name` or `name=value`."""

    key: str | None = None
    tag: str | None = None
    mode: str | None = None
    model: str | None = None
    provider: str | None = None
    session: str | None = None


class BudgetRule(Struct, frozen=True, kw_only=True):
    """`on_exhausted`: `small` leaves the small tier open until the budget is wholly used up."""

    name: str
    amount_nano_usd: int
    period: Period
    match: Match = Match()
    on_exhausted: Literal["pause", "small", "block"] = "block"

    def covers(self, spender: Spender, model: str, provider: str) -> bool:
        """Whether this spending counts here. `model` is a deployment's id."""
        wanted = self.match
        name, _, value = (wanted.tag or "").partition("=")
        return (
            wanted.key in {None, spender.key}
            and wanted.mode in {None, spender.mode}
            and wanted.session in {None, spender.session}
            and wanted.model in {None, model}
            and wanted.provider in {None, provider}
            and (not name or (name in spender.tags and value in {"", spender.tags[name]}))
        )


class _Purse(Struct):
    spent: int = 0
    held: int = 0


def period_start(period: Period, at: datetime) -> datetime:
    """When the period that holds `at` began: 00:00 UTC of the day, the week's Monday, the month's first."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)


def period_end(period: Period, start: datetime) -> datetime:
    match period:
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case "month":
            return (start + timedelta(days=32)).replace(day=1)


class Budgets:
    """All budgets of a gateway. `now` gives the UTC time of day."""

    def __init__(self, rules: Iterable[BudgetRule], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._now = now
        self._purses: dict[tuple[str, datetime], _Purse] = {}

    @property
    def rules(self) -> tuple[BudgetRule, ...]:
        return tuple(self._rules.values())

    def reconfigure(self, rules: Iterable[BudgetRule]) -> list[BudgetRule]:
        """Take new rules over; what is held and spent under a rule that stays as it was is kept. Returns the rules that
        are new or changed: their past is to be restored. Requests that are open still settle what they hold."""
        new = {rule.name: rule for rule in rules}
        fresh = [rule for rule in new.values() if self._rules.get(rule.name) != rule]
        changed = {rule.name for rule in fresh}
        for (name, _), purse in self._purses.items():
            if name in changed:
                purse.spent = 0
        self._rules = new
        return fresh

    def spent(self, name: str) -> int:
        """Nano-dollars settled in the current period."""
        rule = self._rules[name]
        return self._purse(name, period_start(rule.period, self._now())).spent

    def held(self, name: str) -> int:
        """Nano-dollars reserved and not yet settled in the current period."""
        rule = self._rules[name]
        return self._purse(name, period_start(rule.period, self._now())).held

    def restore(
        self,
        spender: Spender,
        model: str,
        provider: str,
        cost_nano_usd: int,
        *,
        at: datetime,
        rules: Iterable[BudgetRule] | None = None,
    ) -> None:
        """Book money that was spent, in the period that holds `at`, under all rules or these."""
        for rule in self._rules.values() if rules is None else rules:
            if rule.covers(spender, model, provider):
                self._purse(rule.name, period_start(rule.period, at)).spent += cost_nano_usd

    def left_to_small(self, spender: Spender, priced: Sequence[tuple[Deployment, int | None]]) -> str | None:
        """The budget that only small models may still use, when the dearest of `priced` no longer fits it."""
        for rule in self._rules.values():
            if rule.on_exhausted == "small":
                worst = max((w or 0 for d, w in priced if rule.covers(spender, d.id, d.provider)), default=0)
                if worst > self._left(rule):
                    return rule.name
        return None

    def reserve(self, spender: Spender, priced: Sequence[tuple[Deployment, int | None]]) -> Reservation:
        """Hold the worst case of the dearest candidate in every budget that covers one.

        `priced`: candidates and the most each may cost in nano-dollars (None: unpriced, which no budget can
        hold). Raises BudgetExhausted; then nothing is held.
        """
        at = self._now()
        held: list[tuple[str, datetime, int]] = []
        for rule in self._rules.values():
            covered = [(d, worst) for d, worst in priced if rule.covers(spender, d.id, d.provider)]
            if not covered:
                continue
            unpriced = [d.id for d, worst in covered if worst is None]
            if unpriced:
                raise BudgetExhausted(
                    f"{unpriced[0]} has no known price, so budget {rule.name} cannot hold it; "
                    f'set models."{unpriced[0]}".price in the config'
                )
            need = max(worst for _, worst in covered if worst is not None)
            if need > self._left(rule):
                raise self._exhausted(rule, need)
            held.append((rule.name, period_start(rule.period, at), need))
        for name, start, amount in held:
            self._purse(name, start).held += amount
        return Reservation(spender=spender, at=at, held=tuple(held))

    def settle(self, reservation: Reservation, deployment: Deployment | None, cost_nano_usd: int) -> None:
        """Give back what was held and book what was spent, in the period the request came in."""
        for name, start, amount in reservation.held:
            if (purse := self._purses.get((name, start))) is not None:
                purse.held -= amount
        if deployment is not None and cost_nano_usd:
            self.restore(reservation.spender, deployment.id, deployment.provider, cost_nano_usd, at=reservation.at)
        self._drop_old()

    def _left(self, rule: BudgetRule) -> int:
        purse = self._purse(rule.name, period_start(rule.period, self._now()))
        return rule.amount_nano_usd - purse.spent - purse.held

    def _purse(self, name: str, start: datetime) -> _Purse:
        return self._purses.setdefault((name, start), _Purse())

    def _drop_old(self) -> None:
        """Forget periods that are over and hold nothing."""
        if len(self._purses) > 4 * len(self._rules):
            now = self._now()
            for (name, start), purse in list(self._purses.items()):
                rule = self._rules.get(name)
                if purse.held == 0 and (rule is None or period_end(rule.period, start) <= now):
                    del self._purses[name, start]

    def _exhausted(self, rule: BudgetRule, need: int) -> BudgetExhausted:
        end = period_end(rule.period, period_start(rule.period, self._now()))
        left = format_usd(max(0, self._left(rule)))
        return BudgetExhausted(
            f"budget {rule.name} has {left} left of {format_usd(rule.amount_nano_usd)} "
            f"until {end:%Y-%m-%d %H:%M} UTC, and this request may cost {format_usd(need)}; "
            f"raise budgets.{rule.name}.amount_usd or ask for less output"
        )
