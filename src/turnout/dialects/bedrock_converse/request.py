"""Converse requests to and from `ChatRequest`, and their outline. Model and streaming stand in the URL.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, cast

import msgspec

from turnout.chat import (
    ChatRequest,
    Json,
    Message,
    ReasoningConfig,
    RequestOutline,
    ToolChoice,
    ToolResult,
    ToolSpec,
)
from turnout.dialects.base import Encoded
from turnout.dialects.bedrock_converse.blocks import NAME, cache_point, decode_blocks, encode_blocks, own_keys
from turnout.dialects.billing import asked_cache, wished_tier
from turnout.dialects.effort import budget_of
from turnout.dialects.fields import decode_fields, encode, join_fields
from turnout.dialects.loss import foreign_tool, left_out, nothing_left, unknown_fields
from turnout.dialects.turns import alternating, split_system
from turnout.dialects.values import bad, checked, decode_object, list_at, object_at, optional_list, text_at, told_once
from turnout.errors import NotTranslatable

__all__ = ["decode_request", "encode_request", "outline", "patch"]

_LIMITS: dict[str, tuple[str, Any]] = {
    "maxTokens": ("max_output_tokens", int),
    "temperature": ("temperature", float),
    "topP": ("top_p", float),
    "stopSequences": ("stop", tuple[str, ...]),
}
_TOP = frozenset({"system", "messages", "toolConfig", "inferenceConfig"})
_NO_COUNTERPART = ("verbosity", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "top_k")
LEAST_BUDGET = 1024
_raws = msgspec.json.Decoder(list[msgspec.Raw])


def outline(body: bytes) -> RequestOutline:
    """What routing needs. Nobody calls the gateway in this format, so decoding in full is no loss."""
    request, fields = decode_request(body), decode_fields(body)
    raws = tuple(_raws.decode(fields["messages"]))
    parts = [p for m in request.messages for p in m.parts]
    return RequestOutline(
        model="",
        fields=fields,
        messages=raws,
        roles=tuple(m.role for m in request.messages[-len(raws) :]),
        prefix=tuple(fields[name] for name in ("toolConfig", "system") if name in fields),
        max_output_tokens=request.max_output_tokens,
        tools=len(request.tools),
        tools_bytes=len(memoryview(fields["toolConfig"])) if "toolConfig" in fields else 0,
        system_bytes=len(memoryview(fields["system"])) if "system" in fields else 0,
        messages_bytes=sum(len(memoryview(raw)) for raw in raws),
        tool_result_last=bool(parts) and isinstance(parts[-1], ToolResult),
        service_tier=wished_tier(fields, "serviceTier"),
        caches=asked_cache(body),
    )


def patch(told: RequestOutline, model: str, effort: str | None = None) -> bytes:
    """The caller's bytes with the effort that a mode sets, as Claude takes it: a thinking budget. The model stands in
    the URL."""
    del model
    fields: dict[str, msgspec.Raw | bytes] = dict(told.fields)
    if effort is not None and (budget := budget_of(effort)):
        fields["additionalModelRequestFields"] = encode({"thinking": _thinking(budget)})
    return join_fields(fields)


def decode_request(body: bytes) -> ChatRequest:
    """Raises InvalidRequest that names the field."""
    told = decode_object(body)
    messages = list_at(told.get("messages"), "messages")
    if not messages:
        raise bad("messages", "a list with at least one message")
    system = told.get("system")
    head = [Message(role="system", parts=decode_blocks(system, "system"), extras={NAME: {}})] if system else []
    limits = object_at(told.get("inferenceConfig") or {}, "inferenceConfig")
    plain = {
        ours: checked(limits[name], f"inferenceConfig.{name}", kind)
        for name, (ours, kind) in _LIMITS.items()
        if limits.get(name) is not None
    }
    config = object_at(told.get("toolConfig") or {}, "toolConfig")
    kept = {k: v for k, v in told.items() if k not in _TOP}
    spelled = {"_limits": {k: v for k, v in limits.items() if k not in _LIMITS}, "_choice": config.get("toolChoice")}
    spelled["_empty"] = [name for name in ("system", "inferenceConfig", "toolConfig") if told.get(name) in ([], {})]
    return ChatRequest(
        model="",
        messages=(*head, *(_message(m, f"messages[{i}]") for i, m in enumerate(messages))),
        tools=tuple(_tools(config)),
        tool_choice=_tool_choice(config.get("toolChoice")),
        reasoning=_reasoning(told.get("additionalModelRequestFields")),
        extras={NAME: {**kept, **spelled}},
        **plain,
    )


def _message(value: Json, path: str) -> Message:
    told = object_at(value, path)
    role = told.get("role")
    if role != "user" and role != "assistant":  # noqa: PLR1714 (narrows the type)
        raise bad(f"{path}.role", "user or assistant")
    own = {k: v for k, v in told.items() if k not in {"role", "content"}}
    return Message(role=role, parts=decode_blocks(told.get("content"), f"{path}.content"), extras={NAME: own})


def _tools(config: dict[str, Json]) -> list[ToolSpec]:
    specs: list[ToolSpec] = []
    for i, item in enumerate(optional_list(config.get("tools"), "toolConfig.tools")):
        path = f"toolConfig.tools[{i}]"
        told = object_at(item, path)
        spec = told.get("toolSpec")
        if not isinstance(spec, dict):
            specs.append(ToolSpec(name=next(iter(told), "tool"), provider=NAME, opaque=told))
            continue
        inner = cast("dict[str, Json]", spec)
        schema = object_at(inner.get("inputSchema") or {}, f"{path}.toolSpec.inputSchema")
        known = {"name", "description", "inputSchema", "strict"}
        specs.append(
            ToolSpec(
                name=text_at(inner.get("name"), f"{path}.toolSpec.name"),
                description=checked(inner.get("description"), f"{path}.toolSpec.description", str | None),
                schema=schema.get("json"),
                strict=checked(inner.get("strict"), f"{path}.toolSpec.strict", bool | None),
                extras={NAME: {k: v for k, v in inner.items() if k not in known}},
            )
        )
    return specs


def _tool_choice(value: Json) -> ToolChoice | None:
    if value is None:
        return None
    told = object_at(value, "toolConfig.toolChoice")
    if isinstance(told.get("tool"), dict):
        return ToolChoice(mode="tool", name=text_at(told["tool"].get("name"), "toolConfig.toolChoice.tool.name"))
    return ToolChoice(mode="required" if "any" in told else "auto")


def _reasoning(value: Json) -> ReasoningConfig | None:
    """Claude's own `thinking`, which is handed through to it."""
    thinking = cast("dict[str, Json]", value).get("thinking") if isinstance(value, dict) else None
    if not isinstance(thinking, dict):
        return None
    told = cast("dict[str, Json]", thinking)
    budget = told.get("budget_tokens")
    return ReasoningConfig(
        enabled=told.get("type") != "disabled",
        budget_tokens=budget if isinstance(budget, int) else None,
        adaptive=told.get("type") == "adaptive",
    )


