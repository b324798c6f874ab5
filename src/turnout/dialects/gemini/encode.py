"""`ChatRequest` to a generateContent request; what does not fit is warned of or refused."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import msgspec
from msgspec.structs import replace

from turnout.chat import ChatRequest, Json, Message, Part, ToolCall, ToolResult, ToolSpec
from turnout.dialects.base import Encoded
from turnout.dialects.gemini.outline import OUR_LABELS
from turnout.dialects.gemini.request import GENERATION
from turnout.dialects.gemini.spelling import NAME, own_keys, spelled, write_keys
from turnout.dialects.gemini.thinking import decode_thinking, encode_thinking, generation, is_gemini_3
from turnout.dialects.gemini.usage import TIERS
from turnout.dialects.gemini.written import Writer
from turnout.dialects.loss import foreign_tool, left_out, nothing_left, unknown_fields
from turnout.dialects.turns import alternating, split_system
from turnout.dialects.values import told_once

__all__ = ["UNSIGNED", "encode_request"]

UNSIGNED = "skip_thought_signature_validator"
"""What stands for the signature of a call that another model made: without one, Gemini 3 refuses it.

Source: ai.google.dev/gemini-api/docs/thought-signatures, FAQ.
"""

_BESIDE = "generationConfig."
_TIERS = {**{ours: theirs for theirs, ours in TIERS.items()}, "standard": "standard", "standard_only": "standard"}
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE", "tool": "ANY"}


def encode_request(request: ChatRequest) -> Encoded:
    """Model and stream are in the URL, not here. Raises NotTranslatable for tools that only another provider runs."""
    ours = NAME in request.extras
    notes = request.extras.get(NAME, {})
    writer = Writer(_call_names(request.messages), attach=is_gemini_3(request.model))
    head, rest = split_system(request.messages)
    out: dict[str, Json] = {}
    if system := _system(head, writer):
        out["systemInstruction"] = system
    out["contents"] = list(_contents(rest, request.model, writer))
    if not out["contents"]:
        raise nothing_left()
    out |= _tools(request, notes, writer.warnings)
    config = _generation(request, notes, writer.warnings)
    if config or notes.get("_generation") == "empty":
        out["generationConfig"] = write_keys(config, spelled(request.extras))
    labels = {k: v for k, v in request.metadata.items() if k not in OUR_LABELS}
    if ours and labels:
        out["labels"] = labels
    out |= _service_tier(request, writer.warnings)
    if request.verbosity:
        writer.warnings.extend(left_out(["verbosity"]))
    writer.warnings.extend(unknown_fields(request, NAME))
    out |= {k: v for k, v in own_keys(request.extras).items() if not k.startswith(_BESIDE)}
    body = msgspec.json.encode(write_keys(out, spelled(request.extras)))
    return Encoded(body, told_once(writer.warnings))


def _service_tier(request: ChatRequest, warnings: list[str]) -> dict[str, Json]:
    """The tier, in the word that a caller of this API used."""
    tier, written = request.service_tier, request.extras.get(NAME, {}).get("_service_tier")
    if written is not None:
        return {"serviceTier": written}
    if tier in {None, "auto"}:
        return {}
    if tier in _TIERS:
        return {"serviceTier": _TIERS[tier]} if tier != "default" else {}
    warnings.append(f"service_tier {tier} is not known to the chosen model's API and was left out")
    return {}


def _call_names(messages: Iterable[Message]) -> dict[str, str]:
    return {p.id: p.name for message in messages for p in message.parts if isinstance(p, ToolCall)}


# ---- Messages ----------------------------------------------------------------------------------------------


def _system(head: list[Message], writer: Writer) -> dict[str, Json]:
    parts = [wire for message in head for wire in writer.parts(message.parts, ours=NAME in message.extras)]
    mine = next((m for m in head if NAME in m.extras), None)
    if mine is None:
        return {"parts": parts} if parts else {}
    return _wrapped(mine, parts)


def _wrapped(message: Message, parts: list[dict[str, Json]]) -> dict[str, Json]:
    """A content of this API's own, with the role as it was written."""
    role = message.extras[NAME].get("_role")
    out: dict[str, Json] = {"role": role} if role != "absent" else {}
    return write_keys({**out, "parts": parts, **own_keys(message.extras)}, spelled(message.extras))


def _contents(messages: list[Message], model: str, writer: Writer) -> Iterable[dict[str, Json]]:
    """Contents. Those of this API keep their grouping; others are regrouped."""
    for ours, run in groupby(messages, lambda message: "_role" in message.extras.get(NAME, {})):
        if not ours:
            yield from _regrouped(run, model, writer)
            continue
        for message in run:
            yield _wrapped(message, writer.parts(message.parts, ours=True))


def _regrouped(group: Iterable[Message], model: str, writer: Writer) -> Iterable[dict[str, Json]]:
    """Neighbours of one role as one content; results of tools as one of their own, right behind the calls."""
    for role, parts in alternating(group, writer.warnings):
        if role == "user":
            yield from _user_turn(parts, writer)
        elif wire := writer.parts(_signed(parts, model)):
            yield {"role": "model", "parts": wire}


