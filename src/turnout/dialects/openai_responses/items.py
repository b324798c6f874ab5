"""Items of the Responses API to and from neutral messages, as they stand in requests and answers alike.

One item is one message: other wire formats regroup neighbours as theirs demands. What only this API knows of an item
or part travels in `extras["openai-responses"]`; keys that begin with `_` note how something was spelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from turnout.chat import (
    Audio,
    CacheBreakpoint,
    Extras,
    File,
    Image,
    Json,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from turnout.dialects.loss import CITATIONS, THINKING, UNKNOWN_BLOCK
from turnout.dialects.media import data_url, known_source
from turnout.dialects.values import bad, keys_of, list_at, object_at, optional_list, optional_text, text_at

__all__ = [
    "NAME",
    "SHOWN",
    "call_item",
    "decode_item",
    "decode_reasoning",
    "encode_message",
    "message_content",
    "output_part",
    "own_keys",
    "reasoning_item",
]

NAME = "openai-responses"

SHOWN = "rs_turnout_"
"""How the ids begin under which callers of this API see other models' thinking. The API knows no such item: what comes
back under it is left out again."""

_ROLES: dict[str, Role] = {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant"}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_TEXTS = frozenset({"input_text", "output_text", "text"})


def own_keys(extras: Extras) -> dict[str, Json]:
    return keys_of(extras, NAME)


def _rest(told: dict[str, Json], *known: str, **form: Json) -> Extras:
    rest = {k: v for k, v in told.items() if k not in known}
    return {NAME: {**rest, **{f"_{k}": v for k, v in form.items()}}}


def decode_item(value: Json, path: str) -> Message:
    """One item. Raises InvalidRequest that names the field; items we do not know are kept whole."""
    told = object_at(value, path)
    kind = told.get("type")
    if kind == "message" or (kind is None and "role" in told):
        return _message(told, path)
    if not isinstance(kind, str):  # a list would not be hashable
        raise bad(f"{path}.type", "the type of an item, or the item a message with a role")
    if kind in _CALLS:
        return Message(role="assistant", parts=(_call(told, kind, path),))
    if kind in _RESULTS:
        return Message(role="tool", parts=(_result(told, path),))
    if kind == "reasoning":
        return Message(role="assistant", parts=(decode_reasoning(told, path),))
    return Message(role="assistant", parts=(Opaque(provider=NAME, data=told),))


def _message(told: dict[str, Json], path: str) -> Message:
    role = told.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise bad(f"{path}.role", "system, developer, user or assistant")
    content = told.get("content")
    if isinstance(content, str):
        parts: list[Part] = [Text(text=content)]
    else:
        parts = [_part(p, f"{path}.content[{i}]") for i, p in enumerate(list_at(content, f"{path}.content"))]
    form = "string" if isinstance(content, str) else "list"
    return Message(role=_ROLES[role], parts=tuple(parts), extras=_rest(told, "role", "content", form=form))


def _part(value: Json, path: str) -> Part:
    """A content part, of input or output."""
    told = object_at(value, path)
    kind = told.get("type")
    if isinstance(kind, str) and kind in _TEXTS:
        notes = optional_list(told.get("annotations"), f"{path}.annotations")
        breakpoint_ = CacheBreakpoint() if isinstance(told.get("prompt_cache_breakpoint"), dict) else None
        spelled = {"annotations": told["annotations"]} if not notes and "annotations" in told else {}
        return Text(
            text=text_at(told.get("text"), f"{path}.text"),
            citations=tuple(notes),
            cache=breakpoint_,
            extras=_rest(told, "type", "text", "annotations", type=kind, **spelled),
        )
    match kind:
        case "refusal":
            return Refusal(text=text_at(told.get("refusal"), f"{path}.refusal"), extras=_rest(told, "type", "refusal"))
        case "input_image":
            source = _source(told, path, url=told.get("image_url"))
            detail = optional_text(told.get("detail"), f"{path}.detail")
            extras = _rest(told, "type", "image_url", "file_id", "detail")
            return Image(source=source, detail=detail, extras=extras) if source else Opaque(provider=NAME, data=told)
        case "input_file":
            data = told.get("file_data")
            source = _source(told, path, url=told.get("file_url") if data is None else data)
            name = optional_text(told.get("filename"), f"{path}.filename")
            extras = _rest(told, "type", "file_data", "file_url", "file_id", "filename")
            return File(source=source, filename=name, extras=extras) if source else Opaque(provider=NAME, data=told)
        case "input_audio":
            inner = object_at(told.get("input_audio"), f"{path}.input_audio")
            source = Source(data=text_at(inner.get("data"), f"{path}.input_audio.data"))
            sound = optional_text(inner.get("format"), f"{path}.input_audio.format")
            return Audio(source=source, format=sound, extras=_rest(told, "type", "input_audio"))
        case _:
            return Opaque(provider=NAME, data=told)


def _source(told: dict[str, Json], path: str, url: Json) -> Source | None:
    """A file by id, data URL or URL; bare base64 in `file_data` is data, too."""
    if told.get("file_id") is not None:
        return Source(file_id=text_at(told["file_id"], f"{path}.file_id"))
    if url is None:
        return None
    source = known_source(text_at(url, path))
    if told.get("file_data") is not None and source.data is None:
        return Source(data=source.url)
    return source


def _call(told: dict[str, Json], kind: str, path: str) -> ToolCall:
    said = _CALLS[kind]
    return ToolCall(
        id=text_at(told.get("call_id"), f"{path}.call_id"),
        name=text_at(told.get("name"), f"{path}.name"),
        arguments=text_at(told.get(said, ""), f"{path}.{said}"),
        freeform=kind == "custom_tool_call",
        namespace=optional_text(told.get("namespace"), f"{path}.namespace"),
        extras=_rest(told, "type", "call_id", "name", "namespace", said),
    )


def _result(told: dict[str, Json], path: str) -> ToolResult:
    output = told.get("output")
    if isinstance(output, str):
        parts: list[Part] = [Text(text=output)]
    else:
        parts = [_part(p, f"{path}.output[{i}]") for i, p in enumerate(list_at(output, f"{path}.output"))]
    return ToolResult(
        call_id=text_at(told.get("call_id"), f"{path}.call_id"),
        parts=tuple(p for p in parts if isinstance(p, (Text, Image, File, Audio, Opaque))),
        extras=_rest(
            told, "type", "call_id", "output", type=told["type"], form="string" if isinstance(output, str) else "list"
        ),
    )


def decode_reasoning(told: dict[str, Json], path: str) -> Reasoning:
    """Thinking in the open (`content`) where it is given, else its summary."""
    spoken = [*optional_list(told.get("content"), f"{path}.content")]
    summary = [*optional_list(told.get("summary"), f"{path}.summary")]
    text = "\n\n".join(text_at(object_at(block, path).get("text", ""), f"{path}.text") for block in (spoken or summary))
    name = optional_text(told.get("id"), f"{path}.id")
    return Reasoning(
        text=text,
        signature=optional_text(told.get("encrypted_content"), f"{path}.encrypted_content"),
        id=name,
        provider=None if name is not None and name.startswith(SHOWN) else NAME,
        extras=_rest(told, "type", "id", "encrypted_content"),
    )


# ---- And back ----------------------------------------------------------------------------------------------


def encode_message(message: Message, freeform: frozenset[str], warnings: list[str]) -> Iterable[dict[str, Json]]:
    """The items of one message: its text first, then calls and results as they come. `freeform` are the ids of calls
    that took plain text: their results are of another type."""
    said: list[Part] = []
    for part in message.parts:
        match part:
            case ToolCall() | ToolResult() | Reasoning() | Opaque():
                yield from _spoken(message, said, warnings)
                said = []
                if (item := _item(part, freeform, warnings)) is not None:
                    yield item
            case _:
                said.append(part)
    if said or NAME in message.extras:
        yield from _spoken(message, said, warnings)


def _spoken(message: Message, parts: list[Part], warnings: list[str]) -> Iterable[dict[str, Json]]:
    ours = message.extras.get(NAME)
    if ours is None and not parts:
        return
    form = (ours or {}).get("_form", "list")
    role = message.role if message.role != "tool" else "user"
    if form == "string" and len(parts) == 1 and isinstance(parts[0], Text):
        content: Json = parts[0].text
    else:
        content = message_content(parts, output=role == "assistant", warnings=warnings)
    kind = {"type": "message"} if ours is None else {}
    yield {**kind, "role": role, "content": content, **own_keys(message.extras)}


def _item(part: Part, freeform: frozenset[str], warnings: list[str]) -> dict[str, Json] | None:
    match part:
        case ToolCall():
            return call_item(part)
        case ToolResult():
            return _result_item(part, freeform, warnings)
        case Reasoning() if part.provider == NAME:
            return reasoning_item(part)
        case Reasoning():
            if part.id is None or not part.id.startswith(SHOWN):
                warnings.append(THINKING)
            return None
        case Opaque() if part.provider == NAME:
            return part.data
        case _:
            warnings.append(UNKNOWN_BLOCK)
            return None


def call_item(call: ToolCall) -> dict[str, Json]:
    kind = "custom_tool_call" if call.freeform else "function_call"
    arguments = call.arguments if call.freeform or NAME in call.extras else call.arguments or "{}"
    group = {"namespace": call.namespace} if call.namespace is not None else {}
    named = {"type": kind, "call_id": call.id, "name": call.name, **group}
    return {**named, _CALLS[kind]: arguments, **own_keys(call.extras)}


def reasoning_item(part: Reasoning) -> dict[str, Json]:
    secret = {} if part.signature is None else {"encrypted_content": part.signature}
    name = {} if part.id is None else {"id": part.id}
    own = own_keys(part.extras)
    if "summary" not in own:
        own = {"summary": [{"type": "summary_text", "text": part.text}] if part.text else [], **own}
    return {"type": "reasoning", **name, **own, **secret}


def _result_item(result: ToolResult, freeform: frozenset[str], warnings: list[str]) -> dict[str, Json]:
    ours = result.extras.get(NAME, {})
    kind = ours.get("_type", "custom_tool_call_output" if result.call_id in freeform else "function_call_output")
    if ours.get("_form", "string") == "string" and all(isinstance(p, Text) for p in result.parts):
        text = "\n".join(p.text for p in result.parts if isinstance(p, Text))
        output: Json = f"Error: {text}" if result.is_error and not text.startswith("Error") else text
    else:
        output = message_content(result.parts, output=False, warnings=warnings)
    return {"type": kind, "call_id": result.call_id, "output": output, **own_keys(result.extras)}


def message_content(parts: Iterable[Part], *, output: bool, warnings: list[str]) -> list[dict[str, Json]]:
    """Content parts of a message; what has no counterpart is left out with a warning."""
    out: list[dict[str, Json]] = []
    for part in parts:
        wire = output_part(part, warnings) if output else _input_part(part)
        if wire is None:
            warnings.append(UNKNOWN_BLOCK)
        else:
            out.append(wire)
    return out


def output_part(part: Part, warnings: list[str]) -> dict[str, Json] | None:
    """A part of an assistant's message."""
    match part:
        case Text():
            ours = part.extras.get(NAME)
            kind = (ours or {}).get("_type", "output_text")
            if ours is not None:
                notes = {"annotations": [*part.citations]} if part.citations else _spelled(ours)
            else:
                foreign = [c for c in part.citations if not _is_ours(c)]
                if foreign:
                    warnings.append(CITATIONS)
                notes = {"annotations": [c for c in part.citations if _is_ours(c)]}
            return {"type": kind, "text": part.text, **notes, **own_keys(part.extras)}
        case Refusal():
            return {"type": "refusal", "refusal": part.text, **own_keys(part.extras)}
        case _:
            return _input_part(part)