# ---- And back ----------------------------------------------------------------------------------------------


def encode_request(request: ChatRequest) -> Encoded:
    """Raises NotTranslatable for several answers at once, files by URL, and tools that only another provider runs."""
    warnings: list[str] = []
    own = request.extras.get(NAME)
    if (request.n or 1) > 1:
        raise NotTranslatable("n > 1 has no counterpart in the chosen model's API; ask once for each answer", param="n")
    head, rest = split_system(request.messages)
    out: dict[str, Json] = {"messages": list(_turns(rest, warnings))}
    if not out["messages"]:
        raise nothing_left()
    if system := encode_blocks((p for m in head for p in m.parts), warnings):
        out["system"] = system
    limits: dict[str, Json] = {name: getattr(request, ours) for name, (ours, _) in _LIMITS.items()}
    limits = {k: v for k, v in limits.items() if v not in (None, ())} | (own or {}).get("_limits", {})
    if limits:
        out["inferenceConfig"] = limits
    if request.tools:
        out["toolConfig"] = _tool_config(request, warnings)
    if own is None:
        out |= _foreign(request, limits, warnings)
    out |= {name: [] if name == "system" else {} for name in (own or {}).get("_empty", ()) if name not in out}
    warnings.extend(unknown_fields(request, NAME))
    return Encoded(msgspec.json.encode({**out, **own_keys(request.extras)}), told_once(warnings))


