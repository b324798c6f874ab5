"""What follows a failure: give up, go to another place, or try the same one again. Pure, but for the retry budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from turnout.errors import FailureReason, NotTranslatable, TurnoutError, UpstreamFailure

__all__ = ["Move", "RetryBudget", "RetryPolicy", "backoff_s", "next_move"]


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """`max_attempts` calls for one request in all, `max_retries` of them again at the same place. Waits in seconds:
    `backoff_s` before the first retry, doubled for each further one up to `max_backoff_s`; a provider that asks for
    more than `max_wait_s` is not waited for. `refused_goes_on`: a model that refuses the content does not end the
    request."""

    max_attempts: int = 8
    max_retries: int = 2
    backoff_s: float = 0.25
    max_backoff_s: float = 4.0
    max_wait_s: float = 10.0
    refused_goes_on: bool = False


class Move(Struct, frozen=True):
    """`stop`: the caller gets this failure. `other`: another place, at once. `same`: the same place after `wait_s`."""

    kind: Literal["stop", "other", "same"]
    wait_s: float = 0.0


STOP, OTHER = Move("stop"), Move("other")

_UNPROCESSED: frozenset[FailureReason] = frozenset({"unreachable", "overloaded", "rate_limited"})
"""Failures after which the provider has surely done nothing: safe to repeat, whatever the request does there."""


def next_move(
    error: TurnoutError, *, tries: int, others: bool, idempotent: bool, policy: RetryPolicy, draw: float
) -> Move:
    """The next step after `error`, the `tries`-th failure (from 1) at one place. `others`: there is another place to
    go to. `draw` is random in 0..1.

    What the same place would only repeat (its key, its models, its window) goes elsewhere; so does a timeout, which has
    used its time. Another place comes before waiting; but a connection that was lost is first tried again where it was,
    for it may have been an idle one that was just being closed, and the session's cache is there.
    """
    elsewhere = OTHER if others else STOP
    if not isinstance(error, UpstreamFailure):
        return elsewhere if error.retryable or isinstance(error, NotTranslatable) else STOP
    if error.reason == "invalid_request" or (error.reason == "content_refused" and not policy.refused_goes_on):
        return STOP
    again = error.retryable and error.reason != "timeout" and tries <= policy.max_retries
    if not again or not (idempotent or error.reason in _UNPROCESSED):
        return elsewhere
    if error.reason == "broken" and tries == 1:
        return Move("same")
    if others:
        return OTHER
    wait = backoff_s(tries, policy, draw) if error.retry_after is None else error.retry_after
    return Move("same", wait) if wait <= policy.max_wait_s else STOP


def backoff_s(tries: int, policy: RetryPolicy, draw: float) -> float:
    """Exponential backoff with full jitter: uniform between 0 and the doubled wait
    (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter)."""
    return draw * min(policy.backoff_s * 2 ** (tries - 1), policy.max_backoff_s)


class RetryBudget:
    """Bounds extra calls at the same place, and hedges, to a `share` of all requests, so that retries cannot multiply
    an outage: each request pays in `share` of a call, each extra call takes one out. `reserve` calls a `window_s` are
    free, for gateways with little traffic (the same scheme as Finagle's and tower's). `clock` in seconds."""

    def __init__(
        self, *, clock: Callable[[], float], share: float = 0.2, reserve: float = 10.0, window_s: float = 10.0
    ) -> None:
        self._clock = clock
        self._share = share
        self._reserve = reserve
        self._window_s = window_s
        self._saved = reserve
        self._at = clock()

    def request(self) -> None:
        """A request begins."""
        self._saved = min(self._saved + self._share, self._most())

    def take(self) -> bool:
        """Whether one more extra call is allowed; it is then taken."""
        now = self._clock()
        earned = (now - self._at) * self._reserve / self._window_s
        self._saved, self._at = min(self._saved + earned, self._most()), now
        if self._saved < 1:
            return False
        self._saved -= 1
        return True

    def _most(self) -> float:
        """What may be saved up at most: a burst of extra calls after a quiet time stays small."""
        return self._reserve * 2
