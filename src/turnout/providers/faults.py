"""A provider's error answer, classified by status and code: what it means and what a caller may know of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from turnout.dialects.base import Fault
from turnout.errors import UpstreamFailure, UpstreamRejected, UpstreamTimeout

__all__ = ["failure_of", "retry_after_s"]

_MAX_MESSAGE = 2_000


def retry_after_s(headers: Sequence[tuple[str, str]]) -> float | None:
    """Seconds to wait from a `retry-after` header (seconds or an HTTP date); None where there is none."""
    for name, value in headers:
        if name == "retry-after":
            try:
                return max(0.0, float(value))
            except ValueError:
                break
    else:
        return None
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds()) if until.tzinfo else None


def failure_of(
    provider: str, fault: Fault, status: int, headers: Sequence[tuple[str, str]], body: bytes
) -> UpstreamFailure:
    """The error to raise for an answer with `status` >= 400.

    A 4xx speaks of the request: its message is handed on, the agent needs it. A refused key or a 5xx is the
    provider's affair: the caller learns who failed, and the body stays in the log.
    """
    wait = retry_after_s(headers)
    if status in {401, 403}:
        return UpstreamRejected(
            f"provider {provider} refused the gateway's key (status {status}); check its api_key in the config",
            upstream_status=status,
            upstream_code=fault.code,
            body=body,
        ).shown_as(502, "upstream_error")
    if status in {408, 504}:
        return UpstreamTimeout(f"provider {provider} timed out (status {status})", upstream_status=status, body=body)
    if status == 429:
        return UpstreamRejected(
            f"provider {provider} limits the rate: {fault.message[:_MAX_MESSAGE]}",
            upstream_status=status,
            upstream_code=fault.code,
            retry_after=wait,
            body=body,
        ).shown_as(429, "rate_limited")
    if status < 500:
        return UpstreamRejected(
            fault.message[:_MAX_MESSAGE], upstream_status=status, upstream_code=fault.code, body=body
        )
    return UpstreamFailure(
        f"provider {provider} failed with status {status}; try again or add a fallback",
        upstream_status=status,
        upstream_code=fault.code,
        retry_after=wait,
        body=body,
    )
