"""Messages requests to `ChatRequest`. Encoding what was decoded gives the same JSON.

What only this API knows travels in `extras["anthropic-messages"]`; keys that begin with `_` note spellings.
Not kept, because the API reads them as left out or refuses them: null values, an empty `citations` list, a tool's
`input_schema` without its type (it becomes `object`), keys of `metadata` that are hints for us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Raw

from turnout.chat import (
    ChatRequest,
    Json,
    Message,
    Part,
    ReasoningConfig,
    ResponseFormat,
    Text,
    ToolChoice,
    ToolSpec,
)
from turnout.dialects.anthropic_messages.blocks import (
    NAME,
    cache_of,
    decode_block,
    extras_of,
    odd_cache,
)
from turnout.dialects.values import bad, checked, decode_each, decode_object, object_at, optional_list, text_at

__all__ = ["decode_messages", "decode_request"]

_PLAIN: dict[str, tuple[str, Any]] = {
    "model": ("model", str),
    "max_tokens": ("max_output_tokens", int),
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", int),
    "service_tier": ("service_tier", str),
    "stop_sequences": ("stop", tuple[str, ...]),
    "stream": ("stream", bool),
    "metadata": ("metadata", dict[str, Any]),
}
"""Fields that need no more than a check of their type: their name in `ChatRequest`, and the type."""

_SPELLED = ("thinking", "output_config", "output_format", "tool_choice")
_TOP = frozenset({*_PLAIN, *_SPELLED, "messages", "system", "tools"})
_MESSAGE = frozenset({"role", "content"})
_TOOL = frozenset({"name", "description", "input_schema", "strict", "cache_control"})
_CHOICES = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}


def decode_messages(raws: Sequence[Raw]) -> tuple[Message, ...]:
    """Messages alone. Raises InvalidRequest that names the field."""
    return decode_each(raws, "messages", _message)


def decode_request(body: bytes) -> ChatRequest:
    """Raises InvalidRequest that names the field."""
    told = decode_object(body)
    messages = told.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad("messages", "a list with at least one message")
    if "model" not in told:
        raise bad("model", "a string")
    plain = {ours: checked(told[name], name, kind) for name, (ours, kind) in _PLAIN.items() if _is_set(told, name)}
    request = ChatRequest(messages=(), **plain)
    system = _system(told["system"]) if told.get("system") is not None else ()
    decoded = [_message(m, f"messages[{i}]") for i, m in enumerate(cast("list[Json]", messages))]
    user = request.metadata.get("user_id")
    choice, parallel = _tool_choice(told.get("tool_choice"))
    output = object_at(told.get("output_config") or {}, "output_config")
    return msgspec.structs.replace(
        request,
        messages=(*system, *decoded),
        tools=tuple(_tool(t, f"tools[{i}]") for i, t in enumerate(optional_list(told.get("tools"), "tools"))),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=_response_format(output.get("format"), "output_config.format")
        or _response_format(told.get("output_format"), "output_format"),
        reasoning=_reasoning(told.get("thinking"), output.get("effort")),
        user=user if isinstance(user, str) else None,
        extras=_top_extras(told),
    )


def _is_set(told: dict[str, Json], name: str) -> bool:
    return name == "model" or told.get(name) is not None


def _top_extras(told: dict[str, Json]) -> dict[str, dict[str, Json]]:
    kept = {k: told[k] for k in _SPELLED if k in told}
    spelled = {
        "stream": told.get("stream") is False,
        **kept,
        "empty": [k for k in ("tools", "stop_sequences") if told.get(k) == []],
    }
    return extras_of(told, _TOP, **{k: v for k, v in spelled.items() if v})


def _blocks(content: Json, path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content, extras={NAME: {"_string": True}}),)
    if not isinstance(content, list):
        raise bad(path, "a string or a list of blocks")
    return tuple(decode_block(block, f"{path}[{i}]") for i, block in enumerate(cast("list[Json]", content)))


def _system(value: Json) -> tuple[Message, ...]:
    return (Message(role="system", parts=_blocks(value, "system"), extras={NAME: {"_top": True}}),)


def _message(value: Json, path: str) -> Message:
    told = object_at(value, path)
    role = told.get("role")
    if role != "user" and role != "assistant" and role != "system":  # noqa: PLR1714 (narrows the type)
        raise bad(f"{path}.role", "user, assistant or system")
    return Message(
        role=role,
        parts=_blocks(told.get("content"), f"{path}.content"),
        extras=extras_of(told, _MESSAGE, ours=True),
    )


def _tool(value: Json, path: str) -> ToolSpec:
    told = object_at(value, path)
    name = text_at(told.get("name") or told.get("type"), f"{path}.name")
    if "input_schema" not in told and told.get("type") != "custom":
        return ToolSpec(name=name, provider=NAME, opaque=told)
    return ToolSpec(
        name=name,
        description=checked(told.get("description"), f"{path}.description", str | None),
        schema=told.get("input_schema"),
        strict=checked(told.get("strict"), f"{path}.strict", bool | None),
        cache=cache_of(told.get("cache_control"), f"{path}.cache_control"),
        extras=extras_of(told, _TOOL, cache_control=odd_cache(told)),
    )


def _tool_choice(value: Json) -> tuple[ToolChoice | None, bool | None]:
    if value is None:
        return None, None
    told = object_at(value, "tool_choice")
    mode = _CHOICES.get(str(told.get("type")))
    if mode is None:
        raise bad("tool_choice.type", "auto, any, tool or none")
    serial = checked(told.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use", bool | None)
    name = text_at(told.get("name"), "tool_choice.name") if mode == "tool" else None
    return msgspec.convert({"mode": mode, "name": name}, ToolChoice), None if serial is None else not serial


def _response_format(value: Json, path: str) -> ResponseFormat | None:
    if value is None:
        return None
    told = object_at(value, path)
    if told.get("type") != "json_schema":
        return None
    return ResponseFormat(kind="json_schema", schema=told.get("schema"))


def _reasoning(thinking: Json, effort: Json) -> ReasoningConfig | None:
    if thinking is None and effort is None:
        return None
    told = object_at(thinking or {}, "thinking")
    kind = told.get("type")
    budget = told.get("budget_tokens")
    return ReasoningConfig(
        enabled=None if kind is None else kind != "disabled",
        effort=effort if isinstance(effort, str) else None,
        budget_tokens=budget if isinstance(budget, int) else None,
        adaptive=kind == "adaptive",
    )
