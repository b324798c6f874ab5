"""Random names: drawn from the system's source many at a time, for asking it once for each costs more than the name."""

from __future__ import annotations

import os
import time

__all__ = ["Ids"]

DRAWN_BYTES = 4096


class Ids:
    """Names that nobody can guess. One event loop owns it; made after a fork, for two that share what was drawn would
    give the same names."""

    def __init__(self) -> None:
        self._drawn = b""
        self._at = 0

    def ordered(self) -> str:
        """24 hexadecimal digits of which 14 are random; later names are greater, so that rows that are written one
        after another stand beside each other in an index: a database then writes a few pages and not one for each."""
        return f"{int(time.time() * 16) & 0xFF_FFFF_FFFF:010x}{self.hex(7)}"

    def hex(self, size: int) -> str:
        """`size` random bytes in hexadecimal digits."""
        if self._at + size > len(self._drawn):
            self._drawn, self._at = os.urandom(max(size, DRAWN_BYTES)), 0
        self._at += size
        return self._drawn[self._at - size : self._at].hex()
