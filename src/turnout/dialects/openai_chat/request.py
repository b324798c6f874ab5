"""Chat completion requests to and from `ChatRequest`.

Encoding what was decoded gives the same JSON, less null values of optional keys. What only this format knows
travels in `extras["openai-chat"]`: unknown keys as they are, `_form` for which of several spellings was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import Raw

from turnout.chat import (
    Audio,
    ChatRequest,
    File,
    Image,
    Json,
    Message,
    Opaque,
    Part,
    Reasoning,
    ReasoningConfig,
    Refusal,
    ResponseFormat,
    Source,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    ToolSpec,
)
from turnout.dialects.media import known_source
from turnout.dialects.values import bad, decode_each, decode_object, object_at, optional_list, optional_text, text_at
from turnout.errors import InvalidRequest

__all__ = ["NAME", "PLAIN", "decode_message", "decode_messages", "decode_request", "rest_of"]

NAME = "openai-chat"

PLAIN = (
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "user",
    "service_tier",
    "prompt_cache_key",
    "verbosity",
)
_TOP = frozenset(
    {
        *PLAIN,
        "model",
        "messages",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "stream",
        "metadata",
    }
)
_MESSAGE = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning"}
)
_CALL = frozenset({"id", "type", "function"})


def rest_of(value: dict[str, Json], known: frozenset[str], form: Json = None) -> dict[str, dict[str, Json]]:
    """`extras` for the keys of `value` that are not `known`."""
    rest = {} if known.issuperset(value) else {k: v for k, v in value.items() if k not in known}
    if form is not None:
        rest["_form"] = form
    return {NAME: rest} if rest else {}


def decode_messages(raws: Sequence[Raw]) -> tuple[Message, ...]:
    """Messages alone. Raises InvalidRequest that names the field."""
    return decode_each(raws, "messages", decode_message)


def decode_request(body: bytes) -> ChatRequest:
    """Raises InvalidRequest that names the field."""
    told = decode_object(body)
    messages = told.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad("messages", "a list with at least one message")
    limit_key = "max_completion_tokens" if told.get("max_completion_tokens") is not None else "max_tokens"
    stop = told.get("stop")
    form = {
        "max_tokens": limit_key,
        "stop": "string" if isinstance(stop, str) else "list",
        "stream": "stream" in told,
        "tool_choice": _spelled_choice(told.get("tool_choice")),
    }
    plain = {name: told.get(name) for name in PLAIN if told.get(name) is not None}
    value: dict[str, Json] = {
        **plain,
        "model": told.get("model"),
        "stop": [] if stop is None else [stop] if isinstance(stop, str) else stop,
        "stream": told.get("stream") or False,
        "metadata": told.get("metadata") or {},
        "max_output_tokens": told.get(limit_key),
    }
    try:
        request = msgspec.convert({**value, "messages": ()}, ChatRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"wrong value: {error}") from None
    return msgspec.structs.replace(
        request,
        messages=tuple(decode_message(m, f"messages[{i}]") for i, m in enumerate(cast("list[Json]", messages))),
        tools=tuple(_tool(t, f"tools[{i}]") for i, t in enumerate(optional_list(told.get("tools"), "tools"))),
        tool_choice=_tool_choice(told.get("tool_choice")),
        response_format=_response_format(told.get("response_format")),
        reasoning=_reasoning(told.get("reasoning_effort")),
        extras=rest_of(told, _TOP, form),
    )


def _spelled_choice(value: Json) -> Json:
    """What the neutral form of a choice does not tell apart: Mistral's word, and objects."""
    return value if value == "any" or isinstance(value, dict) else None


