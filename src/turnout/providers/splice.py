"""Finishing an answer that another model began: what it had said, the request that goes on from there, and the two
streams joined into one. No I/O."""

from __future__ import annotations

from msgspec.structs import replace

from turnout.chat import (
    Message,
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
)
from turnout.dialects.base import Dialect
from turnout.errors import UpstreamFailure

__all__ = ["Splice", "continued", "text_in", "text_of"]

GO_ON = (
    "Your answer above was cut off by a broken connection. Go on exactly where it ends, in the middle of the word if "
    "it ends there. Repeat nothing, say nothing of the interruption."
)
"""Not a prefill: newer models refuse a conversation that ends with their own words."""

MARK = b": turnout: another model goes on from here\n\n"
"""A comment of the event stream: clients pass it over, people who look find it."""


def text_in(dialect: Dialect, delivered: bytes) -> str:
    """The text in the beginning of a stream: words, thoughts and arguments of calls."""
    events = dialect.stream_decoder().feed(delivered)
    return "".join(event.text for event in events if isinstance(event, PartDelta))


def text_of(dialect: Dialect, body: bytes) -> str:
    """The same of a whole answer; nothing where it cannot be read."""
    try:
        parts = dialect.decode_response(body).parts
    except UpstreamFailure:
        return ""
    return "".join(
        part.text if isinstance(part, (Text, Reasoning)) else part.arguments if isinstance(part, ToolCall) else ""
        for part in parts
    )


def continued(dialect: Dialect, body: bytes, delivered: bytes) -> bytes | None:
    """The request for the rest of an answer of which the caller has `delivered`; None where a tool was called in it (it
    may be running already) or nothing was said yet."""
    events = dialect.stream_decoder().feed(delivered)
    if any(isinstance(event, PartStart) and isinstance(event.part, ToolCall) for event in events):
        return None
    texts = {event.index for event in events if isinstance(event, PartStart) and isinstance(event.part, Text)}
    said = "".join(event.text for event in events if isinstance(event, PartDelta) and event.index in texts)
    if not said.strip():
        return None
    request = dialect.decode_request(body)
    more = (
        Message(role="assistant", parts=(Text(text=said),)),
        Message(role="user", parts=(Text(text=GO_ON),)),
    )
    return dialect.encode_request(replace(request, messages=(*request.messages, *more))).body


class Splice:
    """The second stream, told as the rest of the first. Both are in the caller's format."""

    def __init__(self, dialect: Dialect, delivered: bytes, *, include_usage: bool) -> None:
        self._decoder = dialect.stream_decoder()
        self._encoder = dialect.stream_encoder(include_usage=include_usage)
        self._open: int | None = None
        self._last = -1
        self._places: dict[int, int] = {}
        self._marked = False
        for event in dialect.stream_decoder().feed(delivered):
            self._replay(event)

    def feed(self, data: bytes) -> bytes:
        """The caller's next bytes for the second stream's."""
        out = bytearray()
        for event in self._decoder.feed(data):
            for told in self._moved(event):
                out += self._encoder.feed(told)
        if out and not self._marked:
            self._marked = True
            return MARK + bytes(out)
        return bytes(out)

    def _replay(self, event: StreamEvent) -> None:
        """Bring the encoder to where the caller's stream stands."""
        if isinstance(event, (StreamError, ResponseEnd)):
            return
        if isinstance(event, PartStart):
            self._last = max(self._last, event.index)
            self._open = event.index if isinstance(event.part, Text) else self._open
        if isinstance(event, PartEnd) and event.index == self._open:
            self._open = None
        self._encoder.feed(event)

    def _moved(self, event: StreamEvent) -> list[StreamEvent]:
        """An event of the second stream as one of the first."""
        match event:
            case ResponseStart():
                return []
            case PartStart() if isinstance(event.part, Text) and self._open is not None:
                self._places[event.index], self._open = self._open, None
                return []
            case PartStart() if isinstance(event.part, (Text, ToolCall)):
                self._last += 1
                self._places[event.index] = self._last
                return [*self._ended(), replace(event, index=self._last)]
            case PartDelta() | PartEnd() if event.index in self._places:
                return [replace(event, index=self._places[event.index])]
            case ResponseEnd():
                return [*self._ended(), event]
            case StreamError():
                return [event]
            case _:  # what another model thought on its way is not this answer's
                return []

    def _ended(self) -> list[StreamEvent]:
        """The first stream's open text, closed where the second does not go on with it."""
        closed, self._open = self._open, None
        return [] if closed is None else [PartEnd(index=closed)]
