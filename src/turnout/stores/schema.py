"""SQLite files of Turnout: their schema, its versions, how one is opened, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from turnout.errors import ConfigError
from turnout.stores.sums import SPEND_MIGRATION, SUMS_MIGRATION

__all__ = [
    "BUSY_TIMEOUT_S",
    "LOCKED",
    "MEMORY",
    "MIGRATIONS",
    "cause_of",
    "code_of",
    "data_version",
    "identity_of",
    "known_version",
    "migrate",
    "open_as_it_is",
    "open_database",
]

MEMORY = ":memory:"

BUSY_TIMEOUT_S = 1.0
"""How long SQLite itself waits for another process's lock before the batch is put off."""

# Enterprise Linux 9 has SQLite 3.34, STRICT came with 3.37; the rows we write are typed either way.
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"""
        CREATE TABLE requests (
            request_id TEXT PRIMARY KEY NOT NULL,
            received_at TEXT NOT NULL,
            key_id TEXT,
            session_id TEXT,
            agent TEXT,
            step INTEGER NOT NULL,
            dialect TEXT NOT NULL,
            mode TEXT,
            tags TEXT NOT NULL,
            requested_model TEXT NOT NULL,
            deployment TEXT,
            provider TEXT,
            tier TEXT,
            reason TEXT,
            status INTEGER,
            outcome TEXT NOT NULL,
            error_code TEXT,
            input_tokens INTEGER,
            cache_read_tokens INTEGER,
            cache_write_tokens INTEGER,
            output_tokens INTEGER,
            reasoning_tokens INTEGER,
            usage_estimated INTEGER NOT NULL,
            usage_raw TEXT,
            cost_nano_usd INTEGER,
            price_source TEXT,
            attempts INTEGER NOT NULL,
            overhead_us INTEGER,
            ttft_ms INTEGER,
            duration_ms INTEGER,
            warnings TEXT NOT NULL,
            decision TEXT,
            attempt_log TEXT
        ) {_STRICT}
        """,
        "CREATE INDEX requests_received_at ON requests (received_at)",
        "CREATE INDEX requests_session ON requests (session_id, received_at)",
    ),
    (
        f"""
        CREATE TABLE responses (
            owner TEXT NOT NULL,
            id TEXT NOT NULL,
            previous TEXT,
            provider TEXT NOT NULL,
            session TEXT NOT NULL,
            items BLOB,
            created_at TEXT NOT NULL,
            PRIMARY KEY (owner, id)
        ) {_STRICT}
        """,
        "CREATE INDEX responses_created ON responses (created_at)",
    ),
    (
        "ALTER TABLE requests ADD COLUMN team TEXT",
        f"""
        CREATE TABLE attempts (
            request_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            deployment TEXT NOT NULL,
            target TEXT,
            status INTEGER,
            error_code TEXT,
            reason TEXT,
            waited_ms INTEGER,
            duration_ms INTEGER,
            ttft_ms INTEGER,
            input_tokens INTEGER,
            cache_read_tokens INTEGER,
            cache_write_tokens INTEGER,
            output_tokens INTEGER,
            cost_nano_usd INTEGER,
            reprefill_nano_usd INTEGER,
            PRIMARY KEY (request_id, number)
        ) {_STRICT}
        """,
        """
        INSERT INTO attempts (request_id, number, deployment, target, status, error_code, reason, waited_ms,
            duration_ms, ttft_ms, input_tokens, output_tokens, cost_nano_usd, reprefill_nano_usd)
        SELECT r.request_id, a.key, json_extract(a.value, '$.deployment'), json_extract(a.value, '$.target'),
            json_extract(a.value, '$.status'), json_extract(a.value, '$.error_code'),
            json_extract(a.value, '$.reason'), json_extract(a.value, '$.waited_ms'),
            json_extract(a.value, '$.duration_ms'), json_extract(a.value, '$.ttft_ms'),
            json_extract(a.value, '$.input_tokens'), json_extract(a.value, '$.output_tokens'),
            json_extract(a.value, '$.cost_nano_usd'), json_extract(a.value, '$.reprefill_nano_usd')
        FROM requests AS r, json_each(r.attempt_log) AS a WHERE r.attempt_log IS NOT NULL
        """,
        # Until here the call that gave the answer had its cost in the request's row alone.
        """
        UPDATE attempts SET cost_nano_usd = (
            SELECT r.cost_nano_usd - ifnull(sum(o.cost_nano_usd), 0)
            FROM requests AS r JOIN attempts AS o ON o.request_id = r.request_id
            WHERE r.request_id = attempts.request_id)
        WHERE cost_nano_usd IS NULL
            AND number = (SELECT max(number) FROM attempts AS o WHERE o.request_id = attempts.request_id)
        """,
        """
        INSERT INTO attempts (request_id, number, deployment, cost_nano_usd)
        SELECT request_id, 0, deployment, cost_nano_usd FROM requests
        WHERE cost_nano_usd IS NOT NULL AND deployment IS NOT NULL
            AND request_id NOT IN (SELECT request_id FROM attempts)
        """,
        "UPDATE requests SET attempt_log = NULL WHERE attempt_log IS NOT NULL",
        f"""
        CREATE TABLE budget_entries (
            id TEXT NOT NULL,
            budget TEXT NOT NULL,
            at TEXT NOT NULL,
            kind TEXT NOT NULL,
            amount_nano_usd INTEGER NOT NULL,
            PRIMARY KEY (id, budget)
        ) {_STRICT}
        """,
        *(
            f"ALTER TABLE requests ADD COLUMN {name} INTEGER"
            for name in (
                *("part_system", "part_tools", "part_history"),
                *("part_tool_results", "part_attachments", "part_reasoning"),
                "repeated_tokens",
            )
        ),
        "ALTER TABLE requests ADD COLUMN cache_write_1h_tokens INTEGER",
        "ALTER TABLE requests ADD COLUMN service_tier TEXT",
        "ALTER TABLE requests ADD COLUMN price TEXT",
        f"CREATE TABLE prices (digest TEXT PRIMARY KEY NOT NULL, price TEXT NOT NULL) {_STRICT}",
        f"CREATE TABLE keys (name TEXT PRIMARY KEY NOT NULL, record TEXT NOT NULL) {_STRICT}",
    ),
    (
        f"""
        CREATE TABLE answers (
            key BLOB PRIMARY KEY NOT NULL,
            expires_s REAL NOT NULL,
            used_s REAL NOT NULL,
            size INTEGER NOT NULL,
            record BLOB NOT NULL
        ) {_STRICT}
        """,
        # Both questions that eviction asks are answered from these alone.
        "CREATE INDEX answers_expires ON answers (expires_s)",
        "CREATE INDEX answers_used ON answers (used_s, size)",
    ),
    (
        f"""
        CREATE TABLE outcomes (
            request_id TEXT NOT NULL,
            model TEXT NOT NULL,
            score REAL NOT NULL,
            source TEXT NOT NULL,
            weight REAL NOT NULL,
            at TEXT NOT NULL,
            owner TEXT NOT NULL,
            mode TEXT,
            label TEXT,
            predicted REAL,
            features BLOB NOT NULL,
            PRIMARY KEY (request_id, model, source)
        ) {_STRICT}
        """,
        "CREATE INDEX outcomes_at ON outcomes (at)",
        "CREATE INDEX outcomes_model ON outcomes (model, at)",
        f"""
        CREATE TABLE asked (
            request_id TEXT NOT NULL,
            model TEXT NOT NULL,
            at TEXT NOT NULL,
            owner TEXT NOT NULL,
            session TEXT NOT NULL,
            thread TEXT NOT NULL,
            step INTEGER NOT NULL,
            tier TEXT,
            reason TEXT,
            mode TEXT,
            predicted REAL,
            features BLOB NOT NULL,
            dialect TEXT NOT NULL,
            streamed INTEGER NOT NULL,
            request BLOB,
            answer BLOB,
            size INTEGER NOT NULL,
            PRIMARY KEY (request_id, model)
        ) {_STRICT}
        """,
        "CREATE INDEX asked_at ON asked (at, size)",
    ),
    SUMS_MIGRATION,
    (f"CREATE TABLE budgets (name TEXT PRIMARY KEY NOT NULL, told TEXT NOT NULL) {_STRICT}",),
    ("ALTER TABLE requests ADD COLUMN gateway TEXT",),
    SPEND_MIGRATION,
)
"""Version n of the file is what the first n entries made. Only ever add to the end."""

LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
"""Somebody else writes: what was to be written is tried again."""

_CAUSES = {
    sqlite3.SQLITE_BUSY: "another process holds a lock on it; end that process",
    sqlite3.SQLITE_LOCKED: "another connection holds a lock on it; end that connection",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_READONLY: "it is read-only; give this user write permission",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists and is writable",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write; check the disk",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away and restart, or restore a copy",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database; name another file",
}


def migrate(db: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a file to the newest version, in one transaction: two processes that start together do it once.

    Raises ConfigError for a file of a newer version or another program's, sqlite3.Error for what SQLite says.
    """
    if _version(db) == len(migrations):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[known_version(db, migrations) :]:
            for statement in statements:
                db.execute(statement)
        # A pragma takes no parameters; the number is our own.
        db.execute(f"PRAGMA user_version = {len(migrations):d}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def known_version(db: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Of a file that `migrate` would take. Raises ConfigError for one of a newer version or another program's."""
    version = _version(db)
    if version > len(migrations):
        raise ConfigError(f"it is of version {version} and this Turnout knows up to {len(migrations)}: upgrade Turnout")
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise ConfigError("it is another program's database: name another file")
    return version


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


def open_database(path: str) -> sqlite3.Connection:
    """A connection to the newest version of the file. Raises ConfigError."""
    if not path or "\0" in path:
        # SQLite takes an empty name for a temporary file and would lose the ledger at the end.
        raise ConfigError(f"store.ledger: {path!r} is no file name", param="store.ledger")
    try:
        db = _connect(path)
    except sqlite3.Error as error:
        raise ConfigError(f"store.ledger: {path}: {cause_of(error)}", param="store.ledger") from error
    try:
        migrate(db)
    except ConfigError as error:
        db.close()
        raise ConfigError(f"store.ledger: {path}: {error.message}", param="store.ledger") from None
    except sqlite3.Error as error:
        db.close()
        raise ConfigError(f"store.ledger: {path}: {cause_of(error)}", param="store.ledger") from error
    return db


def open_as_it_is(path: str | Path) -> sqlite3.Connection:
    """A connection that changes nothing, to a file that is there. Raises sqlite3.Error."""
    file = Path(path).absolute()
    # To read it, SQLite would make the log of a file that nobody has open, as whoever asks, and leave it there.
    opened = any(Path(f"{file}{end}").exists() for end in ("-wal", "-journal"))
    how = "mode=ro" if opened else "mode=ro&immutable=1"
    return sqlite3.connect(f"{file.as_uri()}?{how}", uri=True, timeout=BUSY_TIMEOUT_S)


def data_version(db: sqlite3.Connection) -> int:
    """A number that is another one when another connection has written to the file. Takes microseconds."""
    return db.execute("PRAGMA data_version").fetchone()[0]


def _connect(path: str) -> sqlite3.Connection:
    # isolation_level None: transactions are begun and ended here, by name.
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def identity_of(path: str) -> tuple[int, int] | None:
    """Which file a name means; None for no file."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def cause_of(error: sqlite3.Error) -> str:
    """What went wrong and what to do."""
    return _CAUSES.get(code_of(error), f"SQLite says: {error}")


def code_of(error: Exception) -> int:
    """SQLite's primary result code, which extended ones carry in their low byte; 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
