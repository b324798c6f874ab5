"""Streams of the Responses API: to events, and read along untouched. `encoder.py` is the way back."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import (
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
from turnout.dialects.faults import BAD_EVENT, CUT
from turnout.dialects.openai_responses.items import NAME
from turnout.dialects.openai_responses.response import decode_output, finish_of, response_of
from turnout.dialects.openai_responses.usage import decode_usage
from turnout.dialects.sse import SseEvent, SseParser
from turnout.dialects.tap import SseTap
from turnout.dialects.values import object_at, object_or_empty
from turnout.errors import InvalidRequest
from turnout.finding import holds

__all__ = ["Decoder", "Tap", "stream_error"]

_ENDS = {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
_MORE = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "summary",
    "response.function_call_arguments.delta": "call",
    "response.custom_tool_call_input.delta": "call",
}
"""What a delta adds to."""

STATUS = {"rate_limit_exceeded": 429, "invalid_prompt": 400, "server_error": 500}
"""HTTP status by error code of a failed response."""


def stream_error(value: Json) -> StreamError:
    """The error of an `error` event or of a failed response."""
    told = object_or_empty(value)
    code = told.get("code") or told.get("type") or "server_error"
    message = told.get("message") or "the provider failed in mid-stream"
    return StreamError(code=str(code), message=str(message), status=STATUS.get(str(code), 502))


class _Item:
    """An item of the output that is under way: its parts by what they hold, and what was already told of them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.parts: dict[tuple[str, int], int] = {}
        self.lengths: dict[int, int] = {}
        self.said = 0


class Decoder:
    """Events of the wire to ours. A StreamDecoder.

    Texts, thinking and calls stream; items that we do not know (those of server-side tools) come whole when done. What
    an item's end tells and its deltas did not is added there: some hosts send no deltas.
    """

    def __init__(self) -> None:
        self._sse = SseParser()
        self._started = False
        self._ended = False
        self._items: dict[int, _Item] = {}
        self._next = 0
        self._calls = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [event for sse in self._sse.feed(data) for event in self._event(sse)]

    def close(self) -> list[StreamEvent]:
        events = [event for sse in self._sse.close() for event in self._event(sse)]
        if not self._ended:
            events.append(CUT)
        return events

    def _event(self, sse: SseEvent) -> list[StreamEvent]:
        if not sse.data or self._ended or sse.data.strip() == b"[DONE]":
            return []
        try:
            told = object_at(msgspec.json.decode(sse.data), "the event")
            return self._read(str(told.get("type")), told)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest, LookupError, TypeError):
            return self._fail(BAD_EVENT)

    def _fail(self, error: StreamError) -> list[StreamEvent]:
        self._ended = True
        return [error]

    def _read(self, kind: str, told: dict[str, Json]) -> list[StreamEvent]:
        if kind in _MORE:
            return self._more(_MORE[kind], told)
        if kind in _ENDS:
            return self._end(kind, object_at(told["response"], "response"))
        match kind:
            case "response.created":
                return self._start(object_at(told["response"], "response"))
            case "response.output_item.added":
                return self._added(int(told["output_index"]), object_at(told["item"], "item"))
            case "response.output_item.done":
                return self._done(int(told["output_index"]), object_at(told["item"], "item"))
            case "response.output_text.annotation.added":
                return self._annotated(told)
            case "error":
                return self._fail(stream_error(told.get("error") or told))
            case _:
                return []

    def _start(self, response: dict[str, Json]) -> list[StreamEvent]:
        if self._started:
            return []
        self._started = True
        told = response_of(response, ())
        return [ResponseStart(id=told.id, model=told.model, created=told.created)]

    def _added(self, at: int, item: dict[str, Json]) -> list[StreamEvent]:
        kind = str(item.get("type"))
        state = self._items[at] = _Item(kind)
        if kind in {"function_call", "custom_tool_call"}:
            self._calls = True
            (part,) = decode_output([{**item, "arguments": "", "input": ""}])
            return self._begin(state, ("call", 0), _bare(part))
        return []

    def _begin(self, state: _Item, key: tuple[str, int], part: Part) -> list[StreamEvent]:
        index, self._next = self._next, self._next + 1
        state.parts[key] = index
        state.lengths[index] = 0
        return [PartStart(index=index, part=part)]

    def _more(self, what: str, told: dict[str, Json]) -> list[StreamEvent]:
        state = self._items.setdefault(int(told["output_index"]), _Item("message"))
        text = told["delta"]
        if not isinstance(text, str):
            return self._fail(BAD_EVENT)
        place = told.get("summary_index") if what == "summary" else told.get("content_index")
        return self._grow(state, what, place if isinstance(place, int) and what != "call" else 0, text)

    def _grow(self, state: _Item, what: str, place: int, text: str) -> list[StreamEvent]:
        """More of a part. Thinking is one part whatever number of blocks it comes in, as in the whole answer."""
        events: list[StreamEvent] = []
        key = ("reasoning" if what == "summary" else what, 0 if what in {"summary", "reasoning"} else place)
        if key not in state.parts:
            part: Part = Reasoning(provider=NAME) if key[0] == "reasoning" else Text(text="")
            events += self._begin(state, key, Refusal(text="") if what == "refusal" else part)
        index = state.parts[key]
        if what in {"summary", "reasoning"} and place != state.said:
            state.said = place
            text = "\n\n" + text if state.lengths[index] else text
        state.lengths[index] += len(text)
        return [*events, PartDelta(index=index, text=text)]

    def _annotated(self, told: dict[str, Json]) -> list[StreamEvent]:
        state = self._items.get(int(told["output_index"]))
        place = told.get("content_index")
        index = state.parts.get(("text", place if isinstance(place, int) else 0)) if state else None
        return [] if index is None else [PartDelta(index=index, citations=(told["annotation"],))]

    def _done(self, at: int, item: dict[str, Json]) -> list[StreamEvent]:
        """An item's end: the rest of its parts, and their ends."""
        state = self._items.setdefault(at, _Item(str(item.get("type"))))
        events: list[StreamEvent] = []
        for count, part in enumerate(decode_output([item])):
            match part:
                case Text(text=said) | Refusal(text=said):
                    key = ("text" if isinstance(part, Text) else "refusal", count)
                case ToolCall(arguments=said):
                    key = ("call", 0)
                case Reasoning(text=said):
                    key = ("reasoning", 0)
                case _:
                    events += self._whole(part)
                    continue
            events += self._rest(state, key, part, said)
        events += [PartEnd(index=index) for index in state.parts.values()]
        state.parts = {}
        return events

    def _rest(self, state: _Item, key: tuple[str, int], part: Part, said: str) -> list[StreamEvent]:
        events = [] if key in state.parts else self._begin(state, key, _bare(part))
        index = state.parts[key]
        self._calls = self._calls or isinstance(part, ToolCall)
        rest = said[state.lengths[index] :]
        signature = part.signature if isinstance(part, Reasoning) else None
        unsaid = part.citations if isinstance(part, Text) and not state.lengths[index] else ()
        if rest or signature or unsaid:
            events.append(PartDelta(index=index, text=rest, signature=signature, citations=unsaid))
        return events

    def _whole(self, part: Part) -> list[StreamEvent]:
        index, self._next = self._next, self._next + 1
        return [PartStart(index=index, part=part), PartEnd(index=index)]

    def _end(self, kind: str, response: dict[str, Json]) -> list[StreamEvent]:
        self._ended = True
        if kind == "response.failed":
            return [stream_error(response.get("error"))]
        events: list[StreamEvent] = []
        for state in self._items.values():  # of hosts that end without ending their items
            events += [PartEnd(index=index) for index in state.parts.values()]
        told = response_of(response, ())
        finish = finish_of(response.get("status"), response.get("incomplete_details"), calls=self._calls)
        end = ResponseEnd(finish=finish, usage=told.usage, service_tier=told.service_tier, extras=told.extras)
        return [*events, end]


