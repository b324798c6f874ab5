"""OpenTelemetry traces with requests to models: OTLP as JSON, a document or a line a batch (the collector's file
exporter).

Batches are written when spans end, children before their parents. Spans around other spans repeat their usage; see
`spans.in_order` and `genai.is_call`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace

from turnout.chat import Json
from turnout.lab.audit.readers.base import Head, Reader, Source, seconds_of
from turnout.lab.audit.readers.chains import asked_with
from turnout.lab.audit.readers.genai import KEPT, is_call, step_of
from turnout.lab.audit.readers.glimpse import keys_of
from turnout.lab.audit.readers.loose import UNREADABLE, text_in
from turnout.lab.audit.readers.rows import Row, rows_of
from turnout.lab.audit.readers.spans import Call, in_order
from turnout.lab.audit.records import Event, ReadTally

__all__ = ["OTEL"]

_LISTS = ("resourceSpans", "resource_spans")
_DEEPEST = 12


class _Value(Struct):
    """A value as OTLP wraps it: `{"intValue": "12"}`; some exporters spell it the other way."""

    text: Json = field(default=None, name="stringValue")
    text_too: Json = field(default=None, name="string_value")
    whole: Json = field(default=None, name="intValue")
    whole_too: Json = field(default=None, name="int_value")
    real: Json = field(default=None, name="doubleValue")
    real_too: Json = field(default=None, name="double_value")
    flag: Json = field(default=None, name="boolValue")
    flag_too: Json = field(default=None, name="bool_value")
    listed: Json = field(default=None, name="arrayValue")
    listed_too: Json = field(default=None, name="array_value")
    table: Json = field(default=None, name="kvlistValue")
    table_too: Json = field(default=None, name="kvlist_value")


class _Attribute(Struct):
    key: str = ""
    value: _Value | None = None


class _Resource(Struct):
    attributes: list[_Attribute] = []


class _Scope(Struct):
    spans: list[Raw] = []


class _ResourceSpans(Struct):
    resource: _Resource | None = None
    now: list[_Scope] = field(default_factory=list[_Scope], name="scopeSpans")
    then: list[_Scope] = field(default_factory=list[_Scope], name="instrumentationLibrarySpans")
    snake: list[_Scope] = field(default_factory=list[_Scope], name="scope_spans")


class _Status(Struct):
    code: Json = None


class _Event(Struct):
    name: str = ""
    attributes: list[_Attribute] | None = None


class _Span(Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    start_time_unix_nano: Json = None
    attributes: list[_Attribute] | None = None
    events: list[_Event] | None = None
    status: _Status | None = None


class _SnakeSpan(Struct):
    """The same as some exporters spell it."""

    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    start_time_unix_nano: Json = None
    attributes: list[_Attribute] | None = None
    events: list[_Event] | None = None
    status: _Status | None = None


_batch = msgspec.json.Decoder(_ResourceSpans)
_span = msgspec.json.Decoder(_Span)
_snake_span = msgspec.json.Decoder(_SnakeSpan)


def _claims(head: Head) -> bool:
    return bool({"resourceSpans", "resource_spans"} & keys_of(head))


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        yield from in_order(_calls(path, told), told)


def _calls(path: Path, told: ReadTally) -> Iterator[Call]:
    for row in rows_of(path, told, _LISTS):
        if row.key not in _LISTS:
            told.strange(_kind(row))
            continue
        try:
            batch = _batch.decode(row.raw)
        except UNREADABLE as error:
            told.broken(row.place, error)
            continue
        about = _values(batch.resource.attributes if batch.resource else None, every=True)
        project = text_in(about, "service.name", "project.name", "openinference.project.name")
        for scope in (*batch.now, *batch.then, *batch.snake):
            for raw in scope.spans:
                try:
                    yield _call(raw, project)
                except UNREADABLE as error:
                    told.broken(row.place, error)


def _kind(row: Row) -> str:
    start = row.raw[:200].decode("utf-8", "replace")
    return start.partition('"')[2].partition('"')[0] or "line"


def _call(raw: Raw, project: str) -> Call:
    """Raises what decoding does."""
    span: _Span | _SnakeSpan = _span.decode(raw)
    if not span.trace_id:
        span = _snake_span.decode(raw)
    here, parent = f"{span.trace_id}/{span.span_id}", span.parent_span_id or ""
    link = Call(span=here, parent=f"{span.trace_id}/{parent}" if parent else "")
    attributes = _values(span.attributes)
    if not attributes or not is_call(attributes):
        return link
    events = [(event.name, _values(event.attributes, every=True)) for event in span.events or ()]
    code = span.status.code if span.status else None
    step = step_of(attributes, events, failed=code in (2, "2", "STATUS_CODE_ERROR"))
    session = step.session
    step = replace(
        step,
        session=session or span.trace_id or "no trace",
        project=project,
        id=step.id or here,
        at=seconds_of(span.start_time_unix_nano),
    )
    asked = asked_with(step.new, session, "" if session else span.trace_id) if step.new else None
    return replace(link, step=step, asked=asked, size=len(memoryview(raw)))


def _values(attributes: list[_Attribute] | None, *, every: bool = False) -> dict[str, Json]:
    """Attributes by name, of those that are read."""
    return {
        a.key: _said(a.value) for a in attributes or () if a.value is not None and (every or a.key.startswith(KEPT))
    }


def _said(value: _Value) -> Json:
    if value.text is not None:
        return value.text
    for number in (value.whole, value.whole_too):
        if number is not None:
            return _number(number)
    for plain in (value.text_too, value.real, value.real_too, value.flag, value.flag_too):
        if plain is not None:
            return plain
    if value.listed is not None or value.listed_too is not None:
        return _unwrapped({"arrayValue": value.listed if value.listed is not None else value.listed_too}, 0)
    return _unwrapped({"kvlistValue": value.table if value.table is not None else value.table_too}, 0)


def _number(value: Json) -> Json:
    """64 bits do not fit into JSON's numbers everywhere: they are written as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else value


def _unwrapped(told: Json, depth: int) -> Json:
    """The same within lists and objects."""
    if not isinstance(told, dict) or depth > _DEEPEST:
        return None if isinstance(told, dict) else told
    for kind, value in cast("dict[str, Json]", told).items():
        match kind:
            case "intValue" | "int_value":
                return _number(value)
            case "arrayValue" | "array_value":
                return [_unwrapped(one, depth + 1) for one in _inner(value)]
            case "kvlistValue" | "kvlist_value":
                pairs = (cast("dict[str, Json]", pair) for pair in _inner(value) if isinstance(pair, dict))
                return {str(pair.get("key")): _unwrapped(pair.get("value"), depth + 1) for pair in pairs}
            case _:
                return value
    return None


def _inner(value: Json) -> list[Json]:
    listed: Json = cast("dict[str, Json]", value).get("values") if isinstance(value, dict) else None
    return cast("list[Json]", listed) if isinstance(listed, list) else []


OTEL = Reader(name="otel", title="OpenTelemetry GenAI spans (OTLP JSON)", claims=_claims, read=_read)
