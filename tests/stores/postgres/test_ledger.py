"""PostgreSQL's ledger when things go wrong: each row once, none lost, and nobody waits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import turnout
from support.ledgers import entries_since
from support.postgres import database, own_server
from support.random_rows import rows
from turnout.errors import ConfigError, Internal
from turnout.spend.ledger import LedgerRow, iso_utc
from turnout.spend.spent import BudgetEntry, Question
from turnout.stores.postgres import ledger as module
from turnout.stores.postgres import sums, writer
from turnout.stores.postgres.ledger import PostgresLedger
from turnout.stores.postgres.sums import roll
from turnout.stores.spool import Spool
from turnout.stores.spooled import HEAD, encode
from turnout.stores.sqlite import SqliteLedger

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SINCE, UNTIL = NOON - timedelta(days=400), NOON + timedelta(days=400)


def row(request_id: str, at: datetime = NOON, **more: object) -> LedgerRow:
    fields: dict[str, object] = {"input_tokens": 10, "output_tokens": 1, "cost_nano_usd": 1_000, "session_id": "s"}
    return LedgerRow(request_id=request_id, received_at=iso_utc(at), deployment="lab/a", **(fields | more))  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def count(url: str) -> tuple[int, int]:
    """Rows, and what the sums have of them."""
    with psycopg.connect(url) as db:
        told = db.execute(
            "SELECT (SELECT count(*) FROM turnout.requests), (SELECT coalesce(sum(requests), 0) FROM turnout.hour_sums)"
        ).fetchone()
    assert told is not None
    return told[0], int(told[1])


@pytest.fixture
def url() -> Iterator[str]:
    with database() as url:
        yield url


# The database is away


def test_rows_wait_in_the_spool_while_the_server_is_away_and_then_each_is_there_once(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.01)
        ledger.append(row("before"))
        assert ledger.flush()
        server.stop()
        for number in range(500):
            ledger.append(row(f"r{number}"))
        assert until(lambda: ledger.last_error is not None)
        assert ledger.healthy  # rows are safe: hard budgets may go on
        assert ledger.waiting == 500
        assert "cannot be written: no server answers; check host and port" in (ledger.last_error or "")
        assert "Rows wait in the spool" in (ledger.last_error or "")
        with pytest.raises(Internal, match=r"cannot be read: .*no server answers"):
            ledger.get("before")
        server.start()
        assert until(lambda: ledger.waiting == 0)
        assert len(ledger.recent(1_000)) == 501
        (told,) = ledger.sums(SINCE, UNTIL, "all")
        assert (told.requests, ledger.dropped) == (501, 0)
        ledger.close()
        assert list((tmp_path / "spool").iterdir()) == []


def test_without_a_spool_rows_wait_in_memory_up_to_a_bound() -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), flush_interval_s=0.01, max_waiting=100)
        server.stop()
        ledger.append(row("r"))
        assert until(lambda: not ledger.healthy)
        for number in range(300):
            ledger.append(row(f"r{number}"))
        assert 150 < ledger.dropped <= 300
        assert "Rows of the ledger are lost: too many rows wait" in (ledger.last_error or "")
        server.start()
        assert until(lambda: ledger.healthy and ledger.waiting == 0)
        assert len(ledger.recent(1_000)) == 301 - ledger.dropped
        ledger.close()


def test_more_rows_than_memory_may_hold_wait_in_the_spool_alone(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.01, max_waiting=100)
        server.stop()
        for number in range(2_000):
            ledger.append(row(f"r{number}"))
        assert (ledger.waiting, ledger.dropped) == (2_000, 0)
        server.start()
        assert ledger.flush(60)
        assert count(server.url())[0] == 2_000
        for number in range(50):
            ledger.append(row(f"later{number}"))
        assert ledger.flush(60)
        assert (count(server.url())[0], ledger.dropped) == (2_050, 0)
        ledger.close()
        assert list((tmp_path / "spool").iterdir()) == []


def test_a_segment_that_cannot_be_read_is_said_and_holds_up_nobody(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.01, max_waiting=100)
        server.stop()
        for number in range(2_000):
            ledger.append(row(f"r{number}"))
        for segment in list((tmp_path / "spool").glob("*.spool")):
            segment.unlink()
            segment.mkdir()  # whoever reads it is told that it is no file
        server.start()
        assert ledger.flush(60)
        assert "cannot be read: Is a directory; it is left there and tried again" in (ledger.last_error or "")
        assert ledger.dropped > 0
        assert count(server.url())[0] == 2_000 - ledger.dropped
        ledger.append(row("later"))
        assert ledger.get("later") is not None
        assert ledger.waiting == 0
        ledger.close()


def test_a_question_about_money_waits_for_rows_that_are_in_the_spool_alone(url: str, tmp_path: Path) -> None:
    with closing(PostgresLedger(url, spool=tmp_path / "spool", flush_interval_s=0.01, max_waiting=100)) as ledger:
        ledger.append(row("before"))
        assert ledger.flush()
        with psycopg.connect(url) as db:
            db.execute("LOCK TABLE turnout.requests IN ACCESS EXCLUSIVE MODE")  # until the block ends
            for number in range(2_000):
                ledger.append(row(f"r{number}"))
            asked = ledger.ask_spending([Question(since=NOON - timedelta(days=1))])
            for number in range(50):
                ledger.append(row(f"later{number}"))
        told, later = asked.told.result(60), asked.later()
        assert sum(s.cost_nano_usd for s in told.spent[0]) == 2_001 * 1_000
        assert sum(s.cost_nano_usd for s in later.spent[0]) == 50 * 1_000
        assert ledger.flush(30)
        assert (count(url)[0], ledger.dropped) == (2_051, 0)


def test_a_question_about_money_is_refused_where_rows_stay_unwritten(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.01)
        question = Question(since=NOON - timedelta(days=1))
        server.stop()
        ledger.append(row("r"))
        with pytest.raises(Internal, match=r"cannot say what was spent: .* cannot be written: no server answers"):
            ledger.ask_spending([question]).told.result(60)
        ledger.close(0.5)
        server.start()
        with pytest.raises(Internal, match="cannot say what was spent: the ledger is closed"):
            ledger.ask_spending([question]).told.result(60)


def test_a_spool_that_is_full_is_told_and_hard_budgets_stop(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(
            server.url(), spool=tmp_path / "spool", spool_mb=2, flush_interval_s=0.01, max_waiting=100
        )
        server.stop()
        for number in range(40):
            ledger.append(row(f"r{number}", usage_raw={"long": "x" * 90_000}))
        assert until(lambda: not ledger.healthy)
        for number in range(200):
            ledger.append(row(f"more{number}", usage_raw={"long": "x" * 90_000}))
        assert ledger.dropped > 20
        assert "is full (store.spool_mb)" in (ledger.last_error or "")
        server.start()
        assert until(lambda: ledger.healthy and ledger.waiting == 0)
        assert count(server.url())[0] == 240 - ledger.dropped
        ledger.close()


def test_a_server_that_is_killed_while_it_writes_has_each_row_once(tmp_path: Path) -> None:
    with own_server("-c fsync=off -c max_connections=50") as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.001)
        stop = threading.Event()
        written = 0

        def write() -> None:
            nonlocal written
            while not stop.is_set():
                ledger.append(row(f"r{written}"))
                written += 1
                if written % 200 == 0:
                    time.sleep(0.005)

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(3):
            seen = written
            assert until(lambda seen=seen: written > seen + 1_000)
            server.kill()
            server.start()
        stop.set()
        writer.join()
        assert until(lambda: ledger.waiting == 0)
        assert (len(ledger.sums(SINCE, UNTIL, "all")), ledger.dropped) == (1, 0)
        assert count(server.url()) == (written, written)
        ledger.close()


def test_an_append_does_not_wait_for_a_lock_in_the_database(url: str, tmp_path: Path) -> None:
    with closing(PostgresLedger(url, spool=tmp_path / "spool", flush_interval_s=0.01)) as ledger:
        ledger.append(row("r0"))
        assert ledger.flush()
        with psycopg.connect(url) as db:
            db.execute("LOCK TABLE turnout.requests IN ACCESS EXCLUSIVE MODE")
            for number in range(1, 100):
                ledger.append(row(f"r{number}"))  # returns: the lock is held all the while
            assert not ledger.flush(0.2)
            assert ledger.waiting >= 99
        assert ledger.flush(30)
        assert len(ledger.recent(1_000)) == 100


def test_a_server_that_freezes_holds_up_nobody_who_appends(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.01)
        server.freeze()
        for number in range(100):
            ledger.append(row(f"r{number}"))
        assert not ledger.flush(0.2)
        assert ledger.healthy
        server.thaw()
        assert ledger.flush(60)
        assert count(server.url())[0] == 100
        ledger.close()


# Processes that end


LEDGER = (
    "import os, sys\n"
    "from pathlib import Path\n"
    "from turnout.spend.ledger import BudgetEntry, LedgerRow\n"
    "from turnout.stores.postgres.ledger import PostgresLedger\n"
    "from datetime import UTC, datetime\n"
    "name, url, spool, interval, rows = sys.argv[1:]\n"
    "ledger = PostgresLedger(url, spool=Path(spool), flush_interval_s=float(interval))\n"
    "for n in range(int(rows)):\n"
    "    ledger.append(LedgerRow(request_id=f'{name}{n}', received_at='2026-11-23T12:00:00.000Z', input_tokens=1))\n"
    "ledger.enter(BudgetEntry(id=name, budget='b', at=datetime(2026, 11, 23, tzinfo=UTC), kind='lost',\n"
    "    amount_nano_usd=5))\n"
)


def process(code: str, name: str, url: str, spool: Path, interval: float, rows: int) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(Path(turnout.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, name, url, str(spool), str(interval), str(rows)], env=env)


def test_what_a_killed_gateway_had_not_written_another_writes(url: str, tmp_path: Path) -> None:
    with closing(PostgresLedger(url, spool=tmp_path / "spool", flush_interval_s=0.01)) as other:
        # An hour between writes: all of it is in the spool alone when the process ends.
        dead = process(f"{LEDGER}os._exit(9)", "dead", url, tmp_path / "spool", 3_600, 300)
        assert dead.wait(60) == 9
        assert until(lambda: count(url)[0] == 300)
        assert [entry.id for entry in entries_since(other, SINCE)] == ["dead"]
        assert until(lambda: len(list((tmp_path / "spool").iterdir())) == 1)
        (told,) = other.sums(SINCE, UNTIL, "all")
        assert told.requests == 300


def test_what_a_killed_gateway_left_is_written_at_the_next_start(url: str, tmp_path: Path) -> None:
    assert process(f"{LEDGER}os._exit(9)", "dead", url, tmp_path / "spool", 3_600, 300).wait(60) == 9
    with closing(PostgresLedger(url, spool=tmp_path / "spool")):
        assert until(lambda: count(url)[0] == 300)


def test_all_that_dead_gateways_left_is_taken_over_at_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TEND_EVERY_S", 3_600.0)  # the folder is looked at once
    for number in range(20):
        dead = Spool(tmp_path / "spool", HEAD, owner="dead")
        dead.write(encode(row(f"r{number}")))
        dead.close()
    with closing(PostgresLedger(url, spool=tmp_path / "spool", flush_interval_s=0.01)):
        assert until(lambda: count(url)[0] == 20)


def test_a_segment_that_was_written_already_adds_nothing(url: str, tmp_path: Path) -> None:
    """As after a crash between the commit and the segment's end."""
    (tmp_path / "kept").mkdir()
    with closing(PostgresLedger(url, spool=tmp_path / "spool", flush_interval_s=3_600)) as ledger:
        given = rows(7, 200)
        for one in given:
            ledger.append(one)
        (segment,) = (tmp_path / "spool").glob("*.spool")
        copy = segment.read_bytes()
        assert ledger.flush(30)
        before = {one.request_id: ledger.get(one.request_id) for one in given}
        sums = ledger.sums(SINCE, UNTIL, "all")
        (tmp_path / "spool" / "again.spool").write_bytes(copy)
        assert until(lambda: not (tmp_path / "spool" / "again.spool").exists() or not ledger.flush(0.1))
        assert until(lambda: not (tmp_path / "spool" / "again.spool").exists())
        assert {one.request_id: ledger.get(one.request_id) for one in given} == before
        assert ledger.sums(SINCE, UNTIL, "all") == sums
        assert count(url) == (200, 200)


