"""A folder where records wait for a database that is away: with the kernel once written, so they outlive the process.

Each process writes segments of its own, which it holds locked (flock) for as long as it lives; a segment whose lock can
be taken belongs to nobody any more, and whoever takes it ships it. A segment goes when all that is in it is in the
database. A record may therefore be shipped twice, and the database keeps it once.

A segment is a line of JSON, which says what wrote it, and then frames: length and CRC-32 (little-endian), then as many
bytes. Half a frame at the end, after a crash, is no frame.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["LONE", "Segment", "Spool", "left_by", "left_by_lone", "left_to"]

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 8 << 20
"""At this size the next segment begins: what is freed and read at a time."""

ASIDE_S = 60.0
"""A segment that could not be read is tried again after so long."""

LONE = "alone-"
"""So begins the owner's name where a gateway is one by itself."""

_FRAME = struct.Struct("<II")

_MAGIC = b'{"turnout-spool":1}'


class Segment:
    """One file. `records` were written to it; `shipped` are in the database, `spilled` in nobody's memory. `came_back`:
    they were read from it."""

    def __init__(self, path: Path, file: int, size: int) -> None:
        self.path = path
        self.size = size
        self.records = 0
        self.shipped = 0
        self.spilled = 0
        self.came_back = False
        self.begun = size
        """Its size when it was opened: of a new one, and only such a one is emptied, what its first line took."""
        self._file = file

    def write(self, record: bytes) -> None:
        """Append one frame with one `write`. Raises OSError; then nothing of it is there."""
        frame = _FRAME.pack(len(record), zlib.crc32(record)) + record
        written = os.write(self._file, frame)
        if written != len(frame):
            os.ftruncate(self._file, self.size)
            raise OSError(28, os.strerror(28))
        self.size += len(frame)
        self.records += 1

    def read(self) -> tuple[bytes, list[bytes]]:
        """The first line, and every record up to the first that is not whole. Raises OSError."""
        content = self.path.read_bytes()
        head, _, rest = content.partition(b"\n")
        found = list(_frames(rest))
        self.came_back = True  # before it is not `spilled` any more: others ask for both
        self.records, self.shipped, self.spilled = len(found), 0, 0
        return _of(head), found

    def empty(self) -> None:
        """Begin anew, all that was in it being shipped. Raises OSError."""
        os.ftruncate(self._file, self.begun)
        self.size, self.records, self.shipped = self.begun, 0, 0

    def remove(self) -> None:
        with suppress(OSError):
            self.path.unlink()
        self.let_go()

    def let_go(self) -> None:
        """Leave the file to whoever finds it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _of(head: bytes) -> bytes:
    """What the writer of a segment said of it; nothing where the first line is not whole."""
    return head.removeprefix(_MAGIC[:-1] + b',"of":').removesuffix(b"}")


def _frames(content: bytes) -> Iterator[bytes]:
    at = 0
    while at + _FRAME.size <= len(content):
        length, check = _FRAME.unpack_from(content, at)
        at += _FRAME.size
        record = content[at : at + length]
        if len(record) < length or zlib.crc32(record) != check:
            return
        at += length
        yield record


class Spool:
    """The segments of this process in `folder`, and those that a dead process left there.

    `owner`: whose records they are, as names of segments tell whoever adopts them (`left_by`). `head` stands in each
    segment's first line and comes back with what is read from it. `most_bytes`: of all segments in the folder. The
    folder is made. Raises OSError when it cannot be written. `write` may be called by any thread; all else is the
    shipping thread's.
    """

    def __init__(self, folder: Path, head: bytes = b"{}", *, owner: str = "alone", most_bytes: int = 1 << 30) -> None:
        self._folder = folder
        self._owner = owner
        self._head = _MAGIC[:-1] + b',"of":' + head + b"}\n"
        self._most = most_bytes
        self._lock = threading.Lock()
        self._others = 0
        self._rest = 0
        self._begun: dict[Path, Segment] = {}
        self._aside_until_s: dict[Path, float] = {}
        self._error: str | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._current: Segment | None = None
        self._begin()
        self._count_others()

    @property
    def taking(self) -> bool:
        """Whether a record would be taken now, as far as is known."""
        return self._error is None and self.bytes + min(SEGMENT_BYTES, self._most) // 8 < self._most

    @property
    def error(self) -> str | None:
        """Why records are not taken, with the next step."""
        if self._error is not None:
            return self._error
        return None if self.taking else f"the spool {self._folder} is full (store.spool_mb)"

    @property
    def bytes(self) -> int:
        current = self._current
        return self._rest + (current.size if current is not None else 0)

    @property
    def waiting(self) -> int:
        """Records in this process's segments that are not shipped."""
        return sum(segment.records - segment.shipped for segment in list(self._begun.values()))

    def write(self, record: bytes, *, spilled: bool = False) -> Segment | None:
        """Keep a record, in microseconds; the segment that has it, None when there is no room or the disk fails.
        `spilled`: it is kept nowhere else, and comes back by `spilled()`."""
        with self._lock:
            try:
                segment = self._current
                if segment is None or segment.size >= SEGMENT_BYTES:
                    segment = self._begin()
                if self.bytes + len(record) > self._most:
                    return None
                segment.write(record)
                segment.spilled += spilled
            except OSError as error:
                self._failed(error)
                return None
            return segment

    def spilled(self) -> Segment | None:
        """A segment that is complete and has records that are in nobody's memory, when all others of it are shipped."""
        with self._lock:
            if self._current is not None and self._current.spilled:
                self._current = None
                self._weigh()
            for segment in self._begun.values():
                if segment.spilled and segment.shipped + segment.spilled >= segment.records:
                    return segment
        return None

    def backlog(self) -> frozenset[Segment]:
        """The segments with records that were in nobody's memory and are not shipped, each of them complete: what is
        written from now on is in others."""
        with self._lock:
            if self._current is not None and self._current.spilled:
                self._current = None
                self._weigh()
            return frozenset(one for one in self._begun.values() if one.spilled or one.came_back)

    def holds(self, segment: Segment) -> bool:
        """Whether it is not shipped yet, and not put aside."""
        return segment.path in self._begun

    def put_aside(self, segment: Segment) -> None:
        """Leave a segment that cannot be read where it is: `adopt` finds it again, but not for `ASIDE_S`."""
        with self._lock:
            segment.spilled = 0
            self._aside_until_s[segment.path] = time.monotonic() + ASIDE_S
            self._begun.pop(segment.path, None)
            segment.let_go()
        self._count_others()

    def shipped(self, segment: Segment, records: int) -> None:
        """So many more of the segment's records are in the database; a segment with no others goes."""
        segment.shipped += records
        if segment.shipped < segment.records:
            return
        with self._lock:
            if segment is not self._current:
                self._drop(segment)
            elif segment.shipped == segment.records:  # nothing was written meanwhile
                try:
                    segment.empty()
                except OSError as error:
                    self._current = None
                    self._drop(segment)
                    self._failed(error)

    def revive(self) -> None:
        """Try a disk again that failed."""
        if self._error is None:
            return
        with self._lock:
            try:
                self._begin()
            except OSError as error:
                self._failed(error)
            else:
                self._error = None
                logger.warning("the spool %s is written again", self._folder)

    def adopt(self) -> Segment | None:
        """A segment that its process left when it died, now ours; None when there is none."""
        self._count_others()
        now_s = time.monotonic()
        self._aside_until_s = {path: until_s for path, until_s in self._aside_until_s.items() if until_s > now_s}
        for path in sorted(self._folder.glob("*.spool")):
            if path in self._begun or path in self._aside_until_s:
                continue
            if (segment := _take(path)) is not None:
                with self._lock:
                    self._begun[path] = segment
                self._count_others()
                return segment
        return None

    def close(self) -> None:
        """Let go: what is not shipped stays for the next to come."""
        with self._lock:
            for segment in list(self._begun.values()):
                if segment.shipped >= segment.records:
                    segment.remove()
                else:
                    segment.let_go()
            self._begun.clear()
            self._current = None

    def _begin(self) -> Segment:
        name = f"{self._owner}.{secrets.token_hex(8)}"
        # Locked before it has the name by which others find it.
        new, path = self._folder / f".{name}.new", self._folder / f"{name}.spool"
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(file, self._head)
            new.rename(path)
        except OSError:
            os.close(file)
            with suppress(OSError):
                new.unlink()
            raise
        segment = self._begun[path] = self._current = Segment(path, file, len(self._head))
        self._weigh()
        return segment

    def _drop(self, segment: Segment) -> None:
        self._begun.pop(segment.path, None)
        segment.remove()
        self._weigh()

    def _weigh(self) -> None:
        """What is on the disk beside the current segment: those change seldom, and it with every record."""
        mine = sum(segment.size for segment in self._begun.values() if segment is not self._current)
        self._rest = self._others + mine

    def _count_others(self) -> None:
        total = 0
        for path in self._folder.glob("*.spool"):
            if path not in self._begun:
                with suppress(OSError):
                    total += path.stat().st_size
        with self._lock:
            self._others = total
            self._weigh()

    def _failed(self, error: OSError) -> None:
        said = f"the spool {self._folder} cannot be written: {error.strerror}; check the disk of store.folder"
        if self._error is None:
            logger.error("%s", said)
        self._error = said


def left_by(folder: Path, owner: str) -> int:
    """How many segments of `owner`, who died, may still wait in `folder`."""
    return sum(_owner_of(path) == owner for path in folder.glob("*.spool"))


def left_by_lone(folder: Path) -> int:
    """How many segments of gateways that were each one by itself may still wait in `folder`."""
    return sum(path.name.startswith(LONE) for path in folder.glob("*.spool"))


def left_to(folder: Path, owner: str) -> int:
    """How many segments of anybody but `owner` may still wait in `folder`."""
    return sum(_owner_of(path) != owner for path in folder.glob("*.spool"))


def _owner_of(segment: Path) -> str:
    """The name may hold dots; what else stands in a segment's does not."""
    return segment.stem.rpartition(".")[0]


def _take(path: Path) -> Segment | None:
    """The segment, when nobody holds it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been shipped and removed between the two.
        if os.fstat(file).st_nlink:
            return Segment(path, file, os.fstat(file).st_size)
    except OSError:
        pass
    os.close(file)
    return None
