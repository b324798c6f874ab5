"""Langfuse exports: observations as its interface, its API and its blob storage write them (JSON, its lines, or CSV),
or a trace with its observations.

Generations are the requests to models. `usageDetails` counts in buckets that do not overlap: `input` leaves out
`input_cached_tokens`; many integrations fill it otherwise, which the total gives away. Its API lists the newest first.

Source: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields; langfuse/langfuse issue 12306;
langfuse/codex-observability-plugin issue 22.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from turnout.chat import Json, ToolSpec, Usage
from turnout.lab.audit.readers.base import Head, Reader, Source, head_of, seconds_of
from turnout.lab.audit.readers.chains import asked_with
from turnout.lab.audit.readers.counting import settled
from turnout.lab.audit.readers.glimpse import columns_of, keys_of
from turnout.lab.audit.readers.loose import (
    count_of,
    decoded,
    first_count,
    nano_usd_of,
    object_in,
    text_in,
    unwrapped,
)
from turnout.lab.audit.readers.rows import cells_of, rows_of
from turnout.lab.audit.readers.spans import Call, in_order
from turnout.lab.audit.readers.talk import answer_in, messages_in, tools_in
from turnout.lab.audit.records import Event, ReadTally, Step

__all__ = ["LANGFUSE"]

_TYPES = frozenset(
    {"SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL", "GENERATION"}
)
_TRACED = frozenset({"traceId", "trace_id", "parentObservationId", "calculatedTotalCost", "usageDetails"})
_COUNTED = frozenset(
    {"usageDetails", "usage_details", "costDetails", "cost_details", "usage", "provided_model_name", "promptTokens"}
)


class _Row:
    """An observation. Names are blob storage's; the API and the interface write the same in camel case."""

    def __init__(self, fields: dict[str, Json], size: int) -> None:
        self._fields = fields
        self._names = _CAMEL if "traceId" in fields or "startTime" in fields else _SNAKE
        self.size = size

    def value(self, name: str) -> Json:
        return self._fields.get(self._names[name])

    def name(self, *names: str) -> str:
        """The first of these that is a name."""
        for name in names:
            value = self._fields.get(self._names[name])
            if isinstance(value, str) and value:
                return value[:300]
        return ""

    def table(self, name: str) -> dict[str, Json]:
        """An object, {} for anything else."""
        return object_in(unwrapped(self._fields.get(self._names[name])))


class _Trace(Struct):
    id: Json = None
    sessionId: Json = None  # noqa: N815
    name: Json = None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_NAMES = (
    *("id", "type", "trace_id", "parent_observation_id", "session_id", "trace_name", "environment", "start_time"),
    *("level", "provided_model_name", "model", "total_cost", "calculated_total_cost", "prompt_tokens"),
    *("completion_tokens", "usage_details", "usage", "cost_details", "metadata", "model_parameters"),
    *("tool_definitions", "input", "output"),
)
_SNAKE = {name: name for name in _NAMES}
_CAMEL = {name: _camel(name) for name in _NAMES}


def _claims(head: Head) -> bool:
    keys = keys_of(head) or columns_of(head)
    for before in ("", "data.", "observations."):
        there = {key.removeprefix(before) for key in keys if key.startswith(before)}
        traced = before == "observations." or not _TRACED.isdisjoint(there)
        if {"id", "type"} <= there and traced and not _COUNTED.isdisjoint(there):
            return True
    return False


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        rows = _from_table(path, told) if {"id", "type"} <= columns_of(head_of(path)) else _from_json(path, told)
        yield from in_order((_call(row, trace, told) for row, trace in rows), told)


def _from_table(path: Path, told: ReadTally) -> Iterator[tuple[_Row, _Trace]]:
    for _, cells in cells_of(path, told):
        yield _Row(dict(cells), sum(map(len, cells.values()))), _Trace()


def _from_json(path: Path, told: ReadTally) -> Iterator[tuple[_Row, _Trace]]:
    trace = _Trace()
    for row in rows_of(path, told, ("data", "observations"), ("trace", "id", "sessionId", "name")):
        value = decoded(row.raw)
        if row.key in {"id", "sessionId", "name"}:
            trace = msgspec.structs.replace(trace, **{row.key: value})
        elif not isinstance(value, dict):
            told.broken(row.place, "no JSON object")
        elif row.key == "trace":
            trace = msgspec.convert(value, _Trace)
        else:
            yield _Row(cast("dict[str, Json]", value), len(row.raw)), trace


