"""The contract of a wire format: pure functions between bytes and the neutral types, no sockets, no clock.

A dialect is one stateless object. Adding one means one folder with these methods and one row in
`dialects/__init__.py`; nothing else knows its name.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from turnout.chat import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    RequestOutline,
    StreamError,
    StreamEvent,
    Usage,
)
from turnout.errors import TurnoutError

__all__ = ["Dialect", "Encoded", "Fault", "StreamDecoder", "StreamEncoder", "StreamTap", "Summary"]


class Encoded(Struct, frozen=True):
    """Bytes for the wire, and what was lost on the way to them (one short sentence each)."""

    body: bytes
    warnings: tuple[str, ...] = ()


class Summary(Struct, frozen=True, kw_only=True):
    """What the books need of a whole answer that is handed on untouched."""

    usage: Usage | None = None
    finish: FinishReason | None = None
    model: str | None = None
    id: str | None = None


class Fault(Struct, frozen=True, kw_only=True):
    """An error body of a provider: its own code or type, and its message."""

    code: str | None
    message: str


class StreamDecoder(Protocol):
    """Provider's SSE bytes, split anywhere, to events."""

    def feed(self, data: bytes) -> list[StreamEvent]: ...

    def close(self) -> list[StreamEvent]:
        """The connection ended. A stream cut before its end yields one StreamError."""
        ...


class StreamEncoder(Protocol):
    """Events to the caller's SSE bytes (empty where this wire format has nothing to say)."""

    def feed(self, event: StreamEvent) -> bytes: ...


class StreamTap(Protocol):
    """Reads along a stream that is handed on untouched, same dialect on both sides.

    `feed` returns what to forward: the same bytes, less whole events that we asked for and the caller did
    not (the usage chunk). The attributes hold what was seen so far; `complete` says that the wire format's
    own end was seen; `error` what the provider said in mid-stream.
    """

    @property
    def usage(self) -> Usage | None: ...

    @property
    def finish(self) -> FinishReason | None: ...

    @property
    def model(self) -> str | None: ...

    @property
    def complete(self) -> bool: ...

    @property
    def error(self) -> StreamError | None: ...

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes:
        """Bytes still held back at the end of the connection."""
        ...


class Dialect(Protocol):
    """One wire format. Every decode raises `InvalidRequest` (requests) or `UpstreamFailure` (responses)
    that names the field; no input raises anything else."""

    name: str

    def outline(self, body: bytes) -> RequestOutline: ...

    def decode_request(self, body: bytes) -> ChatRequest: ...

    def encode_request(self, request: ChatRequest) -> Encoded:
        """Raises `NotTranslatable` for what must not be dropped silently (server-side tools, audio out)."""
        ...

    def patch_request(self, outline: RequestOutline, model: str, effort: str | None = None) -> bytes:
        """The caller's own bytes with our few keys changed: the model's name, usage in the stream, and the
        reasoning effort where a mode sets one. Keys that only we understand are taken out."""
        ...

    def decode_response(self, body: bytes) -> ChatResponse: ...

    def encode_response(self, response: ChatResponse) -> Encoded: ...

    def summarise(self, body: bytes) -> Summary:
        """Usage and finish of a whole answer, by partial decoding."""
        ...

    def stream_decoder(self) -> StreamDecoder: ...

    def stream_encoder(self, *, include_usage: bool) -> StreamEncoder: ...

    def stream_tap(self, *, include_usage: bool) -> StreamTap: ...

    def decode_error(self, body: bytes) -> Fault: ...

    def encode_error(self, error: TurnoutError) -> bytes: ...

    def encode_stream_error(self, error: TurnoutError) -> bytes: ...
