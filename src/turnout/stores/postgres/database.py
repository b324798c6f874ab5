"""A PostgreSQL database of Turnout: connections by URL, what its errors mean, and how its schema is brought up to date.

Everything is bounded in time: connecting, each statement (by the server), and the wait for a server that is silent
(`Database.within`, which whoever holds a connection of his own puts around what he asks). A connection that broke is
thrown away and the next one is new, so a server that was away is met again.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from turnout.errors import ConfigError

__all__ = [
    "PLACE",
    "SCHEMA",
    "Database",
    "Migrations",
    "Row",
    "cause_of",
    "is_passing",
    "lock_named",
    "open_database",
    "place_of",
]

OLDEST = 14
"""The oldest PostgreSQL that is asked of and answered for."""

SCHEMA = "turnout"
"""Where the tables are, unless the URL's `options` set a search_path."""

PLACE = "store.ledger"
"""The config's key that names the database, for errors."""

CONNECT_TIMEOUT_S = 5

STATEMENT_TIMEOUT_S = 30.0

SILENCE_S = 10.0
"""How much longer than a statement may take an answer is waited for: then the server is taken for dead."""

MIGRATION_TIMEOUT_S = 600.0

Row = tuple[Any, ...]

Migrations = Sequence[Sequence[str]]
"""Version n of a room is what the first n entries made. Only ever add to the end."""

_KEPT_ALIVE = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "turnout",
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_CAUSES = {
    "08": "the connection broke; check the network and that the server runs",
    "22021": "a text holds what the database's encoding cannot",
    "25006": "it is read-only, a standby perhaps; name the primary, or all hosts in one URL",
    "25P03": "a transaction was left idle and the server ended it",
    "28": "the server refuses the user or the password; check both in the URL, and pg_hba.conf",
    "3D000": "there is no such database; create it or name another",
    "3F000": "there is no such schema; create it or leave search_path out of the URL",
    "40": "transactions were in each other's way; it is tried again",
    "42501": "the user may not do that; grant it the right (CREATE on the database to begin with)",
    "42703": "a column is missing: somebody changed the schema, or another version of Turnout made it",
    "42P01": "a table is missing: somebody changed the schema, or another version of Turnout made it",
    "53100": "the server's disk is full; make room",
    "53200": "the server is out of memory; give it more, or lower its work_mem",
    "53300": "the server takes no more connections; raise max_connections or put a pooler before it",
    "55P03": "another session holds a lock; end that session (pg_stat_activity tells which)",
    "57014": "it took longer than it may and was stopped; the server is slow or another session holds a lock",
    "57P": "the server was shut down or is starting; start it, or wait",
    "58": "the server's disk fails; check it",
    "XX": "the server reports an internal error or damage; see its log",
}
"""What an SQLSTATE means and what to do; the longest beginning that fits counts."""

_PASSING = ("08", "25006", "40", "53", "55P03", "57", "58")


def place_of(url: str) -> str:
    """A URL as it may be told: without its password. Raises ConfigError for one that is none."""
    told: dict[str, Any] = {}
    with suppress(psycopg.Error):  # what libpq says quotes the URL, and with it perhaps the password
        told = conninfo_to_dict(url)
    user, name = told.get("user"), told.get("dbname") or told.get("user") or ""
    hosts = str(told.get("host") or told.get("hostaddr") or "").split(",")
    ports = str(told.get("port") or "5432").split(",")
    # A password that was not encoded ends where its @ or / stands, and its rest is taken for a host or port.
    if (
        not told
        or not all(port.isascii() and port.isdigit() for port in ports)
        or any("@" in x for x in (*hosts, name))
    ):
        raise ConfigError(
            f"{PLACE}: it is no PostgreSQL URL; write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with what is not "
            "a letter or digit in the password %-encoded",
            param=PLACE,
        )
    where = ",".join(f"{host}:{ports[min(n, len(ports) - 1)]}" for n, host in enumerate(hosts))
    return f"postgresql://{f'{user}@' if user else ''}{where}/{name}"


