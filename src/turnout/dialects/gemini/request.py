"""generateContent requests to `ChatRequest`. Encoding what was decoded gives the same JSON.

What only this API knows travels in `extras["gemini"]`; keys that begin with `_` note spellings. Not kept: null values,
empty lists, a `model` in the body (the URL has it) and keys of `labels` that are hints for us.
"""

from __future__ import annotations

from typing import Any, cast

from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Message, ReasoningConfig, ResponseFormat, Role, ToolChoice, ToolSpec
from turnout.dialects.gemini.parts import Calls, decode_parts
from turnout.dialects.gemini.schema import as_json_schema
from turnout.dialects.gemini.spelling import NAME, camel, extras_of, read_keys
from turnout.dialects.gemini.thinking import decode_thinking
from turnout.dialects.gemini.usage import TIERS
from turnout.dialects.values import bad, checked, decode_object, list_at, object_at, optional_list, text_at
from turnout.errors import InvalidRequest

__all__ = ["GENERATION", "decode_request"]

GENERATION: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", float | None),
    "topP": ("top_p", float | None),
    "maxOutputTokens": ("max_output_tokens", int | None),
    "candidateCount": ("n", int | None),
    "seed": ("seed", int | None),
    "presencePenalty": ("presence_penalty", float | None),
    "frequencyPenalty": ("frequency_penalty", float | None),
    "responseLogprobs": ("logprobs", bool | None),
    "logprobs": ("top_logprobs", int | None),
}
"""Fields of `generationConfig` that need no more than a check of their type: their name in `ChatRequest`, the type."""

_FORMAT = ("responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema")
_SPELLED = frozenset({*GENERATION, *_FORMAT, "topK", "stopSequences", "thinkingConfig", "responseModalities"})
_TOP = frozenset(
    {
        "model",
        "stream",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "labels",
        "serviceTier",
    }
)
_CONTENT = frozenset({"role", "parts"})
_DECLARATION = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "tool", "tool": "tool"}
_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}


def decode_request(body: bytes) -> ChatRequest:
    """Raises InvalidRequest that names the field. Source: ai.google.dev/api/generate-content#request-body."""
    form: dict[str, str] = {}
    told = read_keys(decode_object(body), form)
    try:
        return _request(told, form)
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def _request(told: dict[str, Json], form: dict[str, str]) -> ChatRequest:
    contents = told.get("contents")
    if not isinstance(contents, list) or not contents:
        raise bad("contents", "a list with at least one content")
    calls = Calls()
    messages = [_content(c, f"contents[{i}]", calls) for i, c in enumerate(cast("list[Json]", contents))]
    if "systemInstruction" in told:
        messages.insert(0, _system(told["systemInstruction"], calls))
    tier = checked(told.get("serviceTier"), "serviceTier", str | None)
    notes: dict[str, Json] = {"tool_config": told.get("toolConfig"), "service_tier": tier}
    request = ChatRequest(
        model="",
        messages=tuple(messages),
        tools=tuple(_tools(told.get("tools"))),
        tool_choice=_tool_choice(told.get("toolConfig")),
        metadata=checked(told.get("labels") or {}, "labels", dict[str, Any]),
        service_tier=TIERS.get(tier.lower(), tier) if tier else None,
        bound=("cachedContent",) if told.get("cachedContent") else (),
    )
    request = _generation(request, told.get("generationConfig"), notes, form)
    beside = notes.pop("beside", {})
    return replace(request, extras=extras_of({**told, **beside}, _TOP, form, ours=True, **notes))


def _generation(request: ChatRequest, value: Json, notes: dict[str, Json], form: dict[str, str]) -> ChatRequest:
    """`generationConfig`. How format and thinking were written, and what nobody else knows, goes to `notes`."""
    if value is None:
        return request
    notes["generation"] = None if value else "empty"
    told = read_keys(object_at(value, "generationConfig"), form)
    plain = {ours: checked(told.get(n), f"generationConfig.{n}", kind) for n, (ours, kind) in GENERATION.items()}
    top_k = checked(told.get("topK"), "generationConfig.topK", float | None)
    modalities = told.get("responseModalities")
    reasoning: ReasoningConfig | None = None
    if "thinkingConfig" in told:
        reasoning = decode_thinking(told["thinkingConfig"], "generationConfig.thinkingConfig")
    notes |= {
        "format": {k: told[k] for k in _FORMAT if k in told} or None,
        "thinking": told.get("thinkingConfig"),
        "modalities": modalities,
        "beside": {f"generationConfig.{k}": v for k, v in told.items() if k not in _SPELLED},
    }
    bound = list(request.bound)
    if modalities and modalities not in (["TEXT"], ["text"]):
        bound.append("generationConfig.responseModalities")
    if told.get("responseMimeType") not in (None, "text/plain", "application/json"):
        bound.append("generationConfig.responseMimeType")
    return replace(
        request,
        **plain,
        top_k=None if top_k is None else int(top_k),
        stop=checked(told.get("stopSequences") or (), "generationConfig.stopSequences", tuple[str, ...]),
        response_format=_response_format(told),
        reasoning=reasoning,
        bound=tuple(bound),
    )


