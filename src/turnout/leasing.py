"""Keeps this gateway's leases of budgets' money: asks for more before it runs out, gives back what lies idle.

Requests are passed on the lease alone, so the engine is asked on a request's path only where the lease is too small:
then once for all that wait. What gateways may spend together never exceeds a budget, whatever dies in between. Money
of a gateway that died is entered in the ledger: what it held for open requests counts as the most they may have cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from turnout.background import Background
from turnout.catalog.prices import format_usd
from turnout.context import Spender
from turnout.errors import Internal, NoCapacity, TurnoutError
from turnout.shared_state import Claim, Lost, SharedState
from turnout.spend.budgets import Alert, BudgetRule, Budgets, Priced, PurseKey, piece_of
from turnout.spend.journal import Journal
from turnout.spend.ledger import Ledger
from turnout.spend.purses import LeasedPurse
from turnout.spend.spent import BudgetEntry, Past, Question, Spent, minute_of, questions_of

__all__ = ["Leasing", "purse_name", "told_once"]

log = logging.getLogger("turnout")

BEAT_S = 0.5
"""How often every purse is told and asked, and this gateway shows that it lives."""

AHEAD_S = 1.0
"""For so long a lease is to last without asking: two beats."""

SHARE = 8
"""No gateway leases more than this part of what is left for what may come: others need it too, and what a dead one had
counts as spent."""

TELL_AFTER = 3
"""Beats that fail in a row before somebody is told: one that comes late is no outage."""

TRIES = 3

MOST_WAIT_S = 10.0
"""A request waits no longer for a purse that was lost to be granted from again."""

BURY_AFTER_S = 15.0
"""A gateway that is silent for so much longer than its lease will not be heard of: nobody took over its journal."""

ALERT_TTL_S = 45 * 86_400.0

READ_S = 120.0
"""How long the ledger may take to say what was spent: an old file of many millions is slow the first time."""

CALL_EVERY_S = 1.0
CALLED_S = 0.03
"""How often others are asked to give back what lies idle, and how long that may take them."""

TOPIC = "purses"
"""Where a purse is named of which somebody needs the rest."""

ADOPTED_TTL_S = 86_400.0

NOBODY = ""
"""Under whose name a purse has rows of no gateway, and money that was lost with gateways that are gone."""

LostMoney = Literal["count", "return"]


class Leasing:
    """`open_when_lost`: requests pass while the engine is away and the lease is used up. `lost_money`: whether what a
    gateway had that died with its disk counts as spent. One event loop owns it."""

    def __init__(
        self,
        shared: SharedState,
        budgets: Budgets,
        ledger: Ledger,
        journal: Journal,
        *,
        open_when_lost: bool = False,
        lost_money: LostMoney = "count",
    ) -> None:
        self._shared = shared
        self._budgets = budgets
        self._ledger = ledger
        self._journal = journal
        self._open_when_lost = open_when_lost
        self._lost_money: LostMoney = lost_money
        self._one_at_a_time = asyncio.Lock()
        self._wanted: dict[PurseKey, int] = {}
        self._round: asyncio.Task[float] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._names: dict[PurseKey, str] = {}
        self._claimed_s: dict[PurseKey, float] = {}
        self._silent_s: dict[str, float] = {}
        self._renewed_s = time.monotonic()
        self._background = Background(at_once=8)
        self._calling: asyncio.Task[None] | None = None
        self._called_s = 0.0
        self._calm_s: dict[PurseKey, float] = {}
        self._away, self._missed = False, 0
        self.passed_uncovered = 0
        """Requests that passed beyond their lease because the engine was away."""

    async def start(self) -> None:
        """Learn what was spent, and go on telling. Raises NoCapacity where the engine is away."""
        self._shared.hear(TOPIC, self._heard)
        await self.refresh()
        self._beating = asyncio.create_task(self._beat())

    async def cover(self, spender: Spender, priced: Sequence[Priced]) -> None:
        """Have leases reach for what `Budgets.reserve` is to hold, where their purses have it. Raises NoCapacity where
        nobody can say, and the config wants requests refused then."""
        self._lapse()
        until_s = time.monotonic() + MOST_WAIT_S
        tries = TRIES
        while tries:
            missing = self._budgets.short(spender, priced)
            if not missing:
                if not await self._called_in(self._budgets.elsewhere(spender, priced)):
                    return
                tries -= 1
                continue
            try:
                opens_in_s = await self._ask(missing)
            except NoCapacity as error:
                tries -= 1
                if tries and self._shared.healthy:  # it was late once
                    continue
                if self._open_when_lost:
                    self.passed_uncovered += 1
                    self._budgets.stretch(missing)
                    return
                name = next(iter(missing))[0]
                raise NoCapacity(f"budget {name} cannot be kept: {error.message}", retry_after=5) from error
            left_s = until_s - time.monotonic()
            if not opens_in_s:
                tries -= 1
            elif left_s <= 0:
                name = next(iter(missing))[0]
                raise NoCapacity(
                    f"budget {name} is being counted anew, for the engine that gateways share was lost; try again",
                    retry_after=5,
                )
            else:
                await asyncio.sleep(min(opens_in_s, left_s))

    async def add(self, name: str, nano_usd: int, *, entry: str) -> None:
        """More (or less) money for a budget's current period, once for an entry of the ledger. Raises NoCapacity, and
        KeyError for an unknown budget."""
        rule, (_, start) = self._budgets.state(name).rule, self._budgets.current(name)
        await self._shared.add(purse_name(rule, start), nano_usd, entry=entry)
        await self.refresh()

    async def refresh(self) -> None:
        """Tell and ask of every purse now. Raises NoCapacity."""
        await self._claim(None)

    async def aclose(self) -> None:
        """Tell the last, and give everything back that is not held."""
        await self._background.aclose()
        for task in (self._beating, self._round, self._calling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, NoCapacity):
                    await task
        with contextlib.suppress(NoCapacity):
            await self._claim(None, leave=True)

    # ---- Asking ----------------------------------------------------------------------------------------------------

    async def _called_in(self, keys: Sequence[PurseKey]) -> bool:
        """Have others give back what lies idle with them; whether anybody was asked. Once in a while, for all that
        wait: a budget that is used up must not keep gateways busy."""
        if not keys:
            return False
        now_s = time.monotonic()
        if now_s - self._called_s > CALL_EVERY_S:
            self._called_s = now_s
            self._calling = asyncio.create_task(self._call_in(dict.fromkeys(keys, 0)))
        if self._calling is None or self._calling.done():
            return False
        with contextlib.suppress(NoCapacity):
            await asyncio.shield(self._calling)
        return True

    async def _call_in(self, keys: Mapping[PurseKey, int]) -> None:
        for key in keys:
            await self._shared.tell(TOPIC, self._names[key].encode())
        await asyncio.sleep(CALLED_S)
        await self._claim(keys)

    def _heard(self, name: bytes) -> None:
        """Another gateway needs what is left of a purse."""
        until_s = time.monotonic() + CALL_EVERY_S
        calm = {key: 0 for key, known in self._names.items() if known.encode() == name}
        self._calm_s |= dict.fromkeys(calm, until_s)
        if calm and not self._background.busy:
            self._background.begin(self._give_back(calm))

    async def _give_back(self, keys: Mapping[PurseKey, int]) -> None:
        with contextlib.suppress(NoCapacity):
            await self._claim(keys)

    def _lapse(self) -> None:
        """A lease that was not renewed in time may be somebody else's by now."""
        if time.monotonic() - self._renewed_s > self._shared.lease_s:
            for _, _, purse in self._budgets.leases():
                purse.limit = 0

    async def _ask(self, missing: Mapping[PurseKey, int]) -> float:
        """One claim for everyone who waits; the longest that a purse grants nothing. Raises NoCapacity."""
        for key, need in missing.items():
            self._wanted[key] = self._wanted.get(key, 0) + need
        if self._round is None:
            self._round = asyncio.create_task(self._claim_wanted())
        return await asyncio.shield(self._round)

    async def _claim_wanted(self) -> float:
        async with self._one_at_a_time:
            wanted, self._wanted, self._round = self._wanted, {}, None
            return await self._claimed(wanted)

    async def _claim(self, wanted: Mapping[PurseKey, int] | None, *, leave: bool = False) -> float:
        async with self._one_at_a_time:
            return await self._claimed(wanted, leave=leave)

    async def _claimed(self, wanted: Mapping[PurseKey, int] | None, *, leave: bool = False) -> float:
        """Claim these purses, or all. Fills those that the engine does not know. Raises NoCapacity."""
        opens_in_s, keys = 0.0, wanted
        for _ in range(TRIES):
            unknown, opens_in_s = await self._once(keys, wanted or {}, leave=leave)
            if not unknown or leave:
                break
            await self._fill(unknown)
            keys = {key: 0 for key, _ in unknown}
        return opens_in_s

    async def _once(
        self, keys: Mapping[PurseKey, int] | None, wanted: Mapping[PurseKey, int], *, leave: bool
    ) -> tuple[list[tuple[PurseKey, BudgetRule]], float]:
        """One round trip: which purses are not known, and how long nothing is granted."""
        now_s = time.monotonic()
        asked: list[tuple[PurseKey, BudgetRule, LeasedPurse, Claim]] = []
        for key, rule, purse in self._budgets.leases():
            if (purse.idle and key != self._budgets.current(rule.name)) if keys is None else key not in keys:
                continue
            name = await self._named(key, rule)
            want = 0 if leave else max(wanted.get(key, 0), self._ahead(key, purse, now_s))
            asked.append((key, rule, purse, purse.claim(name, rule.amount_nano_usd, want, rule.period)))
        leases = await self._shared.lease([claim for *_, claim in asked])
        if keys is None:
            self._renewed_s = now_s
        unknown: list[tuple[PurseKey, BudgetRule]] = []
        for (key, rule, purse, claim), lease in zip(asked, leases, strict=True):
            first = purse.lease is None
            purse.take(claim, lease)
            self._claimed_s[key] = now_s
            if not lease.known:
                unknown.append((key, rule))
            elif first:  # what was reached before was told then
                self._budgets.restored([rule])
        return unknown, max((lease.opens_in_s for lease in leases), default=0.0)

    async def _named(self, key: PurseKey, rule: BudgetRule) -> str:
        """A purse's name in the engine. One whose budget counts otherwise now is given back first."""
        name = purse_name(rule, key[1])
        before = self._names.get(key)
        if before is not None and before != name:
            await self._shared.lease([Claim(purse=before, amount=0, spent=0, held=0, want=0)])
        self._names[key] = name
        return name

    def _ahead(self, key: PurseKey, purse: LeasedPurse, now_s: float) -> int:
        """What to have free for requests to come, by what was held lately."""
        if self._calm_s.get(key, 0.0) > now_s:
            return 0
        since_s = max(now_s - self._claimed_s.get(key, now_s - BEAT_S), BEAT_S / 10)
        rest = purse.lease.rest if purse.lease is not None else 0
        return min(round(purse.drawn / since_s * AHEAD_S), max(0, rest) // SHARE)

    # ---- What the ledger knows -------------------------------------------------------------------------------------

    async def _fill(self, keyed: Sequence[tuple[PurseKey, BudgetRule]]) -> None:
        """Tell the engine what the ledger says of purses. Nobody begins to spend from one of a period that is over: it
        need only be known. Raises NoCapacity."""
        now = datetime.now(UTC)
        current = {rule.name: (key, rule) for key, rule in keyed if key == self._budgets.current(rule.name)}
        for key, rule in keyed:
            if rule.name not in current or current[rule.name][0] != key:
                await self._shared.fill(purse_name(rule, key[1]), {})
        if not current:
            return
        purses = {key: purse for key, _, purse in self._budgets.leases()}
        before = {key: purse.mine for key, purse in purses.items()}
        questions = questions_of([rule for _, rule in current.values()], now)
        past = await self._past([question for question, _ in questions])
        for (_, rules), spending in zip(questions, past.spent, strict=True):
            for rule in rules:
                key = current[rule.name][0]
                spent, added = _sums(rule, now, spending, past.entries)
                mine = spent.pop(self._shared.gateway, {})
                purse = purses.get(key)
                if purse is not None and purse.lease is None and mine:  # budgets that were changed begin anew here
                    purse.base(sum(mine.values()) - before[key], {n: v for n, v in mine.items() if n >= 0})
                totals = {name: sum(by_piece.values()) for name, by_piece in spent.items()}
                pieces = spent if rule.period.kind == "rolling" else None
                await self._shared.fill(purse_name(rule, key[1]), totals, added=added, pieces=pieces)

    async def _past(self, questions: Sequence[Question]) -> Past:
        """What was spent by the rows appended until now. Raises NoCapacity where the ledger cannot say it in time."""
        asked = self._ledger.ask_spending(questions)
        try:
            async with asyncio.timeout(READ_S):
                return await asyncio.wrap_future(asked.told)
        except TimeoutError:
            raise NoCapacity("the ledger took too long to say what was spent; try again", retry_after=5) from None
        except Internal as error:
            raise NoCapacity(error.message, retry_after=5) from error
        finally:
            asked.later()

    # ---- Beating, and those who no longer do -----------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.refresh()
                await self._see_to_the_dead()
                await self._see_to_the_silent()
                self._say(None)
            except TurnoutError as error:
                self._say(error)
            except Exception:  # one beat that fails must not be the last
                log.exception("leases of budgets were not seen to; they are again in %s s", BEAT_S)

    def _say(self, error: TurnoutError | None) -> None:
        self._missed = 0 if error is None else self._missed + 1
        if self._missed == TELL_AFTER:
            then = "requests pass uncounted by others" if self._open_when_lost else "hard budgets refuse"
            why = error.message if error else ""
            log.error("budgets go on with what is leased, and when that is used up %s: %s", then, why)
            self._away = True
        elif error is None and self._away:
            log.warning("budgets are shared again")
            self._away = False

    async def _see_to_the_dead(self) -> None:
        """Processes of this machine that died: what they held is entered in the ledger."""
        for name in await asyncio.to_thread(self._journal.adopt, self._ledger):
            await self._shared.put({f"adopted:{name}": b"1"}, ttl_s=ADOPTED_TTL_S)

    async def _see_to_the_silent(self) -> None:
        """Gateways whose leases have run out: count what they had, and give back what nobody can have spent."""
        silent = await self._shared.silent()
        now_s = time.monotonic()
        self._silent_s = {lost.gateway: self._silent_s.get(lost.gateway, now_s) for lost in silent}
        known = {purse_name(rule, key[1]): (key, rule) for key, rule, _ in self._budgets.leases()}
        adopted = await self._shared.get([f"adopted:{lost.gateway}" for lost in silent]) if silent else []
        for lost, entered in zip(silent, adopted, strict=True):
            if lost.purse not in known:
                continue
            key, rule = known[lost.purse]
            if entered is not None:  # the ledger knows exactly
                await self._fill([(key, rule)])
                await self._shared.bury(lost, counted=0)
            elif now_s - self._silent_s[lost.gateway] >= BURY_AFTER_S:
                await self._bury(lost, key, rule)

    async def _bury(self, lost: Lost, key: PurseKey, rule: BudgetRule) -> None:
        """Its machine is gone: what it had may all be spent. Who does this twice enters the same."""
        if self._lost_money == "return" or lost.amount <= 0:
            await self._shared.bury(lost, counted=0)
            return
        now, (start, end) = datetime.now(UTC), rule.period.bounds(key[1])
        entry = BudgetEntry(
            id=f"lease_{lost.gateway}_{start:%Y%m%dT%H%M}",  # it may have had money of two periods
            budget=rule.name,
            at=now if end is None or start <= now < end else start,
            kind="lost",
            amount_nano_usd=lost.amount,
        )
        self._ledger.enter(entry)
        if await asyncio.to_thread(self._ledger.flush):  # else the next beat tries again
            told = lost.gateway, rule.name, format_usd(lost.amount)
            log.warning("gateway %s was not heard of again: budget %s counts all that it had leased, %s", *told)
            await self._shared.bury(lost, counted=lost.amount)


def purse_name(rule: BudgetRule, start: datetime) -> str:
    """A purse's name among gateways: another for a budget that counts other spending, or in other periods."""
    told = msgspec.json.encode((rule.match, rule.period.kind, rule.period.window.total_seconds(), rule.period.zone))
    return f"{rule.name}.{hashlib.blake2b(told, digest_size=4).hexdigest()}@{start:%Y%m%dT%H%M}"


def told_once(shared: SharedState, background: Background, tell: Callable[[Alert], None]) -> Callable[[Alert], None]:
    """`tell` for alerts of shared budgets: of all gateways one tells."""

    async def ask(alert: Alert) -> None:
        try:
            if await shared.first(f"alert:{alert.budget}:{alert.share}:{alert.until}", ttl_s=ALERT_TTL_S):
                tell(alert)
        except NoCapacity:  # twice is better than never
            tell(alert)

    return lambda alert: background.begin(ask(alert))


Pieces = dict[int, int]
"""Nano-dollars by piece of a rolling window; all under -1 where there is none."""


def _sums(
    rule: BudgetRule, now: datetime, spending: Iterable[Spent], entries: Iterable[BudgetEntry]
) -> tuple[dict[str, Pieces], dict[str, int]]:
    """What each gateway spent of a budget's current purse by the ledger, and what was added to it by entry."""
    since = rule.period.since(now)
    spent: dict[str, Pieces] = {}
    added: dict[str, int] = {}

    def book(gateway: str, at: datetime, amount: int) -> None:
        piece = piece_of(rule, at)
        pieces = spent.setdefault(gateway, {})
        pieces[-1 if piece is None else piece] = pieces.get(-1 if piece is None else piece, 0) + amount

    for row in spending:
        if row.at >= minute_of(since) and rule.covers(row.spender, row.deployment, row.provider):
            book(row.gateway or NOBODY, row.at, row.cost_nano_usd)
    for entry in entries:
        if entry.budget == rule.name and entry.at >= since:
            if entry.kind == "lost":
                book(NOBODY, entry.at, entry.amount_nano_usd)
            else:
                added[entry.id] = entry.amount_nano_usd
    return spent, added
