"""Budgets that several gateways share: never a cent over, whoever dies, and no round trip while a lease lasts."""

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from support.fleets import deployment
from support.ledgers import entries_since, spent_since
from turnout.context import Spender
from turnout.errors import BudgetExhausted, NoCapacity
from turnout.leasing import Leasing, purse_name
from turnout.spend.budgets import BudgetRule, Budgets, Match
from turnout.spend.ledger import BudgetEntry, LedgerRow, iso_utc
from turnout.spend.periods import Period
from turnout.stores.journal import FileJournal
from turnout.stores.shared.memory import MemoryEngine, MemoryShared
from turnout.stores.sqlite import SqliteLedger

CENT = 10_000_000
BIG = deployment("openai/big", "frontier", 10)
SPENDER = Spender(key=None, tags={"feature": "search"}, mode=None, session="s")


def company(cents, **more):
    return BudgetRule(name="company", amount_nano_usd=cents * CENT, **more)


class Gateway:
    """One of several: its budgets, its lease, its journal; the ledger and the engine are everybody's."""

    def __init__(self, name, rules, ledger, engine, file, **more):
        self.name = name
        self.ledger = ledger
        self.shared = MemoryShared(name, engine, lease_s=more.pop("lease_s", 0.5))
        self.journal = FileJournal(file, name)
        self.budgets = Budgets(rules, leased=True)
        self.leasing = Leasing(self.shared, self.budgets, ledger, self.journal, **more)
        self.count = 0

    async def start(self):
        await self.shared.start()
        self.journal.claim(self.ledger)
        await self.leasing.start()

    async def hold(self, cents):
        self.count += 1
        name = f"{self.name}-{self.count}"
        priced = [(BIG, cents * CENT)]
        await self.leasing.cover(SPENDER, priced)
        held = self.budgets.reserve(name, SPENDER, priced)
        self.journal.hold(held)
        return held

    def settle(self, held, cents):
        self.budgets.settle(held, [(BIG, cents * CENT)])
        self.ledger.append(
            LedgerRow(
                request_id=held.request_id,
                received_at=iso_utc(held.at),
                tags={"feature": "search"},
                session_id="s",
                deployment=BIG.id,
                provider="openai",
                cost_nano_usd=cents * CENT,
                gateway=self.name,
            )
        )

    async def spend(self, cents):
        self.settle(await self.hold(cents), cents)

    async def close(self):
        await self.leasing.aclose()
        await self.shared.aclose()
        self.journal.close()

    def die(self):
        """As a killed process: nothing is told, its file stays and its lock goes."""
        for task in (self.leasing._beating, self.leasing._round):
            if task is not None:
                task.cancel()
        self.journal._let_go()


@asynccontextmanager
async def fleet(tmp_path, count, *rules, engine=None, **more):
    engine = engine or MemoryEngine()
    file = str(tmp_path / "t.db")
    ledger = SqliteLedger(file, flush_interval_s=0.01)
    gateways = [Gateway(f"gw-{n}", rules, ledger, engine, file, **more) for n in range(count)]
    try:
        for gateway in gateways:
            await gateway.start()
        yield gateways
    finally:
        for gateway in gateways:
            await gateway.close()
        ledger.close()


def spent(ledger):
    return sum(row.cost_nano_usd for row in spent_since(ledger, datetime(2020, 1, 1, tzinfo=UTC)))


async def test_gateways_pass_exactly_what_a_budget_has(tmp_path):
    async with fleet(tmp_path, 4, company(100)) as gateways:

        async def ask(n):
            try:
                await gateways[n % 4].spend(1)
            except BudgetExhausted:
                return 0
            return 1

        assert sum(await asyncio.gather(*(ask(n) for n in range(400)))) == 100
        assert spent(gateways[0].ledger) == 100 * CENT
        with pytest.raises(BudgetExhausted, match="company"):
            await gateways[2].spend(1)


async def test_a_lease_that_lasts_asks_nobody(tmp_path):
    async with fleet(tmp_path, 1, company(10_000)) as [gateway]:
        for _ in range(5):
            await gateway.spend(1)
        await gateway.leasing.refresh()  # what was drawn lately is what the next beat leases ahead
        asked = []
        lease = gateway.shared.lease
        gateway.shared.lease = lambda claims: asked.append(claims) or lease(claims)
        for _ in range(3):
            await gateway.spend(1)
        assert asked == []