def _response_format(told: dict[str, Json]) -> ResponseFormat | None:
    kind = checked(told.get("responseMimeType"), "generationConfig.responseMimeType", str | None)
    if kind == "text/plain":
        return ResponseFormat(kind="text")
    if kind != "application/json":
        return None
    for name in ("responseJsonSchema", "_responseJsonSchema"):
        if name in told:
            return ResponseFormat(kind="json_schema", schema=told[name])
    if "responseSchema" in told:
        return ResponseFormat(kind="json_schema", schema=as_json_schema(told["responseSchema"]))
    return ResponseFormat(kind="json")


def _system(value: Json, calls: Calls) -> Message:
    form: dict[str, str] = {}
    told = read_keys(object_at(value, "systemInstruction"), form)
    role = checked(told.get("role"), "systemInstruction.role", str | None)
    return Message(
        role="system",
        parts=decode_parts(told.get("parts"), "systemInstruction.parts", calls),
        extras=extras_of(told, _CONTENT, form, ours=True, role=role or "absent"),
    )


def _content(value: Json, path: str, calls: Calls) -> Message:
    form: dict[str, str] = {}
    told = read_keys(object_at(value, path), form)
    role = told.get("role") or "user"
    if not isinstance(role, str) or role not in _ROLES:
        raise bad(f"{path}.role", "user or model")
    written = role if "role" in told else "absent"
    return Message(
        role=_ROLES[role],
        parts=decode_parts(told.get("parts"), f"{path}.parts", calls),
        extras=extras_of(told, _CONTENT, form, ours=True, role=written),
    )


def _tools(value: Json) -> list[ToolSpec]:
    """Each function a tool of its own; `_group` notes which of them stood in one entry."""
    out: list[ToolSpec] = []
    for i, entry in enumerate(optional_list(value, "tools")):
        form: dict[str, str] = {}
        for key, inner in read_keys(object_at(entry, f"tools[{i}]"), form).items():
            if key == "functionDeclarations":
                at = f"tools[{i}].functionDeclarations"
                out += [_function(f, f"{at}[{j}]", i, form) for j, f in enumerate(list_at(inner, at))]
            else:
                out.append(_built_in(key, inner, i, form))
    return out


def _built_in(key: str, inner: Json, group: int, form: dict[str, str]) -> ToolSpec:
    return ToolSpec(
        name=camel(key), provider=NAME, opaque={form.get(key, key): inner}, extras={NAME: {"_group": group}}
    )


def _function(value: Json, path: str, group: int, outer: dict[str, str]) -> ToolSpec:
    form: dict[str, str] = dict(outer)
    told = read_keys(object_at(value, path), form)
    plain = "parametersJsonSchema" in told
    original = None if plain else told.get("parameters")
    both = {"parameters": told["parameters"]} if plain and "parameters" in told else {}
    extras = extras_of(told, _DECLARATION, form, group=group, parameters=original)
    return ToolSpec(
        name=text_at(told.get("name"), f"{path}.name"),
        description=checked(told.get("description"), f"{path}.description", str | None),
        schema=told["parametersJsonSchema"] if plain else as_json_schema(original),
        extras={NAME: {**extras[NAME], **both}},
    )


def _tool_choice(value: Json) -> ToolChoice | None:
    if value is None:
        return None
    config = read_keys(object_at(value, "toolConfig"), {}).get("functionCallingConfig")
    if config is None:
        return None
    path = "toolConfig.functionCallingConfig"
    told = read_keys(object_at(config, path), {})
    word = text_at(told.get("mode") or "AUTO", f"{path}.mode").upper()
    mode = _MODES.get(word)
    if mode is None:
        raise bad(f"{path}.mode", "AUTO, ANY, NONE or VALIDATED")
    names = checked(told.get("allowedFunctionNames") or (), f"{path}.allowedFunctionNames", tuple[str, ...])
    if mode == "required" and len(names) == 1:
        return ToolChoice(mode="tool", name=names[0])
    if mode == "none":
        return ToolChoice(mode="none")
    return ToolChoice(mode="required" if mode == "required" else "auto", allowed=names)
