"""Every error a caller can meet, drawn as a tree; each knows its HTTP status, stable code and whether to retry.

Docstrings say the cause and, after `Next:`, what to do: docs/reference/errors.md is made of them (`make reference`).

TurnoutError
├── ConfigError                      a config file is wrong (never reaches HTTP)
├── InvalidRequest            400    malformed body or field
│   └── NotTranslatable       400    the field has no counterpart in the chosen model's API
├── Unauthorized              401
├── BudgetExhausted           402    never 429: SDKs retry 429
├── RunPaused                 403    a brake stopped this run
├── Forbidden                 403    who asks is known and may not: a viewer who changes things, a page of another site
├── ModelNotAllowed           403    not with this key
├── ModeNotAllowed            403    not with this key
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
    "ModeNotAllowed",
    "ModelNotAllowed",
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
    """A config file, or what an admin wrote of the same kind, is wrong; it never answers a request.

    Next: mend the key that the message names; the file before it stays in force until then."""

    code = "config_error"


class InvalidRequest(TurnoutError):
    """The body or a header is malformed; `param` names the field.

    Next: mend that field; sending the same again gives the same."""

    status, code = 400, "invalid_request"


class NotTranslatable(InvalidRequest):
    """A field has no counterpart in the API of the model that was chosen (`n` at Anthropic, audio).

    Next: leave the field out, or name a model whose API has it."""

    code = "not_translatable"


class Unauthorized(TurnoutError):
    """No key was sent, or one that is unknown, expired or revoked.

    Next: send a key of this gateway (not a provider's) as `Authorization: Bearer`, `x-api-key` or
    `x-goog-api-key`."""

    status, code = 401, "invalid_api_key"


class BudgetExhausted(TurnoutError):
    """A budget has no room for what the request may cost at most, or no model fits `x-turnout-max-cost-usd`.

    Next: the message names the budget and when its period ends: raise `amount_usd`, add money, ask for less
    (`max_tokens`), or raise the header's limit. Never a 429, which SDKs would retry."""

    status, code = 402, "budget_exhausted"


class RunPaused(TurnoutError):
    """A brake, or a person, holds this session: it went round in a loop or passed a limit.

    Next: look at what the message says it did; `POST /admin/sessions/ID/resume` lets it go on, unless it says
    blocked."""

    status, code = 403, "run_paused"


class Forbidden(TurnoutError):
    """Who asks is known and may not: a viewer who changes things, a page of another site.

    Next: use the admin key, or the console's own page."""

    status, code = 403, "forbidden"


class ModelNotAllowed(TurnoutError):
    """The key does not open the model that was asked for, or none that can take the request.

    Next: name a model of `GET /v1/models`, or widen the key's `models`."""

    status, code = 403, "model_not_allowed"


class ModeNotAllowed(TurnoutError):
    """The key does not open the mode that was declared. Next: declare another, or widen the key's `modes`."""

    status, code = 403, "mode_not_allowed"


class NotFound(TurnoutError):
    """No model, mode, session, key or budget has that name; near names are told.

    Next: take a name from `GET /v1/models`, or from the list that the message names."""

    status, code = 404, "model_not_found"


class PathNotFound(NotFound):
    """Nothing is served at that path. Next: look at `GET /openapi.json`; base URLs of OpenAI clients end with /v1."""

    code = "not_found"


class RequestNotFound(NotFound):
    """No request or session of that id is remembered, or it is another key's.

    Next: send the `x-turnout-request-id` of an answer, with the key that asked."""

    code = "request_not_found"


class MethodNotAllowed(TurnoutError):
    """The path is served, with another method. Next: use the one that the message names."""

    status, code = 405, "method_not_allowed"


class BodyTimeout(TurnoutError):
    """The body was not here within `server.body_timeout_s`. Next: send it again; on slow lines raise that limit."""

    status, code = 408, "request_timeout"


class Compressed(TurnoutError):
    """The body is compressed. Next: send it with no `content-encoding`."""

    status, code = 415, "unsupported_encoding"


class TooLarge(TurnoutError):
    """The body is larger than `server.max_body_bytes`. Next: send less, or raise that limit."""

    status, code = 413, "request_too_large"


class RateLimited(TurnoutError):
    """The key's own limit (`rpm`, `tpm`, `max_concurrency`), too many wrong keys, or a provider's limit that no
    other place could take.

    Next: wait as long as `retry-after` says."""

    status, code = 429, "rate_limited"
    retryable = True


class ClientClosed(TurnoutError):
    """The caller hung up; nobody sees this answer, and the provider is told to stop.

    Next: nothing; the ledger has what it cost."""

    status, code = 499, "client_closed_request"


class Internal(TurnoutError):
    """A fault of the gateway. Next: search its log for the request id that the message names, and tell us."""

    status, code = 500, "internal_error"


class UpstreamFailure(TurnoutError):
    """A provider failed with a 5xx, or refused the gateway's own key, and no other place answered.

    Next: try again where `x-should-retry` says so; check the provider's `api_key`; add a fallback.

    `upstream_status` is what it answered with, None where it answered nothing; `retry_after` in seconds, where it said
    when to come again. `body` is its answer, for the log alone: it may name internal hosts."""

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
    """The provider refused the request with a 4xx, which is the caller's to see.

    Next: mend what its message names, as with that provider itself.

    `status` and `code` are its own unless `shown_as` says otherwise."""

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
    """No connection to the provider: refused, no such name, a wrong certificate.

    Next: check its `base_url` and the network; add a fallback."""

    code = "upstream_unreachable"
    usual_reason = "unreachable"


class UpstreamBroken(UpstreamFailure):
    """The connection was lost before an answer, or what came was no answer. Next: try again; add a fallback."""

    usual_reason = "broken"


class UpstreamTimeout(UpstreamFailure):
    """The provider did not begin to answer in time, or fell silent.

    Next: try again; raise `providers.NAME.first_byte_timeout_s` or `idle_timeout_s`; add a fallback."""

    status, code = 504, "upstream_timeout"
    usual_reason = "timeout"


class NoCapacity(TurnoutError):
    """Nobody can take the request now: every place is failing or full, the gateway is at
    `server.max_concurrency`, drains, or cannot write its ledger.

    Next: wait as long as `retry-after` says; the message names what is missing."""

    status, code = 503, "no_capacity"
    retryable = True
