"""Budgets that hold: the worst case is reserved before a call, the true cost settled after it.

One event loop owns a `Budgets`: check and reservation are one step, so concurrent requests cannot both pass
on the same money. What was spent before a restart is given back by `restore` from the ledger. Where several gateways
share budgets each has a lease of their money (`turnout.leasing`), and passes requests on that alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.catalog.prices import format_usd
from turnout.context import Reservation, Spender
from turnout.errors import BudgetExhausted
from turnout.spend.periods import EVER, Period
from turnout.spend.purses import STEPS, LeasedPurse, OwnPurse, Purse

__all__ = ["Alert", "BudgetRule", "BudgetState", "Budgets", "Charge", "Match", "Priced", "PurseKey", "piece_of"]

OnExhausted = Literal["pause", "small", "block", "warn"]

Priced = tuple[Deployment, int | None]
"""A candidate and the most it may cost in nano-dollars; None: unpriced, which no budget can hold."""

PurseKey = tuple[str, datetime]
"""A budget and the start of a period."""

Room = tuple["BudgetRule", int, int]
"""A budget, what nobody has spent or holds of it, and what of that may be held here and now."""

Charge = tuple[Deployment, int]
"""What a deployment is paid for one request, in nano-dollars."""

BACKWARDS = timedelta(days=1)
"""A clock set back by less than this is waited for; by more, the time before was wrong and is not believed."""

_utc_now = partial(datetime.now, UTC)

KEPT_PURSES = 6
"""Periods remembered of a budget: a clock that was set wrong may come back to them."""


class Match(Struct, frozen=True, kw_only=True):
    """Which spending a budget covers; None matches everything. `tag` is `name` or `name=value`."""

    key: str | None = None
    team: str | None = None
    tag: str | None = None
    mode: str | None = None
    model: str | None = None
    provider: str | None = None
    session: str | None = None


_ALL = Match()


class BudgetRule(Struct, frozen=True, kw_only=True):
    """`on_exhausted`: `small` leaves the last `small_reserve_nano_usd` to the small tier; `pause` and `block` refuse;
    `warn` never refuses: a soft budget. `alerts`: shares of the amount that are told when reached."""

    name: str
    amount_nano_usd: int
    period: Period = Period()
    match: Match = _ALL
    on_exhausted: OnExhausted = "block"
    small_reserve_nano_usd: int = 0
    alerts: tuple[float, ...] = ()

    @property
    def hard(self) -> bool:
        return self.on_exhausted != "warn"

    @property
    def narrow(self) -> bool:
        """Whether it depends on the deployment what counts here."""
        return self.match.model is not None or self.match.provider is not None

    def concerns(self, spender: Spender) -> bool:
        """Whether what this spender spends counts here, by some deployment at least."""
        wanted = self.match
        return wanted == _ALL or (
            (wanted.key is None or wanted.key == spender.key)
            and (wanted.team is None or wanted.team == spender.team)
            and (wanted.mode is None or wanted.mode == spender.mode)
            and (wanted.session is None or wanted.session == spender.session)
            and (wanted.tag is None or _tagged(spender, wanted.tag))
        )

    def covers(self, spender: Spender, model: str, provider: str) -> bool:
        """Whether this spending counts here. `model` is a deployment's id."""
        wanted = self.match
        return (
            (wanted.model is None or wanted.model == model)
            and (wanted.provider is None or wanted.provider == provider)
            and self.concerns(spender)
        )


class Alert(Struct, frozen=True, kw_only=True):
    """A budget has reached a share of its amount. Money in nano-dollars; `until` in words."""

    budget: str
    share: float
    spent_nano_usd: int
    amount_nano_usd: int
    until: str

    @property
    def sentence(self) -> str:
        return (
            f"budget {self.budget} has used {format_usd(self.spent_nano_usd)} of {format_usd(self.amount_nano_usd)} "
            f"(told at {self.share:.0%}), {self.until}"
        )


