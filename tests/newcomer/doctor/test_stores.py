"""The ledger and the shared state as the doctor sees them: files, a real PostgreSQL, a real Valkey."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.postgres import database
from support.valkey import Valkey
from turnout.newcomer.doctor.stores import check_disk, check_ledger, check_shared
from turnout.store_rules import StoreConfig
from turnout.stores.sqlite import SqliteLedger


def looked(url):
    return list(check_ledger(StoreConfig(ledger=url)))


def states(url):
    return [one.state for one in looked(url)]


def test_a_ledger_that_is_not_there_yet_is_not_made(tmp_path):
    assert set(states(f"sqlite:///{tmp_path}/t.db")) == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_there(tmp_path):
    SqliteLedger(f"{tmp_path}/t.db").close()
    assert "t.db is readable" in looked(f"sqlite:///{tmp_path}/t.db")[-1].told


def test_a_folder_that_is_not_there(tmp_path):
    (found,) = looked(f"sqlite:///{tmp_path}/no/t.db")
    assert (found.state, found.next) == ("fail", f"mkdir -p {tmp_path}/no")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    assert states(f"sqlite:///{tmp_path}/t.db") == ["fail"]


def test_a_file_that_is_no_ledger(tmp_path):
    (tmp_path / "t.db").write_text("my diary\n" * 1000)
    assert looked(f"sqlite:///{tmp_path}/t.db")[-1].state == "fail"


def test_another_programs_database(tmp_path):
    with closing(sqlite3.connect(f"{tmp_path}/t.db")) as db:
        db.execute("CREATE TABLE mine (x)")
    found = looked(f"sqlite:///{tmp_path}/t.db")[-1]
    assert (found.state, "another program's database" in found.told) == ("fail", True)


def test_a_ledger_that_a_plugin_keeps(monkeypatch):
    monkeypatch.setattr("turnout.store_rules.installed", lambda _: ["acme"])
    assert looked("acme://x") == []


def test_a_ledger_in_memory_is_forgotten():
    assert states("sqlite:///:memory:") == ["warn"]


@pytest.mark.parametrize(("free", "state"), [(10 * 1024**3, "ok"), (500 * 1024**2, "warn"), (1024, "fail")])
def test_room_on_the_disk(free, state):
    assert check_disk(Path(), free).state == state


def test_postgres():
    with database() as url:
        found = looked(url)
        assert found[0].state == "ok", found[0]
        assert "PostgreSQL" in found[0].told


def test_a_postgres_that_is_not_there_and_its_password():
    found = looked("postgresql://me:hush@127.0.0.1:1/x")[0]
    assert found.state == "fail"
    assert "hush" not in f"{found.told}{found.next}"


async def test_valkey():
    with Valkey() as running:
        found = await check_shared(StoreConfig(shared=running.url))
        assert found is not None
        assert (found.state, found.check) == ("ok", "shared state")


async def test_a_valkey_that_is_not_there_and_its_password():
    found = await check_shared(StoreConfig(shared="valkey://:hush@127.0.0.1:1"))
    assert found is not None
    assert found.state == "fail"
    assert "hush" not in f"{found.told}{found.next}"


async def test_what_one_gateway_alone_knows_is_no_store():
    assert await check_shared(StoreConfig()) is None
