"""Streams of the Messages API: to events, from events, and read along untouched."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import (
    FinishReason,
    Json,
    Opaque,
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
)
from turnout.dialects.anthropic_messages.blocks import (
    NAME,
    NOT_SIGNED,
    decode_block,
    encode_blocks,
    own_keys,
)
from turnout.dialects.anthropic_messages.response import FINISH
from turnout.dialects.anthropic_messages.usage import decode_usage, encode_usage
from turnout.dialects.faults import BAD_EVENT, CUT
from turnout.dialects.sse import SseEvent, SseParser, format_event
from turnout.dialects.tap import SseTap
from turnout.dialects.values import object_at
from turnout.errors import InvalidRequest
from turnout.finding import holds

__all__ = ["Decoder", "Encoder", "Tap", "merged_usage", "stream_error"]

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "timeout_error": 504,
}
"""HTTP status by error type (docs.anthropic.com/en/api/errors); api_error and anything new is a 500."""

_SPLICED = StreamError(code="bad_stream", message="the provider began another answer in the middle of this one")

_END_KEYS = frozenset({"context_management"})
"""What `message_delta` tells beside its `delta` and `usage`."""


def stream_error(value: Json) -> StreamError:
    told = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
    code = str(told.get("type") or "api_error")
    message = str(told.get("message") or "the provider failed in mid-stream")
    return StreamError(code=code, message=message, status=STATUS.get(code, 500))


def merged_usage(start: Json, delta: Json) -> dict[str, Json]:
    """`message_delta`'s counts are cumulative and come over `message_start`'s."""
    first = cast("dict[str, Json]", start) if isinstance(start, dict) else {}
    last = cast("dict[str, Json]", delta) if isinstance(delta, dict) else {}
    return {**first, **{k: v for k, v in last.items() if v is not None}}


class Decoder:
    """Events of the wire to ours. A StreamDecoder.

    Blocks that we do not know (calls and results of server tools) become one whole part when they end: what
    their deltas mean is known to their API alone. One connection brings one message; what follows it is not read.
    """

    def __init__(self) -> None:
        self._sse = SseParser()
        self._id: str | None = None
        self._usage: dict[str, Json] = {}
        self._finish: FinishReason | None = None
        self._stop: dict[str, Json] = {}
        self._parts: dict[int, Part] = {}
        self._inputs: dict[int, str] = {}
        self._ended = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [event for sse in self._sse.feed(data) for event in self._event(sse)]

    def close(self) -> list[StreamEvent]:
        events = [event for sse in self._sse.close() for event in self._event(sse)]
        if not self._ended:
            # Recordings and some proxies leave message_stop out; a stop reason is an end.
            events.extend(self._end() if self._finish is not None else [CUT])
        return events

    def _event(self, sse: SseEvent) -> list[StreamEvent]:
        if not sse.data or self._ended:
            return []
        try:
            told = msgspec.json.decode(sse.data, type=dict[str, Any])
            return self._told(told)
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            RecursionError,
            InvalidRequest,
            LookupError,
            TypeError,
            ValueError,
        ):
            self._ended = True
            return [BAD_EVENT]

    def _told(self, told: dict[str, Json]) -> list[StreamEvent]:
        match told.get("type"):
            case "message_start":
                return self._started(object_at(told["message"], "message"))
            case "content_block_start":
                return self._opened(int(told["index"]), told["content_block"])
            case "content_block_delta":
                return self._delta(int(told["index"]), object_at(told["delta"], "delta"))
            case "content_block_stop":
                return self._closed(int(told["index"]))
            case "message_delta":
                self._usage = merged_usage(self._usage, told.get("usage"))
                beside = {k: told[k] for k in _END_KEYS if k in told}
                self._stop = {**object_at(told.get("delta") or {}, "delta"), **beside}
                if self._stop.get("stop_reason"):
                    self._finish = FINISH.read(str(self._stop["stop_reason"]))
                return []
            case "message_stop":
                return self._end()
            case "error":
                self._ended = True
                return [stream_error(told.get("error"))]
            case _:
                return []

    def _started(self, message: dict[str, Json]) -> list[StreamEvent]:
        name = str(message.get("id") or "")
        if self._id is not None:
            # Some hosts say the same twice; another message would mix two answers into one.
            self._ended = name != self._id
            return [_SPLICED] if self._ended else []
        self._id = name
        self._usage = merged_usage(message.get("usage"), None)
        usage = decode_usage(self._usage or None)
        return [ResponseStart(id=name, model=str(message.get("model") or ""), usage=usage)]

    def _opened(self, index: int, block: Json) -> list[StreamEvent]:
        part = decode_block(block, "content_block")
        self._parts[index] = part
        if isinstance(part, Opaque):
            return []
        if isinstance(part, ToolCall):
            # The input begins as {} and comes in pieces; what it was is needed where none follow.
            self._inputs[index] = part.arguments
            part = replace(part, arguments="")
        return [PartStart(index=index, part=part)]

    def _delta(self, index: int, delta: dict[str, Json]) -> list[StreamEvent]:
        part = self._parts[index]
        if isinstance(part, Opaque):
            self._grow(index, part, delta)
            return []
        match delta.get("type"):
            case "text_delta":
                return [PartDelta(index=index, text=str(delta["text"]))]
            case "input_json_delta":
                if delta.get("partial_json"):
                    self._inputs.pop(index, None)
                return [PartDelta(index=index, text=str(delta["partial_json"]))]
            case "thinking_delta":
                return [PartDelta(index=index, text=str(delta["thinking"]))]
            case "signature_delta":
                return [PartDelta(index=index, signature=str(delta["signature"]))]
            case "citations_delta":
                return [PartDelta(index=index, citations=(delta["citation"],))]
            case _:
                return [PartDelta(index=index, extras={NAME: delta})]

    def _grow(self, index: int, part: Opaque, delta: dict[str, Json]) -> None:
        """More of a block we do not know: its input's JSON is gathered, of other deltas texts are joined."""
        if delta.get("type") == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + str(delta["partial_json"])
            return
        data: dict[str, Json] = dict(part.data)
        for name, value in delta.items():
            if name != "type":
                before = data.get(name)
                data[name] = before + value if isinstance(before, str) and isinstance(value, str) else value
        self._parts[index] = replace(part, data=data)

    def _closed(self, index: int) -> list[StreamEvent]:
        part, rest = self._parts.pop(index), self._inputs.pop(index, None)
        if isinstance(part, Opaque):
            if rest:
                part = replace(part, data={**part.data, "input": msgspec.json.decode(rest)})
            return [PartStart(index=index, part=part), PartEnd(index=index)]
        events: list[StreamEvent] = [PartDelta(index=index, text=rest)] if rest else []
        return [*events, PartEnd(index=index)]

    def _end(self) -> list[StreamEvent]:
        self._ended = True
        usage = decode_usage(self._usage or None)
        stop = {k: v for k, v in self._stop.items() if k != "stop_reason" and v is not None}
        return [ResponseEnd(finish=self._finish or FINISH.read(None), usage=usage, extras={NAME: stop} if stop else {})]


