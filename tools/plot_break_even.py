"""Draw docs/images/break-even.svg by the functions that route: python tools/plot_break_even.py (`make reference`).

For some pairs of models: what a detour to the small one wins, in cents, after so many routine steps (`detour_gain`),
and where it breaks even, with home's cache kept and with it lapsed (`break_even_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from msgspec import Struct

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.catalog import Catalog
from turnout.routing.economics import Option, Run, Unit, break_even_steps, detour_gain, unit_prices

__all__ = ["PAGE", "PAIRS", "Pair", "page", "table"]

PAGE = Path(__file__).parent.parent / "docs/images/break-even.svg"

CONTEXT, GROWTH, OUTPUT, STEPS = 20_000, 400, 100, 20
"""An agent in the midst of its work: tokens of context, tokens that come in and that are written a step."""

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 760, 400, 56, 24, 44
RIGHT = 230
CENTS = 1e7  # nano-dollars


class Pair(Struct, frozen=True, kw_only=True):
    """Where the session is at home, where its routine steps may go, and the line's colour."""

    provider: str
    home: str
    there: str
    colour: str

    def units(self) -> tuple[Unit, Unit]:
        """Prices at home and there. Raises KeyError for a model that the catalogue does not price."""
        return _unit(self.provider, self.home), _unit(self.provider, self.there)


PAIRS = (
    Pair(provider="openai", home="gpt-5.5", there="gpt-5-nano", colour="#1b6ca8"),
    Pair(provider="openai", home="gpt-4.1", there="gpt-4.1-mini", colour="#0f8a5f"),
    Pair(provider="anthropic", home="claude-opus-4-5", there="claude-haiku-4-5", colour="#c46210"),
    Pair(provider="anthropic", home="claude-opus-4-5", there="claude-sonnet-4-5", colour="#9b2c5e"),
)


def _unit(provider: str, model: str) -> Unit:
    price = Catalog.load().price(provider, model)
    if price is None:
        raise KeyError(f"{provider}/{model} has no price in the catalogue")
    return unit_prices(price, cache_rule_of(provider, model), CONTEXT)


def gains(pair: Pair) -> list[float]:
    """Cents won after 0, 1, 2 ... routine steps there, where nothing is warm there at first."""
    home, there = pair.units()
    run = Run(context=CONTEXT, growth=GROWTH, output=OUTPUT, steps=STEPS)
    warm = Option(unit=home, warm=CONTEXT)
    return [detour_gain(Option(unit=there), warm, run, steps) / CENTS if steps else 0.0 for steps in range(STEPS + 1)]


def table() -> str:
    """The steps at which each pair breaks even, as Markdown."""
    rows: list[str] = []
    for pair in PAIRS:
        home, there = pair.units()
        kept, gone = break_even_steps(there, home), break_even_steps(there, home, gone=1.0)
        rows.append(f"| {pair.home} → {pair.there} | {home.fresh / there.fresh:.1f} | {kept:.1f} | {gone:.1f} |\n")
    return "".join(rows)


def page() -> str:
    """The drawing."""
    lines = [(pair, gains(pair)) for pair in PAIRS]
    least = min(0.0, *(min(line) for _, line in lines))
    most = max(max(line) for _, line in lines)
    drawn = "".join(_line(pair, line, least, most, number) for number, (pair, line) in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="What a detour to a small model wins, by routine steps">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{_axes(least, most)}{drawn}</svg>\n'
    )


def _x(step: float) -> float:
    return LEFT + step / STEPS * (WIDTH - LEFT - RIGHT)


def _y(cents: float, least: float, most: float) -> float:
    return TOP + (most - cents) / (most - least) * (HEIGHT - TOP - BOTTOM)


def _axes(least: float, most: float) -> str:
    step = 10 if most - least > 40 else 5
    ticks = range(int(least // step) * step + step, int(most) + 1, step)
    across = "".join(
        f'<line x1="{LEFT}" x2="{_x(STEPS):.1f}" y1="{_y(c, least, most):.1f}" y2="{_y(c, least, most):.1f}" '
        f'stroke="{"#333" if c == 0 else "#ddd"}"/>'
        f'<text x="{LEFT - 6}" y="{_y(c, least, most) + 4:.1f}" text-anchor="end" fill="#444">{c}</text>\n'
        for c in ticks
    )
    along = "".join(
        f'<text x="{_x(n):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#444">{n}</text>\n'
        for n in range(0, STEPS + 1, 5)
    )
    middle = _x(STEPS / 2)
    return (
        f"{across}{along}"
        f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle" fill="#222">'
        "routine steps taken by the small model</text>\n"
        f'<text x="{LEFT}" y="14" fill="#222">US cents won</text>\n'
    )


def _line(pair: Pair, values: Sequence[float], least: float, most: float, number: int) -> str:
    points = " ".join(f"{_x(n):.1f},{_y(v, least, most):.1f}" for n, v in enumerate(values))
    name = escape(f"{pair.home} → {pair.there.removeprefix('claude-')}")
    return (
        f'<polyline points="{points}" fill="none" stroke="{pair.colour}" stroke-width="2"/>\n'
        f'<text x="{_x(STEPS) + 8:.0f}" y="{TOP + 14 + 18 * number}" fill="{pair.colour}">{name}</text>\n'
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(table(), end="")
