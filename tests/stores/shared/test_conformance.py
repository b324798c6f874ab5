"""One suite for every implementation of `SharedState`: memory, an SQLite file, and a real Valkey."""

import asyncio
import secrets
from datetime import timedelta

import pytest

from support.shared import KINDS, World, until
from turnout.shared_state import Claim, KeyAdmission, Lease, Lost

PURSE = "company@2026-11-01"
SHORT_S = 0.15


@pytest.fixture(params=KINDS)
async def world(request, tmp_path):
    made = World(request.param, tmp_path)
    yield made
    await made.close()


def claim(spent=0, held=0, want=0, *, amount=100, purse=PURSE, limit=0, **more) -> Claim:
    return Claim(purse=purse, amount=amount, spent=spent, held=held, want=want, limit=limit, **more)


async def one(shared, *figures, **more) -> Lease:
    return (await shared.lease([claim(*figures, **more)]))[0]


async def filled(world, *names, spent=None, **options):
    """Gateways at a purse that is known."""
    gateways = [await world.gateway(name, **options) for name in names]
    await one(gateways[0])
    await gateways[0].fill(PURSE, spent or {})
    return gateways


# Money.


async def test_a_purse_that_nobody_knows_grants_nothing_until_the_ledger_was_asked(world):
    a = await world.gateway("a")
    assert await one(a, 3, 4, 50) == Lease(purse=PURSE, limit=7, spent=3, leased=4, rest=93, known=False)
    await a.fill(PURSE, {"": 20, "gone": 10, "a": 2})
    told = await one(a, 3, 4, 50)
    assert told == Lease(purse=PURSE, limit=57, spent=33, leased=54, rest=13)


async def test_what_one_has_no_other_gets(world):
    a, b = await filled(world, "a", "b")
    assert (await one(a, want=70)).limit == 70
    assert (await one(b, want=70)).limit == 30
    assert (await one(b, want=70)).rest == 0
    assert (await one(a, spent=10, held=5, want=0)).limit == 15  # the rest goes back at once
    assert (await one(b, want=85)).limit == 85
    assert (await one(b, want=86)).limit == 85


async def test_a_claim_may_be_sent_twice_and_its_answer_lost(world):
    a, b = await filled(world, "a", "b")
    for _ in range(3):
        assert (await one(a, 5, 5, 50)).limit == 60
    assert (await one(b, want=100)).limit == 40


async def test_an_old_claim_that_arrives_late_takes_nothing_back(world):
    a, b = await filled(world, "a", "b")
    await one(a, 0, 0, 10)
    late = a._sequence
    assert (await one(a, 0, 0, 60)).limit == 60
    a._sequence = late - 1  # the same claim again, as a stopped server reads it from a connection that was given up
    assert (await one(a, 0, 0, 10)).limit == 60
    assert (await one(b, want=100)).limit == 40


async def test_who_spent_more_than_it_may_is_counted_truthfully(world):
    a, b = await filled(world, "a", "b")
    await one(a, want=60)
    await one(b, want=40)
    told = await one(a, 90, 20, 10)
    assert told.limit == 110
    assert told.rest == -50
    assert (await one(b, 5, 0, 35)).limit == 40  # what it has stays its own
    assert (await one(b, 40, 0, 35)).limit == 40


async def test_several_purses_in_one_round_trip_in_their_order(world):
    (a,) = await filled(world, "a")
    purses = [f"{name}@2026-11-01" for name in "zyx"]
    leases = await a.lease([claim(n, purse=purse) for n, purse in enumerate(purses)])
    assert [(lease.purse, lease.spent) for lease in leases] == list(zip(purses, range(3), strict=True))


async def test_more_money_counts_once_for_an_entry(world):
    a, b = await filled(world, "a", "b")
    for _ in range(2):
        await a.add(PURSE, 50, entry="first")
        await b.fill(PURSE, {}, added={"first": 50, "second": -20})
    told = await one(a, want=200)
    assert (told.added, told.limit) == (30, 130)


