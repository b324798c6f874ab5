"""Opening a database: versions, migrations by several at once, other programs' tables, errors that say what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from support.postgres import database, own_server
from turnout.errors import ConfigError
from turnout.stores.postgres.database import Database, cause_of, lock_named, open_database, place_of

ROOM = (("CREATE TABLE things (name text PRIMARY KEY)", "INSERT INTO things VALUES ('first')"),)


@pytest.fixture
def url() -> Iterator[str]:
    with database() as url:
        yield url


def test_gateways_that_start_together_make_the_tables_once(url: str) -> None:
    faults: list[BaseException] = []

    def start() -> None:
        try:
            open_database(url, "ledger", ROOM).close()
        except BaseException as error:  # noqa: BLE001 - told below
            faults.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    db = open_database(url, "ledger", ROOM)
    assert db.query("SELECT name FROM turnout.things") == [("first",)]
    db.close()


def test_rooms_keep_versions_of_their_own(url: str) -> None:
    open_database(url, "ledger", ROOM).close()
    open_database(url, "stores", (("CREATE TABLE others (n integer)",),)).close()
    db = open_database(url, "ledger", (*ROOM, ("ALTER TABLE things ADD COLUMN size integer",)))
    assert db.query("SELECT room, version FROM turnout_rooms ORDER BY room") == [("ledger", 2), ("stores", 1)]
    assert db.query("SELECT size FROM things") == [(None,)]
    db.close()
    with pytest.raises(ConfigError, match="of version 2 and this Turnout knows up to 1: upgrade Turnout"):
        open_database(url, "ledger", ROOM)


def test_a_failed_migration_leaves_nothing(url: str) -> None:
    with pytest.raises(ConfigError, match="PostgreSQL says"):
        open_database(url, "ledger", (("CREATE TABLE half (n integer)", "CREATE TABEL wrong"),))
    with psycopg.connect(url) as db:
        assert db.execute("SELECT to_regnamespace('turnout')").fetchone() == (None,)


def test_another_programs_tables_are_left_alone(url: str) -> None:
    elsewhere = f"{url}&options=-csearch_path%3Dpublic"
    with psycopg.connect(url) as db:
        db.execute("CREATE TABLE public.customers (n integer)")
    with pytest.raises(ConfigError, match="the schema public holds another program's tables"):
        open_database(elsewhere, "ledger", ROOM)
    open_database(url, "ledger", ROOM).close()  # in a schema of its own beside them


def test_a_schema_may_be_named_in_the_url(url: str) -> None:
    with pytest.raises(ConfigError, match="names no schema that exists"):
        open_database(f"{url}&options=-csearch_path%3Dteam_a", "ledger", ROOM)
    with psycopg.connect(url) as db:
        db.execute("CREATE SCHEMA team_a")
    open_database(f"{url}&options=-csearch_path%3Dteam_a", "ledger", ROOM).close()
    with psycopg.connect(url) as db:
        assert db.execute("SELECT count(*) FROM team_a.things").fetchone() == (1,)


def test_what_cannot_be_reached_is_said_without_the_password() -> None:
    with pytest.raises(ConfigError) as caught:
        open_database("postgresql://me:hunter2@127.0.0.1:1/books", "ledger", ROOM)
    assert "postgresql://me@127.0.0.1:1/books: no server answers; check host and port" in caught.value.message
    for wrong in (
        *("postgresql://me:hunter2@h:80:80/x", "postgresql://me:hunter2@h/x?ssl=1", "postgresql://me:hun%ter2@h"),
        *("postgresql://me:hun/ter2@h/x", "postgresql://me:a@hun/ter2@h/x", ""),
    ):
        with pytest.raises(ConfigError, match="no PostgreSQL URL") as caught:
            open_database(wrong, "ledger", ROOM)
        assert "hun" not in caught.value.message
    assert place_of("postgresql://me:hunter2@a:1,b:2/x") == "postgresql://me@a:1,b:2/x"


def test_each_name_is_a_lock_of_its_own_in_each_schema(url: str) -> None:
    names = ("migrations", "partitions", "sums", "outcomes", "answers", "budgets")
    numbers: list[int] = []
    with psycopg.connect(url) as db:
        for schema in ("turnout", "team_a"):
            db.execute(f"SET search_path TO {schema}".encode())
            before = db.execute(f"SELECT {lock_named('migrations')}".encode()).fetchone()
            db.execute(f"CREATE SCHEMA {schema}".encode())
            for name in names:
                numbers += db.execute(f"SELECT {lock_named(name)}".encode()).fetchone() or ()
            if schema == "turnout":  # who comes to an empty database waits for who is making it
                assert before == (numbers[0],)
    assert len(set(numbers)) == 2 * len(names)


def test_an_unknown_database_is_said_in_the_servers_words(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r'the server refuses: database "nothing_here" does not exist; check the user'
    ):
        open_database(_other(url), "ledger", ROOM)


def _other(url: str) -> str:
    before, _, query = url.partition("?")
    return f"{before.rpartition('/')[0]}/nothing_here?{query}"


def test_an_error_is_told_by_its_state(url: str) -> None:
    db = open_database(url, "ledger", ROOM, statement_timeout_s=0.2)
    with pytest.raises(psycopg.Error) as caught:
        db.query("SELECT * FROM things_that_are_not")
    assert cause_of(caught.value).startswith("a table is missing")
    with pytest.raises(psycopg.Error) as caught:
        db.query("SELECT pg_sleep(5)")
    assert cause_of(caught.value).startswith("it took longer than it may and was stopped")
    db.close()


def test_a_server_that_was_away_is_met_again() -> None:
    with own_server() as server:
        db = open_database(server.url(), "ledger", ROOM)
        assert db.query("SELECT count(*) FROM things") == [(1,)]
        server.stop()
        with pytest.raises(psycopg.OperationalError) as caught:
            db.query("SELECT count(*) FROM things")
        assert db.why_not(caught.value).startswith("no server answers")
        server.start()
        assert db.query("SELECT count(*) FROM things") == [(1,)]
        db.close()


def test_a_silent_server_holds_nobody_for_good() -> None:
    with own_server() as server:
        db = Database(server.url())
        connection = db.connect()
        server.freeze()
        with pytest.raises(psycopg.OperationalError), db.within(connection, 0.2):
            connection.execute("SELECT 1")
        server.thaw()
        connection.close()
        db.close()
