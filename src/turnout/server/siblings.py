"""Workers of one `turnout serve`: each leaves its series where the others read them, so that whichever is scraped tells
of all.

The place is memory that the parent has before it forks: nothing to connect to, nothing left behind, and what a killed
worker left is still there. Each worker has a slot of two halves; it writes the half that nobody reads and then says
which one counts, in a single byte. A checksum tells a reader that was overtaken twice.
"""

from __future__ import annotations

import logging
import mmap
import struct
import zlib
from collections.abc import Mapping

import msgspec

from turnout.telemetry.snapshot import Among, Snapshot, merged, past

__all__ = ["Siblings", "Slots"]

log = logging.getLogger("turnout")

HALF = 2 * 1024 * 1024
"""Of a worker's series; takes memory only as far as it is written to. The fullest page fits."""

HEAD = struct.Struct("<II")

STALE_S = 10.0
"""Who has told nothing for so long is gone or stands still: what it counted counts, its gauges do not."""

READS = 5


class Slots:
    """So many slots. Made before a fork; a slot has one writer at a time."""

    def __init__(self, count: int, half: int = HALF) -> None:
        self._half = half
        self._slot = mmap.PAGESIZE + 2 * half
        self._memory = mmap.mmap(-1, count * self._slot)
        self.count = count

    def write(self, slot: int, told: bytes) -> bool:
        """Whether it had room."""
        if HEAD.size + len(told) > self._half:
            return False
        begin = slot * self._slot
        which = 2 if self._memory[begin] == 1 else 1
        at = begin + mmap.PAGESIZE + (which - 1) * self._half
        self._memory[at : at + HEAD.size + len(told)] = HEAD.pack(len(told), zlib.crc32(told)) + told
        self._memory[begin] = which
        return True

    def read(self, slot: int) -> bytes | None:
        """What was last written, by whoever had the slot; None before that."""
        begin = slot * self._slot
        for _ in range(READS):
            which = self._memory[begin]
            if which == 0:
                return None
            at = begin + mmap.PAGESIZE + (which - 1) * self._half
            size, checksum = HEAD.unpack_from(self._memory, at)
            told = self._memory[at + HEAD.size : at + HEAD.size + min(size, self._half)]
            if zlib.crc32(told) == checksum:
                return told
        return None


class Siblings:
    """The board as one worker has it. What an earlier worker of its slot counted is taken on, so that no sum falls
    when one is started again. `among`: of each gauge, what it is of several processes."""

    def __init__(self, board: Slots, slot: int, among: Mapping[str, Among]) -> None:
        self._board = board
        self._slot = slot
        self._among = among
        self._last: dict[int, Snapshot] = {}
        self._said = False
        left = board.read(slot)
        self._before = () if left is None else (past(_decoder.decode(left)),)

    def tell(self, own: Snapshot) -> Snapshot:
        """Let the others know; this slot's series, with what it took on."""
        told = merged([*self._before, own], self._among)
        if not self._board.write(self._slot, _encoder.encode(told)) and not self._said:
            self._said = True
            log.error("/metrics: this worker has more series than the others can be told of; they show old figures")
        return told

    def together(self, own: Snapshot) -> Snapshot:
        """All workers as one. It is told before, for what was shown once must not fall when we are killed."""
        slots = dict[int, Snapshot]()
        for slot in range(self._board.count):
            told = self.tell(own) if slot == self._slot else self._read(slot)
            if told is not None:
                slots[slot] = told if own.at_s - told.at_s < STALE_S else past(told)
        return merged(list(slots.values()), self._among)

    def _read(self, slot: int) -> Snapshot | None:
        told = self._board.read(slot)
        if told is not None:
            self._last[slot] = _decoder.decode(told)
        return self._last.get(slot)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)
