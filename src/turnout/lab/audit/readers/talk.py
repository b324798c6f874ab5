"""Messages as tracing tools write them down, in many spellings: to neutral ones, whatever is in them. Pure.

For bodies that went over the wire there are the dialects; this is for what was retold: OpenAI's and Anthropic's forms
mixed, the `parts` of OpenTelemetry and Gemini, the Vercel AI SDK's and LangChain's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from turnout.chat import (
    File,
    Image,
    Json,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from turnout.lab.audit.readers.loose import list_of, object_in, text_in, text_of, unwrapped

__all__ = ["answer_in", "messages_in", "parts_in", "tools_in"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_CALLS = frozenset({"tool_call", "tool-call", "tool_use", "function_call", "custom_tool_call", "server_tool_call"})
_RESULTS = frozenset(
    {
        "tool_call_response",
        "tool-result",
        "tool_result",
        "function_call_output",
        "custom_tool_call_output",
        "server_tool_call_response",
    }
)
_THOUGHTS = frozenset({"reasoning", "thinking", "redacted_thinking", "redacted-reasoning"})
_ALONE = _CALLS | _RESULTS | _THOUGHTS
_PICTURES = frozenset({"image", "image_url", "input_image"})
_ATTACHED = frozenset({"file", "input_file", "document", "blob", "uri", "audio", "input_audio", "media"})
_WHERE = ("messages", "input", "contents", "prompt", "message", "kwargs")
"""Under which keys a recorded input holds its messages."""


def messages_in(value: Json, role: Role = "user") -> tuple[Message, ...]:
    """The messages of a recorded input or output: a list of them, one, or a text (of `role`)."""
    return tuple(message for message in _messages(unwrapped(value), role, 4) if message.parts)


def answer_in(value: Json) -> tuple[Part, ...]:
    """The parts of a recorded answer; of several choices those of the first."""
    told = unwrapped(value)
    choices = list_of(object_in(told).get("choices"))
    if choices:
        told = object_in(choices[0]).get("message")
    elif isinstance(told, list):
        said = cast("list[Json]", told)
        if said and all(object_in(one).get("finish_reason") for one in said):
            told = said[:1]  # OpenTelemetry: one message a choice
    return tuple(part for message in messages_in(told, "assistant") for part in message.parts)


def tools_in(value: Json) -> tuple[ToolSpec, ...] | None:
    """Definitions of tools, as any API writes them; None where there are none to see."""
    told = [object_in(unwrapped(tool)) for tool in list_of(unwrapped(value))]
    found = tuple(_tool(object_in(tool, "function") or tool) for tool in told if tool)
    return found or None


def _tool(told: dict[str, Json]) -> ToolSpec:
    schema = next((told[name] for name in ("parameters", "input_schema", "inputSchema") if name in told), None)
    about = told.get("description")
    return ToolSpec(
        name=text_in(told, "name", "type") or "?",
        description=about if isinstance(about, str) else None,
        schema=unwrapped(schema),
    )


def _messages(value: Json, role: Role, depth: int) -> Iterator[Message]:
    if isinstance(value, list):
        for element in cast("list[Json]", value) if depth else []:
            yield from _messages(element, role, depth - 1)
    elif isinstance(value, dict):
        told = cast("dict[str, Json]", value)
        if "role" in told or "parts" in told or "content" in told:
            yield _message(told, role)
            return
        inner = next((told[name] for name in _WHERE if name in told), None)
        if text_in(told, "type") in _ALONE:
            yield Message(role=_role_of(told, role), parts=tuple(_part(told)))
        elif inner is not None and depth:
            system = told.get("system") or told.get("systemInstruction") or told.get("instructions")
            if system is not None:
                yield Message(role="system", parts=tuple(parts_in(unwrapped(system))))
            yield from _messages(unwrapped(inner), role, depth - 1)
        else:
            yield Message(role=role, parts=(Text(text=text_of(told)),))
    elif value is not None:
        yield Message(role=role, parts=(Text(text=text_of(value)),) if value != "" else ())


def _role_of(told: dict[str, Json], role: Role) -> Role:
    if text_in(told, "type") in _RESULTS:
        return "tool"
    named = told.get("role") or told.get("type")
    return _ROLES.get(named.lower(), role) if isinstance(named, str) else role


def _message(told: dict[str, Json], role: Role) -> Message:
    said = _role_of(told, role)
    body = told.get("parts") if told.get("parts") is not None else told.get("content")
    parts: list[Part] = []
    for name in ("reasoning_content", "reasoning"):
        if isinstance(told.get(name), str) and told[name]:
            parts.append(Reasoning(text=told[name]))
            break
    calls = (told.get("tool_calls") or told.get("toolCalls"), object_in(told, "additional_kwargs").get("tool_calls"))
    call_id = text_in(told, "tool_call_id", "toolCallId", "tool_use_id")
    if said == "tool" and (call_id or not _has_result(body)):
        inner = tuple(p for p in parts_in(body) if isinstance(p, Text | Image | File | Opaque))
        failed = told.get("is_error") is True or told.get("status") == "error"
        parts.append(ToolResult(call_id=call_id, parts=inner, is_error=failed))
    else:
        parts.extend(parts_in(body))
    for call in list_of(unwrapped(next((c for c in calls if c), None))):
        parts.extend(_part({**object_in(unwrapped(call)), "type": "tool_call"}))
    return Message(role=said, parts=tuple(parts))


def _has_result(body: Json) -> bool:
    return any(
        text_in(object_in(part), "type") in _RESULTS or "functionResponse" in object_in(part) for part in list_of(body)
    )


def parts_in(body: Json) -> Iterator[Part]:
    """The parts of a message's content: a text, a part, or a list of both."""
    if isinstance(body, list):
        for part in cast("list[Json]", body):
            if isinstance(part, dict):
                yield from _part(cast("dict[str, Json]", part))
            elif part is not None and part != "":
                yield Text(text=text_of(part))
    elif isinstance(body, dict):
        yield from _part(cast("dict[str, Json]", body))
    elif body is not None and body != "":
        yield Text(text=text_of(body))


