"""What an admin's request says: its body and the figures of its query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from turnout.errors import InvalidRequest

__all__ = ["decoded", "whole"]

MOST_DIGITS = 20
"""Python reads no number of more than 4,300 digits."""

MOST_TEXT = 200

T = TypeVar("T")


def decoded(body: bytes, kind: type[T], example: str) -> T:
    """The body as `kind`. Raises InvalidRequest that shows an example."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not as it should be ({error}); it looks like {example}") from None


def whole(told: Mapping[str, str], name: str, usual: int, most: int) -> int:
    """A whole number from 1 to `most`. Raises InvalidRequest."""
    text = told.get(name, str(usual))
    if not text.isdecimal() or len(text) > MOST_DIGITS or not 1 <= int(text) <= most:
        raise InvalidRequest(f"{name} = {text[:MOST_TEXT]!r}: a whole number from 1 to {most:,}", param=name)
    return int(text)
