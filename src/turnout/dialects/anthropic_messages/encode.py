"""`ChatRequest` to a Messages request; what does not fit is warned of or refused."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Message, Part, ReasoningConfig, Refusal, Text, ToolResult, ToolSpec
from turnout.dialects.anthropic_messages.blocks import NAME, cache_wire, encode_blocks
from turnout.dialects.anthropic_messages.outline import OUR_METADATA
from turnout.dialects.base import Encoded
from turnout.errors import NotTranslatable

__all__ = ["DEFAULT_MAX_TOKENS", "encode_request"]

DEFAULT_MAX_TOKENS = 4096
"""The API asks for a bound; callers of other APIs may set none."""

EFFORTS = {
    "none": None,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""Other APIs' effort words in this one's; `none` turns thinking off."""

_NO_COUNTERPART = ("frequency_penalty", "presence_penalty", "seed", "logprobs", "top_logprobs")


def encode_request(request: ChatRequest) -> Encoded:
    """Raises NotTranslatable for several answers at once, audio, and tools that only another provider can run."""
    warnings: list[str] = []
    ours = {k: v for k, v in request.extras.get(NAME, {}).items() if not k.startswith("_")}
    form = {k: v for k, v in request.extras.get(NAME, {}).items() if k.startswith("_")}
    if (request.n or 1) > 1:
        raise NotTranslatable("n > 1 has no counterpart in the chosen model's API; ask once for each answer", param="n")
    head, rest = _split_system(request.messages)
    out: dict[str, Json] = {"model": request.model, "max_tokens": request.max_output_tokens or DEFAULT_MAX_TOKENS}
    out |= _system(head, warnings)
    out["messages"] = list(_messages(rest, warnings))
    out |= _tools(request, form)
    out |= _sampling(request, warnings)
    out |= _thinking(request, form, warnings)
    if request.stream or form.get("_stream"):
        out["stream"] = request.stream
    if metadata := _metadata(request):
        out["metadata"] = metadata
    if request.service_tier is not None and NAME in request.extras:
        out["service_tier"] = request.service_tier
    dropped = [name for name in _NO_COUNTERPART if getattr(request, name) not in {None, False}]
    dropped += _worth_telling(k for name, kept in request.extras.items() if name != NAME for k in kept if k[0] != "_")
    warnings.extend(f"{key} is not known to the chosen model's API and was left out" for key in dropped)
    out |= {name: [] for name in form.get("_empty", ())}
    return Encoded(msgspec.json.encode({**out, **ours}), tuple(dict.fromkeys(warnings)))


def _worth_telling(keys: Iterable[str]) -> list[str]:
    return [k for k in keys if k not in {"stream_options", "store", "safety_identifier"}]


def _metadata(request: ChatRequest) -> dict[str, Json]:
    if NAME in request.extras or "user_id" in request.metadata:
        return {k: v for k, v in request.metadata.items() if k not in OUR_METADATA}
    return {"user_id": request.user} if request.user else {}


def _split_system(messages: tuple[Message, ...]) -> tuple[list[Message], list[Message]]:
    """System messages at the head, and the rest."""
    count = 0
    while count < len(messages) and messages[count].role in {"system", "developer"}:
        if "_ours" in messages[count].extras.get(NAME, {}):
            break
        count += 1
    return list(messages[:count]), list(messages[count:])


def _system(head: list[Message], warnings: list[str]) -> dict[str, Json]:
    parts = [part for message in head for part in message.parts]
    if not parts and not any("_top" in m.extras.get(NAME, {}) for m in head):
        return {}
    return {"system": _content(parts, warnings)}


def _content(parts: list[Part], warnings: list[str]) -> Json:
    """Blocks, or the string that a message's content was."""
    if len(parts) == 1 and isinstance(parts[0], Text) and parts[0].extras.get(NAME, {}).get("_string"):
        return parts[0].text
    return encode_blocks(parts, warnings)


def _messages(messages: list[Message], warnings: list[str]) -> Iterable[dict[str, Json]]:
    """Wire messages. Those of this API keep their grouping; others are regrouped: results of tools become blocks
    of one user message, first of all, and neighbours of one role become one message."""
    group: list[Message] = []
    for message in messages:
        if "_ours" in message.extras.get(NAME, {}):
            yield from _regrouped(group, warnings)
            group = []
            ours = {k: v for k, v in message.extras[NAME].items() if not k.startswith("_")}
            yield {"role": message.role, "content": _content(list(message.parts), warnings), **ours}
        else:
            group.append(message)
    yield from _regrouped(group, warnings)