def _foreign(request: ChatRequest, limits: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    """What another API's caller asked for besides: thinking, a schema; and what is lost."""
    out: dict[str, Json] = {}
    told = request.reasoning
    budget = None if told is None else told.budget_tokens or (budget_of(told.effort) if told.effort else None)
    if budget and budget > 0 and "claude" in request.model:
        budget = max(LEAST_BUDGET, budget)
        if limits.get("maxTokens", budget + 1) <= budget:
            limits["maxTokens"] = budget + limits["maxTokens"]
        limits.pop("temperature", None)  # Claude takes none beside a thinking budget
        out["additionalModelRequestFields"] = {"thinking": _thinking(budget)}
    elif told is not None and told.enabled is not False and told.effort not in {None, "none"}:
        warnings.extend(left_out(["reasoning effort"]))
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema":
        schema = msgspec.json.encode(wanted.schema).decode()
        structure = {"jsonSchema": {"schema": schema, "name": wanted.name or "answer"}}
        out["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
    elif wanted is not None and wanted.kind == "json":
        warnings.append("JSON without a schema cannot be enforced by the chosen model's API: it is only asked for")
    dropped = [name for name in _NO_COUNTERPART if getattr(request, name)]
    warnings.extend(left_out(dropped + (["seed"] if request.seed is not None else [])))
    if request.parallel_tool_calls is False:
        warnings.extend(left_out(["parallel_tool_calls"]))
    return out


def _thinking(budget: int) -> dict[str, Json]:
    return {"type": "enabled", "budget_tokens": budget}


def _turns(messages: list[Message], warnings: list[str]) -> Iterable[dict[str, Json]]:
    """Alternating turns. Messages of this API keep their grouping; others are regrouped."""
    for ours, run in groupby(messages, lambda message: NAME in message.extras):
        if not ours:
            yield from _regrouped(run, warnings)
            continue
        for message in run:
            content = encode_blocks(message.parts, warnings)
            yield {"role": message.role, "content": content, **own_keys(message.extras)}


def _regrouped(group: Iterable[Message], warnings: list[str]) -> Iterable[dict[str, Json]]:
    """Results of tools come first in the user's turn."""
    for role, parts in alternating(group, warnings):
        ordered = sorted(parts, key=lambda p: not isinstance(p, ToolResult)) if role == "user" else parts
        if content := encode_blocks(ordered, warnings):
            yield {"role": role, "content": content}


def _tool_config(request: ChatRequest, warnings: list[str]) -> dict[str, Json]:
    tools: list[Json] = []
    for i, tool in enumerate(request.tools):
        if tool.opaque is not None:
            if tool.provider != NAME:
                raise foreign_tool(tool, i)
            tools.append(tool.opaque)
            continue
        schema = tool.schema if isinstance(tool.schema, dict) else {"type": "object", "properties": {}}
        known = {"description": tool.description, "strict": tool.strict}
        spec = {"name": tool.name, **{k: v for k, v in known.items() if v is not None}}
        tools.append({"toolSpec": {**spec, "inputSchema": {"json": schema}, **own_keys(tool.extras)}})
        if tool.cache is not None:
            tools.append(cache_point(tool.cache))
    out: dict[str, Json] = {"tools": tools}
    spelled = request.extras.get(NAME, {}).get("_choice")
    choice = request.tool_choice
    if spelled is not None:
        out["toolChoice"] = spelled
    elif choice is not None and choice.mode == "none":
        warnings.append("tool_choice none is not known to the chosen model's API: it may call tools")
    elif choice is not None:
        word = {"required": "any", "auto": "auto", "tool": "tool"}[choice.mode]
        out["toolChoice"] = {word: {"name": choice.name} if word == "tool" else {}}
    return out