def cause_of(error: psycopg.Error) -> str:
    """What went wrong and what to do. Never the URL, never a value of a row."""
    state = error.sqlstate
    if state is None:
        return "the connection broke or cannot be made; check the network and that the server runs"
    said = error.diag.message_primary
    for length in (5, 3, 2):
        if (told := _CAUSES.get(state[:length])) is not None:
            return told
    return f"PostgreSQL says ({state}): {said}"


def is_passing(error: psycopg.Error) -> bool:
    """Whether the same may succeed later: nothing is wrong with what was asked."""
    return error.sqlstate is None or error.sqlstate.startswith(_PASSING)


def lock_named(name: str) -> str:
    """The number of an advisory lock of Turnout's, as SQL: one for each name (our own words) and schema. Where there is
    no schema yet it is that of the one that will be made: of NULL nobody would wait for anybody."""
    return f"hashtext('turnout {name} ' || coalesce(current_schema(), '{SCHEMA}'))"


class Database:
    """Connections to the database at `url`; may be used by any thread. Nothing is opened before it is asked for.

    At most `idle` connections are kept while nobody uses them. Timeouts in seconds. Raises ConfigError for a URL that
    is none.
    """

    def __init__(self, url: str, *, idle: int = 4, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> None:
        self.place = place_of(url)
        told = conninfo_to_dict(url)
        self._own_path = "search_path" in str(told.get("options") or "")
        several = "," in str(told.get("host") or "")
        usual = _KEPT_ALIVE | ({"target_session_attrs": "read-write"} if several else {})
        self._conninfo = make_conninfo(url, **{name: value for name, value in usual.items() if name not in told})
        self._statement_timeout_s = statement_timeout_s
        self._idle: deque[psycopg.Connection[Row]] = deque()
        self._most_idle = idle
        self._closed = False

    def connect(self, *, statement_timeout_s: float | None = None) -> psycopg.Connection[Row]:
        """A connection of the caller's own (autocommit). Raises psycopg.Error."""
        db = psycopg.connect(self._conninfo, autocommit=True)
        timeout = self._statement_timeout_s if statement_timeout_s is None else statement_timeout_s
        try:
            with self.within(db, CONNECT_TIMEOUT_S):
                db.execute(
                    b"SELECT set_config('statement_timeout', %s, false), set_config('timezone', 'UTC', false), "
                    b"CASE WHEN %s THEN NULL ELSE set_config('search_path', %s, false) END",
                    (str(round(timeout * 1_000)), self._own_path, SCHEMA),
                )
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def connection(self) -> Generator[psycopg.Connection[Row]]:
        """A connection for a moment: one that waits, else a new one. Raises psycopg.Error."""
        db = self._waiting() or self.connect()
        try:
            with self.within(db, self._statement_timeout_s + SILENCE_S):
                yield db
        finally:
            if db.closed or self._closed or len(self._idle) >= self._most_idle:
                db.close()
            elif db.info.transaction_status == pq.TransactionStatus.IDLE:
                self._idle.append(db)
            else:
                db.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one statement in a transaction of its own; the rows it gives. Raises psycopg.Error."""
        with self.connection() as db:
            cursor = db.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Generator[psycopg.Connection[Row]]:
        """A transaction: written at the end of the block, undone when it raises. Raises psycopg.Error."""
        with self.connection() as db, db.transaction():
            yield db

    @contextmanager
    def within(self, db: psycopg.Connection[Row], seconds: float) -> Generator[None]:
        """Break the connection when the block takes longer: a server that is silent holds nobody for good."""
        watch = threading.Timer(seconds, _break, (db,))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def close(self) -> None:
        """Let go of all connections that nobody uses; those in use are closed when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def why_not(self, error: psycopg.Error) -> str:
        """Why there is no connection, and what to do."""
        if error.sqlstate is not None:
            return cause_of(error)
        # libpq gives no SQLSTATE for a connection that was refused: what the server answers to a ping tells.
        answer = pq.PGconn.ping(self._conninfo.encode())
        if answer == pq.Ping.OK:
            return f"the server refuses: {_last_line(error)}; check the user, password and database of the URL"
        if answer == pq.Ping.REJECT:
            return "the server is starting or shutting down, or takes no more connections; wait, or look at its log"
        return "no server answers; check host and port, that it runs, and the network between"

    def _waiting(self) -> psycopg.Connection[Row] | None:
        while True:
            try:
                db = self._idle.pop()
            except IndexError:
                return None
            if not db.closed and not _told(db):
                return db
            db.close()


def _told(db: psycopg.Connection[Row]) -> bool:
    """Whether the server said something while nobody asked: that it ends the connection, or the end itself."""
    poll = select.poll()
    poll.register(db.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _break(db: psycopg.Connection[Row]) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=socket.dup(db.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _last_line(error: psycopg.Error) -> str:
    """What the server itself said, in its own words."""
    return str(error).strip().splitlines()[-1].rpartition("FATAL:")[2].strip()


def open_database(
    url: str, room: str, migrations: Migrations, *, idle: int = 4, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> Database:
    """The database at `url`, its tables of `room` at the newest version. Raises ConfigError with the cause and the next
    step, never with the password."""
    database = Database(url, idle=idle, statement_timeout_s=statement_timeout_s)
    try:
        db = database.connect(statement_timeout_s=MIGRATION_TIMEOUT_S)
    except psycopg.Error as error:
        raise ConfigError(f"{PLACE}: {database.place}: {database.why_not(error)}", param=PLACE) from None
    try:
        with database.within(db, MIGRATION_TIMEOUT_S + SILENCE_S):
            migrate(db, room, migrations)
    except ConfigError as error:
        raise ConfigError(f"{PLACE}: {database.place}: {error.message}", param=PLACE) from None
    except psycopg.Error as error:
        raise ConfigError(f"{PLACE}: {database.place}: {cause_of(error)}", param=PLACE) from None
    finally:
        db.close()
    return database


def migrate(db: psycopg.Connection[Row], room: str, migrations: Migrations) -> None:
    """Bring the tables of a room (`ledger`, `stores`) to the newest version, in one transaction under a lock: gateways
    that start together do it once. Raises ConfigError for a database of a newer version, of another program or of an
    old PostgreSQL, psycopg.Error for what PostgreSQL says."""
    server = db.info.server_version
    if server < OLDEST * 10_000:
        raise ConfigError(f"it is PostgreSQL {server // 10_000}: Turnout needs {OLDEST} or newer")
    if _version(db, room) == len(migrations):
        return
    with db.transaction():
        db.execute(f"SELECT pg_advisory_xact_lock({lock_named('migrations')})".encode())
        _make_schema(db)
        version = _version(db, room) or 0
        if version > len(migrations):
            raise ConfigError(
                f"its tables are of version {version} and this Turnout knows up to {len(migrations)}: upgrade Turnout"
            )
        for statements in migrations[version:]:
            for statement in statements:
                db.execute(statement.encode())
        db.execute(
            b"INSERT INTO turnout_rooms (room, version) VALUES (%s, %s) "
            b"ON CONFLICT (room) DO UPDATE SET version = excluded.version",
            (room, len(migrations)),
        )


def _make_schema(db: psycopg.Connection[Row]) -> None:
    # Asked of a table: that is when a session hears of a schema that another made while it waited for the lock.
    if not _one(db, "SELECT nspname FROM pg_namespace WHERE nspname = current_schema()"):
        db.execute(f"CREATE SCHEMA {_one(db, 'SELECT quote_ident(%s)', SCHEMA)}".encode())
        if not _one(db, "SELECT current_schema()"):
            raise ConfigError("search_path of the URL names no schema that exists: create it, or leave it out")
    if _one(db, "SELECT to_regclass('turnout_rooms')"):
        return
    if _one(
        db,
        "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace",
    ):
        schema = _one(db, "SELECT current_schema()")
        raise ConfigError(
            f"the schema {schema} holds another program's tables: name another database, or another schema with "
            "?options=-csearch_path%3DNAME"
        )
    db.execute(b"CREATE TABLE turnout_rooms (room text PRIMARY KEY, version integer NOT NULL)")


def _version(db: psycopg.Connection[Row], room: str) -> int | None:
    if not _one(db, "SELECT to_regclass('turnout_rooms')"):
        return None
    return _one(db, "SELECT version FROM turnout_rooms WHERE room = %s", room)


def _one(db: psycopg.Connection[Row], sql: str, *values: str) -> Any:
    found = db.execute(sql.encode(), values or None).fetchone()
    return found[0] if found else None