@pytest.mark.parametrize("gateways", [2, 4])
def test_gateways_that_write_at_once_lose_nothing_and_sum_each_row_once(
    url: str, tmp_path: Path, gateways: int
) -> None:
    PostgresLedger(url).close()
    code = f"{LEDGER}ledger.sums(datetime(2026, 1, 1), datetime(2027, 1, 1), 'all')\nledger.close(60)\n"
    started = [process(code, f"g{n}-", url, tmp_path / "spool", 0.001, 3_000) for n in range(gateways)]
    with closing(PostgresLedger(url)) as reader:
        while any(one.poll() is None for one in started):
            reader.sums(SINCE, UNTIL, "all")  # sums while they write
        assert [one.wait(60) for one in started] == [0] * gateways
        (told,) = reader.sums(SINCE, UNTIL, "all")
        assert told.requests == told.input_tokens == 3_000 * gateways
        assert count(url) == (3_000 * gateways, 3_000 * gateways)
        assert len(entries_since(reader, SINCE)) == gateways


def test_a_ledger_that_is_closed_while_the_server_is_away_keeps_its_rows(tmp_path: Path) -> None:
    with own_server() as server:
        ledger = PostgresLedger(server.url(), spool=tmp_path / "spool", flush_interval_s=0.01)
        server.stop()
        for number in range(50):
            ledger.append(row(f"r{number}"))
        ledger.close(0.5)
        assert ledger.dropped == 0
        server.start()
        with closing(PostgresLedger(server.url(), spool=tmp_path / "spool")):
            assert until(lambda: count(server.url())[0] == 50)


