"""Streams of the Converse API, frames of AWS's event stream: to events, from events, and read along untouched."""

from __future__ import annotations

from typing import Any

import msgspec

from turnout.chat import (
    FinishReason,
    Json,
    Opaque,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ResponseEnd,
    ResponseStart,
    StreamError,
    StreamEvent,
    Text,
    ToolCall,
    Usage,
)
from turnout.dialects.bedrock_converse.blocks import NAME, encode_blocks
from turnout.dialects.bedrock_converse.eventstream import Frame, FrameParser, format_frame
from turnout.dialects.bedrock_converse.response import FINISH, decode_usage, encode_usage
from turnout.dialects.faults import CUT
from turnout.dialects.tool_shapes import safe_id
from turnout.dialects.values import object_or_empty
from turnout.errors import UpstreamFailure

__all__ = ["Decoder", "Encoder", "Tap"]

STATUS = {
    "validationException": 400,
    "throttlingException": 429,
    "modelStreamErrorException": 424,
    "internalServerException": 500,
    "serviceUnavailableException": 503,
}
"""HTTP status by exception, as the API's reference gives them."""


def _failed(frame: Frame) -> StreamError:
    kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or "internalServerException"
    told = object_or_empty(_json(frame))
    message = told.get("message") or frame.headers.get(":error-message") or "the provider failed in mid-stream"
    return StreamError(code=kind, message=str(message), status=STATUS.get(kind, 502))


