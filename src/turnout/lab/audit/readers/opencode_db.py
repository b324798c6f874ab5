"""OpenCode's SQLite database, read and never written to: sessions, their messages, and the parts of each."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from turnout.lab.audit.readers.opencode_talk import Info, OpenCodeTalk, Piece, SessionInfo
from turnout.lab.audit.readers.shapes import decoded
from turnout.lab.audit.readers.streams import LONGEST_ELEMENT
from turnout.lab.audit.records import Event, ReadTally

__all__ = ["read_database"]

_info = msgspec.json.Decoder(Info)
_piece = msgspec.json.Decoder(Piece)

# Version 2 has a table of its own; a database may have both, and then the same calls in both.
_MESSAGES = {
    "message": "SELECT id, NULL, data FROM message WHERE session_id = ? ORDER BY time_created, id",
    "session_message": "SELECT id, type, data FROM session_message WHERE session_id = ? ORDER BY time_created, id",
}
_OWNERS = {table: f"SELECT session_id FROM {table} GROUP BY session_id" for table in _MESSAGES}  # noqa: S608 (our names)
_PARTS = "SELECT id, data FROM part WHERE message_id = ? ORDER BY id"
_SESSION = "SELECT parent_id, directory FROM session WHERE id = ?"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def read_database(path: Path, told: ReadTally) -> Iterator[Event]:
    """The steps of every session. What SQLite cannot read is told as broken. Raises OSError where there is no file."""
    path.stat()
    try:
        with contextlib.closing(_opened(path)) as base:
            tables = {_text(name) for (name,) in base.execute(_TABLES)}
            known = [table for table in _MESSAGES if table in tables]
            if not known:
                told.strange("SQLite database without OpenCode's tables")
            for table in known:
                for (owner,) in base.execute(_OWNERS[table]):
                    yield from _session(base, tables, table, _text(owner), told)
    except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
        told.broken(path.name, error)


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Without a write-ahead log there is nothing to miss, and no file beside it is
    made; with one, SQLite must read that too."""
    log = path.with_name(path.name + "-wal")
    live = log.exists() and log.stat().st_size > 0
    base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{'' if live else '&immutable=1'}", uri=True, timeout=2)
    base.text_factory = bytes
    base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_ELEMENT)
    base.execute("PRAGMA trusted_schema = OFF")
    base.execute("PRAGMA query_only = ON")
    return base


def _session(base: sqlite3.Connection, tables: set[str], table: str, owner: str, told: ReadTally) -> Iterator[Event]:
    talk = OpenCodeTalk(told)
    with_parts = table == "message" and "part" in tables
    if "session" in tables:
        for parent, folder in base.execute(_SESSION, (owner,)):
            talk.about(SessionInfo(parent_id=_text(parent), directory=_text(folder)))
    for name, kind, data in base.execute(_MESSAGES[table], (owner,)):
        told.lines += 1
        message = _text(name)
        info = decoded(_bytes(data), _info, f"message {message}", told)
        if info is None:
            continue
        info.id, info.session_id = message, owner
        info.type = _text(kind) or info.type
        yield from talk.message(info, list(_pieces(base, message, told)) if with_parts else [])


def _pieces(base: sqlite3.Connection, message: str, told: ReadTally) -> Iterator[Piece]:
    for name, data in base.execute(_PARTS, (message,)):
        told.lines += 1
        piece = decoded(_bytes(data), _piece, f"part {_text(name)}", told)
        if piece is not None:
            yield piece


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
