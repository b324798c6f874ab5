"""Shared state in a file: several processes at once, a lock that somebody keeps, a file that is taken away."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from support.shared import until
from turnout.errors import ConfigError, NoCapacity
from turnout.shared_state import Claim
from turnout.stores.shared.sqlite import SqliteShared

PURSE = "company@2026-11-01"

SPENDER = """
import asyncio, sys
from turnout.shared_state import Claim
from turnout.stores.shared.sqlite import SqliteShared

async def main(path, name):
    shared = SqliteShared(path, name, recently=False, deadline_s=30)
    await shared.start()
    spent = limit = 0
    for _ in range(300):
        claim = Claim(purse="company@2026-11-01", amount=1000, spent=spent, held=0, want=2, limit=limit)
        limit = (await shared.lease([claim]))[0].limit
        spent = min(limit, spent + 2)
        await shared.count({"n": {"x": 1}}, ttl_s=600)
    await shared.lease([Claim(purse="company@2026-11-01", amount=1000, spent=spent, held=0, want=0)])
    await shared.aclose()
    print(spent)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "shared.db")


async def ask(shared, want=0, **more):
    return (await shared.lease([Claim(purse=PURSE, amount=1000, spent=0, held=0, want=want, **more)]))[0]


async def test_processes_spend_a_budget_to_the_last_cent_and_no_further(path):
    shared = SqliteShared(path, "main", recently=False)
    await shared.start()
    await ask(shared)
    await shared.fill(PURSE, {})
    spenders = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SPENDER, path, f"p{n}", stdout=asyncio.subprocess.PIPE
        )
        for n in range(3)
    ]
    spent = [int((await each.communicate())[0]) for each in spenders]
    assert sum(spent) == 1000
    assert (await ask(shared)).spent == 1000
    assert await shared.count({"n": {}}, ttl_s=60) == {"n": {"x": 900}}
    await shared.aclose()


async def test_a_lock_that_somebody_keeps_is_waited_for_and_then_said(path):
    shared = SqliteShared(path, "a", recently=False)
    await shared.start()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with pytest.raises(NoCapacity, match="another process holds a lock on it"):
        await ask(shared)
    assert ticks > 5  # the event loop went on
    assert not shared.healthy
    waiting = asyncio.create_task(ask(shared))
    await asyncio.sleep(0.02)
    other.execute("COMMIT")
    other.close()
    assert (await waiting).limit == 0
    assert (shared.healthy, shared.last_error) == (True, None)
    ticking.cancel()
    await shared.aclose()


async def test_a_file_that_is_taken_away_is_made_anew_and_asks_first(path):
    a = SqliteShared(path, "a", recently=False)
    await a.start()
    await ask(a)
    await a.fill(PURSE, {})
    assert (await ask(a, want=10)).limit == 10
    for file in Path(path).parent.glob("shared.db*"):
        file.unlink()

    async def anew():
        return not (await ask(a, want=10, limit=10)).known

    await until(anew)
    told = await ask(a, want=50, limit=10)
    assert told.limit == 10
    assert told.opens_in_s > 0
    await a.aclose()


async def test_after_the_machine_was_started_anew_nobody_has_anything(path, monkeypatch):
    a = SqliteShared(path, "a", recently=False)
    await a.start()
    await ask(a)
    await a.fill(PURSE, {})
    await ask(a, want=10)
    await a.put({"x": b"1"}, ttl_s=600)
    a._db.close()
    a._db = None
    await a.aclose()
    monkeypatch.setattr("turnout.stores.shared.sqlite._boot", lambda: "another")
    b = SqliteShared(path, "b")
    await b.start()
    told = await ask(b, want=10)
    assert (told.known, told.leased, told.opens_in_s) == (False, 0, 0)
    assert await b.get(["x"]) == [None]
    await b.aclose()


async def test_a_new_file_waits_for_gateways_that_may_have_money(path):
    a = SqliteShared(path, "a", lease_s=0.2)
    await a.start()
    await ask(a)
    await a.fill(PURSE, {})
    assert (await ask(a, want=10)).limit == 0
    await asyncio.sleep(0.25)
    assert (await ask(a, want=10)).limit == 10
    await a.aclose()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 20, None])
async def test_another_programs_file_is_refused(tmp_path, content):
    file = tmp_path / "other.db"
    if content is None:
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"store\.shared: .*name another file"):
        await SqliteShared(str(file), "a").start()


async def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened; check that the folder exists"):
        await SqliteShared(str(tmp_path / "none" / "x.db"), "a").start()
