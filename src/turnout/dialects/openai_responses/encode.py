"""`ChatRequest` to a Responses request; what does not fit is warned of or refused."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turnout.chat import ChatRequest, Json, Message, ReasoningConfig, Text, ToolCall, ToolSpec
from turnout.dialects.base import Encoded
from turnout.dialects.effort import effort_of
from turnout.dialects.loss import foreign_tool, left_out, unknown_fields
from turnout.dialects.openai_responses.items import NAME, encode_message, own_keys
from turnout.dialects.openai_responses.request import PLAIN
from turnout.dialects.values import told_once
from turnout.errors import NotTranslatable

__all__ = ["encode_request"]

LEAST_OUTPUT = 16
"""The API takes no smaller `max_output_tokens`."""

_NO_COUNTERPART = ("top_k", "frequency_penalty", "presence_penalty", "stop")
"""Zero and nothing ask for nothing; a seed of zero is a seed."""


def encode_request(request: ChatRequest) -> Encoded:
    """Raises NotTranslatable for several answers at once and tools that only another provider can run."""
    warnings: list[str] = []
    ours = request.extras.get(NAME)
    if (request.n or 1) > 1:
        raise NotTranslatable("n > 1 has no counterpart in the chosen model's API; ask once for each answer", param="n")
    out: dict[str, Json] = {"model": request.model}
    out |= _conversation(request, warnings)
    out |= _tools(request)
    out |= {name: getattr(request, name) for name in PLAIN if _asked(request, name)}
    if ours is None:
        out["store"] = False  # the caller's API keeps nothing, so this one need not either
        if "max_output_tokens" in out:
            out["max_output_tokens"] = max(LEAST_OUTPUT, out["max_output_tokens"])
        if request.logprobs:
            out["include"] = ["message.output_text.logprobs"]
    out |= _reasoning(request)
    if text := _text(request):
        out["text"] = text
    dropped = [name for name in _NO_COUNTERPART if getattr(request, name)]
    dropped += ["seed"] if request.seed is not None else []
    warnings.extend([*left_out(dropped), *unknown_fields(request, NAME)])
    return Encoded(msgspec.json.encode({**out, **own_keys(request.extras)}), told_once(warnings))


def _asked(request: ChatRequest, name: str) -> bool:
    """Whether to write a field: those that are false or empty where nobody set them only if this API's caller did."""
    ours = request.extras.get(NAME)
    if name in {"stream", "metadata"}:
        return bool(ours is not None and f"_{name}" in ours) or (name == "stream" and request.stream)
    if name == "service_tier" and ours is None and request.service_tier == "standard_only":
        return False  # Anthropic's word for the default
    return getattr(request, name) is not None


def _conversation(request: ChatRequest, warnings: list[str]) -> dict[str, Json]:
    """`instructions` and `input`. System texts at the head of another API's conversation are instructions."""
    freeform = frozenset(
        part.id for m in request.messages for part in m.parts if isinstance(part, ToolCall) and part.freeform
    )
    out: dict[str, Json] = {}
    rest = list(request.messages)
    if rest and "_instructions" in rest[0].extras.get(NAME, {}):
        spelled = rest[0].extras[NAME]["_instructions"]
        out["instructions"] = rest.pop(0).parts[0].text if spelled is True else spelled  # type: ignore[union-attr]
    elif NAME not in request.extras:
        head = _head(rest)
        if head and len(head) < len(rest):
            rest = rest[len(head) :]
            out["instructions"] = "\n\n".join(p.text for m in head for p in m.parts if isinstance(p, Text))
    if len(rest) == 1 and rest[0].extras.get(NAME, {}).get("_form") == "input":
        only = rest[0].parts[0]
        out["input"] = only.text if isinstance(only, Text) else ""
    elif rest or NAME not in request.extras:
        out["input"] = [item for message in rest for item in encode_message(message, freeform, warnings)]
    return out