def _spelled(ours: dict[str, Json]) -> dict[str, Json]:
    return {"annotations": ours["_annotations"]} if "_annotations" in ours else {}


def _is_ours(citation: Json) -> bool:
    kind = cast("dict[str, Json]", citation).get("type") if isinstance(citation, dict) else None
    return kind in {"url_citation", "file_citation", "container_file_citation", "file_path"}


def _input_part(part: Part) -> dict[str, Json] | None:
    match part:
        case Text():
            ours = part.extras.get(NAME, {})
            return {"type": ours.get("_type", "input_text"), "text": part.text, **own_keys(part.extras)}
        case Refusal():
            return {"type": "input_text", "text": part.text}
        case Image():
            detail = {"detail": part.detail} if part.detail else {}
            where = _by_id(part.source) or {"image_url": data_url(part.source)}
            return {"type": "input_image", **detail, **where, **own_keys(part.extras)}
        case File():
            return _file(part)
        case Audio():
            kind = part.format or (part.source.media_type or "audio/wav").rpartition("/")[2]
            return {"type": "input_audio", "input_audio": {"data": part.source.data, "format": kind}}
        case Opaque() if part.provider == NAME:
            return part.data
        case _:
            return None


def _by_id(source: Source) -> dict[str, Json]:
    return {"file_id": source.file_id} if source.file_id is not None else {}


def _file(part: File) -> dict[str, Json]:
    name = {"filename": part.filename} if part.filename else {}
    if part.source.url is not None and part.source.data is None:
        where: dict[str, Json] = {"file_url": part.source.url}
    elif part.source.data is not None:
        where = {"file_data": data_url(part.source) if part.source.media_type else part.source.data}
        name = name or ({} if NAME in part.extras else {"filename": "file.pdf"})  # the API asks for one
    else:
        where = _by_id(part.source)
    return {"type": "input_file", **name, **where, **own_keys(part.extras)}
