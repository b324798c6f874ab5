"""Items of a Codex rollout as neutral messages: those of the Responses API, and those that only this agent writes."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import Json, Message, Part, Reasoning, Text, ToolCall, ToolResult
from turnout.dialects.openai_responses.items import NAME, decode_item
from turnout.dialects.values import object_or_empty

__all__ = ["ANSWERS", "INPUTS", "SILENT_ITEMS", "failed_call", "message_of"]

CALLS = {
    "local_shell_call": ("local_shell", "action"),
    "web_search_call": ("web_search", "action"),
    "tool_search_call": ("tool_search", "arguments"),
    "image_generation_call": ("image_generation", "revised_prompt"),
}
"""Calls that are no `function_call`: what their tool is named here, and where they say what they want."""

ANSWERS = frozenset({"message", "reasoning", "function_call", "custom_tool_call", *CALLS})
RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
REWRITTEN = frozenset({"compaction", "context_compaction", "compaction_summary"})
"""What a history was rewritten to, sealed: it is sent again as it stands."""

INPUTS = RESULTS | REWRITTEN | {"tool_search_output", "agent_message"}

SILENT_ITEMS = frozenset({"ghost_snapshot", "configuration_update", "compaction_trigger", "other"})
"""Items that are not sent, or say nothing."""

_EXITED = re.compile(r"(?:(?:Command|Chunk ID|Wall time): [^\n]*\n)*Process exited with code (-?[0-9]+)\n")
"""The head that this agent sets before what a command printed."""


class _Metadata(Struct):
    exit_code: Json = None


class _Output(Struct):
    """How older versions wrap what a command printed."""

    output: str
    metadata: _Metadata


_output = msgspec.json.Decoder(_Output)


def message_of(item: dict[str, Json], failed: AbstractSet[str]) -> Message:
    """One item. `failed`: calls that are known to have ended badly. Raises InvalidRequest that names the field."""
    kind = item.get("type")
    if not isinstance(kind, str):
        return decode_item(item, "item")
    if kind in CALLS:
        return Message(role="assistant", parts=(_call(item, kind),))
    if kind in REWRITTEN:
        sealed = item.get("encrypted_content")
        part = Reasoning(signature=sealed if isinstance(sealed, str) else None, provider=NAME)
        return Message(role="user", parts=(part,))
    if kind == "agent_message":
        return decode_item({"type": "message", "role": "user", "content": item.get("content")}, "item")
    if kind == "tool_search_output":
        found = msgspec.json.encode(item.get("tools")).decode()
        return Message(role="tool", parts=(ToolResult(call_id=_id(item), parts=(Text(text=found),)),))
    if kind == "local_shell_call_output":
        item = {**item, "type": "function_call_output"}
    if kind in RESULTS and isinstance(item.get("output"), dict):  # `{content, success}`, in some versions
        output = cast("dict[str, Json]", item["output"])
        item = {**item, "output": output.get("content") or ""}
        failed = failed if output.get("success") is not False else {*failed, _id(item)}
    message = decode_item(item, "item")
    return message if kind not in RESULTS else replace(message, parts=tuple(_judged(p, failed) for p in message.parts))


def _call(item: dict[str, Json], kind: str) -> ToolCall:
    name, said = CALLS[kind]
    wanted = item.get(said)
    arguments = wanted if isinstance(wanted, str) else msgspec.json.encode(wanted).decode()
    return ToolCall(id=_id(item), name=name, arguments=arguments)


def _id(item: dict[str, Json]) -> str:
    named = item.get("call_id") or item.get("id")
    return named if isinstance(named, str) else ""


def _judged(part: Part, failed: AbstractSet[str]) -> Part:
    if not isinstance(part, ToolResult) or part.is_error:
        return part
    first = part.parts[0] if part.parts else None
    bad = part.call_id in failed or (isinstance(first, Text) and _exit_code(first.text) != 0)
    return replace(part, is_error=True) if bad else part


def _exit_code(output: str) -> int:
    """As the agent tells it ahead of the output, or beside it; 0 where it does not."""
    if found := _EXITED.match(output):
        return int(found.group(1)[:10])
    if output.startswith('{"output":'):
        try:
            code = _output.decode(output).metadata.exit_code
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return 0
        return code if isinstance(code, int) else 0
    return 0


def failed_call(event: dict[str, Json]) -> str:
    """The call that an event says has failed; "" where it has not."""
    told = object_or_empty(event.get("item")) or event
    code = told.get("exit_code")
    bad = told.get("success") is False or told.get("status") == "failed" or (isinstance(code, int) and code != 0)
    return _id(told) if bad else ""
