"""What can be checked of an answer at no cost: its form. A wrong form is wrong for sure; a right one promises nothing.
Pure.

Schemas are held against a part of JSON Schema: type, required, properties, additionalProperties false, items, enum,
const, anyOf, allOf, oneOf (as anyOf), and $ref within the schema. Other keywords are not looked at: what they forbid
passes. Patterns above all, which a hostile schema could make last for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from turnout.chat import ChatRequest, ChatResponse, Json, Refusal, Text, ToolCall, ToolSpec

__all__ = ["Expected", "expected_of", "misfit", "wrong_with"]

MOST_CHECKS = 20_000
"""Places in an answer that are held against a schema. A schema that refers to itself could go on for ever; an answer
that takes more is not verified."""

BAD_ENDS = frozenset({"length", "content_filter", "refusal", "error"})

Types = dict[str, tuple[type, ...]]

_TYPES: Types = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class Expected(Struct, frozen=True, kw_only=True):
    """What an answer's form must be: JSON that fits `schema` (where `structured`), calls of `tools` alone, and one at
    least where `calls`."""

    structured: bool = False
    schema: Json = None
    tools: tuple[ToolSpec, ...] = ()
    calls: bool = False


def expected_of(request: ChatRequest) -> Expected | None:
    """What a request lets us check; None where it asks for neither structured output nor tools, so that only its words
    could be judged."""
    form, choice = request.response_format, request.tool_choice
    structured = form is not None and form.kind == "json_schema"
    tools = () if choice is not None and choice.mode == "none" else request.tools
    if choice is not None and choice.mode == "tool":
        tools = tuple(t for t in tools if t.name == choice.name)
    elif choice is not None and choice.allowed:
        tools = tuple(t for t in tools if t.name in choice.allowed)
    if not structured and not tools:
        return None
    return Expected(
        structured=structured,
        schema=form.schema if structured and form else None,
        tools=tools,
        calls=choice is not None and choice.mode in {"required", "tool"},
    )


def wrong_with(answer: ChatResponse, expected: Expected) -> str | None:
    """What is wrong with an answer's form, in one phrase; None where nothing is."""
    if answer.finish.unified in BAD_ENDS:
        return f"it ended by {answer.finish.unified}"
    if any(isinstance(part, Refusal) for part in answer.parts):
        return "the model refused"
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    text = "".join(part.text for part in answer.parts if isinstance(part, Text)).strip()
    if calls:
        return next((why for call in calls if (why := _wrong_call(call, expected.tools)) is not None), None)
    if expected.calls:
        return "it calls no tool"
    if not text:
        return "it is empty"
    return _wrong_text(text, expected) if expected.structured else None


def _wrong_call(call: ToolCall, tools: Sequence[ToolSpec]) -> str | None:
    tool = next((t for t in tools if t.name == call.name and t.namespace == call.namespace), None)
    if tool is None:
        return f"it calls {call.name[:100]!r}, which is not offered"
    if call.freeform or tool.freeform:
        return None
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return f"the arguments of {call.name} are no JSON"
    if not isinstance(arguments, dict):
        return f"the arguments of {call.name} are no object"
    why = misfit(arguments, tool.schema)
    return None if why is None else f"the arguments of {call.name}: {why}"


def _wrong_text(text: str, expected: Expected) -> str | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return "it is no JSON"
    return misfit(value, expected.schema)


def misfit(value: Json, schema: Json) -> str | None:
    """Where `value` does not fit `schema`, in one phrase; None where it does, as far as we look."""
    try:
        return _Fit(schema).of(value, schema, "$")
    except RecursionError:
        return "it is nested too deeply"


class _Fit:
    """One value held against one schema. `root` is where `$ref` leads to."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._left = MOST_CHECKS

    def of(self, value: Json, schema: Json, at: str) -> str | None:
        self._left -= 1
        if self._left < 0:
            return "it takes too long to check"
        if isinstance(schema, bool):
            return None if schema else f"{at} is not allowed"
        if not isinstance(schema, dict):
            return None
        told = cast("dict[str, Any]", schema)
        return (
            self._referred(value, told, at)
            or _wrong_kind(value, told, at)
            or _wrong_choice(value, told, at)
            or self._wrong_members(value, told, at)
            or self._wrong_items(value, told, at)
            or self._wrong_ways(value, told, at)
        )

    def _referred(self, value: Json, schema: dict[str, Any], at: str) -> str | None:
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                return None  # it leads nowhere: whoever wrote it does not know either
            found = cast("dict[str, Any]", found)[name]
        return self.of(value, found, at)

    def _wrong_members(self, value: Json, schema: dict[str, Any], at: str) -> str | None:
        if not isinstance(value, dict):
            return None
        members = cast("dict[str, Any]", value)
        for name in _names(schema.get("required")):
            if name not in members:
                return f"{at}.{name} is missing"
        known: Any = schema.get("properties")
        properties = cast("dict[str, Any]", known) if isinstance(known, dict) else {}
        more = schema.get("additionalProperties")
        for name, member in members.items():
            rule = properties.get(name, more)
            if rule is not None and (why := self.of(member, rule, f"{at}.{name[:50]}")) is not None:
                return why
        return None

    def _wrong_items(self, value: Json, schema: dict[str, Any], at: str) -> str | None:
        rule = schema.get("items")
        if not isinstance(value, list) or rule is None:
            return None
        for index, item in enumerate(cast("list[Any]", value)):
            if (why := self.of(item, rule, f"{at}[{index}]")) is not None:
                return why
        return None

    def _wrong_ways(self, value: Json, schema: dict[str, Any], at: str) -> str | None:
        """anyOf and oneOf: one must fit. allOf: all must."""
        for name in ("anyOf", "oneOf"):
            ways = schema.get(name)
            told = cast("list[Any]", ways) if isinstance(ways, list) else []
            if told and all(self.of(value, way, at) is not None for way in told):
                return f"{at} is none of what it may be"
        whole = schema.get("allOf")
        for way in cast("list[Any]", whole) if isinstance(whole, list) else ():
            if (why := self.of(value, way, at)) is not None:
                return why
        return None


def _names(told: Any) -> list[str]:
    return [name for name in cast("list[Any]", told) if isinstance(name, str)] if isinstance(told, list) else []


def _wrong_kind(value: Json, schema: dict[str, Any], at: str) -> str | None:
    told = schema.get("type")
    kinds = [told] if isinstance(told, str) else _names(told)
    known = [kind for kind in kinds if kind.lower() in _TYPES]  # Gemini writes them in capitals
    if not known or len(known) < len(kinds) or any(_is_kind(value, kind.lower()) for kind in known):
        return None
    return f"{at} is not {' or '.join(known)}"


def _is_kind(value: Json, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if not isinstance(value, _TYPES[kind]):
        return False
    return kind != "integer" or not isinstance(value, float) or value.is_integer()


def _wrong_choice(value: Json, schema: dict[str, Any], at: str) -> str | None:
    choices: Any = schema.get("enum")
    if isinstance(choices, list) and not any(_alike(value, one) for one in cast("list[Any]", choices)):
        return f"{at} is none of the values allowed"
    if "const" in schema and not _alike(value, schema["const"]):
        return f"{at} is not the one value allowed"
    return None


def _alike(one: Json, other: Json) -> bool:
    """Equal, where true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
