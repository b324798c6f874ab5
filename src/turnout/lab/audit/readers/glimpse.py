"""Which keys a file's first value has, told from its beginning alone, be it cut off anywhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from turnout.chat import Json
from turnout.lab.audit.readers.base import Head

__all__ = ["columns_of", "keys_of", "paths_of"]

DEEPEST = 4
MOST_PATHS = 2_000

# The last is the quote of a text that is cut off.
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*(:?)|([\[\]{}])|"', re.DOTALL)


def keys_of(head: Head) -> frozenset[str]:
    """Paths of keys (`request.body.model`) in the first values of a file, at most four keys deep; a list is passed
    through: an element's keys stand where the list's own would."""
    if head.objects:
        return frozenset(path for told in head.objects[:5] for path in _walked(told, "", DEEPEST))
    if head.document is not None:
        return frozenset(_walked(head.document, "", DEEPEST))
    return frozenset(paths_of(head.start))


def _walked(value: Json, before: str, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for element in cast("list[Json]", value)[:3]:
            yield from _walked(element, before, depth)
    elif isinstance(value, dict) and depth:
        for name, inner in list(cast("dict[str, Json]", value).items())[:MOST_PATHS]:
            yield before + name
            yield from _walked(inner, f"{before}{name}.", depth - 1)


def paths_of(start: bytes) -> list[str]:
    """The same of JSON that is cut off."""
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] not in {b"{", b"["}:
        return []
    found: dict[str, None] = {}
    stack: list[str] = []  # what stands before a key in each open bracket
    key = ""
    for token in _TOKEN.finditer(start):
        bracket = token[3]
        if bracket is None:
            if token[1] is None:
                break
            if token[2] and stack and len(stack) <= DEEPEST * 2:
                key = token[1].decode("utf-8", "replace")
                if stack[-1].count(".") < DEEPEST and len(found) < MOST_PATHS:
                    found[stack[-1] + key] = None
        elif bracket in b"{[":
            before = stack[-1] if stack else ""
            stack.append(f"{before}{key}." if key and len(before) < 400 else before)
            key = ""
        elif stack:
            stack.pop()
            key = ""
            if not stack:
                break
    return list(found)


def columns_of(head: Head) -> frozenset[str]:
    """The names in a first line that may be a table's."""
    line = head.start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    if not line or line[:1] in {b"{", b"["} or len(line) > 16_384:
        return frozenset()
    return frozenset(name.strip().strip('"') for name in line.decode("utf-8", "replace").split(","))
