"""A call whose arguments come in pieces (`partialArgs`), each under its place in them: the arguments put together.

Vertex AI streams so where a caller asks for it (`streamFunctionCallArguments`). Places are JSON paths of names and
indexes (RFC 9535), e.g. `$.recipe.ingredients[0].name`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, cast

from turnout.chat import Json
from turnout.dialects.values import object_at, text_at
from turnout.errors import InvalidRequest

__all__ = ["Arguments"]

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_PATH = "functionCall.partialArgs.jsonPath"


class Arguments:
    """The arguments so far."""

    def __init__(self) -> None:
        self.value: dict[str, Json] = {}

    def add(self, piece: Json) -> None:
        """One of `partialArgs`. Texts at the same place are joined. Raises InvalidRequest that names the field."""
        told = object_at(piece, "functionCall.partialArgs")
        steps = _steps(text_at(told.get("jsonPath"), _PATH))
        if "stringValue" in told:
            self._put(steps, text_at(told["stringValue"], "functionCall.partialArgs.stringValue"))
        elif "numberValue" in told:
            number = told["numberValue"]
            self._put(steps, int(number) if isinstance(number, float) and number.is_integer() else number)
        elif "boolValue" in told:
            self._put(steps, told["boolValue"])
        elif "nullValue" in told:
            self._put(steps, None)

    def _put(self, steps: list[str | int], value: Json) -> None:
        place: Any = self.value
        for step, following in pairwise(steps):
            made: Any = [] if isinstance(following, int) else {}
            place = _set(place, step, lambda old, made=made: made if old is None else old)
        _set(place, steps[-1], lambda old: old + value if isinstance(old, str) and isinstance(value, str) else value)


def _steps(path: str) -> list[str | int]:
    out: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            break
        name, index, single, double = found.groups()
        out.append(int(index) if index is not None else name or re.sub(r"\\(.)", r"\1", single or double or ""))
        at = found.end()
    if not out or at < len(path) or not path.startswith("$") or isinstance(out[0], int):
        raise InvalidRequest(f"{_PATH} must be a path of names and indexes", param=_PATH)
    return out


def _set(place: Any, step: str | int, new: Any) -> Any:
    """Set what is at `step` to `new` of what was there; returns it. Lists grow by one at a time."""
    if isinstance(place, dict) and isinstance(step, str):
        members = cast("dict[str, Json]", place)
        members[step] = new(members.get(step))
        return members[step]
    if isinstance(place, list) and isinstance(step, int) and step <= len(cast("list[Json]", place)):
        items = cast("list[Json]", place)
        if step == len(items):
            items.append(None)
        items[step] = new(items[step])
        return items[step]
    raise InvalidRequest(f"{_PATH} leads nowhere", param=_PATH)
