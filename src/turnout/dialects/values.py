"""Checked reading of decoded JSON: each function names the field that is wrong, and what it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw

from turnout.chat import Extras, Json
from turnout.errors import InvalidRequest

__all__ = [
    "bad",
    "checked",
    "count_or_none",
    "decode_each",
    "decode_object",
    "keys_of",
    "list_at",
    "object_at",
    "object_or_empty",
    "optional_list",
    "optional_text",
    "text_at",
    "told_once",
]

T = TypeVar("T")

MOST_TOKENS = 100_000_000
"""No answer has so many: a hundred times the longest context that is sold."""


def bad(path: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"{path} must be {wanted}", param=path)


def decode_object(body: bytes) -> dict[str, Json]:
    """A request's body, decoded in full. Raises InvalidRequest for anything that is no JSON object."""
    try:
        raw: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    return cast("dict[str, Json]", raw)


def decode_each(raws: Iterable[bytes | Raw], path: str, decode: Callable[[Json, str], T]) -> tuple[T, ...]:
    """The values of a list, each decoded in full. Raises InvalidRequest."""
    try:
        return tuple([decode(msgspec.json.decode(raw), f"{path}[{i}]") for i, raw in enumerate(raws)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{path} is not valid JSON: {error}") from None


def text_at(value: Json, path: str) -> str:
    if not isinstance(value, str):
        raise bad(path, "a string")
    return value


def optional_text(value: Json, path: str) -> str | None:
    return None if value is None else text_at(value, path)


def object_at(value: Json, path: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise bad(path, "an object")
    return cast("dict[str, Json]", value)


def list_at(value: Json, path: str) -> list[Json]:
    if not isinstance(value, list):
        raise bad(path, "a list")
    return cast("list[Json]", value)


def optional_list(value: Json, path: str) -> list[Json]:
    return [] if value is None else list_at(value, path)


def checked(value: Json, path: str, kind: type[T] | Any) -> T:
    """`value` as `kind`, unconverted. Raises InvalidRequest in msgspec's words (`Expected int, got str`)."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{path}: {error}", param=path) from None


def object_or_empty(value: Json) -> dict[str, Json]:
    """For what a provider tells: strange values count as not told."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def count_or_none(value: Json) -> int | None:
    """A count that a provider tells; strange values count as not told: believed, a single one would use up a budget."""
    if type(value) is not int:  # True is none
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def keys_of(extras: Extras, dialect: str) -> dict[str, Json]:
    """The keys that only `dialect` knows, as they stood. Those that begin with `_` are notes on spelling: not they."""
    return {k: v for k, v in extras.get(dialect, {}).items() if not k.startswith("_")}


def told_once(warnings: Iterable[str]) -> tuple[str, ...]:
    """Warnings in order, each once."""
    return tuple(dict.fromkeys(warnings))
