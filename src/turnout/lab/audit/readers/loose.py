"""Values of logs that nobody checked when they were written: each as what it was meant for, or nothing. Pure."""

from __future__ import annotations

import math
from typing import cast

import msgspec
from msgspec import Raw

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json
from turnout.dialects.values import count_or_none

__all__ = [
    "UNREADABLE",
    "count_of",
    "decoded",
    "first_count",
    "list_of",
    "nano_usd_of",
    "object_in",
    "table_of",
    "text_in",
    "text_of",
    "unwrapped",
]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises, whatever is in it."""

MOST_USD = 1_000_000
"""No request costs so much: what says so is no cost."""

LONGEST_NAME = 300

_decode = msgspec.json.Decoder().decode


def decoded(raw: bytes | Raw | str) -> Json:
    """A JSON value; None for what is none."""
    try:
        return _decode(raw)
    except UNREADABLE:
        return None


def unwrapped(value: Json) -> Json:
    """A value that may have been written as JSON within a text, as columns of tables are."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        told = decoded(value)
        return value if told is None else told
    return value


def table_of(raw: Raw | bytes | str) -> dict[str, Json]:
    """An object, or one that was written as a text; {} for anything else."""
    told = unwrapped(decoded(raw))
    return cast("dict[str, Json]", told) if isinstance(told, dict) else {}


def object_in(told: Json, *names: str) -> dict[str, Json]:
    """The object at a path, {} where there is none."""
    for name in names:
        told = cast("dict[str, Json]", told).get(name) if isinstance(told, dict) else None
    return cast("dict[str, Json]", told) if isinstance(told, dict) else {}


def list_of(value: Json) -> list[Json]:
    """A list, [] for anything else."""
    return cast("list[Json]", value) if isinstance(value, list) else []


def text_in(told: dict[str, Json], *names: str) -> str:
    """The first of these that holds a name: a text that is not empty, cut where it is too long for one."""
    for name in names:
        value = told.get(name)
        if isinstance(value, str) and value:
            return value[:LONGEST_NAME]
    return ""


def text_of(value: Json) -> str:
    """A value as text: itself where it is one, else its JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def count_of(value: Json) -> int | None:
    """A count of tokens, also one that was written as a text or with a decimal point; absurd ones are none."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 12 else None
    elif isinstance(value, float):
        value = int(value) if math.isfinite(value) and value.is_integer() else None
    return count_or_none(value)


def first_count(told: dict[str, Json], *names: str) -> int | None:
    """The first of these that is a count."""
    return next((count for name in names if (count := count_of(told.get(name))) is not None), None)


def nano_usd_of(value: Json) -> int | None:
    """US dollars, as a number or a text, as whole nano-dollars; None for what is no cost."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) < 40 else None
        except ValueError:
            return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MOST_USD:
        return None
    return round(value * NANO_PER_USD)
