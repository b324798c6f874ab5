"""Questions with known answers, and the checks that tell a right answer from a wrong one. Pure.

The questions are our own (`tools/make_probes.py` writes them and computes their answers), so that a model new to a
gateway can be asked before anybody's work depends on it. A check looks for the answer where a model usually puts it:
the last number, the last line, the last JSON. It never runs what a model wrote, and its time is bounded by the text's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from math import isclose
from typing import Literal

import msgspec
from msgspec import Struct

from turnout.chat import ChatResponse, Json, Text, ToolCall

__all__ = [
    "CallCheck",
    "Check",
    "ExactCheck",
    "JsonCheck",
    "Message",
    "NumberCheck",
    "PatternCheck",
    "Probe",
    "Tool",
    "judged",
    "load_probes",
    "passes",
    "spread",
]

LONGEST = 20_000
"""Characters of an answer's end that are looked at: nobody hides a short answer before more than that."""

NUMBER = re.compile(r"(?:(?<!\w)[-\u2212])?\d[\d,_]*(?:\.\d+)?")
FENCE = re.compile(r"```[a-zA-Z]*\n?")
WRAPPING = " \t\r\n*_`'\"\u201c\u201d\u2018\u2019.!$"
LABEL = re.compile(r"(?i)^(?:the )?(?:final )?answer(?: is)?\s*[:=]?\s*")


class NumberCheck(Struct, frozen=True, kw_only=True, tag_field="kind", tag="number"):
    """The last number of the answer is `value`, give or take `tolerance` of it."""

    value: float
    tolerance: float = 1e-9


class ExactCheck(Struct, frozen=True, kw_only=True, tag_field="kind", tag="exact"):
    """The answer, or its last line, is `text`. `strict`: with its case and punctuation, and nothing around it."""

    text: str
    strict: bool = False


class PatternCheck(Struct, frozen=True, kw_only=True, tag_field="kind", tag="pattern"):
    """The whole answer matches a pattern of ours, which takes linear time: it never comes from a model."""

    pattern: str


class JsonCheck(Struct, frozen=True, kw_only=True, tag_field="kind", tag="json"):
    """The JSON in the answer is `value`: the same keys, the same order in lists, numbers by what they are worth."""

    value: Json


class CallCheck(Struct, frozen=True, kw_only=True, tag_field="kind", tag="call"):
    """The answer calls one tool, this one, with these arguments and no others."""

    name: str
    arguments: dict[str, Json]


Check = NumberCheck | ExactCheck | PatternCheck | JsonCheck | CallCheck


class Message(Struct, frozen=True, kw_only=True):
    role: Literal["system", "user"]
    content: str


class Tool(Struct, frozen=True, kw_only=True):
    """A function that may be called; `parameters` is its JSON schema."""

    name: str
    description: str
    parameters: Json


class Probe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question. `level` grades how hard it is meant to be, 1 to 5, within its `family`."""

    id: str
    family: str
    level: int
    messages: tuple[Message, ...]
    check: Check
    tools: tuple[Tool, ...] = ()


def load_probes() -> tuple[Probe, ...]:
    """The packaged probes, in order of family and level."""
    raw = resources.files("turnout.learn").joinpath("data/probes.jsonl").read_bytes()
    return tuple(msgspec.json.decode(line, type=Probe) for line in raw.splitlines() if line)


def spread(probes: Sequence[Probe], count: int) -> tuple[Probe, ...]:
    """At most `count` of `probes`, evenly over families: the first of each, then the second of each. Within a family
    they come from both ends of its levels inwards, so that few probes still show easy and hard."""
    families: dict[str, list[Probe]] = {}
    for probe in probes:
        families.setdefault(probe.family, []).append(probe)
    turns = [_inwards(of_one) for of_one in families.values()]
    longest = max((len(turn) for turn in turns), default=0)
    told = [turn[i] for i in range(longest) for turn in turns if i < len(turn)]
    return tuple(told[: max(0, count)])


def _inwards(probes: list[Probe]) -> list[Probe]:
    ordered = sorted(probes, key=lambda p: (p.level, p.id))
    told: list[Probe] = []
    while ordered:
        told.append(ordered.pop(0))
        if ordered:
            told.append(ordered.pop())
    return told


def judged(probe: Probe, answer: ChatResponse) -> bool:
    """Whether `answer` is right."""
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    return passes(probe.check, text, calls)


def passes(check: Check, text: str, calls: Iterable[ToolCall] = ()) -> bool:
    """Whether an answer with this text and these tool calls passes."""
    told = text[-LONGEST:]
    match check:
        case NumberCheck():
            return _is_number(check, told)
        case ExactCheck():
            return _is_exact(check, told)
        case PatternCheck():
            return len(text) <= LONGEST and re.fullmatch(check.pattern, text.strip()) is not None
        case JsonCheck():
            return any(same(found, check.value) for found in _json_in(told))
        case CallCheck():
            return _is_call(check, list(calls))


def _is_number(check: NumberCheck, text: str) -> bool:
    found = NUMBER.findall(text)
    if not found:
        return False
    # More digits than a float has are no answer of ours; their conversion would still be linear.
    written = found[-1].replace(",", "").replace("_", "").replace("\u2212", "-")
    return isclose(float(written), check.value, rel_tol=check.tolerance, abs_tol=check.tolerance)


def _is_exact(check: ExactCheck, text: str) -> bool:
    if check.strict:
        return text.strip() == check.text
    lines = [line for line in text.splitlines() if line.strip(WRAPPING)]
    wanted = _plain(check.text)
    return bool(lines) and wanted in {_plain(text), _plain(lines[-1])}


def _plain(text: str) -> str:
    """`text` without what is around it: marks, a full stop, "Answer:", case."""
    return LABEL.sub("", text.strip(WRAPPING)).strip(WRAPPING).casefold()


def _json_in(text: str) -> list[Json]:
    """What JSON an answer holds: in its last fence, else from its first bracket to its last."""
    candidates = [text]
    if len(fenced := FENCE.split(text)) > 2:
        candidates.insert(0, fenced[-2])
    first = min((i for i in (text.find("{"), text.find("[")) if i >= 0), default=-1)
    last = max(text.rfind("}"), text.rfind("]"))
    if 0 <= first < last:
        candidates.append(text[first : last + 1])
    for candidate in candidates:
        try:
            return [msgspec.json.decode(candidate.strip())]
        except (msgspec.DecodeError, RecursionError):
            continue
    return []


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values are equal: 1 is 1.0 and is not true; what stands around a string does not count."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, str) and isinstance(other, str):
        return one.strip() == other.strip()
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one is None and other is None


def _is_call(check: CallCheck, calls: list[ToolCall]) -> bool:
    if len(calls) != 1 or calls[0].name != check.name:
        return False
    try:
        return same(msgspec.json.decode(calls[0].arguments), check.arguments)
    except (msgspec.DecodeError, RecursionError):
        return False
