"""SQLite files of other programs, opened so that nothing in them is changed and nothing in them runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["DAMAGES", "SQLITE", "open_readonly", "tables_of"]

DAMAGES = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError)
"""What reading a damaged file raises."""

SQLITE = b"SQLite format 3\0"
"""How every such file begins."""

LONGEST_VALUE = 64 * 1024 * 1024

_BUSY_S = 1.0


def open_readonly(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. A program that has the file open keeps a log beside it, which is to be read, too;
    without one no file is to be made. Raises sqlite3.Error."""
    log = path.with_name(f"{path.name}-wal")
    live = log.exists() and log.stat().st_size > 0
    still = "" if live else "&immutable=1"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=_BUSY_S)
    db.text_factory = _text
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA query_only = ON")
    return db


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def tables_of(path: Path) -> dict[str, str]:
    """The tables of a file, views left out (one may compute for ever), and how each was made; {} for no database."""
    try:
        with closing(open_readonly(path)) as db:
            made = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchmany(1_000)
    except DAMAGES:
        return {}
    return {str(name): str(sql) for name, sql in made}
