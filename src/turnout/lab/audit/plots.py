"""The plots of the audit's page, made from its report: what each shows, its words and its figures as a table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from turnout.lab.audit.charts import COLOURS, OTHER, Frame, Label, Series, Tile, area, columns, line, tiles
from turnout.lab.audit.markup import Markup, clean, joined, percent, tag, tokens, usd
from turnout.lab.audit.report import CurvePoint, DayModel, Report, ToolRow
from turnout.lab.audit.screen import PART_TITLES
from turnout.lab.audit.spans import Span, spans
from turnout.lab.audit.sums import CURVE_STEPS
from turnout.lab.audit.tables import Cell, count, money, share, table, volume, words
from turnout.lab.audit.weights import PART_NAMES

__all__ = ["cache", "days", "snowball", "whereto"]

LEAST_SHARE = 0.01
"""Of conversations: what fewer come to is in the table and not in the plot."""

MOST_TOOLS = 14
"""Tiles of tools."""

MOST_COLUMNS = 100


class Figure(Struct, frozen=True, kw_only=True):
    """A plot with all that makes it readable without eyes: `told` says what it shows, `figures` has its numbers."""

    id: str
    title: str
    told: str
    plot: Markup
    legend: tuple[tuple[int, str], ...] = ()
    figures: Markup


def snowball(report: Report) -> Markup:
    """Contexts by part over the steps of conversations."""
    title = "The snowball: what a request carries, step by step"
    points = _reached(report.curve)
    if not points or not any(point.context for point in points):
        return _nothing(title, "No conversation was found whose contexts could be told apart.")
    known = [part for part in PART_NAMES if any(point.parts.get(part, 0.0) >= 0.5 for point in report.curve)]
    places = [_middle(point.step) for point in points]
    last = places[-1] or 1.0
    xs = [place / last for place in places]
    layers = [
        Series(
            name=PART_TITLES[part], colour=PART_NAMES.index(part), values=tuple(p.parts.get(part, 0.0) for p in points)
        )
        for part in known
    ]
    frame = Frame(
        labelled="snowball-title",
        labels=tuple(_step_labels(points, xs)),
        tips=tuple(_step_tip(point, known) for point in points),
        written=tokens,
    )
    heads = ("step", "calls", "context", *(PART_TITLES[part] for part in known), "answer")
    rows = [
        (
            Cell(_step_name(point.step), point.step),
            count(point.calls),
            volume(point.context),
            *(volume(point.parts.get(part, 0.0)) for part in known),
            volume(point.output_tokens),
        )
        for point in report.curve
    ]
    return _figure(
        Figure(
            id="snowball",
            title=title,
            told=_snowball_words(points, known),
            plot=area(xs, layers, frame),
            legend=_legend(layers),
            figures=table("Mean context by step, in tokens", heads, rows),
        )
    )


def whereto(report: Report) -> Markup:
    """All input by part, tool results by tool."""
    title = "Where the input tokens went"
    parts = [part for part in report.parts if part.tokens > 0]
    if not parts:
        return _nothing(title, "No input was found that could be told apart.")
    whole = sum(part.tokens for part in parts)
    groups: list[list[Tile]] = []
    for part in parts:
        colour = PART_NAMES.index(part.part) if part.part in PART_NAMES else OTHER
        titled = PART_TITLES.get(part.part, part.part)
        if part.part == "tool_results":
            groups.append(_tool_tiles(part.tokens, whole, report.tools, colour))
        else:
            groups.append([_tile_of(titled, part.tokens, whole, part.cost_usd, colour)])
    first = parts[0]
    told = (
        f"{tokens(whole)} input tokens in all requests, each counted as often as it was sent. The largest part is "
        f"{PART_TITLES.get(first.part, first.part)}: {percent(first.share)} ({tokens(first.tokens)}, "
        f"{usd(first.cost_usd)})."
    )
    legend = tuple((group[0].colour, PART_TITLES.get(p.part, p.part)) for p, group in zip(parts, groups, strict=True))
    wide = tiles(groups, labelled="whereto-title", width=1_060.0, height=360.0, class_="on-wide")
    narrow = tiles(groups, labelled="whereto-title", width=340.0, height=460.0, class_="on-narrow")
    rows = [
        (words(PART_TITLES.get(p.part, p.part)), volume(p.tokens), share(p.tokens, whole), money(p.cost_usd))
        for p in parts
    ]
    figures = table("Input by part", ("part", "tokens", "share", "USD"), rows)
    return _figure(
        Figure(
            id="whereto",
            title=title,
            told=told,
            plot=joined(wide, narrow),
            legend=legend if len(legend) > 1 else (),
            figures=figures,
        )
    )


def days(report: Report) -> Markup:
    """Cost (tokens, where nothing has a price) by day and model."""
    priced = report.totals.cost_usd > 0
    what = "Cost" if priced else "Input tokens"
    rows = [row for row in report.days if row.day]
    cut = spans([row.day for row in rows], MOST_COLUMNS)
    title = f"{what} by {cut.unit if cut else 'day'} and model"
    if cut is None:
        return _nothing(title, "These logs have no times, so nothing can be shown by day.")
    amounts: Callable[[DayModel], float] = (lambda r: r.cost_usd) if priced else (lambda r: float(r.input_tokens))
    written = usd if priced else tokens
    layers = _by_model(rows, amounts, cut)
    sums = [sum(values) for values in zip(*(layer.values for layer in layers), strict=True)]
    top = max(range(len(sums)), key=lambda place: sums[place])
    told = (
        f"{written(sum(sums))} from {cut.names[0]} to {cut.names[-1]} (UTC)"
        + (f"; the most in one {cut.unit}: {written(sums[top])}, {cut.named(top)}." if len(sums) > 1 else ".")
        + _left_out(cut, sum(amounts(row) for row in report.days) - sum(sums), sum(sums), written)
    )
    tips = tuple(_day_tip(cut.named(place), layers, place, written) for place in range(len(sums)))
    frame = Frame(
        labelled="days-title",
        labels=tuple(_day_labels(cut)),
        tips=tips,
        written=lambda y: written(y).removesuffix(".00"),
    )
    plot = columns(layers, frame)
    as_cell = money if priced else volume
    rows_told = [
        (words(cut.named(place)), as_cell(sums[place]), *(as_cell(layer.values[place]) for layer in layers))
        for place in range(len(sums))
        if sums[place]
    ]
    figures = table(title, (cut.unit, "all", *(clean(layer.name, 40) for layer in layers)), rows_told)
    return _figure(Figure(id="days", title=title, told=told, plot=plot, legend=_legend(layers), figures=figures))


def cache(report: Report) -> Markup:
    """The share of input that was read from caches, over time."""
    rows = [row for row in report.cache.days if row.day]
    cut = spans([row.day for row in rows], MOST_COLUMNS)
    title = f"Share of input read from caches, by {cut.unit if cut else 'day'}"
    total = report.totals
    if not total.cache_read_tokens:
        return _nothing(title, "No call in these logs tells that it read anything from a cache.")
    overall = (
        f"{percent(total.cache_read_tokens / max(1, total.input_tokens))} of all input was read from caches "
        f"({tokens(total.cache_read_tokens)} of {tokens(total.input_tokens)})."
    )
    if total.estimated_calls:
        overall += f" {total.estimated_calls:,} calls, whose tokens no log tells, count as not read."
    if cut is None or len(cut.names) < 2:
        return _nothing(title, overall + " It cannot be shown over time: these logs have fewer than two days.")
    sent, read = [0.0] * len(cut.names), [0.0] * len(cut.names)
    for row in rows:
        place = cut.place(row.day)
        if place is not None:
            sent[place] += row.input_tokens
            read[place] += row.cache_read_tokens
    shares = [None if not whole else min(1.0, part / whole) for part, whole in zip(read, sent, strict=True)]
    xs = [(place + 0.5) / len(shares) for place in range(len(shares))]
    tips = [
        f"{cut.named(place)}\n" + ("no calls" if part is None else f"{percent(part)} of {tokens(whole)} input tokens")
        for place, (part, whole) in enumerate(zip(shares, sent, strict=True))
    ]
    frame = Frame(labelled="cache-title", labels=tuple(_day_labels(cut)), tips=tuple(tips), written=percent)
    cells = [
        (words(day), volume(whole), volume(part), share(part, whole))
        for day, whole, part in zip(cut.names, sent, read, strict=True)
        if whole
    ]
    figures = table(title, (cut.unit, "input", "read from caches", "share"), cells)
    return _figure(Figure(id="cache", title=title, told=overall, plot=line(xs, shares, frame), figures=figures))


def _figure(told: Figure) -> Markup:
    keys = [
        tag("li", tag("span", class_=f"key k{colour}", aria_hidden="true"), clean(text, 40))
        for colour, text in told.legend
    ]
    return tag(
        "figure",
        tag("figcaption", tag("h3", told.title, id=f"{told.id}-title"), tag("p", told.told)),
        told.plot,
        tag("ul", *keys, class_="legend") if keys else None,
        tag("details", tag("summary", "The figures as a table"), told.figures),
        id=told.id,
    )


def _nothing(title: str, why: str) -> Markup:
    return tag("figure", tag("figcaption", tag("h3", title)), tag("p", why, class_="empty"))


def _legend(layers: Sequence[Series]) -> tuple[tuple[int, str], ...]:
    return tuple((layer.colour, layer.name) for layer in layers) if len(layers) > 1 else ()


def _reached(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The steps that enough conversations came to. A span of several steps has as many calls of each."""
    most = max((_at_once(point) for point in curve), default=0.0)
    return [point for point in curve if _at_once(point) >= LEAST_SHARE * most]


