"""Streams of streamGenerateContent (`alt=sse`): to events, and read along untouched.

Each event is a GenerateContentResponse with more parts. There is no mark at the end: the connection closes after a
piece that has a finish reason. Counts are cumulative.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from msgspec.structs import replace

from turnout.chat import (
    FinishReason,
    Json,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    ResponseEnd,
    ResponseStart,
    StreamEvent,
    Text,
    ToolCall,
)
from turnout.dialects.faults import BAD_EVENT, CUT
from turnout.dialects.gemini.errors import stream_error
from turnout.dialects.gemini.partial import Arguments
from turnout.dialects.gemini.parts import Calls, decode_part
from turnout.dialects.gemini.response import Head, blocked, created_of, finish_of
from turnout.dialects.gemini.spelling import NAME
from turnout.dialects.gemini.usage import decode_usage, tier_of
from turnout.dialects.sse import SseEvent, SseParser
from turnout.dialects.tap import SseTap
from turnout.dialects.values import object_at, object_or_empty, optional_list, optional_text
from turnout.errors import InvalidRequest

__all__ = ["Decoder", "Tap"]

_CANDIDATE = frozenset({"content", "finishReason", "index"})
_AFTER_CALL = frozenset({"partialArgs", "willContinue"})


def _merged(before: Json, now: Json) -> dict[str, Json]:
    """Usage so far: a later count stands for an earlier one."""
    return {**object_or_empty(before), **{k: v for k, v in object_or_empty(now).items() if v is not None}}


class _Open:
    """The part under way. A call's arguments come whole, or in pieces that are put together first."""

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.arguments = Arguments() if isinstance(part, ToolCall) else None