def _user_turn(parts: list[Part], writer: Writer) -> Iterable[dict[str, Json]]:
    results = writer.parts(p for p in parts if isinstance(p, ToolResult))
    moved, writer.moved = writer.moved, []
    said = [*moved, *writer.parts(p for p in parts if not isinstance(p, ToolResult))]
    if results:
        yield {"role": "user", "parts": results}
    if said or not results:
        yield {"role": "user", "parts": said or [{"text": "(empty)"}]}


def _signed(parts: list[Part], model: str) -> list[Part]:
    """A model's turn whose first call bears a signature, as Gemini 3 wants it. Models that have a lower number do
    not ask for it."""
    number = generation(model)
    if "gemini" not in model or (number is not None and number < 3):
        return parts
    at = next((i for i, p in enumerate(parts) if isinstance(p, ToolCall)), None)
    if at is None or "thoughtSignature" in parts[at].extras.get(NAME, {}):
        return parts
    own = parts[at].extras.get(NAME, {})
    signed = replace(parts[at], extras={**parts[at].extras, NAME: {**own, "thoughtSignature": UNSIGNED}})
    return [*parts[:at], signed, *parts[at + 1 :]]


# ---- Tools -------------------------------------------------------------------------------------------------


def _tools(request: ChatRequest, notes: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    if request.tools:
        out["tools"] = _grouped(request.tools)
    if any(tool.strict for tool in request.tools):
        warnings.append("strict tools cannot be had from the chosen model's API: arguments may stray from the schema")
    if request.parallel_tool_calls is False and request.tools:
        warnings.append("parallel_tool_calls false cannot be had from the chosen model's API: calls may come together")
    choice = request.tool_choice
    if "_tool_config" in notes:
        out["toolConfig"] = notes["_tool_config"]
    elif choice is not None and request.tools:
        config: dict[str, Json] = {"mode": _MODES[choice.mode]}
        names = [choice.name] if choice.mode == "tool" else list(choice.allowed)
        if names and choice.mode != "none":
            # Names go with ANY and VALIDATED; the latter leaves the model free to say something, as `auto` does.
            config = {"mode": "ANY" if choice.mode != "auto" else "VALIDATED", "allowedFunctionNames": names}
        out["toolConfig"] = {"functionCallingConfig": config}
    return out


def _grouped(tools: tuple[ToolSpec, ...]) -> list[dict[str, Json]]:
    """Entries as they stood; the functions of other APIs in one entry."""
    groups: dict[object, dict[str, Json]] = {}
    for i, tool in enumerate(tools):
        own = tool.extras.get(NAME, {})
        if tool.opaque is not None:
            if tool.provider != NAME:
                raise foreign_tool(tool, i)
            groups.setdefault(own.get("_group", f"built-in {i}"), {}).update(tool.opaque)
            continue
        entry = groups.setdefault(own.get("_group", "functions"), {})
        key = spelled(tool.extras).get("functionDeclarations", "functionDeclarations")
        entry.setdefault(key, []).append(_function(tool))
    return list(groups.values())


def _function(tool: ToolSpec) -> dict[str, Json]:
    """A declaration. `parametersJsonSchema` takes JSON Schema as other APIs have it, `parameters` a subset alone."""
    own = tool.extras.get(NAME, {})
    out: dict[str, Json] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if "_parameters" in own:
        out["parameters"] = own["_parameters"]
    elif tool.schema is not None and not tool.freeform:
        out["parametersJsonSchema"] = tool.schema
    return write_keys({**out, **own_keys(tool.extras)}, spelled(tool.extras))


# ---- generationConfig --------------------------------------------------------------------------------------


def _generation(request: ChatRequest, notes: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for name, (ours, _) in GENERATION.items():
        if (value := getattr(request, ours)) is not None:
            out[name] = value
    if request.top_k is not None:
        out["topK"] = request.top_k
    if request.stop:
        out["stopSequences"] = list(request.stop)
    out |= notes["_format"] if "_format" in notes else _format(request)
    out |= _thinking(request, notes, warnings)
    if "_modalities" in notes:
        out["responseModalities"] = notes["_modalities"]
    return out | {k.removeprefix(_BESIDE): v for k, v in own_keys(request.extras).items() if k.startswith(_BESIDE)}


def _format(request: ChatRequest) -> dict[str, Json]:
    wanted = request.response_format
    if wanted is None or wanted.kind == "text":
        return {}
    schema = {"responseJsonSchema": wanted.schema} if wanted.schema is not None else {}
    return {"responseMimeType": "application/json", **schema}


def _thinking(request: ChatRequest, notes: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    """`thinkingConfig` as the caller of this API wrote it, unless something else was asked for since."""
    if "_thinking" in notes and request.reasoning == decode_thinking(notes["_thinking"], "thinkingConfig"):
        return {"thinkingConfig": notes["_thinking"]}
    return encode_thinking(request.reasoning, request.model, warnings) if request.reasoning else {}
