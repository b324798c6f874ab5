"""Charts as inline SVG: areas, columns, lines and tiles that stretch with the page while their texts do not. Pure.

The shapes of a plot lie in an inner picture of 1,000 by 1,000 that is stretched to whatever room there is; texts and
dots stand outside of it, placed in percent. Colours are classes (`s0` to `s8`): the page's style knows light and dark.
Each mark has its words in a `<title>`, which browsers show by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from msgspec import Struct

from turnout.lab.audit.markup import Markup, tag
from turnout.lab.audit.squares import Box, squares

__all__ = ["COLOURS", "OTHER", "Frame", "Label", "Series", "Tile", "area", "bar", "columns", "line", "ticks", "tiles"]

COLOURS = 8
"""Series that are told apart; one more colour is for all others."""

OTHER = COLOURS

SIDE = 1_000.0

MOST_DOTS = 70
"""Of the size that is seen at once; more are drawn smaller."""

WIDEST = 0.1
"""Of the plot, for one column: a single day is no wall."""

LETTER, LINE = 6.7, 16.0
"""Pixels of a letter's width and a line's height in tiles, on average."""

Format = Callable[[float], str]


class Series(Struct, frozen=True, kw_only=True):
    """One layer: a value at each place, in the order of the places."""

    name: str
    colour: int
    values: tuple[float, ...]


class Label(Struct, frozen=True, kw_only=True):
    """A text under the plot at `at` (0 to 1). `rare`: room for it only on a wide screen."""

    at: float
    text: str
    rare: bool = False


class Tile(Struct, frozen=True, kw_only=True):
    """A piece of a whole. `tip`: what it says when pointed at."""

    name: str
    size: float
    colour: int
    tip: str
    below: str = ""


class Frame(Struct, frozen=True, kw_only=True):
    """What stands around a plot: texts under it, how values are written beside it, and what each place says when it is
    pointed at. `labelled`: the id of the plot's title."""

    labelled: str
    labels: tuple[Label, ...]
    tips: tuple[str, ...]
    written: Format


def ticks(most: float, about: int = 5) -> tuple[float, ...]:
    """Round values from 0 to the first that is not below `most`, some `about` steps apart."""
    if not most > 0 or not math.isfinite(most):
        return (0.0, 1.0)
    raw = most / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(times * size for times in (1.0, 2.0, 2.5, 5.0, 10.0) if times * size >= raw * 0.999)
    return tuple(step * place for place in range(math.ceil(most / step * 0.999) + 1))


def area(xs: Sequence[float], layers: Sequence[Series], frame: Frame) -> Markup:
    """Layers upon each other, at places `xs` (0 to 1, rising)."""
    top = ticks(_highest(layers))[-1]
    scale = SIDE / top
    low = [0.0] * len(xs)
    shapes: list[Markup] = []
    for layer in layers:
        high = [below + value for below, value in zip(low, layer.values, strict=True)]
        up = [(x * SIDE, SIDE - y * scale) for x, y in zip(xs, high, strict=True)]
        down = [(x * SIDE, SIDE - y * scale) for x, y in zip(xs, low, strict=True)]
        if len(xs) == 1:
            up, down = [(0.0, up[0][1]), (SIDE, up[0][1])], [(0.0, down[0][1]), (SIDE, down[0][1])]
        shapes.append(tag("path", class_=f"s{layer.colour} shape", d=_path([*up, *reversed(down)]) + "Z"))
        low = high
    return _plot(frame, top, xs, shapes)


def columns(layers: Sequence[Series], frame: Frame) -> Markup:
    """A column at each place that `frame` has a tip for, its layers upon each other."""
    count = len(frame.tips)
    middles = [(place + 0.5) / count for place in range(count)]
    top = ticks(_highest(layers))[-1]
    scale, width = SIDE / top, min(WIDEST, 0.8 / count)
    low = [0.0] * count
    shapes: list[Markup] = []
    for layer in layers:
        for place, value in enumerate(layer.values):
            if value > 0:
                low[place] += value
                left, above = (middles[place] - width / 2) * SIDE, SIDE - low[place] * scale
                kind = f"s{layer.colour} shape"
                shapes.append(tag("rect", class_=kind, x=left, y=above, width=width * SIDE, height=value * scale))
    return _plot(frame, top, middles, shapes)


def line(xs: Sequence[float], values: Sequence[float | None], frame: Frame) -> Markup:
    """Shares (0 to 1) at places `xs`; what is not known is passed over."""
    known = [(x, 1 - value) for x, value in zip(xs, values, strict=True) if value is not None]
    size = 3 if len(xs) <= MOST_DOTS else 1.5
    dots = [tag("circle", class_="dot", cx=_share(x), cy=_share(y), r=size) for x, y in known]
    trace = _path([(x * SIDE, y * SIDE) for x, y in known])
    shapes = [tag("path", class_="trace", d=trace)] if len(known) > 1 else []
    return _plot(frame, 1.0, xs, shapes, dots)