def _bare(part: Part) -> Part:
    """A part as it begins: what follows in deltas taken out."""
    match part:
        case Text():
            return replace(part, text="", citations=())
        case Refusal():
            return replace(part, text="")
        case ToolCall():
            return replace(part, arguments="")
        case Reasoning():
            return replace(part, text="", signature=None)
        case Opaque() | _:
            return part


class _ResponseHead(Struct):
    model: str | None = None
    status: str | None = None
    incomplete_details: Any = None
    usage: Any = None
    service_tier: Any = None
    error: Any = None


class _ItemHead(Struct):
    type: str = ""


class _EventHead(Struct):
    type: str = ""
    response: _ResponseHead | None = None
    item: _ItemHead | None = None
    error: Any = None
    code: Any = None
    message: Any = None


_event_head = msgspec.json.Decoder(_EventHead)
_INTERESTING = (
    b'"response.created"',
    b'"response.completed"',
    b'"response.incomplete"',
    b'"response.failed"',
    b'"response.output_item.done"',
    b'"error"',
)


class Tap(SseTap):
    """Only events that may hold usage, an end, a call or an error are decoded."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = False

    def _forward(self, event: SseEvent) -> bool:
        data = event.data
        if data and (holds(data[:200], _INTERESTING) or holds(data[-200:], _INTERESTING)):
            # What cannot be decoded is nothing we know: the caller gets it as it is.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._note(_event_head.decode(data))
        return True

    def _note(self, head: _EventHead) -> None:
        if head.type == "response.output_item.done" and head.item is not None:
            self._calls = self._calls or head.item.type in {"function_call", "custom_tool_call"}
        elif head.type == "error":
            self.error = stream_error(head.error or {"code": head.code, "message": head.message})
        elif head.response is not None and head.type.startswith("response."):
            self.model = self.model or head.response.model
            if head.type == "response.failed":
                self.error = stream_error(head.response.error)
            elif head.type in _ENDS:
                self._ended(head.response)

    def _ended(self, response: _ResponseHead) -> None:
        self.complete = True
        self.usage = decode_usage(response.usage, response.service_tier)
        self.finish = finish_of(response.status, response.incomplete_details, calls=self._calls)
