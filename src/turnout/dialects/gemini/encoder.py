"""Our events to a stream of streamGenerateContent (`alt=sse`)."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from turnout.chat import (
    Json,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseEnd,
    ResponseStart,
    StreamEvent,
    Text,
    ToolCall,
)
from turnout.dialects.gemini.response import finish_word, shown, signed, written_time
from turnout.dialects.gemini.spelling import NAME, own_keys
from turnout.dialects.gemini.usage import encode_usage
from turnout.dialects.gemini.written import Writer
from turnout.dialects.sse import format_event

__all__ = ["Encoder"]


class Encoder:
    """A StreamEncoder. Texts go out as they come, calls when they are whole: this API knows no pieces of them."""

    def __init__(self) -> None:
        self._head: dict[str, Json] = {}
        self._parts: dict[int, Part] = {}
        self._arguments: dict[int, list[str]] = {}
        self._called = False

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case ResponseStart():
                named: dict[str, Json] = {"modelVersion": event.model} if event.model else {}
                self._head = {**named, **({"responseId": event.id} if event.id else {}), **written_time(event.created)}
                return b""
            case PartStart():
                return self._started(event)
            case PartDelta():
                return self._more(event)
            case PartEnd():
                return self._ended(event.index)
            case ResponseEnd():
                return self._end(event)
            case _:
                return b""

    def _started(self, event: PartStart) -> bytes:
        part = shown(event.part) if isinstance(event.part, Reasoning) else event.part
        self._parts[event.index] = part
        if isinstance(part, ToolCall):
            self._arguments[event.index] = [part.arguments]
            return b""
        if isinstance(part, (Text, Refusal, Reasoning)):
            return self._said(part, part.text)
        return self._written(part)

    def _said(self, part: Text | Refusal | Reasoning, text: str, own: dict[str, Json] | None = None) -> bytes:
        """A piece of a text or thought, with the keys that only this API knows."""
        keys = own_keys(part.extras) if own is None else own
        if not text and not keys:
            return b""
        thought: dict[str, Json] = {"thought": True} if isinstance(part, Reasoning) else {}
        return self._piece({"text": text, **thought, **keys})

    def _more(self, event: PartDelta) -> bytes:
        part = self._parts.get(event.index)
        if event.index in self._arguments:
            self._arguments[event.index].append(event.text)
            return b""
        if not isinstance(part, (Text, Refusal, Reasoning)):
            return b""
        own = own_keys(event.extras)
        if event.signature and isinstance(part, Reasoning) and part.provider == NAME:
            own["thoughtSignature"] = event.signature
        return self._said(part, event.text, own)

    def _ended(self, index: int) -> bytes:
        part, pieces = self._parts.pop(index, None), self._arguments.pop(index, None)
        if not isinstance(part, ToolCall) or pieces is None:
            return b""
        call = replace(part, arguments="".join(pieces))
        first, self._called = not self._called, True
        return self._written(signed(call) if first else call)

    def _written(self, part: Part) -> bytes:
        wire = Writer().part(part)
        return b"" if wire is None else self._piece(wire)

    def _piece(self, part: dict[str, Json]) -> bytes:
        return self._chunk({"content": {"parts": [part], "role": "model"}, "index": 0})

    def _chunk(self, candidate: dict[str, Json], usage: dict[str, Json] | None = None) -> bytes:
        return format_event(msgspec.json.encode({"candidates": [candidate], **(usage or {}), **self._head}))

    def _end(self, event: ResponseEnd) -> bytes:
        rest = b"".join(self._ended(index) for index in list(self._parts))
        own: dict[str, Json] = event.extras.get(NAME, {}).get("_candidate", {})
        beside = {k: v for k, v in own.items() if not k.startswith("_")}
        last = {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": finish_word(event.finish)}
        return rest + self._chunk({**last, "index": 0, **beside}, encode_usage(event.usage))
