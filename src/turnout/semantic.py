"""Questions that mean the same: what of a request is its question, and the nearest one that was asked before. Pure.

Only for a single question in words: no tools, no conversation, no attachments. Whatever else a request says must be the
very same, and so must the numbers in the question: to an embedding, "12 + 3" and "12 + 4" are neighbours.
"""

from __future__ import annotations

import hashlib
import math
import operator
import re
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.answers import UNCOUNTED
from turnout.call import Call
from turnout.chat import RequestOutline, Text
from turnout.dialects.base import Dialect
from turnout.dialects.fields import join_fields
from turnout.errors import InvalidRequest

__all__ = ["Embedder", "Neighbours", "Place", "Question", "nearest", "question_of", "unit"]

MOST_CHARS = 8_000
"""A longer text is no question that somebody asks in other words."""

_NUMBERS = re.compile(r"\d+(?:[.,:/-]\d+)*")
_SETUP = frozenset({"system", "developer"})


class Embedder(Protocol):
    """Turns a question into a vector, for the caller who asked it. None where that failed: then the question is asked
    as any other."""

    async def __call__(self, call: Call, text: str) -> Sequence[float] | None: ...


class Question(Struct, frozen=True):
    """`text` is compared by meaning; `scope` names all else, which must be the same."""

    scope: bytes
    text: str


class Place(Struct, frozen=True):
    """Where a question stands among those of its scope."""

    scope: bytes
    vector: array[float]


def question_of(dialect: Dialect, outline: RequestOutline, circumstances: Sequence[str | None]) -> Question | None:
    """The question that a request is; None for one that is more than that. `circumstances` as in `answers.key_of`."""
    counted = {name: raw for name, raw in outline.fields.items() if name not in UNCOUNTED}
    try:
        request = dialect.decode_request(join_fields(counted))
    except InvalidRequest:
        return None
    asked = [message for message in request.messages if message.role not in _SETUP]
    if request.tools or len(asked) != 1 or asked[0].role != "user" or asked[0] is not request.messages[-1]:
        return None
    text = "\n".join(part.text for part in asked[0].parts if isinstance(part, Text))
    if not text.strip() or len(text) > MOST_CHARS or not all(isinstance(part, Text) for part in asked[0].parts):
        return None
    rest = replace(request, messages=(*request.messages[:-1], replace(asked[0], parts=())))
    told = (dialect.name, outline.model, tuple(circumstances), _NUMBERS.findall(text), rest)
    try:
        return Question(hashlib.sha256(msgspec.msgpack.encode(told, order="sorted")).digest(), text)
    except (msgspec.MsgspecError, UnicodeError, OverflowError):
        return None


def unit(vector: Iterable[float]) -> array[float]:
    """A vector of length 1 in the same direction; an empty one where there is none."""
    told = array("f", vector)
    length = math.sqrt(sum(x * x for x in told))
    return array("f", (x / length for x in told)) if length and math.isfinite(length) else array("f")


class Neighbours:
    """Questions by scope as unit vectors, each with the key of its answer. `most` of a scope, `scopes` at most: the
    oldest go first. They are in memory alone and learnt anew after a restart."""

    def __init__(self, *, most: int = 256, scopes: int = 1_000) -> None:
        self._most = most
        self._scopes = scopes
        self._asked: OrderedDict[bytes, OrderedDict[bytes, array[float]]] = OrderedDict()

    def add(self, place: Place, key: bytes) -> None:
        asked = self._asked.setdefault(place.scope, OrderedDict())
        self._asked.move_to_end(place.scope)
        asked[key] = place.vector
        asked.move_to_end(key)
        while len(asked) > self._most:
            asked.popitem(last=False)
        while len(self._asked) > self._scopes:
            self._asked.popitem(last=False)

    def of(self, scope: bytes) -> tuple[tuple[bytes, array[float]], ...]:
        """The key and vector of each question asked in `scope`."""
        return tuple(self._asked.get(scope, {}).items())

    def forget(self, place: Place, key: bytes) -> None:
        """Its answer is gone."""
        self._asked.get(place.scope, OrderedDict()).pop(key, None)


def nearest(asked: Sequence[tuple[bytes, array[float]]], vector: array[float], threshold: float) -> bytes | None:
    """The key of the question whose cosine with `vector` is greatest, where that is `threshold` or more."""
    best, found = threshold, None
    for key, other in asked:
        if len(other) == len(vector) and (likeness := sum(map(operator.mul, other, vector))) >= best:
            best, found = likeness, key
    return found
