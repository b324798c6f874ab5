"""A rectangle cut into rectangles of given areas that are as square as can be. Pure.

Source: Bruls, Huizing, van Wijk, "Squarified Treemaps" (2000).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

__all__ = ["Box", "squares"]


LEAST = 1e-9
"""A share or a side that nobody sees."""


class Box(Struct, frozen=True):
    left: float
    top: float
    width: float
    height: float


def squares(sizes: Sequence[float], box: Box) -> list[Box]:
    """One box for each size, in their order, the areas in proportion. The sizes are best given largest first; one that
    is not above 0 has no area."""
    whole = sum(size for size in sizes if size > 0)
    if whole <= 0 or box.width <= 0 or box.height <= 0:
        return [Box(box.left, box.top, 0.0, 0.0) for _ in sizes]
    shares = (max(0.0, size) / whole for size in sizes)
    areas = [share * box.width * box.height if share > LEAST else 0.0 for share in shares]
    placed: list[Box] = []
    room, begin = box, 0
    while begin < len(areas):
        end = _row_end(areas, begin, min(room.width, room.height))
        row, room = _laid(areas[begin:end], room)
        placed += row
        begin = end
    return placed


def _row_end(areas: Sequence[float], begin: int, side: float) -> int:
    """Where the row along `side` ends that begins here: when one more would make its worst box longer."""
    end = begin + 1
    while end < len(areas) and _worst(areas[begin : end + 1], side) <= _worst(areas[begin:end], side):
        end += 1
    return end


def _worst(row: Sequence[float], side: float) -> float:
    total, least, most = sum(row), min(row), max(row)
    if least <= 0 or side <= LEAST:
        return float("inf")
    return max(side * side * most / (total * total), total * total / (side * side * least))


def _laid(row: Sequence[float], room: Box) -> tuple[list[Box], Box]:
    """The row's boxes along the shorter side, and the room that is left."""
    total = sum(row)
    placed: list[Box] = []
    if room.width >= room.height:
        deep = min(room.width, total / room.height) if room.height > 0 else 0.0
        at = room.top
        for area in row:
            high = area / deep if deep > 0 else 0.0
            placed.append(Box(room.left, at, deep, high))
            at += high
        return placed, Box(room.left + deep, room.top, room.width - deep, room.height)
    deep = min(room.height, total / room.width) if room.width > 0 else 0.0
    at = room.left
    for area in row:
        wide = area / deep if deep > 0 else 0.0
        placed.append(Box(at, room.top, wide, deep))
        at += wide
    return placed, Box(room.left, room.top + deep, room.width, room.height - deep)
