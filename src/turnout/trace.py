"""The W3C trace context of one request: whose trace it belongs to, and what providers are told of it. Pure.

https://www.w3.org/TR/trace-context/ (level 1).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping

from msgspec import Struct

__all__ = ["SentCall", "Trace", "trace_of"]

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

MOST_STATE = 512
"""Characters of `tracestate` that are handed on: what the standard asks of everybody."""


class SentCall(Struct, frozen=True, kw_only=True):
    """One call of a target: the id of its span, and when it began (nanoseconds since 1970)."""

    target: str
    span_id: str
    begun_ns: int


class Trace(Struct, kw_only=True):
    """Ids in hexadecimal. `parent_id`: the caller's span, None where the trace begins here. `sampled` is the caller's
    wish; a trace that begins here is sampled."""

    trace_id: str
    span_id: str
    parent_id: str | None = None
    sampled: bool = True
    state: str = ""
    calls: list[SentCall] = []

    def sends(self, target: str) -> tuple[tuple[str, str], ...]:
        """A call begins: the headers that tell the provider."""
        call = SentCall(target=target, span_id=_new(8), begun_ns=time.time_ns())
        self.calls.append(call)
        parent = ("traceparent", f"00-{self.trace_id}-{call.span_id}-{'01' if self.sampled else '00'}")
        return (parent, ("tracestate", self.state)) if self.state else (parent,)


def trace_of(headers: Mapping[str, str]) -> Trace:
    """The trace that a request's headers (lower-case names) continue; a new one where they name none, or wrongly."""
    found = _PARENT.fullmatch(headers.get("traceparent", "").strip())
    if found is None or not _valid(found):
        return Trace(trace_id=_new(16), span_id=_new(8))
    state = headers.get("tracestate", "")
    return Trace(
        trace_id=found[2],
        span_id=_new(8),
        parent_id=found[3],
        sampled=bool(int(found[4], 16) & 1),
        state=state if len(state) <= MOST_STATE and state.isprintable() else "",
    )


def _valid(found: re.Match[str]) -> bool:
    """Ids of zeros mean nothing, version ff is none, and version 00 has no more than four fields."""
    zeros = not found[2].strip("0") or not found[3].strip("0")
    return not zeros and found[1] != "ff" and not (found[1] == "00" and found[5])


def _new(size: int) -> str:
    """A random id of so many bytes, not all zeros."""
    return secrets.token_hex(size - 1) + f"{secrets.randbelow(255) + 1:02x}"
