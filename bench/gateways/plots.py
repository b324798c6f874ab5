"""Plots of the benchmarks as SVG for light and dark pages: lines and bars on logarithmic scales. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

from msgspec import Struct

__all__ = ["Bar", "Line", "bars", "lines"]

WIDTH, LEFT, RIGHT, TOP = 760, 86, 120, 44
PLOT_HEIGHT, BAR_HEIGHT = 330, 26
COLOURS = ("#d6336c", "#495057", "#1971c2", "#2f9e44", "#e8590c", "#7048e8", "#0c8599", "#a61e4d")
STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#343a40}.t{font-weight:600;font-size:15px}"
    ".g{stroke:#adb5bd;stroke-width:.5}@media(prefers-color-scheme:dark){text{fill:#dee2e6}.g{stroke:#495057}}</style>"
)


class Line(Struct, frozen=True):
    """One gateway's values by size in bytes, with the least and the most of all rounds."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]


class Bar(Struct, frozen=True):
    """One gateway's value, with the least and the most of all rounds; `written` stands beside it."""

    name: str
    value: float
    least: float
    most: float
    written: str


def lines(title: str, ticks: Sequence[tuple[float, str]], series: Sequence[Line]) -> str:
    """Values over sizes, one line each, named at its end; a thin upright from the least to the most."""
    values = [value for line in series for point in line.points for value in point[1:] if value > 0]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    left, right = log10(ticks[0][0]), log10(ticks[-1][0])

    def x(size: float) -> float:
        return LEFT + (log10(size) - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - log10(value)) / (high - low) * PLOT_HEIGHT

    parts = [_text(LEFT, 22, title, "t")]
    for power in range(low, high + 1):
        parts += [
            _grid(LEFT, y(10**power), WIDTH - RIGHT),
            _text(LEFT - 8, y(10**power) + 4, f"{10**power:g}", end=True),
        ]
    parts += [_text(x(size), TOP + PLOT_HEIGHT + 20, name, middle=True) for size, name in ticks]
    ends = _apart([(y(line.points[-1][1]), line.name) for line in series], 15)
    for number, line in enumerate(series):
        colour, wide = COLOURS[number % len(COLOURS)], 3 if number == 0 else 1.5
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value, _, _ in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}"/>')
        for size, value, least, most in line.points:
            at = x(size)
            if least > 0:
                parts.append(f'<path d="M{at:.1f} {y(least):.1f}V{y(most):.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 10, ends[line.name] + 4, line.name, colour=colour))
    return _svg(title, TOP + PLOT_HEIGHT + 34, parts)


def bars(title: str, rows: Sequence[Bar]) -> str:
    """One bar each, the least value first."""
    low, high = floor(log10(min(row.value for row in rows))), ceil(log10(max(row.most for row in rows)))
    start = LEFT + 20

    def x(value: float) -> float:
        share = (log10(max(value, 10**low)) - low) / max(1, high - low)
        return start + share * (WIDTH - start - RIGHT)

    bottom = TOP + BAR_HEIGHT * len(rows)
    parts = [_text(8, 22, title, "t")]
    for power in range(low, high + 1):
        at = x(10**power)
        parts.append(f'<path class="g" d="M{at:.1f} {TOP - 6}V{bottom}"/>')
        parts.append(_text(at, bottom + 18, f"{10**power:g}", middle=True))
    for number, row in enumerate(sorted(rows, key=lambda row: row.value)):
        top, colour = TOP + number * BAR_HEIGHT, COLOURS[0] if row.name == "Turnout" else COLOURS[2]
        wide = max(2.0, x(row.value) - start)
        parts.append(_text(start - 8, top + 15, row.name, end=True))
        parts.append(f'<rect x="{start}" y="{top + 3}" width="{wide:.1f}" height="{BAR_HEIGHT - 10}" fill="{colour}"/>')
        parts.append(f'<path class="g" d="M{x(row.least):.1f} {top + 11}H{x(row.most):.1f}" style="stroke-width:2"/>')
        parts.append(_text(max(x(row.most), start + wide) + 8, top + 15, row.written))
    return _svg(title, bottom + 28, parts)


def _apart(places: list[tuple[float, str]], least: float) -> dict[str, float]:
    """Labels moved down until none is on another."""
    found: dict[str, float] = {}
    last = float("-inf")
    for place, name in sorted(places):
        last = max(place, last + least)
        found[name] = last
    return found


def _text(
    x: float, y: float, text: str, style: str = "", *, end: bool = False, middle: bool = False, colour: str = ""
) -> str:
    anchor = ' text-anchor="end"' if end else ' text-anchor="middle"' if middle else ""
    anchor += f' style="fill:{colour}"' if colour else ""
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{anchor}{named}>{escape(text)}</text>'


def _grid(left: float, y: float, right: float) -> str:
    return f'<path class="g" d="M{left} {y:.1f}H{right}"/>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(title)}</title>{STYLE}'
    return "\n".join((head, *parts, "</svg>", ""))
