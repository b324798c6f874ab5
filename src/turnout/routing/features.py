"""What the predictor sees of a request: hashed words of the task, its structure, and how the agent fares. Pure, no text
is kept, no word of any language is known here."""

from __future__ import annotations

import math
import re
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise, repeat
from operator import and_, itemgetter
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct
from xxhash import xxh3_128_digest, xxh32_intdigest

__all__ = ["BUCKETS", "DENSE", "STATE", "STRUCTURE", "Features", "State", "Texts", "features_of", "structure_of"]

BUCKETS = 8192
"""Of hashed words and word pairs; a power of two."""

HEAD, TAIL = 1_400, 1_000
"""Characters of a text that are looked at: the task is said at its beginning, what is asked often at its end."""

LONG_WORD, LARGE_NUMBER = 9, 4
"""Letters of a long word, digits of a large number, at least."""

_FIRST = itemgetter(0)

_TOKEN = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|\d+|[^\W\d]+|[^\w\s]"
)
"""Words, numbers, marks; letters one by one where words are written without spaces (Thai, Chinese, Japanese, ...)."""

_ASCII_TOKEN = re.compile(r"[A-Za-z_]+|[0-9]+|[^\w\t-\r\x1c-\x20]", re.ASCII)
"""The same of plain ASCII, where no script needs to be asked for: half the time."""

_SENTENCE = re.compile(r"[.!?\u3002\uff01\uff1f\u061f\u0964](?=\s|$)")
_FRACTION = re.compile(r"\d[.,/]\d")
_LIST = re.compile(r"\n[^\S\n]{0,8}(?:[-*\u2022]|\(?[0-9A-Za-z]{1,2}[.):])(?=\s)")
_OPERATOR = re.compile(r"[\u2200-\u22ff]")
_FORMULA = "\\^=<>+*/|"
_CODE = "{}[]();_#`"

STRUCTURE = (
    "length",
    "words",
    "sentences",
    "lines",
    "numbers",
    "large_numbers",
    "fractions",
    "marks",
    "mark_share",
    "formulas",
    "code",
    "quotes",
    "questions",
    "long_words",
    "capitals",
    "list_items",
    "variety",
    "word_length",
    "other_scripts",
    "colons",
)
"""Of the text. Counts are logarithms of 1 + n, shares are 0..1."""

STATE = (
    "context",
    "system",
    "turns",
    "step",
    "tools",
    "schema_size",
    "schema",
    "reads_result",
    "severity",
    "same_failure",
    "only_reads",
    "recovered",
    "cached_share",
    "media",
    "reasoning",
)
"""Of the request around the text, all zero for a bare question."""

DENSE = (*STRUCTURE, *STATE)


class State(Struct, frozen=True, kw_only=True):
    """The request around its text. Sizes in bytes but `context` (tokens); `severity`, `same_failure`, `only_reads` and
    `recovered` as in `Signs`; `cached_share` 0..1 of the context that some provider has; `labels`: mode and tags."""

    context: int = 0
    system: int = 0
    turns: int = 0
    step: int = 0
    tools: int = 0
    schema_size: int = 0
    schema: bool = False
    reads_result: bool = False
    severity: float = 0.0
    same_failure: int = 0
    only_reads: int = 0
    recovered: bool = False
    cached_share: float = 0.0
    media: int = 0
    reasoning: bool = False
    labels: tuple[str, ...] = ()


class Features(Struct, frozen=True, array_like=True):
    """`dense`: one number per name of `DENSE`. `buckets`: those of the words and pairs that occur, sorted, each once,
    and `weight` what each weighs, so that the vector has length 1."""

    dense: tuple[float, ...]
    buckets: tuple[Annotated[int, Meta(ge=0, lt=BUCKETS)], ...]
    weight: float

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, data: bytes) -> Features:
        """Raises msgspec.MsgspecError, of those of another version too."""
        found = msgspec.msgpack.decode(data, type=cls)
        if len(found.dense) != len(DENSE):
            raise msgspec.ValidationError("features of another version")
        return found


