"""Trying the chosen deployments in order until one answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from turnout.catalog.models import Deployment
from turnout.context import Attempt, RequestContext
from turnout.errors import NoCapacity, TurnoutError, UpstreamFailure, UpstreamRejected

__all__ = ["MAX_ATTEMPTS", "attempt_in_order", "worth_another_provider"]

T = TypeVar("T")

MAX_ATTEMPTS = 4

_OURS_TO_MEND = frozenset({401, 403, 404, 408, 409, 425, 429})
"""Statuses that speak of our key, our model name or the moment, not of the request: another deployment
may well serve it. Everything else in the 4xx is the caller's to mend and is handed back at once."""


def worth_another_provider(error: TurnoutError) -> bool:
    """Whether the next deployment may succeed where this one failed."""
    if isinstance(error, UpstreamRejected):
        return error.upstream_status in _OURS_TO_MEND
    return isinstance(error, (UpstreamFailure, NoCapacity))


async def attempt_in_order(ctx: RequestContext, call: Callable[[Deployment], Awaitable[T]]) -> T:
    """The first answer that one of the decision's candidates gives. Each try is recorded in `ctx.attempts`.

    `call` returns only when the answer has begun (a stream's first bytes are there), so going on to the
    next candidate is never visible to the caller. Raises the last error when nobody answered.
    """
    if ctx.decision is None:
        raise NoCapacity("no decision was made for this request")
    failure: TurnoutError | None = None
    for candidate in ctx.decision.candidates[:MAX_ATTEMPTS]:
        deployment = candidate.deployment
        begun = time.monotonic()
        try:
            answer = await call(deployment)
        except TurnoutError as error:
            ctx.attempts.append(_failed(deployment, error, time.monotonic() - begun))
            failure = error
            if not worth_another_provider(error):
                raise
        else:
            took = time.monotonic() - begun
            ctx.attempts.append(Attempt(deployment=deployment, status=200, duration_s=took, ttft_s=took))
            ctx.served_by = deployment
            return answer
    raise failure or NoCapacity("no model could be tried")


def _failed(deployment: Deployment, error: TurnoutError, took: float) -> Attempt:
    status = error.upstream_status if isinstance(error, UpstreamFailure) else error.status
    return Attempt(deployment=deployment, status=status, error_code=error.code, duration_s=took)