async def test_everyone_knows_what_all_have_spent(tmp_path):
    async with fleet(tmp_path, 2, company(100)) as [one, two]:
        await one.spend(30)
        await two.spend(20)
        for gateway in (one, two, one, two):  # what was drawn before the first is not drawn before the second
            await gateway.leasing.refresh()
        state = two.budgets.state("company")
        assert state.spent_nano_usd == 50 * CENT
        assert state.left_nano_usd == 50 * CENT


async def test_what_lies_idle_goes_back(tmp_path):
    async with fleet(tmp_path, 2, company(100)) as [one, two]:
        held = await one.hold(90)
        one.settle(held, 1)
        await one.leasing.refresh()
        await one.leasing.refresh()
        await two.spend(95)


async def test_a_gateway_that_begins_later_finds_what_was_spent_before(tmp_path):
    async with fleet(tmp_path, 1, company(100)) as [one]:
        await one.spend(60)
    async with fleet(tmp_path, 1, company(100)) as [later]:  # another engine, too: it knows nothing
        later.name = later.shared.gateway = "gw-later"
        assert later.budgets.spent("company") == 60 * CENT
        with pytest.raises(BudgetExhausted):
            await later.spend(41)


async def test_an_engine_that_lost_everything_counts_anew_and_nothing_twice(tmp_path):
    engine = MemoryEngine()
    async with fleet(tmp_path, 2, company(100), engine=engine) as [one, two]:
        await one.spend(30)
        held = await two.hold(20)
        engine.forget_everything(lease_s=0.5)
        for gateway in (one, two):
            await gateway.leasing.refresh()
        two.settle(held, 20)
        await one.spend(40)  # waits until everybody may have said what they have
        for gateway in (one, two):
            await gateway.leasing.refresh()
        assert one.budgets.spent("company") == 90 * CENT
        with pytest.raises(BudgetExhausted):
            await two.spend(11)
        await two.spend(10)
        assert spent(one.ledger) == 100 * CENT


async def test_what_a_killed_gateway_held_counts_and_the_rest_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr("turnout.leasing.BEAT_S", 0.05)
    async with fleet(tmp_path, 2, company(100)) as [one, two]:
        await two.spend(10)
        await two.hold(20)
        two.leasing._ahead = lambda *_: 50 * CENT  # much more than it needs
        await two.leasing.refresh()
        two.die()
        with pytest.raises(BudgetExhausted):
            await one.spend(60)
        for _ in range(200):
            await asyncio.sleep(0.05)
            if one.budgets.state("company").left_nano_usd == 70 * CENT:
                break
        await one.spend(70)
        (entry,) = entries_since(one.ledger, datetime(2020, 1, 1, tzinfo=UTC))
        assert (entry.id, entry.kind, entry.amount_nano_usd) == ("gw-1-2", "lost", 20 * CENT)


@pytest.mark.parametrize(("lost_money", "left"), [("count", 40), ("return", 90)])
async def test_a_gateway_that_died_with_its_disk(tmp_path, monkeypatch, lost_money, left):
    monkeypatch.setattr("turnout.leasing.BEAT_S", 0.05)
    monkeypatch.setattr("turnout.leasing.BURY_AFTER_S", 0.2)
    async with fleet(tmp_path, 2, company(100), lost_money=lost_money) as [one, two]:
        await two.spend(10)
        await two.hold(50)
        for _ in range(2):  # the second has nothing to have ready
            await two.leasing.refresh()
        two.die()
        (tmp_path / "t.db.held.gw-1").unlink()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if not await one.shared.silent() and one.budgets.state("company").left_nano_usd == left * CENT:
                break
        await one.leasing.refresh()
        assert one.budgets.state("company").left_nano_usd == left * CENT
        await one.spend(left)


async def test_while_the_engine_is_away_the_lease_is_used_and_then_nothing_passes(tmp_path):
    engine = MemoryEngine()
    async with fleet(tmp_path, 1, company(100), engine=engine, lease_s=30) as [gateway]:
        gateway.leasing._ahead = lambda *_: 10 * CENT
        await gateway.leasing.refresh()
        engine.away = True
        await gateway.spend(10)
        with pytest.raises(NoCapacity, match="budget company cannot be kept"):
            await gateway.spend(1)
        engine.away = False
        await gateway.spend(90)


