"""Shared state of several processes of one machine, in an SQLite file of its own.

WAL, and synchronous OFF: what a process wrote outlives it, and after a power cut no process is left that had money, so
the file begins anew with each boot of the machine. Every operation is one short transaction on the event loop; reading
waits for nobody, and where another process has the lock to write the loop goes on, and it is tried again until
`deadline_s`. News are rows that the others look for every `POLL_S` and whenever they ask anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from turnout.errors import ConfigError, NoCapacity
from turnout.shared_state import Claim, KeyAdmission, Lease, Lost
from turnout.stores.schema import cause_of, code_of, identity_of
from turnout.stores.shared.gates import Gate
from turnout.stores.shared.purses import DEADLINE_S, LEASE_S, OPEN_S, PURSE_TTL_S, Moment, Purse

__all__ = ["SqliteShared"]

log = logging.getLogger("turnout")

POLL_S = 0.1

REOPEN_S = 1.0
"""From one attempt to open a file that was taken away to the next."""

AGAIN_S = 0.0003
"""How long after the lock was found taken it is asked for again: some three transactions."""

NEWS_S = 60.0
"""A process that was stopped for longer misses what was told, and is told of that."""

SWEEP_S = 30.0

WAL_S = 1.0
"""For so long a start waits until it may make a new file what it is to be."""

VERSION = 2

_SCHEMA = """
    CREATE TABLE engine (boot TEXT NOT NULL, epoch TEXT NOT NULL, opens_s REAL NOT NULL);
    CREATE TABLE purses (
        name TEXT PRIMARY KEY NOT NULL, until_s REAL NOT NULL, lapses_s REAL NOT NULL, state BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE gates (name TEXT PRIMARY KEY NOT NULL, until_s REAL NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE records (name TEXT PRIMARY KEY NOT NULL, until_s REAL NOT NULL, state BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE news (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, gateway TEXT NOT NULL, topic TEXT NOT NULL,
        message BLOB NOT NULL
    );
"""
_TABLES = ("purses", "gates", "records")

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

T = TypeVar("T")
_purses = msgspec.msgpack.Decoder(Purse)
_gates = msgspec.msgpack.Decoder(Gate)
_counts = msgspec.msgpack.Decoder(dict[str, int])
_encode = msgspec.msgpack.Encoder().encode


class SqliteShared:
    """A `SharedState` in the file `path`, which is made if there is none; its folder is not.

    `recently`: whether other gateways may have money of an engine whose file is gone. Then a new file grants nothing
    for `lease_s`, until they have said so.
    """

    def __init__(
        self,
        path: str,
        gateway: str,
        *,
        deadline_s: float = DEADLINE_S,
        lease_s: float = LEASE_S,
        open_s: float = OPEN_S,
        ttl_s: float = PURSE_TTL_S,
        recently: bool = True,
    ) -> None:
        self._path = path
        self.gateway = gateway
        self._deadline_s = deadline_s
        self.lease_s = lease_s
        self.open_s = open_s
        self._ttl_s = ttl_s
        self._recently = recently
        self._sequence = 0
        self._heard: dict[str, list[Callable[[bytes], None]]] = {}
        self._missed: list[Callable[[], None]] = []
        self._seen = 0
        self._changes = -1
        self._listened_s = 0.0
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._error: str | None = None

    @property
    def healthy(self) -> bool:
        return self._error is None

    # Money.

    async def lease(self, claims: Sequence[Claim]) -> list[Lease]:
        self._sequence += 1
        sequence = self._sequence

        def leased(db: sqlite3.Connection) -> list[Lease]:
            engine = self._at(db)
            leases: list[Lease] = []
            for claim in claims:
                purse = _purse(db, claim.purse)
                leases.append(purse.lease(self.gateway, sequence, claim, engine))
                self._keep(db, claim.purse, purse, engine)
            return leases

        return await self._write(leased)

    async def fill(
        self,
        purse: str,
        spent: Mapping[str, int],
        *,
        added: Mapping[str, int] | None = None,
        pieces: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        await self._change(purse, lambda kept, engine: kept.fill(spent, added or {}, pieces or {}, engine))

    async def add(self, purse: str, nano_usd: int, *, entry: str) -> None:
        await self._change(purse, lambda kept, _: kept.added.setdefault(entry, nano_usd))

    async def silent(self) -> list[Lost]:
        def lost(db: sqlite3.Connection, *, bury: bool) -> tuple[list[Lost], bool]:
            engine = self._at(db)
            found, gone = list[Lost](), False
            lapsed = "SELECT name, state FROM purses WHERE lapses_s <= ?"
            for name, state in db.execute(lapsed, (engine.now_s,)).fetchall():
                purse = _purses.decode(state)
                living = len(purse.living)
                found += purse.lost(name, engine)
                if len(purse.living) != living:
                    gone = True
                    if bury:
                        self._keep(db, name, purse, engine)
            return found, gone

        # Each gateway asks twice a second, and hardly ever is anybody silent: that is seen without the lock.
        found, gone = await self._read(partial(lost, bury=False))
        return (await self._write(partial(lost, bury=True)))[0] if gone else found

    async def bury(self, lost: Lost, *, counted: int) -> None:
        await self._change(lost.purse, lambda purse, engine: purse.bury(lost, counted, engine))

    # Limits of keys.

    async def admit(self, admission: KeyAdmission) -> float:
        def admitted(db: sqlite3.Connection) -> float:
            now_s = _now_s()
            gate = _gate(db, admission.key, now_s) or Gate()
            wait_s = gate.admit(admission, now_s, self.open_s)
            if not wait_s:
                _put(db, "gates", admission.key, _encode(gate), gate.until_s(now_s))
            return wait_s

        return await self._write(admitted)

    async def leave(self, admission: KeyAdmission, *, used: int) -> None:
        def left(db: sqlite3.Connection) -> None:
            now_s = _now_s()
            gate = _gate(db, admission.key, now_s)
            if gate is not None:
                gate.leave(admission, used, now_s)
                _put(db, "gates", admission.key, _encode(gate), gate.until_s(now_s))

        await self._write(left)

    # Records, counts, news.

    async def get(self, names: Sequence[str]) -> list[bytes | None]:
        def got(db: sqlite3.Connection) -> list[bytes | None]:
            now_s = _now_s()
            return [_get(db, "records", f"record:{name}", now_s) for name in names]

        return await self._read(got)

    async def put(self, records: Mapping[str, bytes], *, ttl_s: float) -> None:
        def kept(db: sqlite3.Connection) -> None:
            until_s = _now_s() + ttl_s
            for name, record in records.items():
                _put(db, "records", f"record:{name}", record, until_s)

        await self._write(kept)

    async def count(self, by: Mapping[str, Mapping[str, int]], *, ttl_s: float) -> dict[str, dict[str, int]]:
        def counted(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
            now_s, totals = _now_s(), dict[str, dict[str, int]]()
            for name, added in by.items():
                state = _get(db, "records", f"count:{name}", now_s)
                counts = totals[name] = {} if state is None else _counts.decode(state)
                for counter, more in added.items():
                    counts[counter] = counts.get(counter, 0) + more
                _put(db, "records", f"count:{name}", _encode(counts), now_s + ttl_s)
            return totals

        return await self._write(counted)

    async def first(self, name: str, *, ttl_s: float) -> bool:
        def was_first(db: sqlite3.Connection) -> bool:
            now_s = _now_s()
            if _get(db, "records", f"first:{name}", now_s) is not None:
                return False
            _put(db, "records", f"first:{name}", b"", now_s + ttl_s)
            return True

        return await self._write(was_first)

    async def tell(self, topic: str, message: bytes) -> None:
        def told(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO news (at_s, gateway, topic, message) VALUES (?, ?, ?, ?)",
                (_now_s(), self.gateway, topic, message),
            )

        await self._write(told)

    def hear(self, topic: str, heard: Callable[[bytes], None], *, missed: Callable[[], None] | None = None) -> None:
        self._heard.setdefault(topic, []).append(heard)
        if missed is not None:
            self._missed.append(missed)

    # The file.

    async def start(self) -> None:
        self._db = self._opened()
        self._polling = asyncio.create_task(self._poll())

    async def aclose(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        if self._db is None:
            return
        try:
            with contextlib.suppress(NoCapacity):
                await self._write(self._resign)
        finally:
            self._close()

    def _opened(self) -> sqlite3.Connection:
        if not self._path or "\0" in self._path:
            raise ConfigError(f"store.shared: {self._path!r} is no file name", param="store.shared")
        try:
            db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._wrong(error) from error
        try:
            _to_wal(db)
            db.execute("PRAGMA synchronous = OFF")
            self._prepare(db)
            db.execute("PRAGMA busy_timeout = 0")
            self._seen = db.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence").fetchone()[0]
        except sqlite3.Error as error:
            db.close()
            raise self._wrong(error) from error
        except ConfigError:
            db.close()
            raise
        self._identity = identity_of(self._path)
        self._changes, self._listened_s = -1, time.monotonic()
        return db

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make the tables of a new file; empty one from before the machine was started."""
        boot = _boot()
        db.execute("BEGIN IMMEDIATE")
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, VERSION} or (not version and _foreign(db)):
                raise ConfigError(
                    f"store.shared: {self._path} is not a file of this Turnout's shared state; name another file",
                    param="store.shared",
                )
            if not version:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION:d}")
            known = db.execute("SELECT boot FROM engine").fetchone()
            if known is None or known[0] != boot:
                for table in (*_TABLES, "news", "engine"):
                    db.execute(f"DELETE FROM {table}")  # noqa: S608 - one of our own
                # Where the machine was started anew nobody is left who could have money.
                opens_s = _now_s() + self.lease_s if self._recently and known is None else 0.0
                db.execute("INSERT INTO engine VALUES (?, ?, ?)", (boot, str(time.time_ns()), opens_s))
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _wrong(self, error: sqlite3.Error) -> ConfigError:
        return ConfigError(f"store.shared: {self._path}: {cause_of(error)}", param="store.shared")

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it in one transaction, as soon as no other process is in one."""
        return await self._do(work, "BEGIN IMMEDIATE")

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read in one transaction, which waits for nobody and holds nobody up."""
        return await self._do(work, "BEGIN")

    async def _do(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        until_s = 0.0
        while True:
            db = self._db
            if db is None:
                raise NoCapacity(self._error or "the shared state is closed: this gateway is ending", retry_after=1)
            try:
                db.execute(begin)
                done = work(db)
                db.execute("COMMIT")
            except sqlite3.Error as error:
                _undo(db)
                now_s = time.monotonic()
                until_s = until_s or now_s + self._deadline_s
                if code_of(error) not in _BUSY or now_s > until_s:
                    self._error = f"the shared state at {self._path} failed: {cause_of(error)}"
                    raise NoCapacity(self._error, retry_after=1) from error
            except BaseException:
                _undo(db)
                raise
            else:
                self._error = None
                self._listen(db)
                return done
            await asyncio.sleep(AGAIN_S)

    async def _change(self, name: str, work: Callable[[Purse, Moment], object]) -> None:
        def changed(db: sqlite3.Connection) -> None:
            engine = self._at(db)
            purse = _purse(db, name)
            work(purse, engine)
            self._keep(db, name, purse, engine)

        await self._write(changed)

    def _keep(self, db: sqlite3.Connection, name: str, purse: Purse, engine: Moment) -> None:
        lapses_s = min((part.until_s for part in purse.living.values()), default=math.inf)
        row = name, engine.now_s + self._ttl_s, lapses_s, _encode(purse)
        db.execute("INSERT OR REPLACE INTO purses VALUES (?, ?, ?, ?)", row)

    def _at(self, db: sqlite3.Connection) -> Moment:
        epoch, opens_s = db.execute("SELECT epoch, opens_s FROM engine").fetchone()
        return Moment(
            now_s=_now_s(),
            wall_us=time.time_ns() // 1_000,
            lease_s=self.lease_s,
            epoch=epoch,
            opens_s=opens_s,
        )

    def _resign(self, db: sqlite3.Connection) -> None:
        engine = self._at(db)
        for name, state in db.execute("SELECT name, state FROM purses").fetchall():
            purse = _purses.decode(state)
            if self.gateway in purse.living:
                purse.resign(self.gateway)
                self._keep(db, name, purse, engine)

    # News, and what is done now and then.

    async def _poll(self) -> None:
        swept_s = time.monotonic()
        while True:
            await asyncio.sleep(POLL_S if self._db is not None else REOPEN_S)
            try:
                self._same_file()
                if self._db is not None:
                    self._listen(self._db)
                if time.monotonic() - swept_s > SWEEP_S:
                    swept_s = time.monotonic()
                    await self._write(_sweep)
            except NoCapacity:
                pass  # whoever asks for something is told
            except Exception:  # one look that fails must not be the last
                log.exception("news of other processes were not looked for; they are again in %s s", REOPEN_S)
                await asyncio.sleep(REOPEN_S)

    def _same_file(self) -> None:
        """Where the file was taken away others make a new one: money must not be granted in two."""
        if identity_of(self._path) == self._identity and self._db is not None:
            return
        self._close()
        self._recently = True
        try:
            self._db = self._opened()
        except ConfigError as error:
            if self._error != error.message:  # once, however often it is tried
                log.warning("%s", error.message)
            self._error = error.message
        else:
            self._error = None
            self._tell_missed()

    def _listen(self, db: sqlite3.Connection) -> None:
        """Hand on what others told since last time. The pragma says whether anybody wrote at all, for a microsecond."""
        if not self._heard:
            return
        now_s = time.monotonic()
        try:
            changes = db.execute("PRAGMA data_version").fetchone()[0]
            if changes == self._changes:
                self._listened_s = now_s
                return
            rows = db.execute(
                "SELECT id, gateway, topic, message FROM news WHERE id > ? ORDER BY id", (self._seen,)
            ).fetchall()
        except sqlite3.Error as error:
            self._error = f"the shared state at {self._path} failed: {cause_of(error)}"
            return
        late = now_s - self._listened_s > NEWS_S
        self._changes, self._listened_s = changes, now_s
        loop = asyncio.get_running_loop()
        for number, gateway, topic, message in rows:
            self._seen = number
            if gateway != self.gateway:
                for heard in self._heard.get(topic, ()):
                    loop.call_soon(heard, message)
        if late:
            self._tell_missed()

    def _tell_missed(self) -> None:
        for missed in self._missed:
            asyncio.get_running_loop().call_soon(missed)


def _to_wal(db: sqlite3.Connection) -> None:
    """Several that open a new file at once want it for themselves for that; SQLite does not wait there, whatever the
    time-out says (sqlite.org/c3ref/busy_handler.html: where waiting could be for ever)."""
    until_s = time.monotonic() + WAL_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if code_of(error) not in _BUSY or time.monotonic() > until_s:
                raise
            time.sleep(0.005)
        else:
            return


def _now_s() -> float:
    """The same for all processes of the machine since it was started, and nobody sets it."""
    return time.monotonic()


def _boot() -> str:
    """Which start of the machine this is; where the system does not say, one for all."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _foreign(db: sqlite3.Connection) -> bool:
    return bool(db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])


def _undo(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")


def _get(db: sqlite3.Connection, table: str, name: str, now_s: float) -> bytes | None:
    row: tuple[Any, ...] | None = db.execute(_GET[table], (name, now_s)).fetchone()
    return None if row is None else row[0]


def _put(db: sqlite3.Connection, table: str, name: str, state: bytes, until_s: float) -> None:
    db.execute(_PUT[table], (name, until_s, state))


_GET = {table: f"SELECT state FROM {table} WHERE name = ? AND until_s > ?" for table in _TABLES}  # noqa: S608
_PUT = {table: f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)" for table in ("gates", "records")}  # noqa: S608


def _purse(db: sqlite3.Connection, name: str) -> Purse:
    state = _get(db, "purses", name, _now_s())
    return Purse() if state is None else _purses.decode(state)


def _gate(db: sqlite3.Connection, name: str, now_s: float) -> Gate | None:
    state = _get(db, "gates", name, now_s)
    return None if state is None else _gates.decode(state)


def _sweep(db: sqlite3.Connection) -> None:
    now_s = _now_s()
    for table in _TABLES:
        db.execute(f"DELETE FROM {table} WHERE until_s <= ?", (now_s,))  # noqa: S608 - one of our own
    db.execute("DELETE FROM news WHERE at_s <= ?", (now_s - NEWS_S,))