_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""No set: a caller may send a list for a word, and that cannot be looked up in one."""


def decode_message(value: Json, path: str) -> Message:
    """One message of a request. Raises InvalidRequest that names the field."""
    told = object_at(value, path)
    role = told.get("role")
    if role not in _ROLES:
        raise bad(f"{path}.role", "system, developer, user, assistant or tool")
    parts: list[Part] = []
    for key in ("reasoning_content", "reasoning"):
        if isinstance(text := told.get(key), str):
            parts.append(Reasoning(text=text, provider=NAME, extras={NAME: {"key": key}}))  # noqa: PERF401 - hardly ever
    content, name, result_of = told.get("content"), told.get("name"), role in {"tool", "function"}
    inner: list[Part] = [Text(text=content)] if isinstance(content, str) else _content(content, f"{path}.content")
    if result_of:
        call_id = told.get("tool_call_id") if role == "tool" else name
        result = cast("tuple[Text | Image | File | Audio | Opaque, ...]", tuple(inner))
        parts.append(ToolResult(call_id=text_at(call_id, f"{path}.tool_call_id"), parts=result, name=name))
    else:
        parts.extend(inner)
    if isinstance(told.get("refusal"), str):
        parts.append(Refusal(text=told["refusal"], extras={NAME: {"key": True}}))
    for i, call in enumerate(optional_list(told.get("tool_calls") or None, f"{path}.tool_calls")):
        parts.append(_call(call, f"{path}.tool_calls[{i}]"))
    return Message(
        role="tool" if role == "function" else role,
        parts=tuple(parts),
        name=name if isinstance(name, str) and not result_of else None,
        extras=rest_of(told, _MESSAGE, {"content": _form_of(told), "role": role}),
    )


def _form_of(told: dict[str, Json]) -> str:
    """How a message's content was written: this format has several spellings of the same."""
    if "content" not in told:
        return "absent"
    content = told["content"]
    return "null" if content is None else "string" if isinstance(content, str) else "list"


def _call(value: Json, path: str) -> ToolCall:
    told = object_at(value, path)
    kind = told.get("type", "function")
    if kind != "function":
        custom = object_at(told.get(kind), f"{path}.{kind}")
        return ToolCall(
            id=text_at(told.get("id"), f"{path}.id"),
            name=text_at(custom.get("name"), f"{path}.{kind}.name"),
            arguments=text_at(custom.get("input", ""), f"{path}.{kind}.input"),
            freeform=True,
            extras={NAME: {"type": kind}},
        )
    function = object_at(told.get("function"), f"{path}.function")
    rest = rest_of(told, _CALL)
    if "type" not in told:
        rest = {NAME: {**rest.get(NAME, {}), "_form": "no type"}}
    return ToolCall(
        id=text_at(told.get("id"), f"{path}.id"),
        name=text_at(function.get("name"), f"{path}.function.name"),
        arguments=text_at(function.get("arguments", ""), f"{path}.function.arguments"),
        extras=rest,
    )


def _content(content: Json, path: str) -> list[Part]:
    if content is None:
        return []
    if not isinstance(content, list):
        raise bad(path, "a string or a list of parts")
    return [_part(part, f"{path}[{i}]") for i, part in enumerate(cast("list[Json]", content))]


def _part(value: Json, path: str) -> Part:
    told = object_at(value, path)
    kind = told.get("type")
    extras = rest_of(told, frozenset({"type", str(kind)}))
    inner = told.get(str(kind))
    match kind:
        case "text":
            return Text(text=text_at(inner, f"{path}.text"), extras=extras)
        case "refusal":
            return Refusal(text=text_at(inner, f"{path}.refusal"), extras=extras)
        case "image_url":
            if isinstance(inner, str):  # Mistral's spelling
                return Image(source=known_source(inner), extras={NAME: {**extras.get(NAME, {}), "_form": "string"}})
            image = object_at(inner, f"{path}.image_url")
            source = known_source(text_at(image.get("url"), f"{path}.image_url.url"))
            return Image(source=source, detail=image.get("detail"), extras=extras)
        case "input_audio":
            audio = object_at(inner, f"{path}.input_audio")
            data = text_at(audio.get("data"), f"{path}.input_audio.data")
            return Audio(source=Source(data=data), format=audio.get("format"), extras=extras)
        case "file":
            return _file(object_at(inner, f"{path}.file"), extras)
        case _:
            return Opaque(provider=NAME, data=told)


