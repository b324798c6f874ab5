"""What a reader of logs is, what it is told by, and bytes from disk in bounded pieces."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from msgspec import Struct

from turnout.chat import Json
from turnout.lab.audit.readers.databases import SQLITE, tables_of
from turnout.lab.audit.records import Event, ReadTally

__all__ = ["HEAD_BYTES", "LONGEST_LINE", "Head", "Reader", "Source", "head_of", "lines_of", "open_log", "seconds_of"]

HEAD_BYTES = 64 * 1024
"""So much of a file is looked at to tell what it is."""

LONGEST_LINE = 64 * 1024 * 1024
"""A longer line is no log's: it is skipped and counted."""


class Head(Struct, frozen=True, kw_only=True):
    """The beginning of a file: its `name` with the two folders above it (`project/subagents/x.jsonl`), its first bytes,
    and the JSON objects on its first whole lines (none where it is one document). `tables`: of an SQLite file, by name
    the statement that made each."""

    name: str
    start: bytes
    objects: tuple[dict[str, Json], ...] = ()
    tables: dict[str, str] = {}
    document: Json = None
    """The file decoded, where it is one small JSON document."""


class Source(Struct, frozen=True, kw_only=True):
    """What one reader reads at once: a file, or the files that make up one session."""

    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        return self.paths[0].name


class Reader(Struct, frozen=True, kw_only=True):
    """One format. `claims` says of a file's beginning whether it is of this format: by what is in it, not by its name
    alone. `read` gives its events in order, counts what it leaves out, and raises OSError for a file that cannot be
    read and nothing else, whatever is in it. `group` puts files that belong together into one source (None: each
    alone). `provider`: who answers in these logs where they do not say. `places`: where its agent keeps logs, as
    globs below the home folder; `homes`: the same, below the folder that an environment variable names
    (`CODEX_HOME/sessions`)."""

    name: str
    title: str
    claims: Callable[[Head], bool]
    read: Callable[[Source, ReadTally], Iterator[Event]]
    group: Callable[[Sequence[Path]], list[Source]] | None = None
    provider: str = ""
    places: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()


def open_log(path: Path) -> BinaryIO:
    """A file's bytes; those of a gzip file unpacked. Raises OSError."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    # A GzipFile over a file of ours would not close it.
    return cast("BinaryIO", gzip.open(path, "rb") if packed else path.open("rb"))


def lines_of(path: Path, told: ReadTally) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that hold anything, with their numbers from 1. What is too long, or damaged in its
    compression, is counted in `told` and left out. Raises OSError."""
    with open_log(path) as file:
        number = 0
        try:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) >= LONGEST_LINE and not line.endswith(b"\n"):
                    told.lines += 1
                    told.broken(f"{path.name} line {number}", f"longer than {LONGEST_LINE // 2**20} MiB, skipped")
                    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                        pass
                    continue
                if stripped := line.strip():
                    told.lines += 1
                    yield number, stripped
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            told.broken(f"{path.name} after line {number}", error)


_decode = msgspec.json.Decoder().decode


def head_of(path: Path) -> Head:
    """The beginning of a file. Raises OSError."""
    with open_log(path) as file:
        try:
            start = file.read(HEAD_BYTES + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            start = b""
    whole, start = len(start) <= HEAD_BYTES, start[:HEAD_BYTES]
    name = "/".join(path.parts[-3:])
    if start.startswith(SQLITE):
        return Head(name=name, start=start, tables=tables_of(path))
    lines = start.splitlines()
    # The last line may go on beyond what was read.
    objects = tuple(found for line in (lines if whole else lines[:-1]) if isinstance(found := _json(line), dict))
    document = _json(start) if whole and not objects else None
    return Head(name=name, start=start, objects=objects, document=document)


def seconds_of(told: Json) -> float | None:
    """A time as logs write it, in seconds since 1970: ISO 8601 (UTC where it names no zone), or a number of seconds,
    milliseconds, microseconds or nanoseconds since then. None for anything else."""
    if isinstance(told, str):
        try:
            at = datetime.fromisoformat(told)
        except ValueError:
            return _since_1970(float(told)) if told.isascii() and told.isdigit() and len(told) < 25 else None
        try:
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (OverflowError, ValueError):
            return None
    if isinstance(told, int | float) and not isinstance(told, bool):
        return _since_1970(float(told))
    return None


def _since_1970(number: float) -> float | None:
    """By size alone: seconds have ten digits until the year 2286."""
    if not math.isfinite(number) or number <= 0:
        return None
    for unit in (1e9, 1e6, 1e3):
        if number >= unit * 1e9:
            return number / unit
    return number


def _json(text: bytes) -> Json:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
