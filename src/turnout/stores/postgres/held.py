"""Small tables that a gateway holds in memory whole, because requests ask for them: keys and budgets. One thread hears
of what other gateways change, and reads it again."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Generic, Protocol, TypeVar

import msgspec
import psycopg

from turnout.errors import Internal
from turnout.stores.postgres.database import Database, Row, cause_of

__all__ = ["Held", "Looks", "Watch"]

log = logging.getLogger("turnout")

CHANNEL = "turnout_changes"

POLL_S = 1.0
"""How often the versions are looked at: a pooler between may swallow what the server tells."""

RETRY_S = 1.0

ANSWER_S = 3.0
"""An admin's change waits no longer for a server that is silent."""

T = TypeVar("T")

Connection = psycopg.Connection[Row]


class Held(Generic[T]):
    """A table's whole content, as it was last read: whoever asks for it waits for nobody. `read` reads it. Every change
    counts up the table's row in `changes`, by which others tell that there was one. May be used by any thread. Raises
    psycopg.Error at the first reading, and msgspec.MsgspecError for what cannot be understood."""

    def __init__(self, database: Database, room: str, read: Callable[[Connection], T]) -> None:
        self.room = room
        self._database = database
        self._read = read
        self._turn = threading.Lock()
        self._changed: bool = False
        with database.connection() as db:
            # The version first: what is read after it is never older.
            self._version: int = self._newest(db)
            self.value = read(db)

    def changed(self) -> bool:
        """Whether others' changes were read since this was last asked."""
        if not self._changed:
            return False
        self._changed = False  # nothing is missed: what is held is newer than what is said of it
        return True

    def look(self, db: Connection) -> None:
        """Read again if there was a change. Raises as the first reading does."""
        with self._turn:
            version = self._newest(db)
            # Another and not only a newer one: a database may be set back to what it was.
            if version != self._version:
                self.value = self._read(db)
                self._version, self._changed = version, True

    def write(self, sql: str, values: tuple[str, ...]) -> None:
        """Change the table, and tell the others. Raises Internal with the cause and the next step."""
        try:
            with self._turn:
                value, version = self._written(sql, values)
                self.value = value
                self._changed = self._changed or version != self._version + 1
                self._version = version
        except psycopg.Error as error:
            why = self._database.why_not(error) if error.sqlstate is None else cause_of(error)
            raise Internal(f"the {self.room} in {self._database.place} cannot be written: {why}") from None

    def _written(self, sql: str, values: tuple[str, ...]) -> tuple[T, int]:
        """The content and its version, once both are the database's. Raises psycopg.Error."""
        with self._database.connection() as db, self._database.within(db, ANSWER_S), db.transaction():
            # Whoever changes has the table to himself until the end.
            found = db.execute(
                b"UPDATE changes SET version = version + 1 WHERE room = %s RETURNING version", (self.room,)
            ).fetchone()
            version = int(found[0]) if found else 0
            db.execute(sql.encode(), values)
            value = self._read(db)
            db.execute(b"SELECT pg_notify(%s, %s)", (CHANNEL, self.room))
        return value, version

    def _newest(self, db: Connection) -> int:
        found = db.execute(b"SELECT version FROM changes WHERE room = %s", (self.room,)).fetchone()
        return int(found[0]) if found else 0


class Looks(Protocol):
    """A table that is followed."""

    def look(self, db: Connection) -> None:
        """Read again if there was a change."""
        ...


class Watch:
    """The thread that follows such tables, on a connection of its own. It begins when it is first needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: list[Looks] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._here, self._there = socket.socketpair()
        self._away = False

    def follow(self, held: Looks) -> None:
        """Let this table be followed too."""
        self._held.append(held)

    def start(self) -> None:
        """Begin, if it has not begun. Takes microseconds then."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._run, name="turnout-changes", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._there.close()
        if self._thread is not None:
            self._thread.join(5)
        self._here.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with closing(self._database.connect(statement_timeout_s=ANSWER_S)) as db:
                    self._follow(db)
            except (psycopg.Error, msgspec.MsgspecError, OSError) as error:
                self._told(error)
            self._closing.wait(RETRY_S)

    def _follow(self, db: Connection) -> None:
        """Hear, look, and again, until the end. Raises psycopg.Error and msgspec.MsgspecError."""
        db.execute(f"LISTEN {CHANNEL}".encode())
        poll = select.poll()
        for line in (db.fileno(), self._here.fileno()):
            poll.register(line, select.POLLIN)
        while not self._closing.is_set():
            with self._database.within(db, ANSWER_S):
                for held in self._held:
                    held.look(db)
            if self._away:
                self._away = False
                log.warning("keys and budgets are followed again in %s", self._database.place)
            poll.poll(POLL_S * 1_000)
            for _ in db.notifies(timeout=0):
                pass  # all are looked at, whichever was told of

    def _told(self, error: Exception) -> None:
        if not self._away and not self._closing.is_set():
            why = self._database.why_not(error) if isinstance(error, psycopg.Error) else str(error)
            log.warning(
                "what others change of keys and budgets is not heard of in %s, what is known goes on: %s",
                self._database.place,
                why,
            )
        self._away = True