def _at_once(point: CurvePoint) -> float:
    return point.calls / (_after(point.step) - point.step)


def _after(step: int) -> int:
    """Where the span ends that begins at this step."""
    return next((known for known in CURVE_STEPS if known > step), step + 1)


def _middle(step: int) -> float:
    """Where the mean of a span of steps stands."""
    return (step + _after(step) - 1) / 2


def _step_name(step: int) -> str:
    if step >= CURVE_STEPS[-1]:
        return f"{step + 1:,} and more"
    after = _after(step)
    return f"{step + 1:,}" if after == step + 1 else f"{step + 1:,} to {after:,}"


def _step_labels(points: Sequence[CurvePoint], xs: Sequence[float]) -> list[Label]:
    """Some eight, never closer than there is room for."""
    told: list[Label] = []
    for point, x in zip(points, xs, strict=True):
        if not told or x - told[-1].at >= 0.11:
            text = f"step {point.step + 1}" if not told else str(point.step + 1)
            told.append(Label(at=x, text=text, rare=len(told) % 2 == 1))
    return told


def _step_tip(point: CurvePoint, known: Iterable[str]) -> str:
    parts = "\n".join(
        f"{PART_TITLES[part]}: {tokens(point.parts[part])}"
        for part in reversed(tuple(known))
        if point.parts.get(part, 0.0) >= 0.5
    )
    told = f"step {_step_name(point.step)}: {tokens(point.context)} tokens"
    return f"{told}\n{parts}\nmean of {point.calls:,} calls"


