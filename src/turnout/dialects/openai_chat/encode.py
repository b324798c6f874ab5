"""`ChatRequest` to a chat completion request; what does not fit is warned of or refused."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

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
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from turnout.dialects.base import Encoded
from turnout.dialects.effort import effort_of
from turnout.dialects.loss import THINKING, foreign_tool, left_out, unknown_fields
from turnout.dialects.media import data_url
from turnout.dialects.openai_chat.request import NAME, PLAIN

__all__ = ["encode_parts", "encode_request", "encode_tool_call"]


def encode_request(request: ChatRequest) -> Encoded:
    """Raises NotTranslatable for tools that only another provider can run."""
    warnings: list[str] = []
    ours = dict(request.extras.get(NAME, {}))
    form = ours.pop("_form", {})
    out: dict[str, Json] = {"model": request.model}
    out["messages"] = [wire for message in merged(request.messages) for wire in _messages(message, warnings)]
    out |= _tools(request)
    if request.max_output_tokens is not None:
        out[form.get("max_tokens", "max_completion_tokens")] = request.max_output_tokens
    if request.stop:
        out["stop"] = request.stop[0] if form.get("stop") == "string" else request.stop
    out |= _response_format(request)
    if request.reasoning is not None and (effort := _effort(request.reasoning, ours=NAME in request.extras)):
        out["reasoning_effort"] = effort
    out |= {name: value for name in PLAIN if (value := getattr(request, name)) is not None}
    if "top_k" in out and NAME not in request.extras:
        del out["top_k"]
        warnings.extend(left_out(["top_k"]))
    out |= _streaming(request, asked="stream" in form and form["stream"])
    if request.metadata and NAME in request.extras:
        out["metadata"] = request.metadata
    warnings.extend(unknown_fields(request, NAME))
    return Encoded(msgspec.json.encode({**out, **ours}), tuple(dict.fromkeys(warnings)))


def merged(messages: Iterable[Message]) -> list[Message]:
    """Neighbouring assistant messages of other formats as one: there a call is a message of its own, here all calls
    of a turn stand beside its text. Messages of this format keep their grouping."""
    out: list[Message] = []
    for message in messages:
        foreign = message.role == "assistant" and NAME not in message.extras
        if foreign and out and out[-1].role == "assistant" and NAME not in out[-1].extras:
            out[-1] = replace(out[-1], parts=out[-1].parts + message.parts)
        else:
            out.append(message)
    return out


def _effort(config: ReasoningConfig, *, ours: bool) -> str | None:
    if config.effort is not None:
        return config.effort if ours else {"max": "xhigh"}.get(config.effort, config.effort)
    if config.enabled is False:
        return None
    if config.budget_tokens is not None:
        return effort_of(config.budget_tokens)
    return None


def _streaming(request: ChatRequest, *, asked: bool) -> dict[str, Json]:
    """`stream`, as it was written; a stream for another format must bring its usage along."""
    if not request.stream and not asked:
        return {}
    usage = {"stream_options": {"include_usage": True}} if request.stream and NAME not in request.extras else {}
    return {"stream": request.stream, **usage}


def _tools(request: ChatRequest) -> dict[str, Json]:
    out: dict[str, Json] = {}
    if request.tools:
        out["tools"] = [_tool(tool, i) for i, tool in enumerate(request.tools)]
    if choice := request.tool_choice:
        named = {"type": "function", "function": {"name": choice.name}}
        spelled = request.extras.get(NAME, {}).get("_form", {}).get("tool_choice")
        out["tool_choice"] = spelled or (named if choice.mode == "tool" else choice.mode)
        if choice.allowed and not spelled:
            only: list[Json] = [{"type": "function", "function": {"name": name}} for name in choice.allowed]
            out["tool_choice"] = {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": only}}
    return out


def _response_format(request: ChatRequest) -> dict[str, Json]:
    told = request.response_format
    if told is None:
        return {}
    if told.kind != "json_schema":
        return {"response_format": {"type": "text" if told.kind == "text" else "json_object"}}
    schema = {
        "name": told.name or "answer",
        "description": told.description,
        "schema": told.schema,
        "strict": told.strict,
    }
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {k: v for k, v in schema.items() if v is not None},
        }
    }


def _tool(tool: ToolSpec, index: int) -> dict[str, Json]:
    if tool.opaque is not None:
        if tool.provider != NAME:
            raise foreign_tool(tool, index)
        return tool.opaque
    ours = dict(tool.extras.get(NAME, {}))
    outer = ours.pop("_outer", {})
    if tool.freeform:
        custom = {"name": tool.name, "description": tool.description, "format": tool.schema}
        return {"type": "custom", "custom": {**{k: v for k, v in custom.items() if v is not None}, **ours}}
    told = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema,
        "strict": tool.strict,
    }
    return {
        "type": "function",
        "function": {**{k: v for k, v in told.items() if v is not None}, **ours},
        **outer,
    }


def _messages(message: Message, warnings: list[str]) -> Iterable[dict[str, Json]]:
    """One message, or several: results of tools are messages of their own here and come first, right after
    the calls they answer."""
    results = [p for p in message.parts if isinstance(p, ToolResult)]
    for result in results:
        yield from _tool_message(message, result, warnings)
    rest: list[Part] = [p for p in message.parts if not isinstance(p, ToolResult)]
    if not results or rest:
        yield _plain_message(message, rest, warnings)


def _tool_message(message: Message, result: ToolResult, warnings: list[str]) -> Iterable[dict[str, Json]]:
    ours = dict(message.extras.get(NAME, {}))
    form = ours.pop("_form", None) or {}
    texts = [p for p in result.parts if isinstance(p, (Text, Opaque))]
    media = [p for p in result.parts if not isinstance(p, (Text, Opaque))]
    if form.get("content", "string") == "string" and all(isinstance(p, Text) for p in texts):
        content: Json = "\n".join(p.text for p in texts if isinstance(p, Text))
    else:
        content = encode_parts(texts, warnings)
    if result.is_error and isinstance(content, str):
        content = f"Error: {content}" if not content.startswith("Error") else content
    if form.get("role") == "function":
        yield {"role": "function", "name": result.name, "content": content, **ours}
    else:
        name = {"name": result.name} if result.name and message.role == "tool" else {}
        yield {"role": "tool", "tool_call_id": result.call_id, "content": content, **name, **ours}
    if media:
        warnings.append(
            "files in a tool's result were moved into a user message: the chosen model's API takes text there"
        )
        yield {"role": "user", "content": encode_parts(media, warnings)}


def _plain_message(message: Message, parts: list[Part], warnings: list[str]) -> dict[str, Json]:
    ours = dict(message.extras.get(NAME, {}))
    form = (ours.pop("_form", None) or {}).get("content")
    out: dict[str, Json] = {"role": message.role}
    content: list[Part] = []
    for part in parts:
        match part:
            case ToolCall():
                out.setdefault("tool_calls", []).append(encode_tool_call(part))
            case Reasoning() if part.provider == NAME:
                out[part.extras.get(NAME, {}).get("key", "reasoning_content")] = part.text
            case Reasoning():
                warnings.append(THINKING)
            case Refusal() if message.role == "assistant" and part.extras.get(NAME, {}).get("key"):
                out["refusal"] = part.text
            case _:
                content.append(part)
    if form != "absent" or content:
        bare = message.role == "assistant" and "tool_calls" in out
        out["content"] = _content(content, form or ("null" if bare and not content else "string"), warnings)
    if message.name is not None:
        out["name"] = message.name
    return {**out, **ours}


def _content(parts: list[Part], form: str, warnings: list[str]) -> Json:
    """A message's content, as a string where that is how it was written or texts are all there is."""
    if not parts and form == "null":
        return None
    if form == "string" and all(isinstance(p, Text) for p in parts):
        return "\n\n".join(p.text for p in parts if isinstance(p, Text))
    return encode_parts(parts, warnings)


