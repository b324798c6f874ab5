"""HTML and SVG whose texts cannot break out of their place, and numbers written for people. Pure."""

from __future__ import annotations

from html import escape

__all__ = ["Markup", "clean", "joined", "percent", "short", "tag", "tokens", "usd"]

THIN = "\u202f"
"""A narrow space that no line breaks at, between a number and its unit."""

STRANGE = "\N{REPLACEMENT CHARACTER}"

VOID = frozenset({"meta", "br", "link"})

MOST_TEXT = 2_000
"""Letters of any one text. Nothing here is meant to be longer; names come from logs and may be of any length."""

SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


class Markup(str):
    """Text that is HTML already. Only `tag` and `joined` make it; files of this package are the exception."""

    __slots__ = ()


Child = str | Markup | None


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """An element. Children that are not Markup are escaped, None is left out, as is an attribute that is None.

    In names of attributes `_` stands for `-`, and a last one for nothing (`class_`, `data_v`).
    """
    told = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Children one after the other; text is escaped."""
    return Markup("".join(child if isinstance(child, Markup) else _text(child) for child in children if child))


def clean(text: str, most: int = MOST_TEXT) -> str:
    """Without characters that cannot be seen or that turn the direction of what follows, and no longer than `most`."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(letter if letter.isprintable() or letter in "\n\u202f" else STRANGE for letter in cut)


def short(name: str, most: int = 60) -> Markup:
    """A name out of a log, cut, and kept from changing the direction of its neighbours."""
    return tag("bdi", clean(name, most))


def tokens(count: float) -> str:
    """`812`, `45.1 k`, `12.3 M`."""
    for size, unit in SCALES:
        if abs(count) >= 0.9995 * size:
            return f"{count / size:.1f}".removesuffix(".0") + THIN + unit
    return f"{count:.0f}"


def usd(amount: float) -> str:
    """`$1,234`, `$12.34`, `$0.0123`, `< $0.0001`; a minus stands first."""
    size, sign = abs(amount), "-" if amount < 0 else ""
    if size >= 1e6:
        return f"{sign}${size / 1e6:,.2f}{THIN}M"
    if size >= 999.995:
        return f"{sign}${size:,.0f}"
    if size >= 0.09995 or not size:
        return f"{sign}${size:.2f}"
    return f"{sign}${size:.4f}" if size >= 0.00005 else f"< {sign}$0.0001"


def percent(share: float) -> str:
    """`43%`, `0.4%`, `< 0.1%`."""
    if 0 < abs(share) < 0.01:
        return f"{share:.1%}" if abs(share) >= 0.0005 else "< 0.1%"
    return f"{share:.0%}"


def _text(text: str) -> str:
    return escape(clean(text), quote=False)


def _attribute(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escape(clean(value)) if isinstance(value, str) else f"{value:.6g}"