async def test_of_two_figures_for_one_gateway_the_larger_counts(world):
    a, b = await filled(world, "a", "b", spent={"a": 10, "old": 30})
    await one(a, 25, 0, 0)
    await b.fill(PURSE, {"a": 20, "old": 20, "b": 5})
    assert (await one(b, 0, 0, 100)).spent == 25 + 30 + 5
    await a.fill(PURSE, {"old": 40})
    assert (await one(a, 25, 0, 0)).spent == 25 + 40 + 5


async def test_figures_as_large_as_nine_million_dollars_are_exact(world):
    (a,) = await filled(world, "a")
    most = 2**53 - 1
    told = await one(a, 1, 2, most, amount=most)
    assert (told.limit, told.rest) == (most, 0)
    assert (await one(a, most - 5, 2, 10, amount=most)).limit == most


# Gateways that are gone.


async def test_a_silent_gateways_money_is_counted_and_given_back(world):
    a, b = await filled(world, "a", "b", lease_s=SHORT_S)
    await one(a, 10, 20, 30)
    assert await b.silent() == []
    await asyncio.sleep(2 * SHORT_S)
    lost = Lost(gateway="a", purse=PURSE, amount=50, held=20)
    assert await b.silent() == [lost]
    for _ in range(2):
        await b.bury(lost, counted=20)
    assert await b.silent() == []
    told = await one(b, want=100)
    assert (told.spent, told.limit) == (30, 70)


async def test_one_that_speaks_again_is_not_buried(world):
    a, b = await filled(world, "a", "b", lease_s=SHORT_S)
    await one(a, 10, 20, 30)
    await asyncio.sleep(2 * SHORT_S)
    (lost,) = await b.silent()
    await one(a, 12, 20, 30)
    await b.bury(lost, counted=20)
    told = await one(b, want=100)
    assert (told.spent, told.limit) == (12, 38)


async def test_one_that_was_only_paused_counts_in_full_beside_what_was_counted(world):
    a, b = await filled(world, "a", "b", lease_s=SHORT_S)
    await one(a, 10, 20, 30)
    await asyncio.sleep(2 * SHORT_S)
    (lost,) = await b.silent()
    await b.bury(lost, counted=20)
    assert (await one(a, 25, 5, 0)).limit == 30
    told = await one(b, want=100)
    assert (told.spent, told.limit) == (25 + 20, 50)


async def test_a_ledger_that_has_what_was_counted_counts_it_once(world):
    a, b = await filled(world, "a", "b", lease_s=SHORT_S)
    await one(a, 10, 20, 30)
    await asyncio.sleep(2 * SHORT_S)
    (lost,) = await b.silent()
    await b.bury(lost, counted=20)
    await b.fill(PURSE, {"a": 10, "": 20})
    assert (await one(b)).spent == 30


async def test_who_had_nothing_is_gone_without_a_word(world):
    a, b = await filled(world, "a", "b", lease_s=SHORT_S)
    await one(a, 10)
    await asyncio.sleep(2 * SHORT_S)
    assert await b.silent() == []
    assert (await one(b, want=100)).limit == 90


async def test_a_gateway_that_ends_gives_back_what_it_does_not_hold(world):
    a, b, c = await filled(world, "a", "b", "c")
    await one(a, 10, 0, 50)
    await one(b, 0, 5, 20)
    await a.aclose()
    await b.aclose()
    told = await one(c, want=100)
    assert (told.spent, told.limit) == (10, 85)


# Rolling budgets.

WINDOW = timedelta(seconds=50)  # pieces of 100 ms


