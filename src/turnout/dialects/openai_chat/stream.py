"""Streams of chat completion chunks: to events, from events, and read along untouched."""

from __future__ import annotations

import time
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from turnout.chat import (
    FinishReason,
    Json,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseEnd,
    ResponseStart,
    StreamError,
    StreamEvent,
    Text,
    ToolCall,
    Usage,
)
from turnout.dialects.faults import CUT
from turnout.dialects.openai_chat.request import NAME
from turnout.dialects.openai_chat.response import FINISH, thinking_text
from turnout.dialects.openai_chat.usage import decode_usage, encode_usage
from turnout.dialects.sse import SseEvent, SseParser, format_event
from turnout.dialects.tap import SseTap
from turnout.finding import holds

__all__ = ["Decoder", "Encoder", "Tap", "stream_error"]

DONE = b"[DONE]"


def stream_error(value: Json) -> StreamError:
    """The error object that some hosts send inside a stream that began with 200."""
    told = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
    code = told.get("code") or told.get("type") or "upstream_error"
    status = told.get("code") if isinstance(told.get("code"), int) else 502
    return StreamError(
        code=str(code),
        message=str(told.get("message") or "the provider failed in mid-stream"),
        status=status if isinstance(status, int) and 400 <= status <= 599 else 502,
    )


Kind = Literal["text", "reasoning", "refusal"]