class Texts:
    """Texts that were read before, by hash, those last asked for: while an agent works with its tools, all steps of a
    session ask the same. Bounded: about 2 kB each, no text. One event loop owns it: no locks."""

    def __init__(self, capacity: int = 500) -> None:
        self._capacity = capacity
        self._known: OrderedDict[bytes, tuple[tuple[float, ...], array[int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def read(self, said: str, length: int) -> tuple[tuple[float, ...], array[int]]:
        """`structure_of` a text and the buckets of its words, rising."""
        key = xxh3_128_digest(f"{length} {said}".encode("utf-8", "surrogatepass"))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _read(said, length)
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return found


def features_of(task: str, intent: str = "", state: State | None = None, texts: Texts | None = None) -> Features:
    """Of a conversation whose first user turn is `task` and whose newest is `intent` (empty where it is the first)."""
    said = f"{cut(intent)}\n{cut(task)}" if intent and intent != task else cut(task)
    state = state or State()
    length = len(intent or task)
    structure, words = texts.read(said, length) if texts is not None else _read(said, length)
    buckets = tuple(sorted({*words, *map(_label, state.labels)})) if state.labels else tuple(words)
    return Features(
        dense=(*structure, *_state_of(state)),
        buckets=buckets,
        weight=1 / math.sqrt(len(buckets)) if buckets else 0.0,
    )


def _read(said: str, length: int) -> tuple[tuple[float, ...], array[int]]:
    tokens = (_ASCII_TOKEN if said.isascii() else _TOKEN).findall(said)
    return structure_of(said, tokens, length), _hashed(tokens)


def cut(text: str) -> str:
    """Head and tail of a text that is too long to be looked at whole."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def structure_of(said: str, tokens: list[str], length: int) -> tuple[float, ...]:
    """The numbers of `STRUCTURE` of a text and its `tokens`; `length` in characters, of the whole text."""
    size = max(1, len(said))
    of = _Counts.of(tokens)
    marks = len(tokens) - of.numbers - of.words
    count = max(1, of.words)
    ascii_only = said.isascii()
    return (
        math.log1p(length),
        math.log1p(of.words),
        math.log1p(len(_SENTENCE.findall(said))),
        math.log1p(said.count("\n")),
        math.log1p(of.numbers),
        math.log1p(of.large_numbers),
        math.log1p(len(_FRACTION.findall(said)) if of.numbers else 0),
        math.log1p(marks),
        marks / size,
        math.log1p(sum(map(said.count, _FORMULA)) + (0 if ascii_only else len(_OPERATOR.findall(said)))),
        math.log1p(sum(map(said.count, _CODE))),
        math.log1p(said.count('"') + said.count("\u201c")),
        math.log1p(said.count("?") + said.count("\uff1f")),
        of.long / count,
        of.capitals / count,
        math.log1p(len(_LIST.findall("\n" + said))),
        of.different / count,
        of.letters / count / 10,
        0.0 if ascii_only else (len(said.encode("utf-8", "surrogatepass")) - size) / size,
        math.log1p(said.count(":")),
    )


class _Counts(NamedTuple):
    """How many of the tokens are what."""

    words: int
    different: int
    letters: int
    long: int
    capitals: int
    numbers: int
    large_numbers: int

    @classmethod
    def of(cls, tokens: list[str]) -> _Counts:
        # Lists and maps of C functions: no step of Python for each token.
        words = list(filter(str.isalpha, tokens))
        sizes = list(map(len, words))
        numbers = list(filter(str.isdigit, tokens))
        return cls(
            words=len(words),
            different=len(set(words)),
            letters=sum(sizes),
            long=sum(map(LONG_WORD.__le__, sizes)),
            capitals=sum(map(str.isupper, map(_FIRST, words))),
            numbers=len(numbers),
            large_numbers=sum(map(LARGE_NUMBER.__le__, map(len, numbers))),
        )


def _state_of(state: State) -> tuple[float, ...]:
    return (
        math.log1p(state.context),
        math.log1p(state.system),
        math.log1p(state.turns),
        math.log1p(state.step),
        math.log1p(state.tools),
        math.log1p(state.schema_size),
        float(state.schema),
        float(state.reads_result),
        min(state.severity, 6.0),
        min(state.same_failure, 6),
        math.log1p(state.only_reads),
        float(state.recovered),
        state.cached_share,
        math.log1p(state.media),
        float(state.reasoning),
    )


def _hashed(tokens: Iterable[str]) -> array[int]:
    """The buckets of words and pairs of words, rising."""
    # No token holds a line break: all are lowered and encoded at once.
    words = "\n".join(tokens).lower().encode("utf-8", "surrogatepass").split(b"\n")
    grams = {*words, *map(b"\0".join, pairwise(words))}
    grams.discard(b"")
    return array("H", sorted(set(map(and_, map(xxh32_intdigest, grams), repeat(BUCKETS - 1)))))


def _label(label: str) -> int:
    return xxh32_intdigest(f"\1{label}".encode("utf-8", "surrogatepass")) & BUCKETS - 1