def _file(told: dict[str, Json], extras: dict[str, dict[str, Json]]) -> File:
    data = told.get("file_data")
    if isinstance(data, str):
        source = known_source(data)
        if source.url is not None:  # bare base64, as some hosts take it
            source = Source(data=data)
    else:
        source = Source(file_id=told.get("file_id"))
    return File(source=source, filename=told.get("filename"), extras=extras)


def _tool(value: Json, path: str) -> ToolSpec:
    told = object_at(value, path)
    if told.get("type") == "custom" and isinstance(told.get("custom"), dict):
        return _freeform(object_at(told["custom"], f"{path}.custom"), f"{path}.custom")
    if told.get("type") != "function":
        kind = str(told.get("type"))
        inner = told.get(kind)
        name = cast("dict[str, Json]", inner).get("name", kind) if isinstance(inner, dict) else kind
        return ToolSpec(name=str(name), provider=NAME, opaque=told)
    function = object_at(told.get("function"), f"{path}.function")
    known = frozenset({"name", "description", "parameters", "strict"})
    extras = rest_of(function, known)
    outer = {k: v for k, v in told.items() if k not in {"type", "function"}}
    if outer:
        extras = {NAME: {**extras.get(NAME, {}), "_outer": outer}}
    return ToolSpec(
        name=text_at(function.get("name"), f"{path}.function.name"),
        description=function.get("description"),
        schema=function.get("parameters"),
        strict=function.get("strict"),
        extras=extras,
    )


def _freeform(custom: dict[str, Json], path: str) -> ToolSpec:
    return ToolSpec(
        name=text_at(custom.get("name"), f"{path}.name"),
        description=optional_text(custom.get("description"), f"{path}.description"),
        schema=custom.get("format"),
        freeform=True,
        extras=rest_of(custom, frozenset({"name", "description", "format"})),
    )


def _tool_choice(value: Json) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value == "any":  # Mistral's word
            return ToolChoice(mode="required")
        if value == "auto" or value == "none" or value == "required":  # noqa: PLR1714 (narrows the type)
            return ToolChoice(mode=value)
        raise bad("tool_choice", "auto, none, required or a function")
    told = object_at(value, "tool_choice")
    kind = told.get("type")
    if kind not in {"function", "custom", "allowed_tools"}:
        raise bad("tool_choice.type", "function, custom or allowed_tools")
    inner = object_at(told.get(kind), f"tool_choice.{kind}")
    if kind != "allowed_tools":
        return ToolChoice(mode="tool", name=text_at(inner.get("name"), f"tool_choice.{kind}.name"))
    mode = inner.get("mode")
    if mode != "auto" and mode != "required":  # noqa: PLR1714 (narrows the type)
        raise bad("tool_choice.allowed_tools.mode", "auto or required")
    return ToolChoice(mode=mode, allowed=tuple(_allowed(t) for t in optional_list(inner.get("tools"), "tool_choice")))


def _allowed(value: Json) -> str:
    told = object_at(value, "tool_choice.allowed_tools.tools")
    inner = object_at(told.get(str(told.get("type"))), "tool_choice.allowed_tools.tools")
    return text_at(inner.get("name"), "tool_choice.allowed_tools.tools.name")


def _response_format(value: Json) -> ResponseFormat | None:
    if value is None:
        return None
    told = object_at(value, "response_format")
    match told.get("type"):
        case "text":
            return ResponseFormat(kind="text")
        case "json_object":
            return ResponseFormat(kind="json")
        case "json_schema":
            schema = object_at(told.get("json_schema"), "response_format.json_schema")
            return ResponseFormat(
                kind="json_schema",
                name=schema.get("name"),
                schema=schema.get("schema"),
                strict=schema.get("strict"),
                description=schema.get("description"),
            )
        case _:
            raise bad("response_format.type", "text, json_object or json_schema")


def _reasoning(value: Json) -> ReasoningConfig | None:
    if value is None:
        return None
    effort = text_at(value, "reasoning_effort")
    return ReasoningConfig(enabled=effort != "none", effort=effort)
