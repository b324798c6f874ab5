"""Random names: drawn from the system's source many at a time, for asking it once for each costs more than the name."""

from __future__ import annotations

import os

__all__ = ["Ids"]

DRAWN_BYTES = 4096


class Ids:
    """Names that nobody can guess. One event loop owns it; made after a fork, for two that share what was drawn would
    give the same names."""

    def __init__(self) -> None:
        self._drawn = b""
        self._at = 0

    def hex(self, size: int) -> str:
        """`size` random bytes in hexadecimal digits."""
        if self._at + size > len(self._drawn):
            self._drawn, self._at = os.urandom(max(size, DRAWN_BYTES)), 0
        self._at += size
        return self._drawn[self._at - size : self._at].hex()