class Decoder:
    """Events of the wire to ours. A StreamDecoder.

    The end is told when the connection closes: some models gave a finish reason with every piece, and counts may
    follow it. Further candidates are not read.
    """

    def __init__(self) -> None:
        self._sse = SseParser()
        self._calls: Calls | None = None
        self._open: _Open | None = None
        self._next = 0
        self._called = False
        self._word: str | None = None
        self._refused: FinishReason | None = None
        self._usage: dict[str, Json] = {}
        self._beside: dict[str, Json] = {}
        self._failed = False

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [event for sse in self._sse.feed(data) for event in self._event(sse)]

    def close(self) -> list[StreamEvent]:
        events = [event for sse in self._sse.close() for event in self._event(sse)]
        if self._failed:
            return events
        finish = self._refused if self._word is None else finish_of(self._word, calls=self._called)
        if finish is None:
            return [*events, CUT]
        usage = decode_usage(self._usage or None)
        extras = {NAME: {"_candidate": self._beside}} if self._beside else {}
        end = ResponseEnd(finish=finish, usage=usage, service_tier=tier_of(usage), extras=extras)
        return [*events, *self._ended(), end]

    def _event(self, sse: SseEvent) -> list[StreamEvent]:
        if not sse.data or self._failed:
            return []
        try:
            told: Any = msgspec.json.decode(sse.data)
            first = told[0] if isinstance(told, list) and told else told
            return self._told(object_at(first, "the event"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest):
            self._failed = True
            return [BAD_EVENT]

    def _told(self, told: dict[str, Json]) -> list[StreamEvent]:
        if told.get("error") is not None:
            self._failed = True
            return [stream_error(told["error"])]
        events: list[StreamEvent] = []
        if self._calls is None:
            answer_id = str(told.get("responseId") or "")
            self._calls = Calls(answer_id)
            model = str(told.get("modelVersion") or "")
            events.append(ResponseStart(id=answer_id, model=model, created=created_of(told.get("createTime"))))
        self._usage = _merged(self._usage, told.get("usageMetadata"))
        self._refused = blocked(told.get("promptFeedback")) or self._refused
        for i, value in enumerate(optional_list(told.get("candidates"), "candidates")):
            candidate = object_at(value, f"candidates[{i}]")
            if not candidate.get("index"):
                events += self._more(candidate, self._calls)
        return events

    def _more(self, candidate: dict[str, Json], calls: Calls) -> list[StreamEvent]:
        content = object_at(candidate.get("content") or {}, "candidates[0].content")
        path = "candidates[0].content.parts"
        events: list[StreamEvent] = []
        for i, value in enumerate(optional_list(content.get("parts"), path)):
            events += self._part(object_at(value, f"{path}[{i}]"), f"{path}[{i}]", calls)
        self._word = optional_text(candidate.get("finishReason"), "candidates[0].finishReason") or self._word
        beside = {k: v for k, v in candidate.items() if k not in _CANDIDATE and not k.startswith("_")}
        self._beside |= {k: v for k, v in beside.items() if v is not None}
        return events

    def _part(self, value: dict[str, Json], path: str, calls: Calls) -> list[StreamEvent]:
        call = value.get("functionCall")
        if isinstance(call, dict):
            return self._call(value, object_at(call, f"{path}.functionCall"), path, calls)
        part = decode_part(value, path, calls)
        if not isinstance(part, (Text, Reasoning)):
            return [*self._ended(), *self._whole(part)]
        events: list[StreamEvent] = []
        if self._open is None or type(self._open.part) is not type(part):
            if not part.text and isinstance(part, Text):
                return []  # the last piece is often an empty text
            bare = replace(part, text="", signature=None) if isinstance(part, Reasoning) else replace(part, text="")
            events = [*self._ended(), *self._begin(bare)]
        signature = part.signature if isinstance(part, Reasoning) else None
        extras = {} if events else part.extras
        if part.text or signature or extras:
            events.append(PartDelta(index=self._next - 1, text=part.text, signature=signature, extras=extras))
        return events

    def _call(self, value: dict[str, Json], told: dict[str, Json], path: str, calls: Calls) -> list[StreamEvent]:
        """A call, which is whole as a rule; or a piece of one, until a piece that says of no other to come."""
        events: list[StreamEvent] = []
        if told.get("name"):
            self._called = True
            whole = {k: v for k, v in told.items() if k not in _AFTER_CALL}
            part = decode_part({**value, "functionCall": whole}, path, calls)
            events = [*self._ended(), *self._begin(part)]
        if self._open is None or self._open.arguments is None:
            return events
        for piece in optional_list(told.get("partialArgs"), f"{path}.functionCall.partialArgs"):
            self._open.arguments.add(piece)
        return events if told.get("willContinue") else [*events, *self._ended()]

    def _begin(self, part: Part) -> list[StreamEvent]:
        index, self._next = self._next, self._next + 1
        self._open = _Open(index, part)
        shown = replace(part, arguments="") if isinstance(part, ToolCall) else part
        return [PartStart(index=index, part=shown)]

    def _whole(self, part: Part) -> list[StreamEvent]:
        index, self._next = self._next, self._next + 1
        return [PartStart(index=index, part=part), PartEnd(index=index)]

    def _ended(self) -> list[StreamEvent]:
        """The end of the part under way."""
        part, self._open = self._open, None
        if part is None:
            return []
        events: list[StreamEvent] = []
        if isinstance(part.part, ToolCall):
            pieces = part.arguments.value if part.arguments is not None else {}
            text = msgspec.json.encode(pieces).decode() if pieces else part.part.arguments
            events.append(PartDelta(index=part.index, text=text))
        return [*events, PartEnd(index=part.index)]


_head = msgspec.json.Decoder(Head)


class Tap(SseTap):
    """Reads what each piece tells of usage, finish, model and errors."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, Json] = {}
        self._word: str | None = None
        self._called = False

    def _forward(self, event: SseEvent) -> bool:
        if event.data:
            # What cannot be decoded is nothing we know: the caller gets it as it is.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._note(_head.decode(event.data))
        return True

    def _note(self, head: Head) -> None:
        if head.error is not None:
            self.error = stream_error(head.error)
            return
        self.model = head.model or self.model
        self._told = _merged(self._told, head.usage)
        self.usage = decode_usage(self._told or None)
        if (first := head.first) is not None:
            self._called = self._called or first.calls
            self._word = first.finish or self._word
        if self._word is not None:
            self.finish, self.complete = finish_of(self._word, calls=self._called), True
        elif (refused := blocked(head.feedback)) is not None:
            self.finish, self.complete = refused, True