def _json(frame: Frame) -> Json:
    try:
        return msgspec.json.decode(frame.payload or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Reader:
    """Frames to what they say: an event's name and its fields, or an error. After an error nothing more is read."""

    def __init__(self) -> None:
        self._frames = FrameParser()
        self.over = False

    def feed(self, data: bytes) -> list[tuple[str, dict[str, Json]] | StreamError]:
        out: list[tuple[str, dict[str, Json]] | StreamError] = []
        try:
            frames = [] if self.over else self._frames.feed(data)
        except UpstreamFailure as damaged:
            self.over = True
            return [StreamError(code="bad_stream", message=damaged.message)]
        for frame in frames:
            if frame.headers.get(":message-type", "event") != "event":
                self.over = True
                return [*out, _failed(frame)]
            out.append((frame.headers.get(":event-type", ""), object_or_empty(_json(frame))))
        return out


class Decoder:
    """Frames to events. A StreamDecoder."""

    def __init__(self) -> None:
        self._reader = _Reader()
        self._parts: dict[int, Part] = {}
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._failed = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for told in self._reader.feed(data):
            if isinstance(told, StreamError):
                self._failed = True
                return [*events, told]
            events += self._read(*told)
        return events

    def close(self) -> list[StreamEvent]:
        """Usage comes after the end: the answer is whole when the connection is."""
        if self._failed:
            return []
        if self._finish is None:
            return [CUT]
        ends: list[StreamEvent] = [PartEnd(index=index) for index in self._parts]
        return [*ends, ResponseEnd(finish=self._finish, usage=self._usage)]

    def _read(self, kind: str, told: dict[str, Json]) -> list[StreamEvent]:
        at = told.get("contentBlockIndex")
        index = at if isinstance(at, int) else 0
        match kind:
            case "messageStart":
                return [ResponseStart(id="", model="")]
            case "contentBlockStart":
                use = object_or_empty(object_or_empty(told.get("start")).get("toolUse"))
                if not use:
                    return []
                call = ToolCall(id=str(use.get("toolUseId") or ""), name=str(use.get("name") or ""))
                return self._begin(index, call)
            case "contentBlockDelta":
                return self._more(index, object_or_empty(told.get("delta")))
            case "contentBlockStop":
                return [PartEnd(index=index)] if self._parts.pop(index, None) is not None else []
            case "messageStop":
                reason = told.get("stopReason")
                self._finish = FINISH.read(reason if isinstance(reason, str) else None)
            case "metadata":
                self._usage = decode_usage(told.get("usage"), told.get("serviceTier"))
            case _:
                pass
        return []

    def _begin(self, index: int, part: Part) -> list[StreamEvent]:
        self._parts[index] = part
        return [PartStart(index=index, part=part)]

    def _more(self, index: int, delta: dict[str, Json]) -> list[StreamEvent]:
        thought = object_or_empty(delta.get("reasoningContent"))
        if "redactedContent" in thought:
            return self._begin(index, Reasoning(redacted=str(thought["redactedContent"]), provider=NAME))
        text = delta.get("text", thought.get("text", object_or_empty(delta.get("toolUse")).get("input")))
        signature = thought.get("signature")
        events: list[StreamEvent] = []
        if index not in self._parts:
            events = self._begin(index, Reasoning(provider=NAME) if thought else Text(text=""))
        return [
            *events,
            PartDelta(
                index=index,
                text=text if isinstance(text, str) else "",
                signature=signature if isinstance(signature, str) else None,
            ),
        ]


class Encoder:
    """Events to frames. A StreamEncoder."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[int, Part]] = {}
        self._count = 0

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case ResponseStart():
                return _event("messageStart", role="assistant")
            case PartStart():
                return self._start(event)
            case PartDelta() if event.index in self._places:
                return self._delta(event)
            case PartEnd() if event.index in self._places:
                place, _ = self._places.pop(event.index)
                return _event("contentBlockStop", contentBlockIndex=place)
            case ResponseEnd():
                stop = _event("messageStop", stopReason=FINISH.write(event.finish))
                return stop + _event("metadata", usage=encode_usage(event.usage), metrics={"latencyMs": 0})
            case _:
                return b""

    def _start(self, event: PartStart) -> bytes:
        part = event.part
        if isinstance(part, Opaque) or (isinstance(part, Reasoning) and not encode_blocks([part], [])):
            return b""  # another API's block: it has no place here
        place, self._count = self._count, self._count + 1
        self._places[event.index] = place, part
        out = b""
        if isinstance(part, ToolCall):
            start = {"toolUse": {"toolUseId": safe_id(part.id), "name": part.name}}
            out = _event("contentBlockStart", contentBlockIndex=place, start=start)
            known = part.arguments
        else:
            known = part.text if isinstance(part, (Text, Reasoning)) else getattr(part, "text", "")
        if isinstance(part, Reasoning) and part.redacted is not None:
            delta = {"reasoningContent": {"redactedContent": part.redacted}}
            return _event("contentBlockDelta", contentBlockIndex=place, delta=delta)
        return out + (self._delta(PartDelta(index=event.index, text=known)) if known else b"")

    def _delta(self, event: PartDelta) -> bytes:
        place, part = self._places[event.index]
        deltas: list[dict[str, Any]] = []
        match part:
            case ToolCall():
                deltas = [{"toolUse": {"input": event.text}}]
            case Reasoning():
                deltas = [{"reasoningContent": {"text": event.text}}] if event.text else []
                if event.signature:
                    deltas.append({"reasoningContent": {"signature": event.signature}})
            case _:
                deltas = [{"text": event.text}] if event.text else []
        return b"".join(_event("contentBlockDelta", contentBlockIndex=place, delta=delta) for delta in deltas)


def _event(kind: str, **fields: Json) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return format_frame(headers, msgspec.json.encode(fields))


class Tap:
    """Reads along. A StreamTap."""

    def __init__(self) -> None:
        self._reader = _Reader()
        self.usage: Usage | None = None
        self.finish: FinishReason | None = None
        self.model: str | None = None
        self.complete: bool = False
        self.error: StreamError | None = None

    def feed(self, data: bytes) -> bytes:
        for told in self._reader.feed(data):
            if isinstance(told, StreamError):
                self.error = told
                break
            kind, fields = told
            if kind == "messageStop":
                reason = fields.get("stopReason")
                self.finish, self.complete = FINISH.read(reason if isinstance(reason, str) else None), True
            elif kind == "metadata":
                self.usage = decode_usage(fields.get("usage"), fields.get("serviceTier"))
        return data

    def close(self) -> bytes:
        return b""
