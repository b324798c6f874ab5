"""Shared state in a file: several processes at once, a lock that somebody keeps, a file that is taken away."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from support.shared import until
from turnout.errors import ConfigError, NoCapacity
from turnout.shared_state import Claim
from turnout.stores.shared import sqlite as sqlite_module
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
    assert shared.healthy
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


async def test_who_may_have_missed_news_is_told(path, monkeypatch):
    a, b = SqliteShared(path, "a", recently=False), SqliteShared(path, "b", recently=False)
    missed, heard = [], []
    b.hear("runs", heard.append, missed=lambda: missed.append(1))
    for each in (a, b):
        await each.start()
    await a.tell("runs", b"one")
    await until(lambda: heard == [b"one"])
    assert not missed
    monkeypatch.setattr("turnout.stores.shared.sqlite.NEWS_S", -1.0)  # as if it had been stopped for so long
    await a.tell("runs", b"two")
    await until(lambda: bool(missed))
    monkeypatch.undo()
    missed.clear()
    for file in Path(path).parent.glob("shared.db*"):
        file.unlink()
    await until(lambda: bool(missed))
    for each in (a, b):
        await each.aclose()


async def test_a_file_that_cannot_be_made_anew_is_told_of_once_and_comes_back(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("turnout.stores.shared.sqlite.REOPEN_S", 0.01)
    folder = tmp_path / "shared"
    folder.mkdir()
    a = SqliteShared(str(folder / "x.db"), "a", recently=False)
    await a.start()
    folder.rename(tmp_path / "elsewhere")
    tries = []
    opened = a._opened
    monkeypatch.setattr(a, "_opened", lambda: tries.append(1) or opened())
    await until(lambda: len(tries) > 3)
    assert caplog.text.count("cannot be opened") == 1
    with pytest.raises(NoCapacity, match="cannot be opened; check that the folder exists"):
        await a.get(["x"])
    folder.mkdir()
    await until(lambda: a.healthy)
    assert await a.get(["x"]) == [None]
    await a.aclose()


async def test_one_look_that_fails_is_not_the_last_and_nothing_fails_at_the_end(path, monkeypatch, caplog):
    monkeypatch.setattr("turnout.stores.shared.sqlite.REOPEN_S", 0.01)
    a, b = SqliteShared(path, "a", recently=False), SqliteShared(path, "b", recently=False)
    heard = []
    b.hear("runs", heard.append)
    for each in (a, b):
        await each.start()
    faults = [ValueError("a fault of ours")]
    same_file = b._same_file
    monkeypatch.setattr(b, "_same_file", lambda: same_file() if not faults else _raise(faults.pop()))
    await until(lambda: not faults)
    await a.tell("runs", b"one")
    await until(lambda: heard == [b"one"])
    assert "are again in" in caplog.text
    for each in (a, b):
        await each.aclose()


def _raise(fault):
    raise fault


async def test_reading_waits_for_no_lock(path):
    a = SqliteShared(path, "a", recently=False, deadline_s=0.05)
    await a.start()
    await ask(a)
    await a.put({"x": b"1"}, ttl_s=600)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await a.get(["x", "y"]) == [b"1", None]
    assert await a.silent() == []
    other.execute("ROLLBACK")
    other.close()
    await a.aclose()


async def test_only_purses_of_the_silent_are_read(path, monkeypatch):
    read = []
    a, b = SqliteShared(path, "a", recently=False), SqliteShared(path, "b", recently=False, lease_s=0.05)
    for each in (a, b):
        await each.start()
    claims = [Claim(purse=f"p{n}@2026-11-01", amount=9, spent=0, held=1, want=0) for n in range(50)]
    await a.lease(claims)

    class Reading:
        def decode(self, state):
            read.append(1)
            return decoder.decode(state)

    decoder = sqlite_module._purses
    monkeypatch.setattr(sqlite_module, "_purses", Reading())
    assert await a.silent() == []
    assert not read
    await b.lease(claims[:1])
    read.clear()
    await asyncio.sleep(0.06)
    assert [(each.gateway, each.purse) for each in await a.silent()] == [("b", claims[0].purse)]
    assert len(read) == 1
    for each in (a, b):
        await each.aclose()


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
