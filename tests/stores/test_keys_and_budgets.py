"""Keys and budgets that are made while gateways run, in SQLite and in PostgreSQL: one set of promises for both."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import msgspec

from turnout.budget_book import StoredBudget
from turnout.keys import Key, StoredKey


def key(name, team=None):
    return StoredKey(
        key=Key(name=name, team=team),
        digest=f"digest of {name}",
        hint="abcd",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def budget(name, usd=1):
    return StoredBudget(name=name, told=msgspec.Raw(msgspec.json.encode({"amount_usd": usd})))


def told(budgets):
    return [(b.name, msgspec.json.decode(b.told)["amount_usd"]) for b in budgets.all()]


def until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_keys_are_kept_in_their_order_and_replaced_by_name(stores_at):
    one = stores_at.open()
    for stored in (key("b"), key("a"), key("b", "core")):
        one.keys.put(stored)
    assert one.keys.all() == [key("b", "core"), key("a")]
    assert stores_at.open().keys.all() == [key("b", "core"), key("a")]


def test_budgets_are_kept_in_their_order_replaced_and_removed(stores_at):
    one = stores_at.open()
    for stored in (budget("b"), budget("a"), budget("b", 2), budget("c")):
        one.budgets.put(stored)
    one.budgets.remove("a")
    one.budgets.remove("never made")
    assert told(one.budgets) == told(stores_at.open().budgets) == [("b", 2), ("c", 1)]


def test_what_another_gateway_changes_is_noticed_and_then_known(stores_at):
    one, two = stores_at.open(), stores_at.open()
    assert not (one.keys.changed() or two.keys.changed())
    assert not (one.budgets.changed() or two.budgets.changed())
    one.keys.put(key("ci"))
    until(two.keys.changed)
    assert two.keys.all() == [key("ci")]
    assert not two.keys.changed()
    two.budgets.put(budget("search", 3))
    until(one.budgets.changed)
    assert told(one.budgets) == [("search", 3)]
    two.budgets.remove("search")
    until(lambda: one.budgets.changed() and not one.budgets.all())


def test_ones_own_changes_are_known_at_once_and_no_news(stores_at):
    one = stores_at.open()
    one.keys.changed()
    one.keys.put(key("ci"))
    assert one.keys.all() == [key("ci")]
    assert not one.keys.changed()


def test_gateways_that_write_at_once_lose_nothing(stores_at):
    gateways = [stores_at.open() for _ in range(4)]

    def write(number):
        gateways[number % 4].keys.put(key(f"key {number:02}"))

    with ThreadPoolExecutor(4) as threads:
        for gateway in gateways:
            assert gateway.keys.all() == []
        list(threads.map(write, range(20)))
    assert sorted(k.key.name for k in stores_at.open().keys.all()) == [f"key {n:02}" for n in range(20)]


def test_all_gateways_hash_with_one_secret_that_the_first_who_needs_it_makes(stores_at):
    gateways = [stores_at.open() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        (secret,) = set(threads.map(lambda gateway: gateway.secret({}), gateways))
    assert len(secret) == 32
    assert stores_at.open().secret({}) == secret
    assert stores_at.open().secret({"TURNOUT_SECRET": "told"}) == b"told"