def tiles(groups: Sequence[Sequence[Tile]], *, labelled: str, width: float, height: float, class_: str) -> Markup:
    """Groups of tiles as one rectangle, each as large as its size says, for a place of about that many pixels."""
    frame = Box(0.0, 0.0, width, height)
    boxes = squares([sum(tile.size for tile in group) for group in groups], frame)
    drawn = [
        _tile(tile, box, frame)
        for group, around in zip(groups, boxes, strict=True)
        for tile, box in zip(group, squares([tile.size for tile in group], around), strict=True)
    ]
    return tag("svg", *drawn, class_=f"tiles {class_}", role="img", aria_labelledby=labelled, focusable="false")


def bar(share: float, mark: float | None = None, colour: int = 0) -> Markup:
    """A bar in a table's cell, of `share` of the width (0 to 1), with a line at `mark`. The row says it in words."""
    width = _share(min(1.0, max(0.0, share)))
    shapes = [tag("rect", class_=f"s{colour} shape", x="0", y="0", width=width, height="100%")]
    if mark is not None:
        shapes.append(tag("line", class_="mark", x1=_share(mark), x2=_share(mark), y1="0", y2="100%"))
    return tag("svg", *shapes, class_="bar", aria_hidden="true", focusable="false")


def _edges(xs: Sequence[float]) -> tuple[float, ...]:
    """Where what belongs to one place ends and what belongs to the next begins."""
    return (0.0, *((a + b) / 2 for a, b in pairwise(xs)), 1.0)


def _highest(layers: Sequence[Series]) -> float:
    return max((sum(values) for values in zip(*(layer.values for layer in layers), strict=True)), default=0.0)


def _plot(
    frame: Frame, top: float, xs: Sequence[float], shapes: Iterable[Markup], above: Iterable[Markup] = ()
) -> Markup:
    marks = ticks(top)
    grid = [_grid(value / top) for value in marks]
    side = f"{SIDE:.0f}"
    box = {"viewBox": f"0 0 {side} {side}", "preserveAspectRatio": "none", "width": "100%", "height": "100%"}
    hits = [
        tag("rect", tag("title", tip), class_="hit", x=_share(left), y="0", width=_share(right - left), height="100%")
        for (left, right), tip in zip(pairwise(_edges(xs)), frame.tips, strict=True)
    ]
    return tag(
        "svg",
        tag("svg", *grid, *shapes, **box),
        *(_value_text(value / top, frame.written(value)) for value in marks),
        *(_label(label) for label in frame.labels),
        *above,
        *hits,
        class_="plot",
        role="img",
        aria_labelledby=frame.labelled,
        focusable="false",
    )


def _grid(share: float) -> Markup:
    y = SIDE * (1 - share)
    return tag("line", class_="base" if not share else "grid", x1=0.0, x2=SIDE, y1=y, y2=y)


def _value_text(share: float, text: str) -> Markup:
    return tag("text", text, class_="tick left", x="-8", y=_share(1 - share), dy="4")


def _label(label: Label) -> Markup:
    side = " first" if label.at < 0.04 else " last" if label.at > 0.96 else ""
    rare = " rare" if label.rare else ""
    return tag("text", label.text, class_=f"tick under{side}{rare}", x=_share(label.at), y="100%", dy="18")


def _tile(tile: Tile, box: Box, frame: Box) -> Markup:
    words = tag("title", tile.tip)
    shape = tag("rect", words, class_=f"s{tile.colour} tile", x="1", y="1", width="100%", height="100%")
    edge = tag("rect", class_=f"s{tile.colour} shape", x="1", y="1", width="4", height="100%")
    return tag(
        "svg",
        shape,
        edge,
        *_words(tile, box),
        x=_share(box.left / frame.width),
        y=_share(box.top / frame.height),
        width=_share(box.width / frame.width),
        height=_share(box.height / frame.height),
    )


def _words(tile: Tile, box: Box) -> list[Markup]:
    """What of its texts a tile has room for."""
    letters = int((box.width - 16) / LETTER)
    if letters < min(5, len(tile.name)) or box.height < LINE + 6:
        return []
    name = tile.name if len(tile.name) <= letters else tile.name[: letters - 1] + "…"
    told = [tag("text", name, class_="tile-name", x="11", y="18")]
    if tile.below and len(tile.below) <= letters and box.height >= 2 * LINE + 8:
        told.append(tag("text", tile.below, class_="tile-size", x="11", y="34"))
    return told


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in points)


def _share(part: float) -> str:
    return f"{100 * part:.5g}%"
