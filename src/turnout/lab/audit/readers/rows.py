"""Rows of a log, one at a time, however they were exported: lines of JSON, a document that lists them, a CSV table."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Raw

from turnout.lab.audit.readers.base import HEAD_BYTES, LONGEST_LINE, head_of, lines_of, open_log
from turnout.lab.audit.readers.glimpse import paths_of
from turnout.lab.audit.readers.loose import UNREADABLE
from turnout.lab.audit.readers.streams import elements_of
from turnout.lab.audit.records import ReadTally

__all__ = ["Row", "cells_of", "rows_of"]

_raws = msgspec.json.Decoder(list[Raw])
_fields = msgspec.json.Decoder(dict[str, Raw])

_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)


class Row(NamedTuple):
    """A row as JSON. `key`: the list of its document that it stands in, or the member that it is ("": neither)."""

    place: str
    key: str
    raw: bytes


def rows_of(path: Path, told: ReadTally, lists: tuple[str, ...] = (), members: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of a file of JSON: its lines; or, where it is one document, the elements of it or of its `lists`, and
    its `members` whole; or the document, where it has none of these. Raises OSError."""
    if _is_lines(path):
        for number, line in lines_of(path, told):
            yield from _split(Row(f"{path.name} line {number}", "", line), told, lists, members)
        return
    top = {name for name in paths_of(head_of(path).start) if name in lists}
    if top or _first(path) == b"[":
        for element in elements_of(path, told, lists, members):
            yield Row(f"{path.name} element {element.index}", element.key, element.raw)
        return
    whole = _whole(path, told)
    if whole:
        told.lines += 1
        yield from _split(Row(path.name, "", whole), told, lists, members)


def _is_lines(path: Path) -> bool:
    """Whether the first line is an object of its own: a document of many lines begins with less, one of a single line
    is a line."""
    with open_log(path) as file:
        try:
            line = file.readline(LONGEST_LINE).removeprefix(b"\xef\xbb\xbf").strip()
        except _DAMAGED:
            return True  # whoever reads the lines says so
    return line[:1] == b"{" and line[-1:] == b"}"


def _first(path: Path) -> bytes:
    return head_of(path).start[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]


def _whole(path: Path, told: ReadTally) -> bytes:
    with open_log(path) as file:
        try:
            data = file.read(LONGEST_LINE + 1)
        except _DAMAGED as error:
            told.broken(path.name, error)
            return b""
    if len(data) > LONGEST_LINE:
        told.broken(path.name, f"one document of more than {LONGEST_LINE // 2**20} MiB, skipped")
        return b""
    return data.removeprefix(b"\xef\xbb\xbf").strip()


def _split(row: Row, told: ReadTally, lists: tuple[str, ...], members: tuple[str, ...]) -> Iterator[Row]:
    """A line that is a document itself, as its rows."""
    raw = row.raw.removeprefix(b"\xef\xbb\xbf")
    try:
        if raw[:1] == b"[":
            yield from _each(row, "", _raws.decode(raw), told)
            return
        if any(f'"{name}"'.encode() in raw for name in lists):
            fields = _fields.decode(raw)
            found = [name for name in (*members, *lists) if name in fields]
            if any(name in lists and bytes(fields[name])[:1] == b"[" for name in found):
                for name in found:
                    listed = name in lists and bytes(fields[name])[:1] == b"["
                    yield from _each(row, name, _raws.decode(fields[name]) if listed else [fields[name]], told)
                return
    except UNREADABLE as error:
        told.broken(row.place, error)
        return
    yield Row(row.place, "", raw)


def _each(row: Row, key: str, raws: list[Raw], told: ReadTally) -> Iterator[Row]:
    told.lines += len(raws)
    for index, raw in enumerate(raws):
        yield Row(f"{row.place} element {index}", key, bytes(raw))


def cells_of(path: Path, told: ReadTally) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV table with a header, where they are and by name. Raises OSError."""
    # The module's own limit is 128 KiB, and prompts are longer; there is one for the whole process.
    csv.field_size_limit(LONGEST_LINE)
    table = csv.reader(_texts(path, told))
    names: list[str] = []
    while True:
        place = f"{path.name} line {table.line_num + 1}"
        try:
            cells = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            told.lines += 1
            told.broken(place, error)
            continue
        if not names:
            names = [name.strip() for name in cells]
            continue
        if not cells:
            continue
        told.lines += 1
        if len(cells) != len(names):
            told.broken(place, f"{len(cells)} cells under {len(names)} names")
            continue
        yield place, dict(zip(names, cells, strict=True))


def _texts(path: Path, told: ReadTally) -> Iterator[str]:
    with open_log(path) as file:
        try:
            first = True
            while line := file.readline(LONGEST_LINE):
                yield (line.removeprefix(b"\xef\xbb\xbf") if first else line).decode("utf-8", "replace")
                first = False
        except _DAMAGED as error:
            told.broken(path.name, error)
