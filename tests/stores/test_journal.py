"""The journal: money held for open requests outlives the process that held it."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import turnout
from support.ledgers import entries_since
from turnout.context import Reservation, Spender
from turnout.errors import ConfigError, NoCapacity
from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.stores import journal as module
from turnout.stores.journal import COMPACT_BYTES, FileJournal
from turnout.stores.sqlite import SqliteLedger

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MONTH = datetime(2026, 11, 1, tzinfo=UTC)


def held(request_id, amount=500, budget="company"):
    return Reservation(
        request_id=request_id,
        spender=Spender(key="ci", team="core", tags={"feature": "search"}, mode=None, session="s"),
        at=NOON,
        held=((budget, MONTH, amount),),
    )


def row(request_id):
    return LedgerRow(request_id=request_id, received_at=iso_utc(NOON), outcome="ok", cost_nano_usd=7, deployment="up/b")


@contextmanager
def books(file):
    """A ledger and its claimed journal."""
    journal = FileJournal(str(file))
    ledger = SqliteLedger(file, flush_interval_s=0.01, on_written=journal.forget)
    try:
        journal.claim(ledger)
        yield ledger, journal
    finally:
        ledger.close()
        journal.close()


def test_what_was_settled_is_not_held_any_more_and_the_file_goes(tmp_path):
    with books(tmp_path / "t.db") as (ledger, journal):
        journal.hold(held("r1"))
        assert b"r1" in (tmp_path / "t.db.held").read_bytes()
        ledger.append(row("r1"))
    assert not (tmp_path / "t.db.held").exists()
    with books(tmp_path / "t.db") as (ledger, _):
        assert entries_since(ledger, MONTH) == []


def test_what_a_dead_process_held_is_counted_once_with_a_row_that_says_so(tmp_path):
    with books(tmp_path / "t.db") as (ledger, journal):
        journal.hold(held("r1"))
        journal.hold(held("r2", 900))
        ledger.append(row("r2"))
    for _ in range(2):  # a second start finds nothing new
        with books(tmp_path / "t.db") as (ledger, _):
            (entry,) = entries_since(ledger, MONTH)
            assert (entry.id, entry.budget, entry.kind, entry.amount_nano_usd) == ("r1", "company", "lost", 500)
            lost = ledger.get("r1")
            assert (lost.outcome, lost.key_id, lost.team, lost.tags, lost.cost_nano_usd) == (
                "lost",
                "ci",
                "core",
                {"feature": "search"},
                None,
            )


def test_a_line_cut_off_in_the_writing_was_never_sent(tmp_path):
    with books(tmp_path / "t.db") as (_, journal):
        journal.hold(held("r1"))
    whole = (tmp_path / "t.db.held").read_bytes()
    (tmp_path / "t.db.held").write_bytes(whole + whole.replace(b"r1", b"r2")[:40])
    with books(tmp_path / "t.db") as (ledger, _):
        assert [e.id for e in entries_since(ledger, MONTH)] == ["r1"]


def test_a_second_process_may_not_keep_the_same_budgets(tmp_path):
    second = FileJournal(str(tmp_path / "t.db"))
    with books(tmp_path / "t.db") as (ledger, _), pytest.raises(ConfigError, match="another Turnout keeps the budgets"):
        second.claim(ledger)
    with books(tmp_path / "t.db"):
        pass  # the claim ends with the process, or before


def test_the_file_stays_small_however_many_requests_come(tmp_path):
    with books(tmp_path / "t.db") as (_, journal):
        journal.hold(held("open"))
        for n in range(20_000):
            journal.hold(held(f"r{n}"))
            journal.forget([f"r{n}"])
        assert (tmp_path / "t.db.held").stat().st_size < 2 * COMPACT_BYTES
    with books(tmp_path / "t.db") as (ledger, _):
        assert "open" in {e.id for e in entries_since(ledger, MONTH)}


def test_a_full_disk_stops_spending(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with books(tmp_path / "t.db") as (_, journal):
        monkeypatch.setattr(os, "pwrite", full)
        kept = 0
        with pytest.raises(NoCapacity, match="No space left on device"):
            for kept in range(100_000):
                journal.hold(held(f"r{kept}"))
        monkeypatch.undo()
        journal.hold(held("later"))
    with books(tmp_path / "t.db") as (ledger, _):
        assert {e.id for e in entries_since(ledger, MONTH)} == {"later", *(f"r{n}" for n in range(kept))}


def left_by_a_dead_one(file, waiting, monkeypatch):
    """A journal to be claimed when `waiting` says that nothing is on its way any more."""
    monkeypatch.setattr(module, "SETTLED_S", 0.3)
    with books(file) as (_, journal):
        journal.hold(held("r1"))
    return FileJournal(str(file), unsettled=waiting)


def test_a_start_waits_for_rows_on_their_way_as_long_as_they_become_fewer(tmp_path, monkeypatch):
    left = iter([n for n in range(20, 0, -1) for _ in range(2)])  # two looks, 50 ms apart, for each: two seconds
    journal = left_by_a_dead_one(tmp_path / "t.db", lambda _: next(left, 0), monkeypatch)
    with closing(SqliteLedger(tmp_path / "t.db")) as ledger:
        journal.claim(ledger)
        assert [e.id for e in entries_since(ledger, MONTH)] == ["r1"]
        journal.close()


def test_a_start_does_not_wait_for_rows_that_nobody_takes(tmp_path, monkeypatch):
    journal = left_by_a_dead_one(tmp_path / "t.db", lambda _: 1, monkeypatch)
    with closing(SqliteLedger(tmp_path / "t.db")) as ledger:
        with pytest.raises(ConfigError, match="still wait in the spool"):
            journal.claim(ledger)
        assert entries_since(ledger, MONTH) == []


KILLED = """
import sys
from datetime import UTC, datetime
from turnout.context import Reservation, Spender
from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.stores.journal import FileJournal
from turnout.stores.sqlite import SqliteLedger
at = datetime(2026, 11, 24, 12, tzinfo=UTC)
journal = FileJournal(sys.argv[1])
ledger = SqliteLedger(sys.argv[1], flush_interval_s=0.01, on_written=journal.forget)
journal.claim(ledger)
who = Spender(key=None, tags={}, mode=None, session="s")
for n in range(10**9):
    name = f"{sys.argv[2]}-{n}"
    held = (("company", datetime(2026, 11, 1, tzinfo=UTC), 500),)
    journal.hold(Reservation(request_id=name, spender=who, at=at, held=held))
    sys.stdout.write(f"{name}\\n")
    sys.stdout.flush()
    ledger.append(
        LedgerRow(request_id=name, received_at=iso_utc(at), outcome="ok", cost_nano_usd=7, deployment="up/b")
    )
    if n % 100 == 99:
        ledger.flush()
"""


def test_killed_at_any_moment_every_request_is_a_row_or_a_loss(tmp_path):
    said = []
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "t.db"), str(round_)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(turnout.__file__).parents[1])},
        )
        with child.stdout as out:
            said += [out.readline().decode().strip() for _ in range(300 + 100 * round_)]
            child.send_signal(signal.SIGKILL)
            said += out.read().decode().split("\n")[:-1]
        assert child.wait() == -signal.SIGKILL
    with books(tmp_path / "t.db") as (ledger, _):
        lost = {e.id for e in entries_since(ledger, MONTH)}
        unaccounted = [n for n in said if n not in lost and ledger.get(n) is None]
        assert unaccounted == []
        assert len(lost) < len(said)
