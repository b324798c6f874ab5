"""Errors of providers, as far as every API's look the same."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from turnout.chat import Json, StreamError
from turnout.dialects.base import Fault

__all__ = ["BAD_EVENT", "CUT", "read_fault"]

CUT = StreamError(code="stream_cut", message="the provider's stream was cut before its end")
BAD_EVENT = StreamError(code="bad_stream", message="the provider sent an event that cannot be read")

_UNREADABLE = "the provider's error had no readable message"


def read_fault(body: bytes, *, codes: tuple[str, ...], messages: tuple[str, ...] = ("message",)) -> Fault:
    """Whatever a host sends as an error, even an HTML page; code and message are the first of these keys that is a
    text. The error stands within `error` as a rule, and Google's in a list. Never raises."""
    try:
        told: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault(code=None, message=_UNREADABLE)
    if isinstance(told, list) and told:
        told = told[0]
    error: Json = cast("dict[str, Json]", told).get("error", told) if isinstance(told, dict) else told
    if not isinstance(error, dict):
        return Fault(code=None, message=error if isinstance(error, str) and error else _UNREADABLE)
    fields = cast("dict[str, Json]", error)
    return Fault(code=_first(fields, codes), message=_first(fields, messages) or _UNREADABLE)


def _first(fields: dict[str, Json], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), None)