async def test_what_is_older_than_the_window_is_forgotten(world):
    a, b = await filled(world, "a", "b")
    rolling = f"rolling-{secrets.token_hex(2)}@1970-01-01"

    async def asked(shared, spent, pieces, want=100):
        return await one(shared, spent, 0, want, purse=rolling, window=WINDOW, pieces=pieces)

    import time

    now = int(time.time() * 10)
    await asked(a, 0, {}, 0)
    await a.fill(rolling, {"old": 30, "": 4}, pieces={"old": {now - 498: 10, now - 100: 20}})
    # 15 are too old to be told of by piece, 5 will be.
    told = await asked(b, 50, {now - 499: 5, now - 10: 30})
    assert told.spent <= 4 + 30 + 35
    assert told.limit == 50 + 100 - told.spent
    await asyncio.sleep(0.5)
    told = await asked(b, 50, {})
    assert (told.spent, told.limit) == (4 + 20 + 30, 50 + 46)
    told = await asked(b, 60, {})  # counts from now on
    assert (told.spent, told.limit) == (4 + 20 + 40, 60 + 36)


async def test_pieces_that_make_no_sense_count_as_spent_now(world):
    (a,) = await filled(world, "a")
    rolling = f"rolling-{secrets.token_hex(2)}@1970-01-01"
    await one(a, purse=rolling, window=WINDOW)
    await a.fill(rolling, {})
    told = await one(a, 10, 0, 100, purse=rolling, window=WINDOW, pieces={1: 500, 2: -490})
    assert (told.spent, told.limit) == (10, 100)


# Limits of keys.


def ask(number, *, tokens=0, key="k", rpm=None, tpm=None, at_once=None) -> KeyAdmission:
    return KeyAdmission(key=key, request_id=f"r{number}", tokens=tokens, rpm=rpm, tpm=tpm, at_once=at_once)


async def test_a_whole_minute_at_once_and_then_one_by_one(world):
    a, b = await world.gateway("a"), await world.gateway("b")
    for n in range(30):
        assert await (a, b)[n % 2].admit(ask(n, rpm=30)) == 0
    wait_s = await b.admit(ask(31, rpm=30))
    assert 0 < wait_s <= 2.0


async def test_one_limit_that_refuses_uses_nothing_of_the_others(world):
    a = await world.gateway("a")
    first = ask(0, tokens=90, rpm=10, tpm=100)
    assert await a.admit(first) == 0
    for n in range(1, 20):
        assert 40 < await a.admit(ask(n, tokens=90, rpm=10, tpm=100)) <= 48
    await a.leave(first, used=0)
    assert await a.admit(ask(20, tokens=90, rpm=10, tpm=100)) == 0


async def test_more_than_a_minutes_amount_fits_when_nothing_was_used(world):
    a = await world.gateway("a")
    assert await a.admit(ask(0, tokens=1000, tpm=100)) == 0
    assert await a.admit(ask(1, tokens=1, tpm=100)) > 500


async def test_a_limit_that_changes_begins_anew(world):
    a = await world.gateway("a")
    assert await a.admit(ask(0, rpm=1)) == 0
    assert await a.admit(ask(1, rpm=1)) > 0
    assert await a.admit(ask(2, rpm=2)) == 0
    assert await a.admit(ask(3)) == 0


async def test_requests_open_at_once_are_counted_over_all_gateways(world):
    a, b = await world.gateway("a"), await world.gateway("b")
    assert await a.admit(ask(0, at_once=2)) == 0
    assert await b.admit(ask(1, at_once=2)) == 0
    assert await a.admit(ask(2, at_once=2)) == 1.0
    assert await a.admit(ask(2, at_once=2, key="another")) == 0
    await b.leave(ask(1, at_once=2), used=0)
    assert await a.admit(ask(3, at_once=2)) == 0


async def test_what_a_gateway_that_died_let_in_is_forgotten_with_time(world):
    a = await world.gateway("a", open_s=SHORT_S)
    assert await a.admit(ask(0, at_once=1)) == 0
    assert await a.admit(ask(1, at_once=1)) == 1.0
    await asyncio.sleep(2 * SHORT_S)
    assert await a.admit(ask(1, at_once=1)) == 0


