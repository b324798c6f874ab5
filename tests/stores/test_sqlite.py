"""The SQLite ledger: nothing lost, nothing twice, whatever happens to the process or the disk."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import turnout
from support.ledgers import spent_since
from turnout.errors import ConfigError, Internal, InvalidRequest
from turnout.spend.ledger import COLUMNS, LedgerRow, iso_utc
from turnout.stores.schema import BUSY_TIMEOUT_S, MIGRATIONS, migrate, open_as_it_is
from turnout.stores.sqlite import SqliteLedger

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def row(
    request_id: str, at: datetime = NOON, *, cost: int | None = 1_000, session: str = "s", **more: object
) -> LedgerRow:
    fields: dict[str, object] = {"input_tokens": 10, "output_tokens": 1, **more}
    return LedgerRow(
        request_id=request_id,
        received_at=iso_utc(at),
        session_id=session,
        cost_nano_usd=cost,
        **fields,  # type: ignore[arg-type]
    )


@contextmanager
def ledger_at(path: Path | str, **options: float) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger(path, **options)  # type: ignore[arg-type]
    try:
        yield ledger
    finally:
        ledger.close()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM requests").fetchone()[0]


# Durability


def test_rows_are_there_after_close_and_reopen_and_each_once(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file) as ledger:
        for number in range(5_000):
            ledger.append(row(f"r{number}", cost=number))
        ledger.append(row("r7", cost=999_999))
    with ledger_at(file) as again:
        again.append(row("r8", cost=999_999))
        assert again.flush()
        assert again.dropped == 0
        assert [again.get(f"r{n}").cost_nano_usd for n in (7, 8, 4_999)] == [7, 8, 4_999]  # type: ignore[union-attr]
    assert count(file) == 5_000


def test_rows_reach_the_disk_by_themselves(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.02) as ledger:
        ledger.append(row("r1"))
        assert until(lambda: count(file) == 1)


def test_many_threads_append_at_once(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.001) as ledger:
        threads = [
            threading.Thread(target=lambda t=t: [ledger.append(row(f"{t}-{n}")) for n in range(500)]) for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert count(file) == 4_000


def test_a_killed_process_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    child_code = (
        "import sys\n"
        "from turnout.spend.ledger import LedgerRow\n"
        "from turnout.stores.sqlite import SqliteLedger\n"
        "ledger = SqliteLedger(sys.argv[1], flush_interval_s=0.01)\n"
        "for n in range(10**9):\n"
        "    ledger.append(LedgerRow(request_id=f'r{n}', received_at='2026-11-23T12:00:00.000Z'))\n"
        "    if n % 50 == 49 and ledger.flush():\n"
        "        print(n, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", child_code, str(file)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(turnout.__file__).parents[1])},
    )
    assert child.stdout is not None
    with child.stdout:
        said = [int(child.stdout.readline()) for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        said += [int(line) for line in child.stdout.read().splitlines()]
    assert child.wait() == -signal.SIGKILL
    with ledger_at(file) as ledger:
        assert ledger.get(f"r{said[-1]}") is not None
    assert count(file) >= said[-1] + 1
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# A disk that fails


def test_rows_wait_for_a_lock_and_then_all_arrive(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.01, patience_s=0) as ledger, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for number in range(100):
            ledger.append(row(f"r{number}"))
        assert until(lambda: not ledger.healthy)
        assert "another process holds a lock" in str(ledger.last_error)
        assert str(file) in str(ledger.last_error)
        other.rollback()
        assert until(lambda: ledger.healthy)
        assert len(ledger.recent(1_000)) == 100
        assert ledger.dropped == 0
    said = [r.levelno for r in caplog.records if r.name == "turnout.stores.sqlite"]
    assert said == [logging.ERROR, logging.WARNING]


def test_a_lock_that_another_has_for_a_moment_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.01) as ledger, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ledger.append(row("r1"))
        assert not ledger.flush(2 * BUSY_TIMEOUT_S)  # it has been refused at least once
        assert ledger.healthy
        other.rollback()
        assert ledger.get("r1") is not None
    assert caplog.records == []


def test_the_wait_has_a_bound_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with closing(sqlite3.connect(file)) as other:
        ledger = SqliteLedger(file, flush_interval_s=0.01, max_waiting=10, patience_s=0)
        other.execute("BEGIN EXCLUSIVE")
        ledger.append(row("first"))
        assert until(lambda: not ledger.healthy)
        for number in range(15):
            ledger.append(row(f"r{number}"))
        assert ledger.dropped == 5
        assert "too many rows wait" in str(ledger.last_error)
        ledger.close(timeout_s=0.05)
        assert ledger.dropped == 16
        other.rollback()
    assert count(file) == 0


def test_a_file_that_is_replaced_by_rubbish_is_said_and_rows_wait(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.01) as ledger:
        ledger.append(row("r1"))
        assert ledger.flush()
        (tmp_path / "rubbish").write_bytes(b"rubbish!" * 2_000)
        (tmp_path / "rubbish").replace(file)
        # With its log SQLite would mend the file; take that away too.
        (tmp_path / "turnout.db-wal").unlink()
        (tmp_path / "turnout.db-shm").unlink()
        ledger.append(row("r2"))
        assert until(lambda: not ledger.healthy)
        assert "not an SQLite database" in str(ledger.last_error)
        with pytest.raises(Internal, match="not an SQLite database"):
            ledger.get("r1")
        file.unlink()
        assert until(lambda: ledger.healthy)
        assert [r.request_id for r in ledger.recent(10)] == ["r2"]
        assert ledger.dropped == 0


def test_a_file_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.01) as ledger:
        ledger.append(row("r1"))
        assert ledger.flush()
        for name in ("turnout.db", "turnout.db-wal", "turnout.db-shm"):
            (tmp_path / name).unlink()
        ledger.append(row("r2"))
        assert [r.request_id for r in ledger.recent(10)] == ["r2"]
    assert count(file) == 1


def test_a_folder_that_becomes_a_file_keeps_rows_until_it_is_a_folder_again(tmp_path: Path) -> None:
    folder, away = tmp_path / "data", tmp_path / "away"
    folder.mkdir()
    with ledger_at(folder / "turnout.db", flush_interval_s=0.01) as ledger:
        ledger.append(row("r1"))
        assert ledger.flush()
        folder.rename(away)
        folder.write_text("in the way")
        ledger.append(row("r2"))
        assert until(lambda: not ledger.healthy)
        assert "check that the folder exists and is writable" in str(ledger.last_error)
        folder.unlink()
        away.rename(folder)
        assert until(lambda: ledger.healthy)
        assert {r.request_id for r in ledger.recent(10)} == {"r1", "r2"}


def test_a_row_that_cannot_be_written_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with ledger_at(tmp_path / "turnout.db") as ledger:
        ledger.append(row("before"))
        ledger.append(row("surrogate", key_id="\ud800"))
        ledger.append(row("no-json", usage_raw=object()))
        ledger.append(row("hole", outcome=None))
        ledger.append(row("after"))
        assert {r.request_id for r in ledger.recent(10)} == {"before", "after"}
        assert ledger.dropped == 3
        assert ledger.healthy
        assert "cannot be written" in str(ledger.last_error)


def test_after_close_rows_are_counted_as_lost_and_nothing_raises(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "turnout.db")
    ledger.close()
    ledger.close()
    ledger.append(row("late"))
    assert ledger.dropped == 1
    assert ledger.flush(timeout_s=0.1)
    with pytest.raises(Internal, match="cannot be read"):
        ledger.get("late")


# Opening


def another_programs(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE cookies (name TEXT)")


def of_the_future(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda file: file.write_text("not a database at all" * 100), "not an SQLite database"),
        (lambda file: file.mkdir(), "cannot be opened"),
        (another_programs, "another program's database"),
        (of_the_future, "upgrade Turnout"),
    ],
)
def test_what_is_no_ledger_is_refused_with_its_path(
    tmp_path: Path, prepare: Callable[[Path], object], says: str
) -> None:
    file = tmp_path / "turnout.db"
    prepare(file)
    with pytest.raises(ConfigError, match=says) as caught:
        SqliteLedger(file)
    assert str(file) in caught.value.message
    assert caught.value.param == "store.ledger"


def test_a_folder_that_is_not_there_or_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere" / "turnout.db", tmp_path / "file" / "turnout.db"):
        with pytest.raises(ConfigError, match="check that the folder exists and is writable"):
            SqliteLedger(path)
    for name in ("", "a\0b"):
        with pytest.raises(ConfigError, match="is no file name"):
            SqliteLedger(name)


def test_an_empty_file_becomes_a_ledger_of_the_newest_version(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    file.touch()
    SqliteLedger(file).close()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        columns = [(c[1], c[2]) for c in db.execute("PRAGMA table_info(requests)")]
        assert {name for name, _ in columns} - {"attempt_log"} == set(COLUMNS)
        assert {kind for _, kind in columns} == {"TEXT", "INTEGER"}
        assert db.execute("SELECT strict FROM pragma_table_list WHERE name = 'requests'").fetchone() == (1,)


def test_attempts_of_an_older_version_get_rows_and_their_costs(tmp_path: Path) -> None:
    """Until version 3 attempts were JSON in the request's row, and the one that answered had no cost of its own."""
    file = tmp_path / "turnout.db"
    insert = (
        "INSERT INTO requests (request_id, received_at, step, dialect, tags, requested_model, deployment, outcome,"
        " usage_estimated, cost_nano_usd, attempts, warnings, attempt_log)"
        " VALUES (?, '2026-11-23T12:00:00.000Z', 0, 'openai-chat', '{}', 'auto', 'up/b', 'ok', 0, 100, 1, '[]', ?)"
    )
    log = '[{"deployment": "up/a", "status": 502, "cost_nano_usd": 30}, {"deployment": "up/b", "status": 200}]'
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        migrate(db, MIGRATIONS[:2])
        db.execute(insert, ("told", log))
        db.execute(insert, ("untold", None))
    with ledger_at(file) as ledger:
        spent = sorted((s.deployment, s.cost_nano_usd) for s in spent_since(ledger, datetime(2026, 11, 1, tzinfo=UTC)))
        assert spent == [("up/a", 30), ("up/b", 70), ("up/b", 100)]
        told = ledger.get("told")
        assert told is not None
        assert [a["deployment"] for a in told.attempt_log] == ["up/a", "up/b"]


