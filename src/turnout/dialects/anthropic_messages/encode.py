"""`ChatRequest` to a Messages request; what does not fit is warned of or refused."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import msgspec
from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Message, Part, ReasoningConfig, Refusal, Text, ToolResult, ToolSpec
from turnout.dialects.anthropic_messages.blocks import NAME, cache_wire, encode_blocks, own_keys
from turnout.dialects.anthropic_messages.outline import OUR_METADATA, effort_keys
from turnout.dialects.base import Encoded
from turnout.dialects.loss import foreign_tool, left_out, nothing_left, unknown_fields
from turnout.dialects.turns import alternating, split_system
from turnout.errors import NotTranslatable

__all__ = ["DEFAULT_MAX_TOKENS", "encode_request"]

DEFAULT_MAX_TOKENS = 4096
"""The API asks for a bound; callers of other APIs may set none."""

LEAST_BUDGET = 1024
"""The API takes no smaller `thinking.budget_tokens`, and asks for one below `max_tokens`."""

_NO_COUNTERPART = ("verbosity", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs")
"""Zero and false ask for nothing; a seed of zero is a seed."""


def encode_request(request: ChatRequest) -> Encoded:
    """Raises NotTranslatable for several answers at once, audio, and tools that only another provider can run."""
    warnings: list[str] = []
    ours = own_keys(request.extras)
    form = {k: v for k, v in request.extras.get(NAME, {}).items() if k.startswith("_")}
    if (request.n or 1) > 1:
        raise NotTranslatable("n > 1 has no counterpart in the chosen model's API; ask once for each answer", param="n")
    head, rest = split_system(request.messages, _stays)
    out: dict[str, Json] = {"model": request.model, "max_tokens": request.max_output_tokens or DEFAULT_MAX_TOKENS}
    out |= _system(head, warnings)
    out["messages"] = list(_messages(rest, warnings))
    if not out["messages"]:
        raise nothing_left()
    out |= _tools(request, form, warnings)
    out |= _sampling(request, warnings)
    out |= _thinking(request, form, warnings)
    if "_thinking" not in form and out.get("thinking", {}).get("type") == "enabled":
        _unsampled(out, warnings)
    if request.stream or form.get("_stream"):
        out["stream"] = request.stream
    if metadata := _metadata(request):
        out["metadata"] = metadata
    out |= _service_tier(request, warnings)
    dropped = [name for name in _NO_COUNTERPART if getattr(request, name)]
    dropped += ["seed"] if request.seed is not None else []
    warnings.extend([*left_out(dropped), *unknown_fields(request, NAME)])
    out |= {name: [] for name in form.get("_empty", ())}
    return Encoded(msgspec.json.encode({**out, **ours}), tuple(dict.fromkeys(warnings)))


def _service_tier(request: ChatRequest, warnings: list[str]) -> dict[str, Json]:
    tier = request.service_tier
    if tier is not None and (tier in {"auto", "standard_only"} or _is_ours(request)):
        return {"service_tier": tier}
    if tier not in {None, "default"}:
        warnings.append(f"service_tier {tier} is not known to the chosen model's API and was left out")
    return {}


def _is_ours(request: ChatRequest) -> bool:
    return any(_stays(message) for message in request.messages)


def _unsampled(out: dict[str, Json], warnings: list[str]) -> None:
    """With a thinking budget the API takes neither of these."""
    dropped = [name for name in ("temperature", "top_k") if out.pop(name, 1) != 1]
    warnings.extend(
        f"{name} was left out: the chosen model's API takes none beside a thinking budget" for name in dropped
    )


def _metadata(request: ChatRequest) -> dict[str, Json]:
    if _is_ours(request) or "user_id" in request.metadata:
        return {k: v for k, v in request.metadata.items() if k not in OUR_METADATA}
    return {"user_id": request.user} if request.user else {}


def _system(head: list[Message], warnings: list[str]) -> dict[str, Json]:
    parts = [part for message in head for part in message.parts]
    if any("_top" in m.extras.get(NAME, {}) for m in head):
        return {"system": _content(parts, warnings)}
    content = encode_blocks(_spoken(parts), warnings)
    return {"system": content} if content else {}


def _spoken(parts: Iterable[Part]) -> list[Part]:
    """Without texts of white space alone: the API refuses them, other models write them before their calls."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and not part.text.strip():
            continue
        if isinstance(part, ToolResult):
            inner = tuple(p for p in part.parts if not isinstance(p, Text) or p.text.strip())
            out.append(replace(part, parts=inner))
        else:
            out.append(part)
    return out


def _content(parts: list[Part], warnings: list[str]) -> Json:
    """Blocks, or the string that a message's content was."""
    if len(parts) == 1 and isinstance(parts[0], Text) and parts[0].extras.get(NAME, {}).get("_string"):
        return parts[0].text
    return encode_blocks(parts, warnings)