class Decoder:
    """Chunks to events. A StreamDecoder."""

    def __init__(self) -> None:
        self._sse = SseParser()
        self._started = False
        self._ended = False
        self._open: int | None = None
        self._next = 0
        self._kinds: dict[Kind, int] = {}
        self._calls: dict[int, int] = {}
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._tier: str | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [event for sse in self._sse.feed(data) for event in self._event(sse)]

    def close(self) -> list[StreamEvent]:
        events = [event for sse in self._sse.close() for event in self._event(sse)]
        if not self._ended:
            # Some hosts leave out [DONE]; a finish reason is an end, its absence a cut.
            events.extend(self._end() if self._finish is not None else [CUT])
        return events

    def _event(self, sse: SseEvent) -> list[StreamEvent]:
        if not sse.data or self._ended:
            return []
        if sse.data.strip() == DONE:
            return self._end()
        try:
            value: Any = msgspec.json.decode(sse.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._fail(StreamError(code="bad_stream", message="the provider sent an event that is no JSON"))
        if not isinstance(value, dict):
            return self._fail(StreamError(code="bad_stream", message="the provider sent an event that is no chunk"))
        chunk = cast("dict[str, Json]", value)
        if chunk.get("error"):
            return self._fail(stream_error(chunk["error"]))
        return self._chunk(chunk)

    def _fail(self, error: StreamError) -> list[StreamEvent]:
        self._ended = True
        return [error]

    def _chunk(self, chunk: dict[str, Json]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            created = chunk.get("created")
            events.append(
                ResponseStart(
                    id=str(chunk.get("id") or ""),
                    model=str(chunk.get("model") or ""),
                    created=created if isinstance(created, int) else None,
                )
            )
        groq: Json = chunk.get("x_groq")
        usage = chunk.get("usage") or (cast("dict[str, Json]", groq).get("usage") if isinstance(groq, dict) else None)
        self._tier = chunk.get("service_tier") or self._tier
        self._usage = decode_usage(usage, self._tier) or self._usage
        choices = chunk.get("choices")
        for choice in cast("list[Json]", choices) if isinstance(choices, list) else []:
            if isinstance(choice, dict) and not choice.get("index"):
                events.extend(self._choice(cast("dict[str, Json]", choice)))
        return events

    def _choice(self, choice: dict[str, Json]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        delta: dict[str, Json] = choice.get("delta") or {}
        for key in ("reasoning_content", "reasoning"):
            if isinstance(delta.get(key), str) and delta[key]:
                part = Reasoning(provider=NAME, extras={NAME: {"key": key}})
                events.extend(self._grow("reasoning", part, delta[key]))
                break
        events.extend(self._content(delta.get("content")))
        if isinstance(delta.get("refusal"), str) and delta["refusal"]:
            events.extend(self._grow("refusal", Refusal(text="", extras={NAME: {"key": True}}), delta["refusal"]))
        for call in delta.get("tool_calls") or ():
            events.extend(self._call(call))
        if choice.get("finish_reason"):
            self._finish = FINISH.read(str(choice["finish_reason"]))
        return events

    def _content(self, content: Json) -> list[StreamEvent]:
        if isinstance(content, str):
            return self._grow("text", Text(text=""), content) if content else []
        events: list[StreamEvent] = []
        for block in cast("list[Json]", content) if isinstance(content, list) else []:
            if not isinstance(block, dict):
                continue
            told = cast("dict[str, Json]", block)
            if told.get("type") == "thinking" and (thought := thinking_text(told)):
                events.extend(self._grow("reasoning", Reasoning(provider=NAME), thought))
            elif told.get("text"):
                events.extend(self._grow("text", Text(text=""), str(told["text"])))
        return events

    def _grow(self, kind: Kind, part: Part, text: str) -> list[StreamEvent]:
        """More of the text, thinking or refusal: its part goes on if it is the open one, else a new one begins."""
        if (index := self._kinds.get(kind)) is not None and index == self._open:
            return [PartDelta(index=index, text=text)]
        events, self._kinds[kind] = self._begin(part)
        return [*events, PartDelta(index=self._kinds[kind], text=text)]

    def _call(self, call: dict[str, Json]) -> list[StreamEvent]:
        place = call.get("index")
        place = place if isinstance(place, int) else len(self._calls) - (0 if call.get("id") else 1)
        inner: dict[str, Json] = call.get("function") or call.get("custom") or {}
        events: list[StreamEvent] = []
        if place not in self._calls:
            name = ToolCall(id=str(call.get("id") or f"call_{place}"), name=str(inner.get("name") or ""))
            events, self._calls[place] = self._begin(name)
        text = inner.get("arguments") or inner.get("input")
        if isinstance(text, str) and text:
            events.append(PartDelta(index=self._calls[place], text=text))
        return events

    def _begin(self, part: Part) -> tuple[list[StreamEvent], int]:
        index, self._next = self._next, self._next + 1
        events: list[StreamEvent] = [] if self._open is None else [PartEnd(index=self._open)]
        self._open = index
        return [*events, PartStart(index=index, part=part)], index

    def _end(self) -> list[StreamEvent]:
        self._ended = True
        events: list[StreamEvent] = [] if self._open is None else [PartEnd(index=self._open)]
        finish = self._finish or FINISH.read(None)
        return [*events, ResponseEnd(finish=finish, usage=self._usage, service_tier=self._tier)]


class Encoder:
    """Events to chunks. A StreamEncoder. `include_usage`: the caller asked for the usage chunk."""

    def __init__(self, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._head: dict[str, Json] = {}
        self._parts: dict[int, Part] = {}
        self._calls: dict[int, int] = {}

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case ResponseStart():
                created = event.created if event.created is not None else int(time.time())
                self._head = {
                    "id": event.id,
                    "object": "chat.completion.chunk",
                    "created": created,
                    "model": event.model,
                }
                return self._chunk({"role": "assistant", "content": ""})
            case PartStart():
                return self._start(event)
            case PartDelta():
                delta = self._delta(event)
                return self._chunk(delta) if delta else b""
            case ResponseEnd():
                return self._end(event)
            case _:
                return b""

    def _start(self, event: PartStart) -> bytes:
        part = self._parts[event.index] = event.part
        if isinstance(part, ToolCall):
            place = self._calls[event.index] = len(self._calls)
            function = {"name": part.name, "arguments": part.arguments}
            call = {"index": place, "id": part.id, "type": "function", "function": function}
            return self._chunk({"tool_calls": [call]})
        text = part.text if isinstance(part, (Text, Reasoning, Refusal)) else ""
        return self.feed(PartDelta(index=event.index, text=text)) if text else b""

    def _delta(self, event: PartDelta) -> dict[str, Json]:
        match self._parts.get(event.index):
            case ToolCall() if event.text:
                place = self._calls[event.index]
                return {"tool_calls": [{"index": place, "function": {"arguments": event.text}}]}
            case Reasoning(extras=extras) if event.text:
                return {extras.get(NAME, {}).get("key", "reasoning_content"): event.text}
            case Refusal() if event.text:
                return {"refusal": event.text}
            case Text() if event.text:
                return {"content": event.text}
            case _:
                return {}

    def _end(self, event: ResponseEnd) -> bytes:
        out = self._chunk({}, FINISH.write(event.finish))
        if self._include_usage and (usage := encode_usage(event.usage)) is not None:
            out += format_event(msgspec.json.encode({**self._head, "choices": [], "usage": usage}))
        return out + format_event(DONE)

    def _chunk(self, delta: dict[str, Json], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return format_event(msgspec.json.encode({**self._head, "choices": [choice]}))


class _ChoiceHead(Struct):
    finish_reason: str | None = None


class _ChunkHead(Struct):
    choices: list[_ChoiceHead] = []
    model: str | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Any = None


_chunk_head = msgspec.json.Decoder(_ChunkHead)
_COUNTS = (b'"usage"', b'"error"')
_FINISHED = b'"finish_reason"'
_NOTHING_FINISHED = (b'"finish_reason":null', b'"finish_reason": null')


class Tap(SseTap):
    """Only events that may hold usage, an end or an error are decoded."""

    def __init__(self, *, include_usage: bool) -> None:
        super().__init__()
        self._include_usage = include_usage
        self._tier: Json = None

    def _forward(self, event: SseEvent) -> bool:
        data = event.data
        if data[:1] != b"{":
            if data.strip() == DONE:
                self.complete, self.finish = True, self.finish or FINISH.read(None)
            return True
        if self.model is not None and not _may_matter(data):
            return True
        try:
            head = _chunk_head.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return True
        self.model = self.model or head.model or ""
        if head.error is not None:
            self.error = stream_error(head.error)
        groq = cast("dict[str, Json]", head.x_groq).get("usage") if isinstance(head.x_groq, dict) else None
        self._tier = head.service_tier or self._tier
        usage = decode_usage(head.usage or groq, self._tier)
        self.usage = usage or self.usage
        for choice in head.choices:
            if choice.finish_reason:
                self.finish, self.complete = FINISH.read(choice.finish_reason), True
        return self._include_usage or usage is None or bool(head.choices)


def _may_matter(data: bytes) -> bool:
    """Cheap look for what the books need; it may be wrong in saying yes, never in saying no."""
    return holds(data, _COUNTS) or (data.find(_FINISHED) >= 0 and not holds(data, _NOTHING_FINISHED))
