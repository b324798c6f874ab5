"""Tools and calls in shapes that other APIs do not take, and what becomes of them.

A custom tool takes plain text (Codex patches files with one): it becomes a function `{"input": text}`. A namespace
groups tools (Codex has its sub-agents in one): its name comes before theirs, `namespace__name`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import cast

import msgspec
from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Part, PartDelta, PartEnd, PartStart, StreamEvent, ToolCall, ToolSpec

__all__ = ["Restorer", "arguments_of", "as_functions", "safe_id"]

_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole text that the tool takes."}},
    "required": ["input"],
    "additionalProperties": False,
}


def as_functions(request: ChatRequest) -> ChatRequest:
    """`request` with its odd tools and their past calls as functions; itself where there are none."""
    calls = (p for m in request.messages for p in m.parts if isinstance(p, ToolCall))
    if not any(t.freeform or t.namespace for t in request.tools) and not any(c.freeform or c.namespace for c in calls):
        return request
    messages = tuple(replace(m, parts=tuple(_called(p) for p in m.parts)) for m in request.messages)
    return replace(request, tools=tuple(_function(t) for t in request.tools), messages=messages)


def _wire_name(tool: ToolSpec | ToolCall) -> str:
    return f"{tool.namespace}__{tool.name}" if tool.namespace else tool.name


def _called(part: Part) -> Part:
    if not isinstance(part, ToolCall) or not (part.freeform or part.namespace):
        return part
    arguments = msgspec.json.encode({"input": part.arguments}).decode() if part.freeform else part.arguments
    return ToolCall(id=part.id, name=_wire_name(part), arguments=arguments)


def _function(tool: ToolSpec) -> ToolSpec:
    if not tool.freeform:
        return replace(tool, name=_wire_name(tool), namespace=None, extras={}) if tool.namespace else tool
    grammar = cast("dict[str, Json]", tool.schema).get("definition") if isinstance(tool.schema, dict) else None
    rule = f"\n\nThe input must follow this grammar:\n{grammar}" if isinstance(grammar, str) else ""
    return ToolSpec(name=_wire_name(tool), description=(tool.description or "") + rule, schema=_SCHEMA)


def arguments_of(call: ToolCall, warnings: list[str]) -> dict[str, Json]:
    """A call's arguments as an object. What a model wrote that is none is passed on as text."""
    if call.freeform:
        return {"input": call.arguments}
    try:
        value: Json = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return cast("dict[str, Json]", value)
    warnings.append(f"the arguments of {call.name} are no JSON object and were passed on as text")
    return {"_raw": call.arguments}


def safe_id(call_id: str) -> str:
    """Ids here have only letters, digits, `_` and `-`; the same id always becomes the same, and no two become one."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", call_id)
    return safe if safe == call_id and safe else f"{safe[:40]}_{zlib.crc32(call_id.encode()):08x}"


class Restorer:
    """Turns the calls of such functions back. In a stream the call of a plain-text tool is held until it is whole."""

    def __init__(self, tools: Iterable[ToolSpec]) -> None:
        self._odd = {_wire_name(tool): tool for tool in tools if tool.freeform or tool.namespace}
        self._held: dict[int, ToolCall] = {}
        self._pieces: dict[int, list[str]] = {}

    def part(self, part: Part) -> Part:
        """A part of a whole answer."""
        tool = self._odd.get(part.name) if isinstance(part, ToolCall) else None
        if tool is None or not isinstance(part, ToolCall):
            return part
        arguments = _text_of(part.arguments) if tool.freeform else part.arguments
        return ToolCall(
            id=part.id, name=tool.name, namespace=tool.namespace, arguments=arguments, freeform=tool.freeform
        )

    def event(self, event: StreamEvent) -> list[StreamEvent]:
        """An event of a stream: itself, nothing while a call is held, or the whole call at its end."""
        match event:
            case PartStart(part=ToolCall(name=name) as call) if name in self._odd:
                if not self._odd[name].freeform:
                    return [replace(event, part=self.part(call))]
                self._held[event.index] = call
                self._pieces[event.index] = [call.arguments]
                return []
            case PartDelta() if event.index in self._held:
                self._pieces[event.index].append(event.text)
                return []
            case PartEnd() if event.index in self._held:
                call = replace(self._held.pop(event.index), arguments="".join(self._pieces.pop(event.index)))
                return [PartStart(index=event.index, part=self.part(call)), event]
            case _:
                return [event]


def _text_of(arguments: str) -> str:
    """The text of a call. A model that broke the wrapping meant what it wrote."""
    try:
        told = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = cast("dict[str, Json]", told).get("input") if isinstance(told, dict) else None
    return text if isinstance(text, str) else arguments