def encode_tool_call(call: ToolCall) -> dict[str, Json]:
    """A call as it stands in an assistant message."""
    ours = dict(call.extras.get(NAME, {}))
    kind = ours.pop("type", "custom" if call.freeform else "function")
    if kind != "function":
        return {"id": call.id, "type": kind, kind: {"name": call.name, "input": call.arguments}}
    form = ours.pop("_form", None)
    typed = {} if form == "no type" else {"type": "function"}
    return {
        "id": call.id,
        **typed,
        "function": {"name": call.name, "arguments": call.arguments or ("" if form == "no arguments" else "{}")},
        **ours,
    }


def encode_parts(parts: Iterable[Part], warnings: list[str]) -> list[dict[str, Json]]:
    """Content parts; what has no counterpart is left out with a warning."""
    out: list[dict[str, Json]] = []
    for part in parts:
        wire = _part(part)
        if wire is None:
            what = (
                part.data.get("type", "block") if isinstance(part, Opaque) and isinstance(part.data, dict) else "block"
            )
            warnings.append(f"a {what} has no counterpart in the chosen model's API and was left out")
        else:
            own = {} if isinstance(part, Opaque) else part.extras.get(NAME, {})
            out.append({**wire, **{k: v for k, v in own.items() if k != "_form"}})
    return out


def _part(part: Part) -> dict[str, Json] | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            return _image(part)
        case Audio():
            known = {"data": part.source.data, "format": part.format or _subtype(part.source.media_type)}
            return {"type": "input_audio", "input_audio": {k: v for k, v in known.items() if v is not None}}
        case File():
            return _file(part)
        case Opaque() if part.provider == NAME:
            return part.data
        case _:
            return None


def _image(part: Image) -> dict[str, Json] | None:
    if part.source.file_id is not None:
        return None
    if part.extras.get(NAME, {}).get("_form") == "string":
        return {"type": "image_url", "image_url": data_url(part.source)}
    detail = {"detail": part.detail} if part.detail else {}
    return {"type": "image_url", "image_url": {"url": data_url(part.source), **detail}}


def _file(part: File) -> dict[str, Json] | None:
    source = part.source
    if source.file_id is not None:
        inner: dict[str, Json] = {"file_id": source.file_id}
    elif source.data is not None:
        inner = {"file_data": data_url(source) if source.media_type else source.data}
    else:
        return None
    name = part.filename or (None if source.file_id or NAME in part.extras else "file")
    return {"type": "file", "file": {**({"filename": name} if name else {}), **inner}}


def _subtype(media_type: str | None) -> str:
    return (media_type or "audio/wav").rpartition("/")[2]
