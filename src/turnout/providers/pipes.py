"""A stream on its way from provider to caller: handed on untouched, or translated event by event. No I/O."""

from __future__ import annotations

import secrets
from typing import Protocol

import msgspec
from msgspec.structs import replace

from turnout.chat import FinishReason, ResponseEnd, ResponseStart, StreamError, StreamEvent, Usage
from turnout.dialects.base import StreamDecoder, StreamEncoder, StreamTap
from turnout.dialects.faults import BAD_EVENT, CUT
from turnout.dialects.sse import SseParser
from turnout.dialects.tool_shapes import Restorer

__all__ = ["Pipe", "TappedPipe", "TranslatingPipe", "fresh_id"]


class Pipe(Protocol):
    """`error_forwarded`: the provider's own error event already went to the caller."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def finish(self) -> FinishReason | None: ...

    @property
    def model(self) -> str | None: ...

    @property
    def error(self) -> StreamError | None: ...

    @property
    def error_forwarded(self) -> bool: ...

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes: ...

    def fail(self, error: StreamError) -> None: ...


def is_object(data: bytes) -> bool:
    """Whether `data` is a JSON object."""
    try:
        return isinstance(msgspec.json.decode(data), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def fresh_id() -> str:
    """An id for an answer of a format that has none: callers and kept conversations tell answers apart by it."""
    return secrets.token_hex(12)


class TappedPipe:
    """Same dialect on both sides."""

    def __init__(self, tap: StreamTap) -> None:
        self._tap = tap
        self._begun = False
        self._failed: StreamError | None = None

    @property
    def usage(self) -> Usage | None:
        return self._tap.usage

    @property
    def finish(self) -> FinishReason | None:
        return self._tap.finish

    @property
    def model(self) -> str | None:
        return self._tap.model

    @property
    def error(self) -> StreamError | None:
        return self._failed or self._tap.error

    @property
    def error_forwarded(self) -> bool:
        return self._failed is None and self._tap.error is not None

    def feed(self, data: bytes) -> bytes:
        out = self._tap.feed(data)
        return out if self._begun else self._checked(out)

    def close(self) -> bytes:
        rest = self._tap.close()
        if not self._begun:
            rest = self._checked(rest)
        if self._failed is None and not self._tap.complete and self._tap.error is None:
            self._failed = CUT
        return rest

    def fail(self, error: StreamError) -> None:
        self._failed = error

    def _checked(self, out: bytes) -> bytes:
        """`out` until there is a first event, which must be one: a web page or half an event binds nobody to a provider
        yet. Later events are the caller's to read."""
        for event in SseParser().feed(out):
            if not event.data:
                continue
            self._begun = event.data == b"[DONE]" or is_object(event.data)
            if not self._begun:
                self._failed = BAD_EVENT
                return b""
            break
        return out


class TranslatingPipe:
    """Different dialects: provider's bytes to events to the caller's bytes. `model` is told where the provider's format
    names none."""

    def __init__(self, decoder: StreamDecoder, encoder: StreamEncoder, restorer: Restorer, *, model: str = "") -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._restorer = restorer
        self._unnamed = model
        self._ended = False
        self.usage: Usage | None = None
        self.finish: FinishReason | None = None
        self.model: str | None = None
        self.error: StreamError | None = None
        self.error_forwarded = False

    def feed(self, data: bytes) -> bytes:
        return self._encode(self._decoder.feed(data))

    def close(self) -> bytes:
        out = self._encode(self._decoder.close())
        if not self._ended and self.error is None:
            self.error = CUT
        return out

    def fail(self, error: StreamError) -> None:
        self.error = error

    def _encode(self, events: list[StreamEvent]) -> bytes:
        out = bytearray()
        for told in events:
            event = told
            match event:
                case ResponseStart():
                    event = replace(event, id=event.id or fresh_id(), model=event.model or self._unnamed)
                    self.model = event.model
                    self.usage = event.usage or self.usage
                case ResponseEnd():
                    self._ended = True
                    self.finish = event.finish
                    self.usage = event.usage or self.usage
                case StreamError():
                    # Told once, by whoever owns the stream, in the caller's own shape.
                    self.error = event
                    break
                case _:
                    pass
            for restored in self._restorer.event(event):
                out += self._encoder.feed(restored)
        return bytes(out)
