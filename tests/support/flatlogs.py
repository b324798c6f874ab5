"""Logs read in tests, and ways to spoil them."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import strategies as st

from turnout.lab.audit.readers.base import Reader, Source
from turnout.lab.audit.records import ReadTally, Step

FIXTURES = Path(__file__).parent.parent / "fixtures" / "audit"

_NUMBER = re.compile(rb"(?<=[:,\[ ])-?\d+(?:\.\d+)?(?=[,}\] ])")
_SPOILERS = [
    *(b"-1", b"1e999", b"9" * 40, b"null", b"true", b'"x"', b"[]", b"{}", b"[" * 3_000, b'{"a":' * 2_000),
    *(b"\x00", b"\xff\xfe", b'"\\ud800"', b'"\xed\xa0\x80"', b"\n", b'"', b"\\", b"1.5", b"-0.0", b"NaN"),
]


def read(reader: Reader, path: Path) -> tuple[list[Step], ReadTally]:
    """Every step of a file, and what was told of it."""
    told = ReadTally()
    return [e for e in reader.read(Source(paths=(path,)), told) if isinstance(e, Step)], told


@st.composite
def spoiled(draw: st.DrawFn, whole: bytes) -> bytes:
    """A log that something happened to: cut off, bits turned, pieces doubled, other kinds of values, absurd numbers."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["cut", "flip", "put", "number", "double", "drop"]))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if kind == "cut":
            del data[at:]
        elif kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "put":
            data[at:at] = draw(st.sampled_from(_SPOILERS))
        elif kind == "number":
            found = list(_NUMBER.finditer(bytes(data)))
            if found:
                hit = draw(st.sampled_from(found))
                data[hit.start() : hit.end()] = draw(st.sampled_from(_SPOILERS))
        elif kind == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 400))]
        else:
            del data[at : at + draw(st.integers(1, 400))]
    return bytes(data)
