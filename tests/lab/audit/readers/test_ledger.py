"""Turnout's own ledger, as its store writes it, of this version and of the first."""

import sqlite3

import pytest

from support.flatlogs import read
from turnout.chat import Usage
from turnout.lab.audit.readers import READERS
from turnout.lab.audit.readers.base import head_of
from turnout.lab.audit.readers.ledger import LEDGER
from turnout.spend.ledger import LedgerRow
from turnout.stores.schema import MIGRATIONS
from turnout.stores.sqlite import SqliteLedger


def row(name, **more):
    fields = {
        "session_id": "s",
        "agent": "a0",
        "requested_model": "auto",
        "deployment": "openai/gpt-5.5",
        "provider": "openai",
        "tags": {"feature": "search"},
        "input_tokens": 100,
        "output_tokens": 7,
        "cost_nano_usd": 1_500,
    }
    return LedgerRow(**{"request_id": name, "received_at": f"2026-11-23T10:00:{name[-2:]}.000Z", **fields, **more})


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "turnout.db"
    store = SqliteLedger(path)
    for one in (
        row(
            "r02",
            agent="a1",
            cache_read_tokens=60,
            cache_write_tokens=20,
            cache_write_1h_tokens=20,
            service_tier="flex",
        ),
        row("r01", decision={"effort": "high"}),
        row("r03", outcome="lost", input_tokens=None, output_tokens=None),
        row("r04", reason="cache_hit", cost_nano_usd=0),
        row("r05", outcome="error", error_code="upstream_error", input_tokens=None, output_tokens=None),
        row("r06", outcome="cancelled", output_tokens=None),
    ):
        store.append(one)
    assert store.flush()
    yield path, store
    store.close()


def test_requests_are_steps_and_all_else_is_counted(ledger):
    path, _ = ledger
    steps, told = read(LEDGER, path)  # while the gateway has it open
    assert [step.id for step in steps] == ["r01", "r02", "r05", "r06"]
    first, second, failed, cancelled = steps
    assert (first.session, first.agent, first.project, first.effort) == ("s", "", "search", "high")
    assert (first.model, first.provider, first.cost_nano_usd) == ("gpt-5.5", "openai", 1_500)
    assert second.agent == "a1"
    assert second.usage == Usage(
        input=100, cache_read=60, cache_write=20, cache_write_1h=20, output=7, service_tier="flex"
    )
    assert failed.failed
    assert failed.usage is None
    assert cancelled.failed
    assert told.unknown == {"reservation of a process that died": 1, "answered from Turnout's cache": 1}


def test_a_ledger_is_known_by_its_tables_and_left_as_it_is(ledger, tmp_path):
    path, store = ledger
    store.close()
    before = sorted(p.name for p in tmp_path.iterdir()), path.read_bytes()
    assert [reader.name for reader in READERS if reader.claims(head_of(path))] == ["ledger"]
    assert len(read(LEDGER, path)[0]) == 4
    assert (sorted(p.name for p in tmp_path.iterdir()), path.read_bytes()) == before


def test_a_ledger_of_the_first_version(tmp_path):
    path = tmp_path / "old.db"
    db = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        db.execute(statement)
    db.execute(
        "INSERT INTO requests (request_id, received_at, step, dialect, tags, requested_model, outcome,"
        " usage_estimated, attempts, warnings, input_tokens)"
        " VALUES ('r1', '2026-01-01T00:00:00.000Z', 0, 'x', '{}', 'm', 'ok', 0, 1, '[]', 5)"
    )
    db.commit()
    db.close()
    assert LEDGER.claims(head_of(path))
    (step,), _ = read(LEDGER, path)
    assert step.usage == Usage(input=5)


def test_another_database_is_not_claimed_and_not_run(tmp_path):
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute(
        "CREATE VIEW requests AS WITH RECURSIVE n(requested_model) AS"
        " (SELECT 1 UNION ALL SELECT requested_model FROM n)"
        " SELECT requested_model, 1 AS request_id, 1 AS received_at, 1 AS outcome FROM n"
    )
    db.commit()
    db.close()
    assert not LEDGER.claims(head_of(path))
    steps, told = read(LEDGER, path)
    assert steps == []
    assert told.bad == 1