def _head(messages: list[Message]) -> list[Message]:
    """The system messages of texts alone that a conversation begins with."""
    count = 0
    while count < len(messages) and messages[count].role in {"system", "developer"}:
        if not all(isinstance(part, Text) for part in messages[count].parts):
            break
        count += 1
    return messages[:count]


def _tools(request: ChatRequest) -> dict[str, Json]:
    ours = request.extras.get(NAME, {})
    out: dict[str, Json] = {}
    if request.tools or "_tools" in ours:
        out["tools"] = _grouped(request.tools)
    if "_tool_choice" in ours:
        out["tool_choice"] = ours["_tool_choice"]
    elif choice := request.tool_choice:
        kinds = {tool.name: "custom" if tool.freeform else "function" for tool in request.tools}
        if choice.mode == "tool":
            out["tool_choice"] = {"type": kinds.get(choice.name or "", "function"), "name": choice.name}
        elif choice.allowed:
            only = [{"type": kinds.get(name, "function"), "name": name} for name in choice.allowed]
            out["tool_choice"] = {"type": "allowed_tools", "mode": choice.mode, "tools": only}
        else:
            out["tool_choice"] = choice.mode
    return out


def _grouped(tools: Sequence[ToolSpec]) -> list[dict[str, Json]]:
    """Tools, those of one namespace together again."""
    out: list[dict[str, Json]] = []
    for i, tool in enumerate(tools):
        wire, group = _tool(tool, i), tool.extras.get(NAME, {}).get("_group")
        if group is None:
            out.append(wire)
        elif out and {k: v for k, v in out[-1].items() if k != "tools"} == group:
            out[-1]["tools"].append(wire)
        else:
            out.append({**group, "tools": [wire]})
    return out


def _tool(tool: ToolSpec, index: int) -> dict[str, Json]:
    if tool.opaque is not None:
        if tool.provider != NAME:
            raise foreign_tool(tool, index)
        return tool.opaque
    kind, schema = ("custom", "format") if tool.freeform else ("function", "parameters")
    out: dict[str, Json] = {"type": kind, "name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    ours = NAME in tool.extras
    if tool.schema is not None or not (ours or tool.freeform):
        out[schema] = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    if not tool.freeform and not ours:
        out["strict"] = tool.strict or False  # left out, this API would take it for true
    return {**out, **own_keys(tool.extras)}


def _reasoning(request: ChatRequest) -> dict[str, Json]:
    told, ours = request.reasoning, request.extras.get(NAME, {})
    spelled: dict[str, Json] = ours.get("_reasoning") or {}
    if told is None:
        return {"reasoning": spelled} if "_reasoning" in ours else {}
    effort = _effort(told)
    if "_reasoning" in ours:
        return {"reasoning": {**spelled, "effort": effort} if effort != spelled.get("effort") else spelled}
    out = {"effort": effort, "summary": told.summary}
    known = {k: v for k, v in out.items() if v is not None}
    return {"reasoning": known} if known else {}


def _effort(told: ReasoningConfig) -> str | None:
    if told.effort is not None:
        return {"max": "xhigh"}.get(told.effort, told.effort)
    if told.enabled is False or told.budget_tokens is None:
        return None
    return effort_of(told.budget_tokens)


def _text(request: ChatRequest) -> dict[str, Json]:
    out: dict[str, Json] = dict(request.extras.get(NAME, {}).get("_text") or {})
    told = request.response_format
    if told is not None and told.kind != "json_schema":
        out["format"] = {"type": "text" if told.kind == "text" else "json_object"}
    elif told is not None:
        ours = NAME in request.extras
        schema = {
            "name": told.name or (None if ours else "answer"),
            "description": told.description,
            "schema": told.schema,
            "strict": told.strict if told.strict is not None or ours else False,
        }
        out["format"] = {"type": "json_schema", **{k: v for k, v in schema.items() if v is not None}}
    if request.verbosity is not None:
        out["verbosity"] = request.verbosity
    return out
