"""TOML as text: keys, values and comments of which none can be read as anything else. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

__all__ = ["TomlValue", "comment", "toml_key", "toml_text", "toml_value"]

TomlValue = str | bool | int | float | Decimal | Sequence["TomlValue"] | Mapping[str, "TomlValue"]

LONGEST_COMMENT = 160

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile(r'[\x00-\x1f"\\\x7f\ud800-\udfff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml_text(text: str) -> str:
    """A basic string (toml.io/en/v1.0.0, String). Half of a surrogate pair is no character: U+FFFD stands for it."""
    return f'"{_ESCAPED.sub(lambda found: _escape(found[0]), text)}"'


def toml_key(name: str) -> str:
    """One key, quoted where it must be."""
    return name if _BARE.fullmatch(name) else toml_text(name)


def toml_value(value: TomlValue) -> str:
    """A value on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return toml_text(value)
        case int() | float():
            return repr(value)
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return "{ " + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
        case _:
            return "[" + ", ".join(toml_value(v) for v in value) + "]"


def comment(text: str) -> str:
    """`# text` on one line, whatever is in it."""
    told = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"# {told}" if len(told) <= LONGEST_COMMENT else f"# {told[: LONGEST_COMMENT - 3]}..."


def _escape(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    return _SHORT.get(character, f"\\u{ord(character):04x}")
