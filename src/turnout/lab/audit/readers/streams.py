"""One big JSON document read element by element, in memory that does not grow with the file.

A log that is one document may hold gigabytes, most of them in a list or two. What is decoded at once is an element of
such a list; everything between is only scanned: brackets are counted and strings stepped over by compiled expressions,
nothing is decoded twice and no nesting, however deep, takes memory.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from turnout.lab.audit.readers.base import open_log
from turnout.lab.audit.records import ReadTally

__all__ = ["LONGEST_ELEMENT", "Element", "elements_of"]

LONGEST_ELEMENT = 64 * 1024 * 1024
"""A longer one is no log's: it is stepped over and counted."""

CHUNK = 256 * 1024

_WITHIN = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_string_rest = re.compile(_WITHIN, re.DOTALL).match
"""Up to a string's closing quote, to the end, or to a backslash whose partner has not been read."""

_to_bracket = re.compile(rb'[^"\[\]{}]*+(?:"' + _WITHIN + rb'"[^"\[\]{}]*+)*+', re.DOTALL).match
"""Up to a bracket outside of strings, to the end, or to a string that goes on beyond it."""

_space = re.compile(rb"[ \t\r\n,]*+").match
_scalar = re.compile(rb'[^\s,:"\[\]{}]*+').match
_decode_key = msgspec.json.Decoder(str).decode


class Element(NamedTuple):
    """A piece of a document, as it is written. `key`: the member of the document that it is or is in; "" where the
    document is itself a list. `number` counts within that list from 0; None: it is the whole member."""

    key: str
    number: int | None
    raw: bytes


def elements_of(
    path: Path, told: ReadTally, lists: Collection[str] = (), members: Collection[str] = ()
) -> Iterator[Element]:
    """The elements of a document that is a list; of one that is an object, in the order of the file, the elements of
    the members named in `lists` and, whole, those named in `members` (or in `lists`, where they hold no list). What is
    not named is stepped over. Elements are counted in `told`; what is damaged or too long is told and left out. Raises
    OSError."""
    with open_log(path) as file:
        feed = _Feed(file)
        try:
            yield from _document(feed, path, told, lists, members)
        except _Damaged as error:
            told.broken(f"{path.name} byte {feed.place}", error)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            told.broken(f"{path.name} after byte {feed.place}", error)


class _Damaged(Exception):
    """The document cannot be read on from here."""


def _document(
    feed: _Feed, path: Path, told: ReadTally, lists: Collection[str], members: Collection[str]
) -> Iterator[Element]:
    start = feed.next()
    if start == b"[":
        yield from _list("", feed, path, told)
    elif start == b"{":
        yield from _members(feed, path, told, lists, members)
    else:
        raise _Damaged("neither an object nor a list")
    if not feed.ended():
        raise _Damaged("something follows the document")


def _members(
    feed: _Feed, path: Path, told: ReadTally, lists: Collection[str], members: Collection[str]
) -> Iterator[Element]:
    feed.at += 1
    while (ahead := feed.next()) != b"}":
        if ahead != b'"':
            raise _Damaged("a member's name was expected")
        key = _key(feed.value(keep=True))
        if feed.next() != b":":
            raise _Damaged(f"a colon was expected after {key[:40]!r}")
        feed.at += 1
        if feed.next() == b"[" and key in lists:
            yield from _list(key, feed, path, told)
            continue
        wanted = key in members or key in lists
        place = feed.place
        value = feed.value(keep=wanted)
        if wanted and value is None:
            told.broken(f"{path.name} byte {place}", f"{key!r} is longer than {LONGEST_ELEMENT // 2**20} MiB, skipped")
        elif wanted and value is not None:
            yield Element(key, None, value)
    feed.at += 1


def _key(raw: bytes | None) -> str:
    try:
        return _decode_key(raw or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _Damaged("a member's name cannot be read") from None


def _list(key: str, feed: _Feed, path: Path, told: ReadTally) -> Iterator[Element]:
    feed.at += 1
    index = 0
    while feed.next() != b"]":
        place = feed.place
        value = feed.value(keep=True)
        told.lines += 1
        if value is None:
            told.broken(f"{path.name} byte {place}", f"longer than {LONGEST_ELEMENT // 2**20} MiB, skipped")
        else:
            yield Element(key, index, value)
        index += 1
    feed.at += 1


class _Feed:
    """A window on a file: `data` from `at` on is still to be read, `place` is where that is in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._before = 0
        self.data = b""
        self.at = 0

    @property
    def place(self) -> int:
        return self._before + self.at

    def _more(self) -> bool:
        """Reads on; what stands before `at` is let go. False: the file ends here."""
        fresh = self._file.read(CHUNK)
        self._before += self.at
        self.data = self.data[self.at :] + fresh
        self.at = 0
        return bool(fresh)

    def next(self) -> bytes:
        """The next byte that is neither space nor a comma, where `at` then is. Raises _Damaged where none follows."""
        if self.ended():
            raise _Damaged("the file ends in the middle")
        return self.data[self.at : self.at + 1]

    def ended(self) -> bool:
        """Whether nothing but space follows."""
        while True:
            found = _space(self.data, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.data):
                return False
            if not self._more():
                return True

    def value(self, *, keep: bool) -> bytes | None:
        """The value at `at`, which then is behind it. None: nobody wants it, or it is too long."""
        first = self.data[self.at : self.at + 1]
        if first in b"[{":
            scan = _Nested()
        elif first == b'"':
            scan = _Quoted()
            self.at += 1
        else:
            scan = _Bare()
        pieces: list[bytes] | None = [first] if keep and first == b'"' else [] if keep else None
        size = 0
        while True:
            begun = self.at
            done = scan.over(self)
            size += self.at - begun
            if pieces is not None:
                pieces.append(self.data[begun : self.at])
                pieces = pieces if size <= LONGEST_ELEMENT else None
            if done:
                break
            if not self._more():
                raise _Damaged("the file ends in the middle")
        if size == 0 and first != b'"':
            raise _Damaged(f"{first!r} was not expected")
        return None if pieces is None else b"".join(pieces)


class _Nested:
    """Over a list or an object, up to the bracket that closes it."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = _Quoted()
        self._in_string = False

    def over(self, feed: _Feed) -> bool:
        data, at, depth = feed.data, feed.at, self._depth
        if self._in_string:
            if not self._quoted.over(feed):
                return False
            self._in_string = False
            at = feed.at
        end = len(data)
        while True:
            found = _to_bracket(data, at)
            at = found.end() if found else at
            if at >= end:
                break
            sign = data[at]
            at += 1
            if sign == 0x22:  # a string that goes on beyond what was read
                feed.at = at
                self._depth, self._in_string = depth, True
                self._quoted.over(feed)
                return False
            depth += 1 if sign in {0x5B, 0x7B} else -1
            if depth == 0:
                feed.at = at
                return True
        feed.at, self._depth = at, depth
        return False


class _Quoted:
    """Over the rest of a string, up to the quote that closes it."""

    def over(self, feed: _Feed) -> bool:
        found = _string_rest(feed.data, feed.at)
        feed.at = found.end() if found else feed.at
        if feed.data[feed.at : feed.at + 1] == b'"':
            feed.at += 1
            return True
        return False


class _Bare:
    """Over a number or a word."""

    def over(self, feed: _Feed) -> bool:
        found = _scalar(feed.data, feed.at)
        feed.at = found.end() if found else feed.at
        return feed.at < len(feed.data)