async def test_a_lease_that_was_not_renewed_is_not_used(tmp_path):
    engine = MemoryEngine()
    async with fleet(tmp_path, 1, company(100), engine=engine, lease_s=0.05) as [gateway]:
        gateway.leasing._ahead = lambda *_: 10 * CENT
        await gateway.leasing.refresh()
        engine.away = True
        await asyncio.sleep(0.1)
        with pytest.raises(NoCapacity):
            await gateway.spend(1)
        engine.away = False


async def test_where_the_config_says_so_requests_pass_while_the_engine_is_away(tmp_path):
    engine = MemoryEngine()
    async with fleet(tmp_path, 1, company(100), engine=engine, open_when_lost=True) as [gateway]:
        engine.away = True
        await gateway.spend(30)
        assert gateway.leasing.passed_uncovered == 1
        engine.away = False
        await gateway.leasing.refresh()
        assert gateway.budgets.spent("company") == 30 * CENT


async def test_money_added_by_one_is_everyones(tmp_path):
    async with fleet(tmp_path, 2, company(10)) as [one, two]:
        await one.leasing.add("company", 5 * CENT, entry="add_1")
        one.ledger.enter(
            BudgetEntry(id="add_1", budget="company", at=datetime.now(UTC), kind="added", amount_nano_usd=5 * CENT)
        )
        await two.leasing.refresh()
        await two.spend(15)
        assert two.budgets.state("company").amount_nano_usd == 15 * CENT


async def test_a_soft_budget_counts_for_all_and_never_refuses(tmp_path):
    async with fleet(tmp_path, 2, company(10, on_exhausted="warn")) as [one, two]:
        await one.spend(8)
        await two.spend(8)
        await one.leasing.refresh()
        await two.leasing.refresh()
        await one.leasing.refresh()
        assert one.budgets.spent("company") == 16 * CENT


async def test_a_rolling_window_is_shared_and_forgets(tmp_path):
    hour = Period(kind="rolling", window=timedelta(hours=1))
    async with fleet(tmp_path, 2, company(100, period=hour)) as [one, two]:
        one.ledger.append(
            LedgerRow(
                request_id="old",
                received_at=iso_utc(datetime.now(UTC) - timedelta(hours=2)),
                deployment=BIG.id,
                provider="openai",
                cost_nano_usd=90 * CENT,
                gateway="gw-9",
            )
        )
        await one.spend(60)
        await one.leasing.refresh()
        with pytest.raises(BudgetExhausted):
            await two.spend(50)
        await two.spend(40)


async def test_a_budget_that_counts_other_spending_now_begins_with_what_the_ledger_says(tmp_path):
    async with fleet(tmp_path, 1, company(100, match=Match(tag="feature=chat"))) as [gateway]:
        await gateway.spend(30)
        assert gateway.budgets.spent("company") == 0
        gateway.budgets.reconfigure([company(100)])
        await gateway.leasing.refresh()
        assert gateway.budgets.spent("company") == 30 * CENT
        await gateway.spend(70)
        with pytest.raises(BudgetExhausted):
            await gateway.spend(1)


async def test_random_traffic_with_losses_never_oversteps(tmp_path):
    dice, engine = random.Random(7), MemoryEngine()
    async with fleet(tmp_path, 3, company(200), engine=engine, lease_s=0.2) as gateways:
        holds = []
        for step in range(300):
            if step in {90, 200}:
                engine.forget_everything(lease_s=0.2)
            gateway = dice.choice(gateways)
            with suppress(BudgetExhausted, NoCapacity):
                holds.append((gateway, await gateway.hold(dice.randint(1, 5))))
            if holds and dice.random() < 0.7:
                owner, held = holds.pop(dice.randrange(len(holds)))
                owner.settle(held, dice.randint(0, held.held[0][2] // CENT))
        for owner, held in holds:
            owner.settle(held, held.held[0][2] // CENT)
        total = spent(gateways[0].ledger)
        assert 180 * CENT < total <= 200 * CENT


def test_a_purse_is_another_where_other_money_is_meant():
    start = datetime(2026, 11, 1, tzinfo=UTC)
    names = {
        purse_name(rule, start)
        for rule in (company(1), company(1, match=Match(key="a")), company(1, period=Period(kind="day")))
    }
    assert len(names) == 3
    assert purse_name(company(2), start) == purse_name(company(1), start)
