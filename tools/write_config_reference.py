"""Write docs/reference/config.md from the config's types: python tools/write_config_reference.py (`make reference`)."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo

from turnout.config import BrakesConfig, Config, Secret
from turnout.spend.brakes import DEFAULTS

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parent.parent / "docs/reference/config.md"

HEAD = """# Config

Written from the types in `src/turnout/config.py` by `make reference`; change the docstrings there.

One [TOML](https://toml.io) file, `turnout serve --config turnout.toml`. Every value may be `"env:NAME"`: the
environment's variable of that name, which must be set. An unknown key is refused with the nearest known one. The file
is read again when it changes or on SIGHUP; a bad one changes nothing. `turnout init` writes one with comments, and
`turnout doctor` says what is wrong with yours.

A key that is left out has its default; *not set* means that there is none. NAME in a table's name is yours to choose
(for providers: of [providers](../providers.md), or a new one).
"""

UNITS = (
    ("_usd_per_day", "USD a day"),
    ("_usd", "USD"),
    ("second_usd", "USD a second"),
    ("_bytes", "bytes"),
    ("_mb", "MiB"),
    ("_hours", "hours"),
    ("_days", "days"),
    ("_tokens", "tokens"),
    ("context_window", "tokens"),
    ("_s", "s"),
    ("rpm", "requests a minute"),
    ("tpm", "tokens a minute"),
)
"""Of keys whose name ends so. The first that fits counts, whole names before endings."""

RATES = frozenset({"input", "output", "cache_read", "cache_write", "cache_write_1h"})
WORDS: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    Decimal: "number",
    bool: "true or false",
    datetime: "time",
    Secret: "secret text",
    Any: "any",
}


def page() -> str:
    """The page's text."""
    places: dict[type[Struct], list[str]] = {}
    for path, kind in tables(Config, ""):
        places.setdefault(kind, []).append(path)
    return HEAD + "".join(section(paths, kind) for kind, paths in places.items())


def tables(kind: type[Struct], path: str) -> Iterator[tuple[str, type[Struct]]]:
    """Every table of the config by its path, in the order of the types."""
    yield path, kind
    for name, told in get_type_hints(kind).items():
        for below, many in structs_of(told):
            inner = f"{path}.{name}".lstrip(".") + (".NAME" if many else "")
            yield from tables(below, inner)


def structs_of(told: Any) -> list[tuple[type[Struct], bool]]:
    """The tables that a value of this type may be, and whether each is one of many by names."""
    if get_origin(told) is dict:
        return [(kind, True) for kind, _ in structs_of(get_args(told)[1])]
    if get_origin(told) in {typing.Union, types.UnionType, tuple}:
        return [found for part in get_args(told) for found in structs_of(part)]
    return [(told, False)] if isinstance(told, type) and issubclass(told, Struct) else []


def section(paths: list[str], kind: type[Struct]) -> str:
    """A table at all its places: its docstring, then its keys."""
    hints = get_type_hints(kind)
    # Renderers make an id of a heading themselves, each in its own way where it is more than a word.
    marks = "".join(f'<a id="{anchor(path)}"></a>' for path in paths if "." in path)
    heading = "\n" + "## " + (", ".join(f"`[{path}]`" for path in paths) if paths[0] else "All tables")
    rows = "".join(row(paths[0], kind, f, hints[f.name]) for f in msgspec.structs.fields(kind))
    keys = "| key | value | default | unit |\n| --- | --- | --- | --- |\n"
    return f"{heading}\n\n{marks}\n\n{prose(kind)}\n\n{keys}{rows}".replace("\n\n\n\n", "\n\n")


def row(path: str, kind: type[Struct], told: FieldInfo, hint: Any) -> str:
    default = default_of(told, hint)
    if kind is BrakesConfig:
        default = next((f"`{b.limit:g}`, {b.action}s" for name, b in DEFAULTS.items() if name == told.name), default)
    return f"| `{told.name}` | {value_of(hint, path, told.name)} | {default} | {unit_of(told.name)} |\n"


def value_of(hint: Any, path: str, name: str) -> str:
    """What may stand there, in words."""
    inner = f"{path}.{name}".lstrip(".")
    args = [a for a in get_args(hint) if a not in {type(None), Ellipsis}]
    if get_origin(hint) is Literal:
        return ", ".join(f"`{a}`" for a in args)
    if get_origin(hint) in {typing.Union, types.UnionType}:
        return " or ".join(dict.fromkeys(value_of(a, path, name) for a in args))
    if get_origin(hint) is tuple:
        return f"list of {value_of(args[0], path, name)}"
    if get_origin(hint) is dict:
        many = structs_of(hint)
        below = f"[`[{inner}.NAME]`](#{anchor(f'{inner}.NAME')})" if many else ""
        plain = [] if many and not get_args(args[1]) else [value_of(a, path, name) for a in plain_parts(args[1])]
        return " or ".join([*([f"tables {below}"] if below else []), *(f"names to {p}" for p in plain)])
    if isinstance(hint, type) and issubclass(hint, Struct):
        return f"table [`[{inner}]`](#{anchor(inner)})"
    return WORDS[hint]


def plain_parts(hint: Any) -> list[Any]:
    """Of the types that a named value may have, those that are no table."""
    union = get_origin(hint) in {typing.Union, types.UnionType}
    return [part for part in (get_args(hint) if union else (hint,)) if not structs_of(part)]


def default_of(told: FieldInfo, hint: Any) -> str:
    if told.default is NODEFAULT and told.default_factory is NODEFAULT:
        return "**must be there**"
    value = told.default if told.default is not NODEFAULT else told.default_factory()
    if value is None or isinstance(value, Secret):
        return "not set"
    if isinstance(value, Struct) or value in ({}, ()):
        return "none" if not isinstance(value, Struct) else "its own"
    shown = msgspec.json.encode(value, enc_hook=str).decode().replace(",", ", ")
    return f"`{shown.strip(chr(34)) if hint is Decimal or Decimal in get_args(hint) else shown}`"


def unit_of(name: str) -> str:
    if name in RATES:
        return "USD a million tokens"
    return next((u for end, u in UNITS if name == end), next((u for end, u in UNITS if name.endswith(end)), ""))


def prose(kind: type[Struct]) -> str:
    """The docstrings of a table and of what it extends, as Markdown."""
    texts = [inspect.cleandoc(k.__dict__["__doc__"]) for k in kind.__mro__ if own_words(k)]
    return "\n\n".join(as_markdown(text) for text in texts)


def own_words(kind: type) -> bool:
    return kind is not Struct and issubclass(kind, Struct) and bool(kind.__dict__.get("__doc__"))


def as_markdown(text: str) -> str:
    """A docstring for readers of TOML: pages become links, Python's words the config's."""
    text = re.sub(r"(\w+`) None\b", r"\1 left out", text).replace("None", "what is left out")
    text = re.sub(r"(\w+)` False\b", r"\1 = false`", text)
    return re.sub(r"docs/((?:\w+/)*)([\w-]+)\.md", lambda m: f"[{m[2]}](../{m[1]}{m[2]}.md)", text)


def anchor(path: str) -> str:
    return re.sub(r"\W+", "-", path.lower())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