class Encoder:
    """Our events to the wire's. A StreamEncoder. Blocks leave one at a time and in order: what comes for a later
    block while an earlier one is open waits for its turn."""

    def __init__(self) -> None:
        self._open: int | None = None
        self._count = 0
        self._kind: Part | None = None
        self._waiting: list[PartStart | PartDelta | PartEnd] = []

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case ResponseStart():
                return self._start(event)
            case PartStart() | PartDelta() | PartEnd():
                return self._part_event(event)
            case ResponseEnd():
                return self._flush() + self._end(event)
            case _:
                return b""

    def _part_event(self, event: PartStart | PartDelta | PartEnd) -> bytes:
        if self._open is not None and event.index != self._open:
            self._waiting.append(event)
            return b""
        if isinstance(event, PartStart):
            return self._block_start(event)
        if self._open is None:
            return b""
        if isinstance(event, PartDelta):
            return self._block_delta(event)
        return self._block_stop() + self._resume()

    def _flush(self) -> bytes:
        """Close the open block and send what waited."""
        out = b""
        while self._open is not None:
            out += self._block_stop() + self._resume()
        return out

    def _resume(self) -> bytes:
        waiting, self._waiting = self._waiting, []
        return b"".join(self._part_event(event) for event in waiting)

    def _start(self, event: ResponseStart) -> bytes:
        usage = encode_usage(event.usage)
        message = {
            "id": event.id,
            "type": "message",
            "role": "assistant",
            "model": event.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**usage, "output_tokens": usage.get("output_tokens") or 0},
        }
        return _event("message_start", message=message)

    def _block_start(self, event: PartStart) -> bytes:
        """A block's head is empty, as the API's own are; what is known of its content follows as a delta."""
        part = event.part
        if isinstance(part, Refusal):
            part = Text(text=part.text)
        self._open, self._kind = event.index, part
        match part:
            case ToolCall():
                head: dict[str, Json] = encode_blocks([replace(part, arguments="")], [])[0]
                known = PartDelta(index=event.index, text=part.arguments)
            case Text():
                head = {"type": "text", "text": "", **own_keys(part.extras)}
                known = PartDelta(index=event.index, text=part.text, citations=part.citations)
            case Reasoning() if part.redacted is None:
                head = {"type": "thinking", "thinking": "", "signature": "", **own_keys(part.extras)}
                known = PartDelta(index=event.index, text=part.text, signature=part.signature)
            case _:
                return self._whole(part)
        start = _event("content_block_start", index=self._count, content_block=head)
        return start + (self._block_delta(known) if known != PartDelta(index=event.index) else b"")

    def _whole(self, part: Part) -> bytes:
        """A block that comes in one piece; of a server tool's call the input is a delta, as clients expect it."""
        blocks = encode_blocks([part], [])
        if not blocks:  # another API's block: nothing of it is sent, but its end must still be seen
            self._kind = None
            return b""
        block = blocks[0]
        if not (str(block.get("type")).endswith("_use") and isinstance(block.get("input"), dict)):
            return _event("content_block_start", index=self._count, content_block=block)
        delta = {"type": "input_json_delta", "partial_json": msgspec.json.encode(block["input"]).decode()}
        start = _event("content_block_start", index=self._count, content_block={**block, "input": {}})
        return start + _event("content_block_delta", index=self._count, delta=delta)

    def _block_delta(self, event: PartDelta) -> bytes:
        deltas: list[dict[str, Json]] = []
        if NAME in event.extras:
            deltas.append(event.extras[NAME])
        match self._kind:
            case ToolCall():
                deltas.append({"type": "input_json_delta", "partial_json": event.text})
            case Text():
                if event.text:
                    deltas.append({"type": "text_delta", "text": event.text})
                deltas.extend({"type": "citations_delta", "citation": c} for c in event.citations)
            case Reasoning(provider=author):
                if event.text:
                    deltas.append({"type": "thinking_delta", "thinking": event.text})
                if event.signature and author == NAME:
                    deltas.append({"type": "signature_delta", "signature": event.signature})
            case _:
                pass
        return b"".join(_event("content_block_delta", index=self._count, delta=delta) for delta in deltas)

    def _block_stop(self) -> bytes:
        self._open = None
        part, self._kind = self._kind, None
        if part is None:
            return b""
        out = b""
        if isinstance(part, Reasoning) and part.provider != NAME:
            mark = {"type": "signature_delta", "signature": NOT_SIGNED}
            out = _event("content_block_delta", index=self._count, delta=mark)
        self._count += 1
        return out + _event("content_block_stop", index=self._count - 1)

    def _end(self, event: ResponseEnd) -> bytes:
        own = own_keys(event.extras)
        beside = {k: own.pop(k) for k in _END_KEYS if k in own}
        stop = {"stop_reason": FINISH.write(event.finish), "stop_sequence": None, **own}
        last = _event("message_delta", delta=stop, usage=encode_usage(event.usage), **beside)
        return last + _event("message_stop")