class BudgetState(Struct, frozen=True, kw_only=True):
    """A budget as it stands; nano-dollars. `amount_nano_usd` holds what was added for this period, `start` and `end`
    are UTC (a rolling window's end is None)."""

    rule: BudgetRule
    amount_nano_usd: int
    spent_nano_usd: int
    held_nano_usd: int
    start: datetime
    end: datetime | None

    @property
    def left_nano_usd(self) -> int:
        return self.amount_nano_usd - self.spent_nano_usd - self.held_nano_usd


class _Term(Struct, frozen=True):
    """A period of a budget, `end` None for one without, and its purse."""

    start: datetime
    end: datetime | None
    purse: Purse


class Budgets:
    """All budgets of a gateway. `now` gives the UTC time of day; `on_alert` is called in the midst of a request, so it
    must only take note. `leased`: others spend from them too."""

    def __init__(
        self,
        rules: Iterable[BudgetRule],
        *,
        now: Callable[[], datetime] = _utc_now,
        on_alert: Callable[[Alert], None] = lambda _: None,
        leased: bool = False,
    ) -> None:
        self._clock = now
        self._latest = EVER
        self._on_alert = on_alert
        self._leased = leased
        self._purses: dict[PurseKey, Purse] = {}
        # Of each budget what was asked for last: what time zones make of an instant is not cheap.
        self._terms: dict[str, _Term] = {}
        self._open: set[str] = set()
        self._follow({rule.name: rule for rule in rules})

    @property
    def leased(self) -> bool:
        """Whether other gateways spend from these too."""
        return self._leased

    @property
    def rules(self) -> tuple[BudgetRule, ...]:
        return self._all

    @property
    def keep_for_small(self) -> bool:
        """Whether any of them leaves its last money to small models."""
        return self._keeps

    def reconfigure(self, rules: Iterable[BudgetRule]) -> list[BudgetRule]:
        """Take new rules over; what is held and spent is kept where the same spending counts in the same periods.
        Returns the other rules: their past is to be restored. Open requests still settle what they hold."""
        new = {rule.name: rule for rule in rules}
        fresh = [rule for rule in new.values() if not _counts_alike(self._rules.get(rule.name), rule)]
        changed = {rule.name for rule in fresh}
        for (name, _), purse in self._purses.items():
            if name in changed:
                purse.clear()
        self._follow(new)
        return fresh

    def _follow(self, rules: dict[str, BudgetRule]) -> None:
        """These from now on, with what of them is asked for at every request."""
        self._rules, self._all = rules, tuple(rules.values())
        self._hard = tuple(rule for rule in self._all if rule.hard)
        self._wide = tuple(rule for rule in self._all if not rule.narrow)
        self._narrows = any(rule.narrow for rule in self._hard)
        self._keeps = any(rule.on_exhausted == "small" for rule in self._all)
        self._terms.clear()

    def state(self, name: str) -> BudgetState:
        """Raises KeyError for a budget that is not there."""
        return self._state(self._rules[name], self._now())

    def states(self) -> list[BudgetState]:
        now = self._now()
        return [self._state(rule, now) for rule in self._rules.values()]

    def spent(self, name: str) -> int:
        """Nano-dollars settled in the current period."""
        return self.state(name).spent_nano_usd

    def held(self, name: str) -> int:
        """Nano-dollars reserved and not yet settled in the current period."""
        return self.state(name).held_nano_usd

    def concerning(self, spender: Spender) -> list[str]:
        """The budgets that cover this spender whatever model serves."""
        return [rule.name for rule in self._wide if rule.concerns(spender)]

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
        """Book money that was spent, in the period that holds `at`, under all rules or these. Tells nobody."""
        for rule in self._rules.values() if rules is None else rules:
            if rule.covers(spender, model, provider):
                self._book(rule, cost_nano_usd, at)

    def restore_entry(self, name: str, *, at: datetime, lost_nano_usd: int = 0, added_nano_usd: int = 0) -> None:
        """What no request's row says: money held for a request that a crash ended, and money added to a period."""
        rule = self._rules.get(name)
        if rule is None:
            return
        self._book(rule, lost_nano_usd, at)
        self._purse(rule, at).added += added_nano_usd

    def restored(self, rules: Iterable[BudgetRule]) -> None:
        """All of the past is booked: what it reached was told then."""
        now = self._now()
        for rule in rules:
            purse = self._purse(rule, now)
            purse.told = _share(purse.spent, rule.amount_nano_usd + purse.added)

    def add(self, name: str, nano_usd: int) -> BudgetState:
        """More (or less) money for this period alone. Raises KeyError for a budget that is not there."""
        rule, now = self._rules[name], self._now()
        purse = self._purse(rule, now)
        purse.added += nano_usd
        purse.told = min(purse.told, _share(purse.spent, rule.amount_nano_usd + purse.added))
        return self._state(rule, now)

    def left_to_small(self, spender: Spender, priced: Sequence[Priced]) -> str | None:
        """The budget that only small models may still use, when the best of `priced` no longer fits it."""
        now = self._now()
        for deployment, worst in priced[:1]:
            for rule in self._rules.values():
                if (
                    rule.on_exhausted == "small"
                    and rule.covers(spender, deployment.id, deployment.provider)
                    and (worst or 0) > _left(rule, self._purse(rule, now), deployment)
                ):
                    return rule.name
        return None

    def have_room(self, spender: Spender, priced: Iterable[Priced]) -> bool:
        """Whether each of `priced` would fit every hard budget that covers it. Holds nothing and tells nobody."""
        now = self._now()
        return all(
            worst is not None and worst <= _left(rule, self._purse(rule, now), deployment)
            for deployment, worst in priced
            for rule in self._hard
            if rule.covers(spender, deployment.id, deployment.provider)
        )

    def reserve(self, request_id: str, spender: Spender, priced: Sequence[Priced]) -> Reservation:
        """Hold the worst case of the dearest candidate in every hard budget that covers one.

        The best candidate must fit; of the others those that do not are left out (`Reservation.unaffordable`).
        Raises BudgetExhausted; then nothing is held.
        """
        at = self._now()
        needs, unaffordable, short = self._needs(spender, priced, at, leased=self._leased)
        if short is not None:
            raise self._exhausted(short, *priced[0], at)
        held: list[tuple[str, datetime, int]] = []
        for name, need in needs.items():
            term = self._terms[name]
            purse = term.purse
            purse.held += need
            if isinstance(purse, LeasedPurse):
                purse.drawn += need
            held.append((name, term.start, need))
        self._open.add(request_id)
        return Reservation(
            request_id=request_id, spender=spender, at=at, held=tuple(held), unaffordable=frozenset(unaffordable)
        )

    def short(self, spender: Spender, priced: Sequence[Priced]) -> dict[PurseKey, int]:
        """What `reserve` would hold where a lease is too small for it and its purse, as far as known, has the money."""
        if not self._leased:
            return {}
        at = self._now()
        needs, _, _ = self._needs(spender, priced, at)
        return {
            (name, term.start): need
            for name, need in needs.items()
            if need > (term := self._terms[name]).purse.free(self._rules[name].amount_nano_usd)
        }

    def elsewhere(self, spender: Spender, priced: Sequence[Priced]) -> list[PurseKey]:
        """Purses that have no room for the best of `priced`, and might if others gave back what they do not need."""
        at = self._now()
        return [
            (rule.name, self._term(rule, at).start)
            for deployment, worst in priced[:1]
            for rule in self._hard
            if rule.covers(spender, deployment.id, deployment.provider)
            and isinstance(purse := self._purse(rule, at), LeasedPurse)
            and 0 < (worst or 0) - _left(rule, purse, deployment) <= purse.elsewhere
        ]

    def stretch(self, needs: Mapping[PurseKey, int]) -> None:
        """Let leases reach for these though nobody was asked: the next claim tells what came of it."""
        for key, need in needs.items():
            if isinstance(purse := self._purses.get(key), LeasedPurse):
                purse.limit = max(purse.limit, purse.mine + purse.held + need)

    def current(self, name: str) -> PurseKey:
        """The budget's purse now. Raises KeyError for a budget that is not there."""
        return name, self._term(self._rules[name], self._now()).start

    def leases(self) -> list[tuple[PurseKey, BudgetRule, LeasedPurse]]:
        """Every leased purse whose budget there is, the current periods' among them."""
        now = self._now()
        for rule in self._rules.values():
            self._purse(rule, now)
        return [
            (key, self._rules[key[0]], purse)
            for key, purse in self._purses.items()
            if key[0] in self._rules and isinstance(purse, LeasedPurse)
        ]

    def settle(self, reservation: Reservation, charges: Iterable[Charge]) -> None:
        """Give back what was held and book what was spent, in the period the request came in. A second time for the
        same request nothing happens."""
        if reservation.request_id not in self._open:
            return
        self._open.remove(reservation.request_id)
        for name, start, amount in reservation.held:
            if (purse := self._purses.get((name, start))) is not None:
                purse.held -= amount
        spender, at = reservation.spender, reservation.at
        for deployment, cost in charges:
            for rule in self._all if cost else ():
                if rule.covers(spender, deployment.id, deployment.provider):
                    self._book(rule, cost, at)
                    self._tell(rule, self._now())  # after it is booked: of a rolling window it may be too old by now

    # Time, money and words.

    def _now(self) -> datetime:
        """The time of day, which does not go back: a budget would have its last period's money twice."""
        now = self._clock()
        if now >= self._latest or now < self._latest - BACKWARDS:
            self._latest = now
        return self._latest

    def _state(self, rule: BudgetRule, now: datetime) -> BudgetState:
        term = self._term(rule, now)
        start, end, purse = term.start, term.end, term.purse
        amount = rule.amount_nano_usd + purse.added
        return BudgetState(
            rule=rule,
            amount_nano_usd=amount,
            spent_nano_usd=purse.spent,
            held_nano_usd=max(purse.held, amount - purse.spent - purse.left(rule.amount_nano_usd)),
            start=rule.period.since(now) if end is None and rule.period.kind == "rolling" else start,
            end=end,
        )

    def _needs(
        self,
        spender: Spender,
        priced: Sequence[Priced],
        at: datetime,
        *,
        leased: bool = False,
    ) -> tuple[dict[str, int], list[str], BudgetRule | None]:
        """What each hard budget must hold for `priced`, which of these have no room, and the budget that the best does
        not fit: then the others do not matter. `leased`: only what is leased here is room."""
        needs: dict[str, int] = {}
        unaffordable: list[str] = []
        rooms = [self._room(rule, at, leased=leased) for rule in self._hard if rule.concerns(spender)]
        for index, (deployment, worst) in enumerate(priced):
            mine = rooms
            if self._narrows:
                mine = [room for room in rooms if room[0].covers(spender, deployment.id, deployment.provider)]
            short = _short(mine, deployment, worst)
            if short is None:
                for rule, _, _ in mine:
                    needs[rule.name] = max(needs.get(rule.name, 0), worst or 0)
            elif index == 0:
                return {}, [], short
            else:
                unaffordable.append(deployment.id)
        return needs, unaffordable, None

    def _room(self, rule: BudgetRule, at: datetime, *, leased: bool) -> Room:
        purse = self._term(rule, at).purse
        left = purse.left(rule.amount_nano_usd)
        return rule, left, purse.free(rule.amount_nano_usd) if leased else left

    def _term(self, rule: BudgetRule, at: datetime) -> _Term:
        """The period of a budget that holds `at`; of a rolling one what is too old is forgotten."""
        term = self._terms.get(rule.name)
        if term is None or at < term.start or (term.end is not None and at >= term.end):
            term = self._terms[rule.name] = self._begun(rule, at)
        if rule.period.kind == "rolling" and (piece := piece_of(rule, self._latest)) is not None:
            term.purse.sweep(piece)
        return term

    def _begun(self, rule: BudgetRule, at: datetime) -> _Term:
        start, end = rule.period.bounds(at)
        purse = self._purses.get((rule.name, start))
        if purse is None:
            purse = self._purses[rule.name, start] = LeasedPurse() if self._leased else OwnPurse()
            self._drop_old(rule.name, start)
        return _Term(start, end, purse)

    def _purse(self, rule: BudgetRule, at: datetime) -> Purse:
        return self._term(rule, at).purse

    def _book(self, rule: BudgetRule, amount: int, at: datetime) -> None:
        self._term(rule, at).purse.book(amount, piece_of(rule, at))

    def _drop_old(self, name: str, but: datetime) -> None:
        """Forget old periods that hold nothing; not the one that is asked for, which a clock came back to."""
        mine = sorted(start for n, start in self._purses if n == name)
        for start in mine[:-KEPT_PURSES]:
            if start != but and self._purses[name, start].held == 0:
                del self._purses[name, start]

    def _tell(self, rule: BudgetRule, now: datetime, share: float | None = None) -> None:
        """Alert once a period for each share that has been reached."""
        purse = self._term(rule, now).purse
        if share is None:
            share = _share(purse.spent, rule.amount_nano_usd + purse.added)
        if share <= purse.told:
            return
        reached = [s for s in rule.alerts if purse.told < s <= share]
        purse.told = share
        if reached:
            state = self._state(rule, now)
            self._on_alert(
                Alert(
                    budget=rule.name,
                    share=max(reached),
                    spent_nano_usd=state.spent_nano_usd,
                    amount_nano_usd=state.amount_nano_usd,
                    until=rule.period.told(now),
                )
            )

    def _exhausted(self, rule: BudgetRule, deployment: Deployment, worst: int | None, now: datetime) -> BudgetExhausted:
        if worst is None:
            return BudgetExhausted(
                f"{deployment.id} has no known price, so budget {rule.name} cannot hold it; "
                f'set models."{deployment.id}".price in the config'
            )
        state = self._state(rule, now)
        room = _left(rule, self._purse(rule, now), deployment)
        if worst > room + state.held_nano_usd:  # not only because others are open
            self._tell(rule, now, 1.0)
        open_ = f" beside {format_usd(state.held_nano_usd)} held for open requests" if state.held_nano_usd else ""
        paused = "; the run is paused and goes on by the next request then" if rule.on_exhausted == "pause" else ""
        return BudgetExhausted(
            f"budget {rule.name} has {format_usd(max(0, room))} left of "
            f"{format_usd(state.amount_nano_usd)} {rule.period.told(now)}{open_}, and this request may cost "
            f"{format_usd(worst)}{paused}; raise budgets.{rule.name}.amount_usd, add money for this period with "
            f"POST /admin/budgets/{rule.name}/add, or ask for less output"
        )


