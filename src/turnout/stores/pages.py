"""A file that is appended to in memory: what is written outlives the process at once, without a call of the system."""

from __future__ import annotations

import mmap
import os

__all__ = ["Pages"]

GROWN_BYTES = 256 * 1024


class Pages:
    """The pages of an open, empty file (read and write), which is theirs from then on. What stands in them is the
    kernel's as soon as it is written, as after `os.write`, whatever becomes of this process. Zeros stand behind it.

    Its room is taken on the disk beforehand, by writing those zeros: a page that the disk has no room for would end
    the process."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._map: mmap.mmap | None = None
        self._room = 0
        self.size = 0

    def append(self, data: bytes) -> None:
        """Raises OSError where there is no room; then nothing of it is written."""
        pages, end = self._map, self.size + len(data)
        if pages is None or end > self._room:
            pages = self._grow(end)
        pages[self.size : end] = data
        self.size = end

    def close(self) -> None:
        """Let go of the file and its locks; once."""
        if self._map is not None:
            self._map.close()
        os.close(self._file)

    def _grow(self, need: int) -> mmap.mmap:
        room = -(-need // GROWN_BYTES) * GROWN_BYTES
        at = self._room
        while at < room:
            at += os.pwrite(self._file, bytes(room - at), at)
        pages = mmap.mmap(self._file, room)
        if self._map is not None:  # only now: where there is no new one it serves on
            self._map.close()
        self._map, self._room = pages, room
        return pages