def _regrouped(group: list[Message], warnings: list[str]) -> Iterable[dict[str, Json]]:
    turns: list[tuple[str, list[Part]]] = []
    for message in group:
        parts = list(message.parts)
        role = "assistant" if message.role == "assistant" else "user"
        if message.role in {"system", "developer"}:
            warnings.append(
                "a system message in mid-conversation became the user's: the chosen model's API has none there"
            )
            parts = [replace(p, text=f"<system>{p.text}</system>") if isinstance(p, Text) else p for p in parts]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts))
    for role, parts in turns:
        ordered = sorted(parts, key=lambda p: not isinstance(p, ToolResult)) if role == "user" else parts
        if content := encode_blocks(ordered, warnings):
            yield {"role": role, "content": content}
        elif any(isinstance(p, (Text, Refusal)) for p in parts):
            yield {"role": role, "content": [{"type": "text", "text": "(empty)"}]}


def _tools(request: ChatRequest, form: dict[str, Json]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    if request.tools:
        out["tools"] = [_tool(tool, i) for i, tool in enumerate(request.tools)]
    if "_tool_choice" in form:
        out["tool_choice"] = form["_tool_choice"]
    elif request.tools and (request.tool_choice is not None or request.parallel_tool_calls is False):
        mode = request.tool_choice.mode if request.tool_choice else "auto"
        choice: dict[str, Json] = {"type": "any" if mode == "required" else mode}
        if request.tool_choice and mode == "tool":
            choice["name"] = request.tool_choice.name
        if request.parallel_tool_calls is False and mode != "none":
            choice["disable_parallel_tool_use"] = True
        out["tool_choice"] = choice
    return out


def _tool(tool: ToolSpec, index: int) -> dict[str, Json]:
    if tool.opaque is not None:
        if tool.provider != NAME:
            raise NotTranslatable(
                f"tools[{index}] ({tool.name}) runs at another provider, the chosen model's API has no such tool; "
                "leave it out or name a model of that provider",
                param=f"tools[{index}]",
            )
        return tool.opaque
    out: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    out["input_schema"] = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    if tool.strict is not None:
        out["strict"] = tool.strict
    return {**out, **cache_wire(tool.cache), **tool.extras.get(NAME, {})}


def _sampling(request: ChatRequest, warnings: list[str]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    if (temperature := request.temperature) is not None:
        if temperature > 1:
            warnings.append(f"temperature {temperature:g} was lowered to 1, the most that the chosen model's API takes")
        out["temperature"] = min(temperature, 1)
    if request.top_p is not None:
        out["top_p"] = request.top_p
    if request.top_k is not None:
        out["top_k"] = request.top_k
    if request.stop:
        out["stop_sequences"] = list(request.stop)
    return out


def _thinking(request: ChatRequest, form: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    """`thinking` and `output_config`: as the caller of this API wrote them, else from effort and schema. An effort
    that a mode set comes before both."""
    out = {name: form[f"_{name}"] for name in ("thinking", "output_config") if f"_{name}" in form}
    config: dict[str, Json] = dict(out.get("output_config") or {})
    told = request.reasoning
    if told is not None and told.effort is not None and config.get("effort") != told.effort:
        _effort(told, out, config)
    elif told is not None and told.budget_tokens is not None and "thinking" not in out:
        out["thinking"] = {"type": "enabled", "budget_tokens": max(1024, told.budget_tokens)}
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and "format" not in config:
        config["format"] = {"type": "json_schema", "schema": wanted.schema}
    elif wanted is not None and wanted.kind == "json":
        warnings.append("JSON without a schema cannot be enforced by the chosen model's API: it is only asked for")
    if config or "output_config" in out:
        out["output_config"] = config
    return out


def _effort(told: ReasoningConfig, out: dict[str, Json], config: dict[str, Json]) -> None:
    word = EFFORTS.get(told.effort or "", told.effort)
    if word is None:
        out["thinking"] = {"type": "disabled"}
    else:
        config["effort"] = word