def _counts_alike(old: BudgetRule | None, new: BudgetRule) -> bool:
    """Whether both count the same spending in the same periods: only then what was counted may stay."""
    return old is not None and (old.match, old.period) == (new.match, new.period)


def _kept(rule: BudgetRule, deployment: Deployment) -> int:
    """What of a budget's money this deployment may not use."""
    return rule.small_reserve_nano_usd if rule.on_exhausted == "small" and deployment.tier != "small" else 0


def _left(rule: BudgetRule, purse: Purse, deployment: Deployment) -> int:
    """What of a budget's purse nobody has spent or holds, and this deployment may use."""
    return purse.left(rule.amount_nano_usd) - _kept(rule, deployment)


def _short(rooms: Iterable[Room], deployment: Deployment, worst: int | None) -> BudgetRule | None:
    """The first of the budgets that has no room for a deployment; None where all have."""
    for rule, left, free in rooms:
        if worst is None or worst > free or worst > left - _kept(rule, deployment):
            return rule
    return None


def _tagged(spender: Spender, tag: str) -> bool:
    """Whether it bears the tag `name`, or `name=value`."""
    name, _, value = tag.partition("=")
    return not name or (name in spender.tags and value in {"", spender.tags[name]})


def piece_of(rule: BudgetRule, at: datetime) -> int | None:
    """The piece of a rolling budget's window that holds `at`, counted since `EVER`; None for other budgets."""
    if rule.period.kind != "rolling":
        return None
    return int((at - EVER) / (rule.period.window / STEPS))


def _share(spent: int, amount: int) -> float:
    return spent / amount if amount > 0 else 1.0