async def test_who_leaves_an_unknown_gate_leaves_it_so(world):
    a = await world.gateway("a")
    await a.leave(ask(0, tokens=10, tpm=10), used=1000)
    assert await a.admit(ask(1, tokens=10, tpm=10)) == 0


# Records, counts, news.


async def test_records_are_kept_for_their_time(world):
    a, b = await world.gateway("a"), await world.gateway("b")
    await a.put({"x": b"1", "y": b"\x00\xff\n"}, ttl_s=60)
    await a.put({"short": b"3"}, ttl_s=SHORT_S)
    assert await b.get(["y", "none", "x"]) == [b"\x00\xff\n", None, b"1"]
    await b.put({"x": b"2"}, ttl_s=60)
    await asyncio.sleep(2 * SHORT_S)
    assert await a.get(["x", "short"]) == [b"2", None]
    assert await a.get([]) == []


async def test_counts_add_up(world):
    a, b = await world.gateway("a"), await world.gateway("b")
    assert await a.count({"c": {"x": 2, "ü y": -1}}, ttl_s=60) == {"c": {"x": 2, "ü y": -1}}
    told = await b.count({"d": {"x": 1}, "none": {}, "c": {"x": 3}}, ttl_s=60)
    assert told == {"d": {"x": 1}, "none": {}, "c": {"x": 5, "ü y": -1}}
    assert await b.count({"c": {}}, ttl_s=60) == {"c": {"x": 5, "ü y": -1}}
    assert await b.count({}, ttl_s=60) == {}
    assert await a.count({"brief": {"x": 1}}, ttl_s=SHORT_S) == {"brief": {"x": 1}}
    await asyncio.sleep(2 * SHORT_S)
    assert await a.count({"brief": {"x": 1}}, ttl_s=SHORT_S) == {"brief": {"x": 1}}


async def test_many_records_and_counts_at_once(world):
    a, b = await world.gateway("a"), await world.gateway("b")
    records = {f"r{n}": b"%d" % n for n in range(250)}
    await a.put(records, ttl_s=60)
    assert await b.get(list(records)) == list(records.values())
    counts = {f"c{n}": {"x": n} for n in range(250)}
    assert await a.count(counts, ttl_s=60) == counts
    assert await b.count({name: {} for name in counts}, ttl_s=60) == counts
    await a.put({}, ttl_s=60)


async def test_one_of_several_acts(world):
    gateways = [await world.gateway(name) for name in "abc"]
    assert sorted(await asyncio.gather(*(each.first("job", ttl_s=SHORT_S) for each in gateways))) == [
        False,
        False,
        True,
    ]
    await asyncio.sleep(2 * SHORT_S)
    assert await gateways[2].first("job", ttl_s=60)


async def test_what_one_tells_every_other_hears(world):
    heard = []
    a, b, c = [await world.gateway(name) for name in "abc"]
    for shared in (a, b, c):
        shared.hear("keys", lambda told, name=shared.gateway: heard.append((name, told)))
    c.hear("other", lambda told: heard.append(("other", told)))
    await asyncio.sleep(0.05)
    await a.tell("keys", b"one\n")
    await b.tell("keys", b"two")
    await until(lambda: len(heard) >= 4)
    await a.tell("other", b"three")
    await until(lambda: len(heard) >= 5)
    assert sorted(heard) == [("a", b"two"), ("b", b"one\n"), ("c", b"one\n"), ("c", b"two"), ("other", b"three")]


async def test_what_many_ask_at_once_adds_up(world):
    a, b = await filled(world, "a", "b")
    await asyncio.gather(*(shared.count({"n": {"x": 1}}, ttl_s=60) for shared in (a, b) for _ in range(100)))
    assert await a.count({"n": {}}, ttl_s=60) == {"n": {"x": 200}}
    assert a.healthy
