"""Every error a caller can meet, drawn as a tree; each knows its HTTP status, stable code and whether to retry.

TurnoutError
├── ConfigError                      a config file is wrong (never reaches HTTP)
├── InvalidRequest            400    malformed body or field
│   └── NotTranslatable       400    the field has no counterpart in the chosen model's API
├── Unauthorized              401
├── BudgetExhausted           402    never 429: SDKs retry 429
├── RunPaused                 403    a brake stopped this run
├── Forbidden                 403    who asks is known and may not: a viewer who changes things, a page of another site
├── NotFound                  404    unknown model
│   ├── PathNotFound          404    unknown path
│   └── RequestNotFound       404    unknown request, or another key's
├── MethodNotAllowed          405
├── BodyTimeout               408    the body did not come in time
├── TooLarge                  413
├── Compressed                415    a body in a coding that we do not undo
├── RateLimited               429
├── ClientClosed              499    the caller hung up
├── Internal                  500    a fault of ours
├── UpstreamFailure           502    what a provider did wrong; its `reason` says what, for the next step
│   ├── UpstreamRejected      the provider's own 4xx, handed on with its status
│   ├── UpstreamUnreachable   no connection
│   ├── UpstreamBroken        the connection was lost before an answer
│   └── UpstreamTimeout       504
└── NoCapacity                503    nobody can take the request now
"""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "RETRYABLE",
    "BodyTimeout",
    "BudgetExhausted",
    "ClientClosed",
    "Compressed",
    "ConfigError",
    "FailureReason",
    "Forbidden",
    "Internal",
    "InvalidRequest",
    "MethodNotAllowed",
    "NoCapacity",
    "NotFound",
    "NotTranslatable",
    "PathNotFound",
    "RateLimited",
    "RequestNotFound",
    "RunPaused",
    "TooLarge",
    "TurnoutError",
    "Unauthorized",
    "UpstreamBroken",
    "UpstreamFailure",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamUnreachable",
]

FailureReason = Literal[
    "unreachable",  # no connection: refused, no such name, wrong certificate
    "broken",  # a connection that was lost, or an answer that is none
    "timeout",
    "server",  # 5xx
    "overloaded",  # 503, 529: alive, and asks for less
    "rate_limited",
    "quota",  # the account's money or plan is used up
    "auth",
    "not_found",  # the model or path is not there
    "context_window",
    "content_refused",
    "invalid_request",
]
"""Why a provider did not answer. What follows from each is `delivery/retry.py`."""

RETRYABLE: frozenset[FailureReason] = frozenset(
    {"unreachable", "broken", "timeout", "server", "overloaded", "rate_limited"}
)
"""What may pass by itself: the same request may succeed later, at the same place."""


class TurnoutError(Exception):
    """The root. `message` names the cause and the next step and is safe to show to a caller;
    `param` names the offending field; `retry_after` is in seconds."""

    status: int = 500
    code: str = "internal_error"
    retryable: bool = False

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class ConfigError(TurnoutError):
    code = "config_error"


class InvalidRequest(TurnoutError):
    status, code = 400, "invalid_request"


class NotTranslatable(InvalidRequest):
    code = "not_translatable"


class Unauthorized(TurnoutError):
    status, code = 401, "invalid_api_key"


class BudgetExhausted(TurnoutError):
    status, code = 402, "budget_exhausted"


class RunPaused(TurnoutError):
    status, code = 403, "run_paused"


class Forbidden(TurnoutError):
    status, code = 403, "forbidden"


class ModelNotAllowed(TurnoutError):
    status, code = 403, "model_not_allowed"


class ModeNotAllowed(TurnoutError):
    status, code = 403, "mode_not_allowed"


class NotFound(TurnoutError):
    status, code = 404, "model_not_found"


class PathNotFound(NotFound):
    code = "not_found"


class RequestNotFound(NotFound):
    code = "request_not_found"


class MethodNotAllowed(TurnoutError):
    status, code = 405, "method_not_allowed"


class BodyTimeout(TurnoutError):
    status, code = 408, "request_timeout"


class Compressed(TurnoutError):
    status, code = 415, "unsupported_encoding"


class TooLarge(TurnoutError):
    status, code = 413, "request_too_large"


class RateLimited(TurnoutError):
    status, code = 429, "rate_limited"
    retryable = True


class ClientClosed(TurnoutError):
    status, code = 499, "client_closed_request"


class Internal(TurnoutError):
    status, code = 500, "internal_error"


class UpstreamFailure(TurnoutError):
    """A provider failed. `upstream_status` is what it answered with, None where it answered nothing; `retry_after` in
    seconds, where it said when to come again. `body` is its answer, for the log alone: it may name internal hosts."""

    status, code = 502, "upstream_error"
    usual_reason: ClassVar[FailureReason] = "server"

    def __init__(
        self,
        message: str,
        *,
        reason: FailureReason | None = None,
        upstream_status: int | None = None,
        upstream_code: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.reason: FailureReason = reason or self.usual_reason
        self.retryable = self.reason in RETRYABLE
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.body = body


class UpstreamRejected(UpstreamFailure):
    """The provider refused the request with a 4xx, which is the caller's to see: `status` and `code` are its own unless
    `shown_as` says otherwise."""

    usual_reason = "invalid_request"

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int,
        reason: FailureReason | None = None,
        upstream_code: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(
            message,
            reason=reason,
            upstream_status=upstream_status,
            upstream_code=upstream_code,
            retry_after=retry_after,
            body=body,
        )
        self.status = upstream_status
        self.code = upstream_code or "invalid_request"

    def shown_as(self, status: int, code: str) -> UpstreamRejected:
        """The same refusal, with the status and code that the caller gets where they differ."""
        self.status, self.code = status, code
        return self


class UpstreamUnreachable(UpstreamFailure):
    code = "upstream_unreachable"
    usual_reason = "unreachable"


class UpstreamBroken(UpstreamFailure):
    usual_reason = "broken"


class UpstreamTimeout(UpstreamFailure):
    status, code = 504, "upstream_timeout"
    usual_reason = "timeout"


class NoCapacity(TurnoutError):
    status, code = 503, "no_capacity"
    retryable = True
