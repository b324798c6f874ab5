"""A provider's error answer, classified by status and code: what it means and what a caller may know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from turnout.dialects.base import Fault
from turnout.errors import FailureReason, UpstreamFailure, UpstreamRejected, UpstreamTimeout
from turnout.providers.limits import limits_of

__all__ = ["failure_of", "reason_of", "retry_after_s"]

_MAX_MESSAGE = 2_000

_BY_CODE: Mapping[str, FailureReason] = {
    # OpenAI, and most hosts that speak its format; llama.cpp; Anthropic's 413.
    "context_length_exceeded": "context_window",
    "exceed_context_size_error": "context_window",
    "string_above_max_length": "context_window",
    "request_too_large": "context_window",
    # OpenAI, Azure, and hosts that filter like them.
    "content_policy_violation": "content_refused",
    "content_filter": "content_refused",
    "invalid_prompt": "content_refused",
    "safety_violation": "content_refused",
    # The account, not the rate: waiting helps nobody.
    "insufficient_quota": "quota",
    "billing_not_active": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_error": "quota",
    "credits_exhausted": "quota",
    "overloaded_error": "overloaded",
    "model_not_found": "not_found",
    # A model that cannot be tried now (Bedrock), told with a 4xx.
    "ModelNotReadyException": "overloaded",
    "ModelTimeoutException": "timeout",
    "ModelErrorException": "server",
    "ThrottlingException": "rate_limited",
    "ServiceQuotaExceededException": "rate_limited",
    "ServiceUnavailableException": "overloaded",
    "RESOURCE_EXHAUSTED": "rate_limited",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "api_error": "server",
    "server_error": "server",
    "InternalServerException": "server",
    "timeout_error": "timeout",
    "authentication_error": "auth",
    "permission_error": "auth",
    "invalid_api_key": "auth",
    "API_KEY_INVALID": "auth",
}
"""Codes that say more than their status, or come with none (in a stream, or in a body under status 200)."""

_BY_STATUS: Mapping[int, FailureReason] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    409: "server",
    425: "overloaded",
    429: "rate_limited",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


def reason_of(status: int | None, code: str | None) -> FailureReason:
    """Why a provider failed, by its own code, else by the status."""
    if code is not None and (told := _BY_CODE.get(code)) is not None:
        return told
    if status is None or status < 400:  # an error that came as an answer
        return "server"
    return _BY_STATUS.get(status) or ("invalid_request" if status < 500 else "server")


def retry_after_s(headers: Sequence[tuple[str, str]]) -> float | None:
    """Seconds to wait: from `retry-after-ms`, `retry-after` (seconds or an HTTP date), else from the rate limit that
    is used up. None where nothing is told."""
    named = dict(headers)
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(named[name]) / unit)
        except (KeyError, ValueError):
            continue
    try:
        until = parsedate_to_datetime(named["retry-after"])
    except (KeyError, ValueError):
        limits = limits_of(headers)
        return limits.used_up_for_s() if limits else None
    return max(0.0, (until - datetime.now(UTC)).total_seconds()) if until.tzinfo else None


def failure_of(
    provider: str, fault: Fault, status: int, headers: Sequence[tuple[str, str]], body: bytes
) -> UpstreamFailure:
    """The error to raise for an answer with `status` >= 400.

    A 4xx speaks of the request: its message is handed on, the agent needs it. A refused key or a 5xx is the
    provider's affair: the caller learns who failed, and the body stays in the log.
    """
    wait = retry_after_s(headers)
    reason = reason_of(status, fault.code)
    if reason == "timeout":
        return UpstreamTimeout(f"provider {provider} timed out (status {status})", upstream_status=status, body=body)
    if status >= 500:
        return UpstreamFailure(
            f"provider {provider} failed with status {status}; try again or add a fallback",
            reason=reason,
            upstream_status=status,
            upstream_code=fault.code,
            retry_after=wait,
            body=body,
        )
    refusal = UpstreamRejected(
        fault.message[:_MAX_MESSAGE],
        reason=reason,
        upstream_status=status,
        upstream_code=fault.code,
        retry_after=wait if reason in {"rate_limited", "overloaded"} else None,
        body=body,
    )
    if reason == "auth":
        refusal.message = f"provider {provider} refused the gateway's key (status {status}); check its api_key"
        return refusal.shown_as(502, "upstream_error")
    if reason == "quota":
        refusal.message = f"provider {provider}: the account's quota is used up; see its billing"
        return refusal.shown_as(502, "upstream_quota")
    if reason in {"rate_limited", "overloaded"}:
        refusal.message = f"provider {provider} limits the rate: {refusal.message}"
        return refusal.shown_as(429, "rate_limited")
    return refusal