def test_a_file_of_an_older_version_is_brought_up_and_keeps_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file) as ledger:
        ledger.append(row("old"))
    newer = (*MIGRATIONS, ("ALTER TABLE requests ADD COLUMN colour TEXT",))
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        migrate(db, newer)
        migrate(db, newer)
        assert db.execute("SELECT request_id, colour FROM requests").fetchall() == [("old", None)]
        assert db.execute("PRAGMA user_version").fetchone() == (len(newer),)


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "turnout.db", isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, (("CREATE TABLE a (b TEXT)", "CREATE TABLE broken ("),))
        assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        assert db.execute("PRAGMA user_version").fetchone() == (0,)


def test_two_ledgers_on_one_file_both_write(tmp_path: Path) -> None:
    file = tmp_path / "turnout.db"
    with ledger_at(file, flush_interval_s=0.005) as one, ledger_at(file, flush_interval_s=0.005) as two:
        for number in range(500):
            one.append(row(f"a{number}"))
            two.append(row(f"b{number}"))
    assert count(file) == 1_000


# Reading


def test_reads_see_what_was_appended_before(tmp_path: Path) -> None:
    with ledger_at(tmp_path / "turnout.db", flush_interval_s=60) as ledger:
        ledger.append(row("r1", tags={"feature": "search"}, warnings=("w",), decision={"reason": "mode"}))
        found = ledger.get("r1")
        assert found is not None
        assert (found.tags, found.warnings, found.decision) == (
            {"feature": "search"},
            ("w",),
            {"reason": "mode"},
        )
        assert ledger.get("r2") is None