def _event(kind: str, **fields: Json) -> bytes:
    return format_event(msgspec.json.encode({"type": kind, **fields}), kind)


class _MessageHead(Struct):
    model: str | None = None
    usage: Any = None


class _DeltaHead(Struct):
    stop_reason: str | None = None


class _EventHead(Struct):
    type: str = ""
    message: _MessageHead | None = None
    delta: _DeltaHead | None = None
    usage: Any = None
    error: Any = None


_event_head = msgspec.json.Decoder(_EventHead)
_INTERESTING = (b'"message_start"', b'"message_delta"', b'"message_stop"', b'"error"')


class Tap(SseTap):
    """Only events that may hold usage, an end or an error are decoded."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, Json] = {}
        self._over = False

    def _forward(self, event: SseEvent) -> bool:
        if event.data and not self._over and holds(event.data, _INTERESTING):
            # What cannot be decoded is nothing we know: the caller gets it as it is.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._note(_event_head.decode(event.data))
        return True

    def _note(self, head: _EventHead) -> None:
        match head.type:
            case "message_start" if head.message is not None:
                self.model = head.message.model
                self._told = merged_usage(head.message.usage, None)
            case "message_delta":
                self._told = merged_usage(self._told, head.usage)
                if head.delta is not None and head.delta.stop_reason:
                    self.finish, self.complete = FINISH.read(head.delta.stop_reason), True
            case "message_stop":
                self.complete = self._over = True
            case "error":
                self.error = stream_error(head.error)
            case _:
                return
        self.usage = decode_usage(self._told or None)
