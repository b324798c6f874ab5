"""Reading along a stream that is handed on untouched: what every wire format's tap shares."""

from __future__ import annotations

from turnout.chat import FinishReason, StreamError, Usage
from turnout.dialects.sse import SseEvent, SseParser

__all__ = ["SseTap"]


class SseTap:
    """A StreamTap over server-sent events. A wire format says in `_forward` what an event means to the books."""

    usage: Usage | None = None
    finish: FinishReason | None = None
    model: str | None = None
    complete: bool = False
    error: StreamError | None = None

    def __init__(self) -> None:
        self._sse = SseParser()

    def feed(self, data: bytes) -> bytes:
        return self._passed(self._sse.feed(data))

    def close(self) -> bytes:
        return self._passed(self._sse.close())

    def _passed(self, events: list[SseEvent]) -> bytes:
        return b"".join([event.raw for event in events if self._forward(event)])

    def _forward(self, event: SseEvent) -> bool:
        """Note what `event` tells; False where the caller did not ask for it."""
        raise NotImplementedError