def _snowball_words(points: Sequence[CurvePoint], known: Sequence[str]) -> str:
    first, last = points[0], points[-1]
    told = f"A request carries {tokens(first.context)} tokens at the first step"
    if len(points) > 1:
        told += f", {tokens(last.context)} at step {_step_name(last.step)}"
        part = max(known, key=lambda name: last.parts.get(name, 0.0) - first.parts.get(name, 0.0))
        if last.parts.get(part, 0.0) > first.parts.get(part, 0.0):
            told += f"; what grows most is {PART_TITLES[part]}"
    told += f". Means of the conversations that came so far: {first.calls:,} began"
    return told + f", some {_at_once(last):,.0f} came to the end of this plot." if len(points) > 1 else f"{told}."


def _tool_tiles(size: float, whole: float, tools: Sequence[ToolRow], colour: int) -> list[Tile]:
    """The part of tool results, by tool. What tools carry is estimated by itself, so it is held to the part."""
    rows = sorted((row for row in tools if row.carried_tokens > 0), key=lambda row: -row.carried_tokens)
    carried = sum(row.carried_tokens for row in rows)
    scale = min(1.0, size / carried) if carried else 0.0
    told = [
        _tile_of(clean(row.tool, 60), row.carried_tokens * scale, whole, row.carried_usd, colour)
        for row in rows[:MOST_TOOLS]
    ]
    rest = size - sum(tile.size for tile in told)
    if rest > 0.002 * size:
        told.append(_tile_of("other tool results" if told else PART_TITLES["tool_results"], rest, whole, None, colour))
    return told


def _tile_of(titled: str, size: float, whole: float, cost: float | None, colour: int) -> Tile:
    below = f"{percent(size / whole)} · {tokens(size)}"
    paid = "" if cost is None else f", {usd(cost)}"
    tip = f"{titled}\n{tokens(size)} tokens, {percent(size / whole)}{paid}"
    return Tile(name=titled, size=size, colour=colour, tip=tip, below=below)


def _by_model(rows: Sequence[DayModel], amounts: Callable[[DayModel], float], cut: Span) -> list[Series]:
    """The models with the most, each a layer; the others in one."""
    sums: dict[str, float] = {}
    for row in rows:
        sums[row.model] = sums.get(row.model, 0.0) + amounts(row)
    order = sorted((model for model in sums if sums[model] > 0), key=lambda model: (-sums[model], model))
    place_of = {model: min(place, OTHER) for place, model in enumerate(order)}
    layers = [[0.0] * len(cut.names) for _ in range(min(len(order), COLOURS + 1))]
    for row in rows:
        place = cut.place(row.day)
        if place is not None and row.model in place_of:
            layers[place_of[row.model]][place] += amounts(row)
    names = [*order[:COLOURS], f"{len(order) - COLOURS} others"]
    return [
        Series(name=model, colour=colour, values=tuple(values))
        for colour, (model, values) in enumerate(zip(names, layers, strict=False))
    ]


def _left_out(cut: Span, amount: float, shown: float, written: Callable[[float], str]) -> str:
    if amount < 0.0005 * shown:
        return ""
    why = "without a time" if not cut.outside else "without a time, or more than a year apart from these"
    return f" {written(amount)} more {why}."


def _day_labels(cut: Span) -> list[Label]:
    size = len(cut.names)
    every = max(1, -(-size // 7))
    return [
        Label(at=(place + 0.5) / size, text=cut.names[place], rare=(place // every) % 2 == 1)
        for place in range(0, size, every)
    ]


def _day_tip(day: str, layers: Sequence[Series], place: int, written: Callable[[float], str]) -> str:
    told = [(layer.name, layer.values[place]) for layer in layers if layer.values[place] > 0]
    rows = [f"{clean(model, 40)}: {written(value)}" for model, value in told]
    return "\n".join([f"{day}: {written(sum(value for _, value in told))}", *rows])