def test_in_memory_it_works_the_same() -> None:
    with ledger_at(":memory:") as ledger:
        ledger.append(row("r1"))
        ledger.append(row("r1"))
        assert [r.request_id for r in ledger.recent(5)] == ["r1"]


def test_recent_is_newest_first_and_bounded() -> None:
    with ledger_at(":memory:") as ledger:
        for number in range(6):
            ledger.append(row(f"r{number}", NOON + timedelta(seconds=number // 2), session=f"s{number % 2}"))
        assert [r.request_id for r in ledger.recent(3)] == ["r5", "r4", "r3"]
        assert [r.request_id for r in ledger.recent(10, session="s1")] == ["r5", "r3", "r1"]
        for limit in (0, -1, 10_001):
            with pytest.raises(InvalidRequest, match="limit"):
                ledger.recent(limit)


def test_who_only_looks_leaves_no_files_beside_a_ledger_and_sees_what_an_open_one_has(tmp_path: Path) -> None:
    file = tmp_path / "a b?.db"
    with ledger_at(file) as ledger:
        ledger.append(row("r1"))
        assert ledger.flush()
        with closing(open_as_it_is(file)) as db:
            assert db.execute("SELECT count(*) FROM requests").fetchone() == (1,)
    assert [found.name for found in tmp_path.iterdir()] == [file.name]
    with closing(open_as_it_is(file)) as db:
        assert db.execute("SELECT count(*) FROM requests").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM requests")
    assert [found.name for found in tmp_path.iterdir()] == [file.name]
