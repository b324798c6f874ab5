"""Responses requests to `ChatRequest`.

Encoding what was decoded gives the same JSON, less null values of optional keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Message, ReasoningConfig, ResponseFormat, Text, ToolChoice, ToolSpec
from turnout.dialects.openai_responses.items import NAME, decode_item
from turnout.dialects.values import (
    bad,
    checked,
    decode_each,
    decode_object,
    list_at,
    object_at,
    optional_list,
    optional_text,
    text_at,
)

__all__ = ["BOUND", "PLAIN", "decode_messages", "decode_request"]

PLAIN: dict[str, Any] = {
    "model": str,
    "max_output_tokens": int,
    "temperature": float,
    "top_p": float,
    "top_logprobs": int,
    "parallel_tool_calls": bool,
    "user": str,
    "metadata": dict[str, Any],
    "service_tier": str,
    "prompt_cache_key": str,
    "stream": bool,
}
"""Fields that are called and meant here as in `ChatRequest`, with their types."""

BOUND = ("background", "conversation", "previous_response_id", "prompt")
"""Fields that only the provider that keeps the state can honour."""

_TOP = frozenset({*PLAIN, "input", "instructions", "tools", "tool_choice", "reasoning", "text"})
_LOGPROBS = "message.output_text.logprobs"
_MODES = ("auto", "none", "required")


def decode_messages(raws: Sequence[Raw]) -> tuple[Message, ...]:
    """Items alone. Raises InvalidRequest that names the field."""
    return decode_each(raws, "input", decode_item)


def decode_request(body: bytes) -> ChatRequest:
    """Raises InvalidRequest that names the field."""
    told = decode_object(body)
    plain = {name: checked(told[name], name, kind) for name, kind in PLAIN.items() if told.get(name) is not None}
    if not plain.get("model"):
        raise bad("model", "a string")
    text = object_at(told.get("text") or {}, "text")
    include = told.get("include")
    return ChatRequest(
        messages=tuple(_messages(told)),
        tools=tuple(
            s for i, t in enumerate(optional_list(told.get("tools"), "tools")) for s in _tools(t, f"tools[{i}]")
        ),
        tool_choice=_tool_choice(told.get("tool_choice")),
        response_format=_response_format(text.get("format")),
        reasoning=_reasoning(told.get("reasoning")),
        logprobs=True if isinstance(include, list) and _LOGPROBS in include else None,
        verbosity=optional_text(text.get("verbosity"), "text.verbosity"),
        bound=tuple(name for name in BOUND if told.get(name)),
        extras=_extras(told, text),
        **plain,
    )


def _messages(told: dict[str, Json]) -> list[Message]:
    said = told.get("input")
    out: list[Message] = []
    if (instructions := told.get("instructions")) is not None:
        out.append(_instructions(instructions))
    if isinstance(said, str):
        out.append(Message(role="user", parts=(Text(text=said),), extras={NAME: {"_form": "input"}}))
    elif said is not None:
        out.extend(decode_item(item, f"input[{i}]") for i, item in enumerate(list_at(said, "input")))
    return out


def _instructions(value: Json) -> Message:
    if isinstance(value, str):
        return Message(role="system", parts=(Text(text=value),), extras={NAME: {"_instructions": True}})
    items = [decode_item(item, f"instructions[{i}]") for i, item in enumerate(list_at(value, "instructions"))]
    parts = tuple(part for item in items for part in item.parts)
    return Message(role="system", parts=parts, extras={NAME: {"_instructions": value}})


def _extras(told: dict[str, Json], text: dict[str, Json]) -> dict[str, dict[str, Json]]:
    """The keys nobody else knows, and how the ambiguous ones were spelled."""
    rest = {k: v for k, v in told.items() if k not in _TOP}
    spelled = {f"_{k}": told[k] for k in ("tool_choice", "reasoning", "stream", "metadata", "tools") if k in told}
    spelled["_text"] = {k: v for k, v in text.items() if k not in {"format", "verbosity"}}
    return {NAME: {**rest, **{k: v for k, v in spelled.items() if v is not None}}}


def _tools(value: Json, path: str) -> list[ToolSpec]:
    """One tool, or those of a namespace; one that holds others than functions is kept whole."""
    told = object_at(value, path)
    inner = told.get("tools")
    if told.get("type") != "namespace" or not isinstance(inner, list) or not inner:
        return [_tool(value, path)]
    specs = [_tool(tool, f"{path}.tools[{i}]") for i, tool in enumerate(cast("list[Json]", inner))]
    if any(spec.opaque is not None for spec in specs):
        return [ToolSpec(name=str(told.get("name")), provider=NAME, opaque=told)]
    name = text_at(told.get("name"), f"{path}.name")
    group = {k: v for k, v in told.items() if k != "tools"}
    return [replace(s, namespace=name, extras={NAME: {**s.extras.get(NAME, {}), "_group": group}}) for s in specs]


def _tool(value: Json, path: str) -> ToolSpec:
    told = object_at(value, path)
    kind = told.get("type")
    if kind not in ("function", "custom"):
        return ToolSpec(name=str(told.get("name") or kind), provider=NAME, opaque=told)
    freeform = kind == "custom"
    known = {"type", "name", "description", "format"} if freeform else {"type", "name", "description", "parameters"}
    strict = checked(told.get("strict"), f"{path}.strict", bool | None)
    return ToolSpec(
        name=text_at(told.get("name"), f"{path}.name"),
        description=optional_text(told.get("description"), f"{path}.description"),
        schema=told.get("format" if freeform else "parameters"),
        strict=strict,
        freeform=freeform,
        extras={NAME: {k: v for k, v in told.items() if k not in known}},
    )


def _tool_choice(value: Json) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _MODES:
            raise bad("tool_choice", "auto, none, required or an object")
        return msgspec.convert({"mode": value}, ToolChoice)
    told = object_at(value, "tool_choice")
    match told.get("type"):
        case "function" | "custom":
            return ToolChoice(mode="tool", name=text_at(told.get("name"), "tool_choice.name"))
        case "allowed_tools":
            if told.get("mode") not in ("auto", "required"):
                raise bad("tool_choice.mode", "auto or required")
            tools = [object_at(t, "tool_choice.tools") for t in optional_list(told.get("tools"), "tool_choice.tools")]
            names = [text_at(t.get("name"), "tool_choice.tools.name") for t in tools if "name" in t]
            return msgspec.convert({"mode": told["mode"], "allowed": names}, ToolChoice)
        case _:  # a server-side tool: another API refuses the tool itself
            return ToolChoice(mode="required")


def _response_format(value: Json) -> ResponseFormat | None:
    if value is None:
        return None
    told = object_at(value, "text.format")
    match told.get("type"):
        case "text":
            return ResponseFormat(kind="text")
        case "json_object":
            return ResponseFormat(kind="json")
        case "json_schema":
            return ResponseFormat(
                kind="json_schema",
                name=optional_text(told.get("name"), "text.format.name"),
                schema=told.get("schema"),
                strict=checked(told.get("strict"), "text.format.strict", bool | None),
                description=optional_text(told.get("description"), "text.format.description"),
            )
        case _:
            raise bad("text.format.type", "text, json_object or json_schema")


def _reasoning(value: Json) -> ReasoningConfig | None:
    if value is None:
        return None
    told = object_at(value, "reasoning")
    effort = optional_text(told.get("effort"), "reasoning.effort")
    summary = optional_text(told.get("summary"), "reasoning.summary")
    return ReasoningConfig(effort=effort, summary=summary, enabled=False if effort == "none" else None)
