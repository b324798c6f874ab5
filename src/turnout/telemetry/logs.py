"""The log as JSON, a line an event and one a request: written by a thread of its own, never content, never a key.

structlog makes the lines; it is imported only where such a log is asked for.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TextIO

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from turnout.catalog.prices import NANO_PER_USD
from turnout.context import RequestContext

__all__ = ["JsonLog", "RequestLine", "json_log", "line_of"]

MOST_WAITING = 10_000
"""Lines in memory; where the output does not take them, further ones are counted and left out."""

MOST_CHARACTERS = 2_000
"""Of one event's sentence."""

REQUESTS = "turnout.requests"

# The shapes of credentials that an error's text may repeat; turnout's own keys begin with sk-turnout.
_KEYS = re.compile(
    r"(?i)\b(?:bearer\s+[\w.~+/-]{8,}=*|sk-[\w-]{6,}|whsec_[\w+/=]{6,}|AIza[\w-]{20,}|AKIA[A-Z0-9]{12,}|gsk_\w{8,})"
)

Event = MutableMapping[str, Any]


class RequestLine(Struct, frozen=True, kw_only=True):
    """What the log tells of a request. Tokens as in `chat.Usage`, money in US dollars, times in milliseconds."""

    at: datetime
    request_id: str
    key: str | None
    model: str | None
    dialect: str
    reason: str | None
    mode: str | None
    stream: bool
    outcome: str
    status: int | None
    error_code: str | None
    attempts: int
    input_tokens: int | None
    cache_read_tokens: int | None
    output_tokens: int | None
    cost_nano_usd: int | None
    duration_s: float | None
    ttft_s: float | None
    overhead_s: float | None


def line_of(ctx: RequestContext) -> RequestLine:
    """A settled request. Nothing but names that the config or we gave, and numbers."""
    usage, decision, served = ctx.usage, ctx.decision, ctx.served_by
    return RequestLine(
        at=ctx.received_at,
        request_id=ctx.request_id,
        key=ctx.key_id,
        model=served.id if served is not None else None,
        dialect=ctx.dialect,
        reason=decision.reason if decision is not None else None,
        mode=decision.mode if decision is not None else None,
        stream=ctx.outline.stream,
        outcome=ctx.outcome,
        status=ctx.status,
        error_code=ctx.error_code,
        attempts=len(ctx.attempts),
        input_tokens=usage.input if usage is not None else None,
        cache_read_tokens=usage.cache_read if usage is not None else None,
        output_tokens=usage.output if usage is not None else None,
        cost_nano_usd=ctx.cost_nano_usd,
        duration_s=ctx.duration_s,
        ttft_s=ctx.ttft_s,
        overhead_s=ctx.overhead_s,
    )


class JsonLog:
    """Writes lines to `stream`. Whoever makes one closes it; then all that waits is written."""

    def __init__(self, stream: TextIO) -> None:
        self._queue: SimpleQueue[logging.LogRecord | RequestLine] = SimpleQueue()
        self.dropped = 0
        self.handler = _Handler(self)
        sink = logging.StreamHandler(stream)
        sink.setFormatter(_formatter())
        self._listener = _Writer(self._queue, sink)
        self._listener.start()

    def settled(self, ctx: RequestContext) -> None:
        """A request's books are closed. Only notes it: a microsecond or two."""
        self.put(line_of(ctx))

    def put(self, line: logging.LogRecord | RequestLine) -> None:
        if self._queue.qsize() >= MOST_WAITING:
            self.dropped += 1
        else:
            self._queue.put(line)

    def close(self) -> None:
        self._listener.stop()


@contextmanager
def json_log(stream: TextIO) -> Generator[JsonLog]:
    """While entered, everything that this process logs goes to `stream` as JSON, and nowhere else."""
    log, root = JsonLog(stream), logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [log.handler]
    try:
        yield log
    finally:
        root.handlers[:] = before
        log.close()


class _Handler(QueueHandler):
    """Notes records as they are; the writer's thread formats them."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(SimpleQueue())
        self._log = log

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        self._log.put(record)


class _Writer(QueueListener):
    """The thread that writes."""

    def prepare(self, record: logging.LogRecord | RequestLine) -> logging.LogRecord:
        if isinstance(record, logging.LogRecord):
            return record
        told = logging.LogRecord(REQUESTS, logging.INFO, "", 0, "request", None, None)
        told.created = record.at.timestamp()
        told.__dict__["request"] = record
        return told


def _formatter() -> logging.Formatter:
    from structlog.processors import JSONRenderer
    from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name

    return ProcessorFormatter(
        foreign_pre_chain=[_stamp, add_log_level, add_logger_name, _request, _exception, _hide],
        processors=[ProcessorFormatter.remove_processors_meta, JSONRenderer(serializer=_encode)],
    )


def _stamp(_: Any, __: str, event: Event) -> Event:
    """When it happened, not when it was written."""
    at = datetime.fromtimestamp(event["_record"].created, UTC)
    return {"timestamp": at.isoformat(timespec="milliseconds"), **event}


def _request(_: Any, __: str, event: Event) -> Event:
    """A request's own fields, without those that nobody knows."""
    line = event["_record"].__dict__.get("request")
    if isinstance(line, RequestLine):
        told = asdict(line)
        del told["at"]
        cost = told.pop("cost_nano_usd")
        told["cost_usd"] = None if cost is None else cost / NANO_PER_USD
        for name in ("duration", "ttft", "overhead"):
            seconds = told.pop(f"{name}_s")
            told[f"{name}_ms"] = None if seconds is None else round(seconds * 1000, 2)
        event.update((name, value) for name, value in told.items() if value is not None)
    return event


def _exception(_: Any, __: str, event: Event) -> Event:
    """A fault's type and where it was raised. Not its words: they may hold what somebody said."""
    fault = event.pop("exc_info", None)
    if isinstance(fault, tuple) and fault[1] is not None:
        event["exception"] = {"type": type(fault[1]).__name__, "frames": _frames(fault[2])}
    event.pop("stack_info", None)
    return event


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]


def _hide(_: Any, __: str, event: Event) -> Event:
    """No key, whoever wrote it into a sentence."""
    event["event"] = _KEYS.sub("***", str(event["event"])[:MOST_CHARACTERS])
    return event


def _encode(event: Event, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode("utf-8", "replace")