def _call(row: _Row, trace: _Trace, told: ReadTally) -> Call:
    kind = row.name("type").upper()
    here, parent = row.name("id"), row.name("parent_observation_id")
    if kind != "GENERATION":
        if kind not in _TYPES:
            told.strange(f"observation of type {kind}")
        return Call(span=here, parent=parent)
    asked, out = unwrapped(row.value("input")), answer_in(row.value("output"))
    new = messages_in(asked)
    named = text_in(row.table("metadata"), "session_id", "sessionId", "langfuse_session_id", "conversation_id")
    session = row.name("session_id") or _name(trace.sessionId) or named
    parameters = row.table("model_parameters")
    usage = _usage(row)
    of = row.name("trace_id") or _name(trace.id)
    step = Step(
        session=session or of or here or "no trace",
        project=row.name("trace_name") or _name(trace.name) or row.name("environment"),
        id=here,
        model=row.name("provided_model_name", "model"),
        at=seconds_of(row.value("start_time")),
        usage=usage,
        cost_nano_usd=_cost(row),
        new=new,
        out=out,
        whole=bool(new),
        tools=_tools(row, asked, parameters) if new else None,
        effort=text_in(parameters, "reasoning_effort", "reasoningEffort", "effort") or None,
        failed=row.value("level") == "ERROR" and not out and (usage is None or not usage.output),
    )
    place = asked_with(new, session, "" if session else of) if new else None
    return Call(span=here, parent=parent, step=step, asked=place, size=row.size)


def _name(value: Json) -> str:
    return value[:300] if isinstance(value, str) else ""


def _tools(row: _Row, asked: Json, parameters: dict[str, Json]) -> tuple[ToolSpec, ...] | None:
    defined = list(row.table("tool_definitions").values())
    for told in (object_in(asked).get("tools"), defined, parameters.get("tools")):
        if found := tools_in(told):
            return found
    return None


def _cost(row: _Row) -> int | None:
    costs = row.table("cost_details")
    told = (row.value("total_cost"), row.value("calculated_total_cost"), costs.get("total"))
    total = next((cost for value in told if (cost := nano_usd_of(value)) is not None), None)
    if total is not None:
        return total
    parts = [cost for value in costs.values() if (cost := nano_usd_of(value)) is not None]
    return sum(parts) if parts else None


# ---- Usage ---------------------------------------------------------------------------------------------------------


def _usage(row: _Row) -> Usage | None:
    """The buckets in our counting: what has `input` or `output` in its name beside the two themselves is a part."""
    told = row.table("usage_details") or row.table("usage")
    plain = first_count(told, "input", "prompt_tokens", "promptTokens", "input_tokens")
    said = first_count(told, "output", "completion_tokens", "completionTokens", "output_tokens")
    if plain is None and said is None:
        plain, said = count_of(row.value("prompt_tokens")), count_of(row.value("completion_tokens"))
    reads = writes = long = thought = None
    other_in = other_out = 0
    for name, value in told.items():
        count, kind = count_of(value), _bucket(name)
        if count is None:
            continue
        if kind == "read":
            reads = (reads or 0) + count
        elif kind in {"write", "write_1h"}:
            writes = (writes or 0) + count
            long = (long or 0) + count if kind == "write_1h" else long
        elif kind == "reasoning":
            thought = (thought or 0) + count
        elif kind == "input":
            other_in += count
        elif kind == "output":
            other_out += count
    if plain is None and said is None and reads is None:
        return None
    counted = Usage(
        input=(plain or 0) + other_in,
        cache_read=reads,
        cache_write=writes,
        cache_write_1h=long,
        output=(said or 0) + other_out,
        reasoning=thought,
    )
    return settled(counted, first_count(told, "total", "total_tokens"), within=False, thought_within=False)


_WHOLE = frozenset(
    {"input", "output", "total", "unit", "prompt_tokens", "completion_tokens", "promptTokens", "completionTokens"}
    | {"input_tokens", "output_tokens", "total_tokens", "totalTokens"}
)


def _bucket(name: str) -> str:
    if name in _WHOLE or "cost" in name.lower():
        return ""
    if "creation" in name or "write" in name:
        return "write_1h" if "1h" in name else "write"
    if "cache" in name:
        return "read"
    if "reasoning" in name or "thoughts" in name or "thinking" in name:
        return "reasoning"
    return "input" if name.startswith(("input", "prompt")) else "output" if name.startswith("output") else ""


LANGFUSE = Reader(name="langfuse", title="Langfuse observations", claims=_claims, read=_read)