def _messages(messages: list[Message], warnings: list[str]) -> Iterable[dict[str, Json]]:
    """Wire messages. Those of this API keep their grouping; others are regrouped: results of tools become blocks
    of one user message, first of all, and neighbours of one role become one message."""
    for ours, run in groupby(messages, _stays):
        if not ours:
            yield from _regrouped(run, warnings)
            continue
        for message in run:
            content = _content(list(message.parts), warnings)
            yield {"role": message.role, "content": content, **own_keys(message.extras)}


def _stays(message: Message) -> bool:
    """Whether a message is of this API, and no system text that stands apart."""
    return "_ours" in message.extras.get(NAME, {})


def _regrouped(group: Iterable[Message], warnings: list[str]) -> Iterable[dict[str, Json]]:
    for role, parts in alternating(group, warnings):
        ordered = sorted(parts, key=lambda p: not isinstance(p, ToolResult)) if role == "user" else parts
        if content := encode_blocks(_spoken(ordered), warnings):
            yield {"role": role, "content": content}
        elif role == "user" or any(isinstance(p, (Text, Refusal)) for p in parts):
            yield {"role": role, "content": [{"type": "text", "text": "(empty)"}]}


def _tools(request: ChatRequest, form: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    if request.tools:
        out["tools"] = [_tool(tool, i) for i, tool in enumerate(request.tools)]
    if "_tool_choice" in form:
        out["tool_choice"] = form["_tool_choice"]
    elif request.tools and (request.tool_choice is not None or request.parallel_tool_calls is False):
        mode = request.tool_choice.mode if request.tool_choice else "auto"
        choice: dict[str, Json] = {"type": "any" if mode == "required" else mode}
        if request.tool_choice and request.tool_choice.allowed:
            warnings.append("which tools may be called cannot be narrowed at the chosen model's API: all of them may")
        if request.tool_choice and mode == "tool":
            choice["name"] = request.tool_choice.name
        if request.parallel_tool_calls is False and mode != "none":
            choice["disable_parallel_tool_use"] = True
        out["tool_choice"] = choice
    return out


def _tool(tool: ToolSpec, index: int) -> dict[str, Json]:
    if tool.opaque is not None:
        if tool.provider != NAME:
            raise foreign_tool(tool, index)
        return tool.opaque
    out: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    schema: dict[str, Json] = tool.schema if isinstance(tool.schema, dict) else {"properties": {}}
    out["input_schema"] = schema if "type" in schema else {"type": "object", **schema}  # the API asks for a type
    if tool.strict is not None:
        out["strict"] = tool.strict
    return {**out, **cache_wire(tool.cache, tool.extras.get(NAME, {})), **own_keys(tool.extras)}


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
    """`thinking` and `output_config`: as the caller of this API wrote them, else from effort, budget and schema. An
    effort that a mode set comes before both."""
    spelled = ("thinking", "output_config", "output_format")
    out: dict[str, Json] = {name: form[f"_{name}"] for name in spelled if f"_{name}" in form}
    config: dict[str, Json] = dict(out.get("output_config") or {})
    told = request.reasoning
    if told is not None and told.effort is not None and config.get("effort") != told.effort:
        out |= effort_keys(told.effort, config)
        config = dict(out.get("output_config") or {})
    elif told is not None and "thinking" not in out:
        out |= _budget(told, request.max_output_tokens, warnings)
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and "format" not in config and "output_format" not in out:
        config["format"] = {"type": "json_schema", "schema": wanted.schema}
    elif wanted is not None and wanted.kind == "json":
        warnings.append("JSON without a schema cannot be enforced by the chosen model's API: it is only asked for")
    if config or "output_config" in out:
        out["output_config"] = config
    return out


def _budget(told: ReasoningConfig, limit: int | None, warnings: list[str]) -> dict[str, Json]:
    """`thinking` from another API's switch or budget. Where no bound on the whole answer was set, it grows."""
    if told.adaptive:
        return {"thinking": {"type": "adaptive"}}
    if told.enabled is False or told.budget_tokens == 0:
        return {"thinking": {"type": "disabled"}}
    if told.budget_tokens is None or told.budget_tokens < 0:
        return {}
    budget = max(LEAST_BUDGET, told.budget_tokens)
    if limit is None:
        return {"max_tokens": budget + DEFAULT_MAX_TOKENS, "thinking": {"type": "enabled", "budget_tokens": budget}}
    if limit <= LEAST_BUDGET:
        warnings.append(f"thinking was left out: max_tokens {limit} leaves no room for it")
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": min(budget, limit - 1)}}