# Sums


def test_sums_that_failed_are_made_though_no_row_comes_and_nobody_asks(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    def failing(db: psycopg.Connection[tuple[object, ...]], *, wait_s: float = 0.0) -> bool:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise psycopg.OperationalError("gone")
        return roll(db, wait_s=wait_s)

    monkeypatch.setattr(module, "roll", failing)
    monkeypatch.setattr(module, "ROLL_RETRY_S", 0.01)
    with closing(PostgresLedger(url, flush_interval_s=0.01)) as ledger:
        ledger.append(row("r"))
        assert until(lambda: count(url) == (1, 1))
    assert caplog.text.count("are behind") == 1


def test_so_many_rows_are_summed_at_a_time_in_whatever_batches_they_came(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROLL_EVERY", 10**9)
    monkeypatch.setattr(sums, "MOST_ROWS", 50)
    with closing(PostgresLedger(url, flush_interval_s=3_600)) as ledger:
        ledger._unsummed = 0
        for batch in range(3):
            for number in range(40):
                ledger.append(row(f"r{batch}-{number}"))
            assert ledger.flush(30)
        with psycopg.connect(url, autocommit=True, options="-csearch_path=turnout") as db:
            summed = []
            while roll(db):
                summed.append(count(url)[1])
    assert summed == [80, 120]


def test_rows_that_an_older_turnout_wrote_are_summed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEDGER_MIGRATIONS", module.LEDGER_MIGRATIONS[:1])
    with closing(PostgresLedger(url)), psycopg.connect(url, options="-csearch_path=turnout") as db:
        db.execute("INSERT INTO unsummed (batch, since, until) VALUES (1, '2026-11-23T12', '2026-11-23T13')")
        db.execute(
            "INSERT INTO requests (nr, step, usage_estimated, attempts, request_id, received_at, dialect, tags, "
            "requested_model, outcome, warnings) VALUES (1 << 20, 0, 0, 0, 'old', '2026-11-23T12:00:00.000Z', "
            "'openai', '{}', 'm', 'ok', '[]')"
        )
    monkeypatch.undo()
    with closing(PostgresLedger(url)) as ledger:
        (told,) = ledger.sums(SINCE, UNTIL, "all")
        assert told.requests == 1


# Rows that are odd


def test_rows_of_other_months_get_partitions_and_what_is_no_time_a_place(url: str) -> None:
    with closing(PostgresLedger(url)) as ledger:
        times = {
            "old": "1999-02-03T04:05:06.789Z",
            "new": "2026-11-23T12:00:00.000Z",
            "far": "2031-01-01T00:00:00.000Z",
            "none": "2026-13-45",
            "word": "yesterday",
        }
        for name, at in times.items():
            ledger.append(LedgerRow(request_id=name, received_at=at, input_tokens=1))
        assert ledger.flush(30)
        assert {name: found.received_at for name in times if (found := ledger.get(name))} == times
        # A partition for the month that the wrong time seems to name can still be made.
        ledger.append(LedgerRow(request_id="december", received_at="2026-12-31T23:59:59.999Z"))
        assert ledger.flush(30)
        assert ledger.get("december") is not None
    with psycopg.connect(url) as db:
        names = db.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^requests_[0-9o][a-z0-9_]*$' AND relkind = 'r'"
        )
        assert {"requests_1999_02", "requests_2026_11", "requests_2031_01", "requests_other"} <= {n for (n,) in names}


def test_texts_that_postgresql_does_not_take_are_made_fit(url: str, tmp_path: Path) -> None:
    with closing(PostgresLedger(url, spool=tmp_path / "spool")) as ledger:
        ledger.append(row("first"))
        ledger.append(
            row("nul", requested_model="a\0b", tags={"feature": "se\0arch", "x\0": "y"}, usage_raw={"t": "\0"})
        )
        ledger.append(row("half", requested_model="a\ud800b"))
        ledger.append(
            row("long", session_id="s" * 50_000, mode="é" * 5_000, tags={"feature": "f" * 9_000}, key_id="k" * 700)
        )
        ledger.append(row("last"))
        assert ledger.flush(30)
        found = {one.request_id: one for one in ledger.recent(10)}
        assert sorted(found) == ["first", "half", "last", "long", "nul"]
        assert found["nul"].requested_model == "a\ufffdb"
        assert found["nul"].tags == {"feature": "se\ufffdarch", "x\ufffd": "y"}
        assert found["nul"].usage_raw == {"t": "\0"}
        assert found["half"].requested_model == "a?b"
        assert len(found["long"].session_id or "") == 593
        assert len(found["long"].tags["feature"]) == 9_000
        assert sum(told.requests for told in ledger.sums(SINCE, UNTIL, "feature")) == 5
        assert ledger.dropped == 0


def test_a_row_that_the_table_refuses_is_found_in_its_batch(url: str, tmp_path: Path) -> None:
    with closing(PostgresLedger(url, spool=tmp_path / "spool", flush_interval_s=3_600)) as ledger:
        with psycopg.connect(url) as db:
            db.execute("ALTER TABLE turnout.requests ADD CONSTRAINT odd CHECK (status <> 418)")
        for number in range(100):
            ledger.append(row(f"r{number}", status=418 if number == 33 else 200))
        assert ledger.flush(30)
        assert len(ledger.recent(1_000)) == 99
        assert ledger.dropped == 1
        assert "request 'r33' cannot be written" in (ledger.last_error or "")
        (told,) = ledger.sums(SINCE, UNTIL, "all")
        assert told.requests == 99


def test_a_row_comes_back_as_sqlite_has_it(url: str) -> None:
    with closing(PostgresLedger(url)) as mine, closing(SqliteLedger(":memory:")) as other:
        for one in rows(11, 50):
            mine.append(one)
            other.append(one)
        assert [mine.get(one.request_id) for one in rows(11, 50)] == [other.get(one.request_id) for one in rows(11, 50)]


# What cannot be opened


def test_what_cannot_be_opened_is_said_with_the_next_step(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no server answers; check host and port"):
        PostgresLedger("postgresql://me:secret@127.0.0.1:1/x")
    with pytest.raises(ConfigError, match=r'database "nothing" does not exist; check the user, password and database'):
        PostgresLedger(url.replace(url.partition("@/")[2].partition("?")[0], "nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"store.folder: .*: Not a directory; rows wait there while"):
        PostgresLedger(url, spool=tmp_path / "file" / "spool")


def test_a_wrong_password_is_said_and_never_shown() -> None:
    with own_server() as server:
        with psycopg.connect(server.url(), autocommit=True) as db:
            db.execute("CREATE ROLE me LOGIN PASSWORD 'right'")
        server.require_passwords()
        told = server.url().replace("postgres@", "me:wr0ng@")
        with pytest.raises(ConfigError) as caught:
            PostgresLedger(told)
    assert "the server refuses: password authentication failed for user" in caught.value.message
    assert "wr0ng" not in caught.value.message


def test_entries_come_once(url: str, tmp_path: Path) -> None:
    with closing(PostgresLedger(url, spool=tmp_path / "spool")) as ledger:
        for amount in (5, 6):
            ledger.enter(BudgetEntry(id="e", budget="b", at=NOON, kind="added", amount_nano_usd=amount))
        assert [entry.amount_nano_usd for entry in entries_since(ledger, SINCE)] == [5]
