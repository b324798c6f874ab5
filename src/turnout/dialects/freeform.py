"""Tools that take plain text, for wire formats that have none: a function with one text, there and back.

OpenAI calls them custom tools; Codex patches files with one. Everyone else's models get a function `{"input": text}`.
"""

from __future__ import annotations

from typing import cast

import msgspec
from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Part, PartDelta, PartEnd, PartStart, StreamEvent, ToolCall, ToolSpec

__all__ = ["Restorer", "as_functions", "freeform_names"]

_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole text that the tool takes."}},
    "required": ["input"],
    "additionalProperties": False,
}


def freeform_names(request: ChatRequest) -> frozenset[str]:
    return frozenset(tool.name for tool in request.tools if tool.freeform)


def as_functions(request: ChatRequest) -> ChatRequest:
    """`request` with its freeform tools and their past calls as functions."""
    if not any(tool.freeform for tool in request.tools) and not any(
        isinstance(part, ToolCall) and part.freeform for message in request.messages for part in message.parts
    ):
        return request
    messages = tuple(replace(m, parts=tuple(_called(p) for p in m.parts)) for m in request.messages)
    return replace(request, tools=tuple(_function(t) for t in request.tools), messages=messages)


def _called(part: Part) -> Part:
    if not isinstance(part, ToolCall) or not part.freeform:
        return part
    return ToolCall(id=part.id, name=part.name, arguments=msgspec.json.encode({"input": part.arguments}).decode())


def _function(tool: ToolSpec) -> ToolSpec:
    if not tool.freeform:
        return tool
    grammar = cast("dict[str, Json]", tool.schema).get("definition") if isinstance(tool.schema, dict) else None
    rule = f"\n\nThe input must follow this grammar:\n{grammar}" if isinstance(grammar, str) else ""
    return ToolSpec(name=tool.name, description=(tool.description or "") + rule, schema=_SCHEMA)


class Restorer:
    """Turns the calls of such functions back. In a stream a call is held until it is whole."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held: dict[int, ToolCall] = {}
        self._pieces: dict[int, list[str]] = {}

    def part(self, part: Part) -> Part:
        """A part of a whole answer."""
        if not isinstance(part, ToolCall) or part.name not in self._names:
            return part
        return ToolCall(id=part.id, name=part.name, arguments=_text_of(part.arguments), freeform=True)

    def event(self, event: StreamEvent) -> list[StreamEvent]:
        """An event of a stream: itself, nothing while a call is held, or the whole call at its end."""
        match event:
            case PartStart(part=ToolCall(name=name) as call) if name in self._names:
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
