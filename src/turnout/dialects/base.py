"""The contract of a wire format: pure functions between bytes and the neutral types, no sockets, no clock.

A dialect is one row of functions. Adding one means one folder with these functions and one row in
`dialects/__init__.py`; nothing else knows its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec import Raw, Struct

from turnout.chat import (
    ChatRequest,
    ChatResponse,
    FinishReason,
    Message,
    RequestOutline,
    StreamError,
    StreamEvent,
    Usage,
)
from turnout.dialects.marks import MarkForm
from turnout.errors import TurnoutError

__all__ = [
    "Dialect",
    "Encoded",
    "Fault",
    "StreamDecoder",
    "StreamEncoder",
    "StreamTap",
    "Summary",
    "usage_always",
]

T = TypeVar("T")
Made_co = TypeVar("Made_co", covariant=True)


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


class PatchRequest(Protocol):
    def __call__(self, told: RequestOutline, /, model: str, effort: str | None = None) -> bytes:
        """The caller's own bytes with our few keys changed: the model's name, usage in the stream, and the
        reasoning effort where a mode sets one. Keys that only we understand are taken out."""
        ...


class Maker(Protocol[Made_co]):
    def __call__(self, *, include_usage: bool) -> Made_co:
        """`include_usage`: the caller asked for usage at the stream's end."""
        ...


def usage_always(make: Callable[[], T]) -> Callable[..., T]:
    """A `Maker` for formats whose streams always bring usage, asked for or not."""

    def made(*, include_usage: bool) -> T:
        del include_usage
        return make()

    return made


class Dialect(Struct, frozen=True, kw_only=True):
    """One wire format: its functions, by what they do. Every decode raises `InvalidRequest` (requests) or
    `UpstreamFailure` (responses) that names the field; no input raises anything else.

    `encode_request` raises `NotTranslatable` for what must not be dropped silently (server-side tools, audio out).
    `summarise` reads usage and finish of a whole answer by partial decoding. `marks`: how a request says what to cache;
    None where it cannot. `decode_messages`: messages alone, each as `decode_request` reads it; None where one says what
    another means.
    """

    name: str
    outline: Callable[[bytes], RequestOutline]
    patch_request: PatchRequest
    decode_request: Callable[[bytes], ChatRequest]
    decode_messages: Callable[[Sequence[Raw]], tuple[Message, ...]] | None = None
    encode_request: Callable[[ChatRequest], Encoded]
    decode_response: Callable[[bytes], ChatResponse]
    encode_response: Callable[[ChatResponse], Encoded]
    summarise: Callable[[bytes], Summary]
    stream_decoder: Callable[[], StreamDecoder]
    stream_encoder: Maker[StreamEncoder]
    stream_tap: Maker[StreamTap]
    decode_error: Callable[[bytes], Fault]
    encode_error: Callable[[TurnoutError], bytes]
    encode_stream_error: Callable[[TurnoutError], bytes]
    marks: MarkForm | None = None