def _part(told: dict[str, Json]) -> Iterator[Part]:
    kind = text_in(told, "type")
    call, result = object_in(told, "functionCall"), object_in(told, "functionResponse")
    if kind in _CALLS or call:
        yield _call({**told, **call})
    elif kind in _RESULTS or result:
        yield _result({**told, **result})
    elif kind in _THOUGHTS:
        yield Reasoning(text=_said(told, "text", "content", "thinking", "reasoning", "summary"))
    elif kind in _PICTURES:
        yield Image(source=Source(url="logged"))
    elif kind in _ATTACHED:
        picture = told.get("modality") == "image"
        yield Image(source=Source(url="logged")) if picture else File(source=Source(file_id="logged"))
    elif "text" in told or "content" in told:
        yield Text(text=_said(told, "text", "content"))
    elif told:
        yield Opaque(provider="log", data=told)


def _said(told: dict[str, Json], *names: str) -> str:
    return next((text_of(told[name]) for name in names if told.get(name) is not None), "")


def _call(told: dict[str, Json]) -> ToolCall:
    function = object_in(told, "function") or object_in(told, "server_tool_call")
    told = {**told, **function}
    return ToolCall(
        id=text_in(told, "call_id", "toolCallId", "id"),
        name=text_in(told, "name", "toolName") or "?",
        arguments=_said(told, "arguments", "args", "input") or "{}",
    )


def _result(told: dict[str, Json]) -> ToolResult:
    names = ("response", "result", "output", "content", "server_tool_call_response")
    said = next((told[name] for name in names if told.get(name) is not None), None)
    wrapped = object_in(said)
    if set(wrapped) <= {"type", "value"} and "value" in wrapped:  # the Vercel AI SDK's
        said = wrapped["value"]
    simple = not isinstance(said, dict) and all(
        object_in(part).get("type") in {"text", "input_text", "image"} for part in list_of(said)
    )
    inner = tuple(p for p in parts_in(said) if isinstance(p, Text | Image | File | Opaque)) if simple else ()
    if not simple:
        inner = (Text(text=text_of(said)),)
    failed = told.get("is_error") is True or told.get("isError") is True or wrapped.get("type") == "error-text"
    call_id = text_in(told, "call_id", "toolCallId", "tool_use_id", "tool_call_id", "id")
    return ToolResult(call_id=call_id, parts=inner, is_error=failed)
