"""Logs for tests: read to events and a tally, and spoilt in all the ways that a disk or an attacker knows."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from turnout.lab.audit.readers.base import Source
from turnout.lab.audit.records import Ending, ReadTally, Step

FIXTURES = Path(__file__).parents[1] / "fixtures" / "audit"

NASTY = [
    b"",
    b"\x00" * 40,
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b'"massive error"',
    b"null",
    b"1e999",
    b"\xff\xfe",
    b'{"type":"assistant","message":' + b"[" * 5_000,
    b'{"type":"response_item","payload":' + b"[" * 5_000,
]
VALUES = [None, True, -1, 10**30, 1.5, "", "x", "\ud83d", [], {}, [None], {"type": None}, [[[[1]]]], {"text": 5}]


def read(reader, *paths):
    """The steps and endings of files, and the tally."""
    told = ReadTally()
    events = list(reader.read(Source(paths=tuple(paths)), told))
    steps = [event for event in events if isinstance(event, Step)]
    return steps, [event for event in events if isinstance(event, Ending)], told


def written(path, lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def tokens(steps):
    """Input, cache reads, cache writes and output of steps."""
    names = ("input", "cache_read", "cache_write", "output")
    return tuple(sum(getattr(s.usage, name) or 0 for s in steps if s.usage) for name in names)


def places(value, path=()):
    """Every place within a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def spoilt(draw, lines):
    """A log's lines with some of them cut, flipped, moved, doubled, exchanged for nonsense or wrong in one place."""
    out = list(lines)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(out) - 1))
        line = out[at]
        match draw(st.sampled_from(["cut", "flip", "swap", "double", "nonsense", "value", "value", "value"])):
            case "cut":
                out[at] = line[: draw(st.integers(0, len(line)))]
            case "flip" if line:
                where = draw(st.integers(0, len(line) - 1))
                out[at] = line[:where] + bytes([line[where] ^ (1 << draw(st.integers(0, 7)))]) + line[where + 1 :]
            case "swap":
                other = draw(st.integers(0, len(out) - 1))
                out[at], out[other] = out[other], out[at]
            case "double":
                out.insert(draw(st.integers(0, len(out))), line)
            case "nonsense":
                out[at] = draw(st.sampled_from(NASTY))
            case _:
                out[at] = draw(_wrong(line))
    return b"\n".join(out)


@st.composite
def _wrong(draw, line):
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line
    path = draw(st.sampled_from(list(places(value))))
    bad = draw(st.sampled_from(VALUES))
    if not path:
        return json.dumps(bad).encode()
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = bad
    return json.dumps(value).encode()
