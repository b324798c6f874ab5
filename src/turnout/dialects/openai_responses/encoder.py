"""Events to a stream of the Responses API, as its clients expect it: every item is begun, told and done."""

from __future__ import annotations

from typing import cast

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
from turnout.dialects.openai_responses.items import NAME, output_part
from turnout.dialects.openai_responses.response import Namer, item_of, response_object, status_of
from turnout.dialects.openai_responses.usage import encode_usage
from turnout.dialects.sse import format_event

__all__ = ["Encoder"]


class _Open:
    """An item on its way to the caller."""

    def __init__(self, index: int, part: Part, item: dict[str, Json]) -> None:
        self.index = index
        self.part = part
        self.item = item
        self.said: list[str] = []
        self.citations: list[Json] = []


class Encoder:
    """Our events to the wire's. A StreamEncoder. Each part becomes an item; usage always comes along."""

    def __init__(self) -> None:
        self._number = 0
        self._namer = Namer("")
        self._head: dict[str, Json] = {}
        self._items: list[dict[str, Json]] = []
        self._open: dict[int, _Open] = {}

    def feed(self, event: StreamEvent) -> bytes:
        match event:
            case ResponseStart():
                return self._start(event)
            case PartStart():
                return self._begin(event)
            case PartDelta():
                return self._more(event)
            case PartEnd():
                return self._done(self._open.pop(event.index, None))
            case ResponseEnd():
                return self._end(event)
            case _:
                return b""

    def _event(self, kind: str, **fields: Json) -> bytes:
        number, self._number = self._number, self._number + 1
        return format_event(msgspec.json.encode({"type": kind, "sequence_number": number, **fields}), kind)

    def _start(self, event: ResponseStart) -> bytes:
        self._namer = Namer(event.id)
        name = event.id if event.id.startswith("resp_") else self._namer.response
        self._head = {**response_object(name, event.model, event.created, "in_progress", None), "usage": None}
        begun = {**self._head, "output": []}
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def _begin(self, event: PartStart) -> bytes:
        part = event.part
        match part:
            case Text() | Refusal():
                item: dict[str, Json] | None = {"type": "message", "id": self._namer("msg_"), "role": "assistant"}
            case Reasoning(redacted=None):
                # Another model's thinking under a mark; the author's own keeps its id.
                bare = replace(part, text="", signature=None) if part.provider == NAME else Reasoning(text="-")
                item = item_of(bare, self._namer, [])
            case _:
                item = item_of(part, self._namer, [])
        if item is None:
            return b""
        index = len(self._items)
        self._items.append(item)
        opened = self._open[event.index] = _Open(index, part, item)
        return self._added(opened)

    def _added(self, opened: _Open) -> bytes:
        index, item = opened.index, opened.item
        match opened.part:
            case Text(text=known, citations=citations):
                part: Json = {"type": "output_text", "text": "", "annotations": []}
                head = self._item_added(index, {**item, "status": "in_progress", "content": []})
                head += self._event("response.content_part.added", **self._at(opened), content_index=0, part=part)
            case Refusal(text=known):
                citations = ()
                part = {"type": "refusal", "refusal": ""}
                head = self._item_added(index, {**item, "status": "in_progress", "content": []})
                head += self._event("response.content_part.added", **self._at(opened), content_index=0, part=part)
            case Reasoning(text=known, redacted=None):
                citations = ()
                part = {"type": "summary_text", "text": ""}
                head = self._item_added(index, {**item, "summary": []})
                head += self._event(
                    "response.reasoning_summary_part.added", **self._at(opened), summary_index=0, part=part
                )
            case ToolCall(arguments=known):
                citations = ()
                empty = {"input": ""} if "input" in item else {"arguments": ""}
                head = self._item_added(index, {**item, **empty, "status": "in_progress"})
            case _:
                return self._item_added(index, item)
        more = PartDelta(index=index, text=known, citations=citations)
        return head + (self._grow(opened, more) if known or citations else b"")

    def _item_added(self, index: int, item: dict[str, Json]) -> bytes:
        return self._event("response.output_item.added", output_index=index, item=item)

    def _at(self, opened: _Open) -> dict[str, Json]:
        return {"item_id": opened.item.get("id", ""), "output_index": opened.index}

    def _more(self, event: PartDelta) -> bytes:
        opened = self._open.get(event.index)
        return b"" if opened is None else self._grow(opened, event)

    def _grow(self, opened: _Open, event: PartDelta) -> bytes:
        at, out = self._at(opened), b""
        if isinstance(opened.part, Reasoning) and event.signature and opened.part.provider == NAME:
            opened.item["encrypted_content"] = opened.item.get("encrypted_content", "") + event.signature
        if event.text:
            opened.said.append(event.text)
            match opened.part:
                case Text():
                    out = self._event(
                        "response.output_text.delta", **at, content_index=0, delta=event.text, logprobs=[]
                    )
                case Refusal():
                    out = self._event("response.refusal.delta", **at, content_index=0, delta=event.text)
                case Reasoning():
                    out = self._event("response.reasoning_summary_text.delta", **at, summary_index=0, delta=event.text)
                case ToolCall(freeform=True):
                    out = self._event("response.custom_tool_call_input.delta", **at, delta=event.text)
                case ToolCall():
                    out = self._event("response.function_call_arguments.delta", **at, delta=event.text)
                case _:
                    pass
        opened.citations.extend(event.citations)
        return out

    def _done(self, opened: _Open | None) -> bytes:
        if opened is None:
            return b""
        at, said, item = self._at(opened), "".join(opened.said), opened.item
        match opened.part:
            case Text() | Refusal():
                out = self._message_done(opened, said)
            case Reasoning(redacted=None):
                part = {"type": "summary_text", "text": said}
                item["summary"] = [part] if said else []
                out = self._event("response.reasoning_summary_text.done", **at, summary_index=0, text=said)
                out += self._event("response.reasoning_summary_part.done", **at, summary_index=0, part=part)
            case ToolCall(freeform=freeform):
                item |= {"input": said} if freeform else {"arguments": said or "{}"}
                item["status"] = "completed"
                if freeform:
                    out = self._event("response.custom_tool_call_input.done", **at, input=said)
                else:
                    out = self._event(
                        "response.function_call_arguments.done", **at, name=item["name"], arguments=said or "{}"
                    )
            case _:
                out = b""
        return out + self._event("response.output_item.done", output_index=opened.index, item=item)

    def _message_done(self, opened: _Open, said: str) -> bytes:
        at = self._at(opened)
        whole: Part = (
            Refusal(text=said)
            if isinstance(opened.part, Refusal)
            else Text(text=said, citations=tuple(opened.citations))
        )
        part = cast("dict[str, Json]", output_part(whole, []))
        if isinstance(whole, Refusal):
            out = self._event("response.refusal.done", **at, content_index=0, refusal=said)
        else:
            notes: list[Json] = part["annotations"]
            kind = "response.output_text.annotation.added"
            out = b"".join(
                self._event(kind, **at, content_index=0, annotation_index=i, annotation=note)
                for i, note in enumerate(notes)
            )
            out += self._event("response.output_text.done", **at, content_index=0, text=said, logprobs=[])
        opened.item |= {"status": "completed", "content": [part]}
        return out + self._event("response.content_part.done", **at, content_index=0, part=part)

    def _end(self, event: ResponseEnd) -> bytes:
        out = b"".join(self._done(self._open.pop(index)) for index in list(self._open))
        status = status_of(event.finish)
        response = {**self._head, **status, "output": self._items, "usage": encode_usage(event.usage)}
        if event.service_tier is not None:
            response["service_tier"] = event.service_tier
        return out + self._event(f"response.{status['status']}", response=response)
