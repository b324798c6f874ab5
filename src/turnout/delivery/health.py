"""The health of one place to send requests to: what it has shown, and what follows. Pure: a state and its transitions.

A state is plain data, so that it can be shared between processes; times are those of whatever clock its owner has.
The breaker is *closed* while all is well, *open* until a time after failures, then *half-open*: one probe decides.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import Pace, RateLimits
from turnout.errors import FailureReason

__all__ = [
    "WELL",
    "Health",
    "Standing",
    "Told",
    "after_failure",
    "after_success",
    "heard",
    "learned",
    "limited_until",
    "standing",
    "told_limits",
    "told_of",
]

Standing = Literal["closed", "open", "half_open"]

WEIGHT = 0.2
"""Of the newest observation in every moving average (EWMA): the last five or so count."""

FAILURES_IN_A_ROW = 3
ERROR_RATE = 0.5
"""A breaker opens after so many failures in a row, or at that error rate. The rate starts at 0 and moves by `WEIGHT`,
so that it takes four failures to come there: it needs no count of observations beside it."""

FIRST_COOLING_S, LONGEST_COOLING_S = 2.0, 120.0
KEY_COOLING_S = 60.0
"""How long a refused key or an account without quota is left alone: only a person mends it."""

LONGEST_ASKED_S = 600.0
"""No provider's `retry-after` keeps a place closed for longer."""

_KEY: frozenset[FailureReason] = frozenset({"auth", "quota"})
_NOT_ITS_FAULT: frozenset[FailureReason] = frozenset(
    {"invalid_request", "context_window", "content_refused", "not_found"}
)


class Health(Struct, frozen=True, kw_only=True):
    """`error_rate` 0..1 over recent calls. `failures` in a row; `trips`: how often the breaker opened since the last
    success. `why` is the newest failure's reason. `limits` as told `limits_at`.
    """

    error_rate: float = 0.0
    failures: int = 0
    trips: int = 0
    open_until: float = 0.0
    why: FailureReason | None = None
    pace: Pace = Pace()
    limits: RateLimits | None = None
    limits_at: float = 0.0


WELL = Health()


class Told(Struct, frozen=True, kw_only=True, array_like=True):
    """What a gateway tells others of a place's health: durations in place of times. `open_s`: for so long the breaker
    stays open yet; `trips` 0: it is closed, after so many as `closes`. `limits` were told `limits_age_s` ago."""

    error_rate: float = 0.0
    failures: int = 0
    trips: int = 0
    closes: int = 0
    open_s: float = 0.0
    why: FailureReason | None = None
    limits: RateLimits | None = None
    limits_age_s: float = 0.0


def standing(health: Health, now: float) -> Standing:
    """The breaker's state."""
    if health.trips == 0:
        return "closed"
    return "open" if now < health.open_until else "half_open"


def after_success(health: Health) -> Health:
    """A call began to be answered: the breaker closes. After an outage the past does not count any more: one probe was
    the proof."""
    if health.failures == 0 and health.trips == 0 and health.error_rate < 0.001:
        return health
    rate = 0.0 if health.trips else health.error_rate * (1 - WEIGHT)
    return replace(health, error_rate=rate, failures=0, trips=0, open_until=0.0, why=None)


def after_failure(health: Health, reason: FailureReason, now: float, retry_after: float | None = None) -> Health:
    """A call failed. What is the request's fault says nothing of the place."""
    if reason in _NOT_ITS_FAULT:
        return health
    told = replace(
        health,
        error_rate=health.error_rate * (1 - WEIGHT) + WEIGHT,
        failures=health.failures + 1,
        why=reason,
    )
    cooling = _cooling_s(told, reason, retry_after)
    if cooling is None:
        return told
    # A longer cooling that is already running is not cut short by a later, shorter one.
    return replace(told, trips=told.trips + 1, open_until=max(told.open_until, now + cooling))


def _cooling_s(told: Health, reason: FailureReason, retry_after: float | None) -> float | None:
    """Seconds for which the breaker opens; None: it stays closed."""
    doubled = min(FIRST_COOLING_S * 2 ** min(told.trips, 10), LONGEST_COOLING_S)
    if retry_after is not None and reason in {"rate_limited", "overloaded", "server"}:
        return min(retry_after, LONGEST_ASKED_S)
    if reason in _KEY:
        return KEY_COOLING_S
    if reason == "rate_limited":
        return doubled
    failing = told.failures >= FAILURES_IN_A_ROW or told.error_rate >= ERROR_RATE
    return doubled if failing or told.trips else None


def told_limits(health: Health, limits: RateLimits, now: float) -> Health:
    return replace(health, limits=limits, limits_at=now)


def told_of(health: Health, now: float, *, closes: int = 0) -> Told:
    """What others are told."""
    return Told(
        error_rate=health.error_rate,
        failures=health.failures,
        trips=health.trips,
        closes=closes,
        open_s=max(0.0, health.open_until - now),
        why=health.why,
        limits=health.limits,
        limits_age_s=max(0.0, now - health.limits_at),
    )


def heard(health: Health, told: Told, now: float, elapsed_s: float = 0.0) -> Health:
    """What another gateway has seen, beside what is known here: of failures the worse counts, of limits the newer.
    A breaker that closed elsewhere closes here, unless it has opened here more often meanwhile."""
    elapsed_s = max(0.0, elapsed_s)
    if told.trips:
        open_s = min(max(0.0, told.open_s - elapsed_s), LONGEST_ASKED_S)
        health = replace(
            health,
            error_rate=max(health.error_rate, min(1.0, told.error_rate)),
            failures=max(health.failures, told.failures),
            trips=max(health.trips, told.trips),
            open_until=max(health.open_until, now + open_s),
            why=told.why or health.why,
        )
    elif told.closes and health.trips <= told.closes:
        health = after_success(health)
    limits_at = now - elapsed_s - max(0.0, told.limits_age_s)
    if told.limits is not None and (health.limits is None or limits_at > health.limits_at):
        health = replace(health, limits=told.limits, limits_at=limits_at)
    return health


def limited_until(health: Health, now: float, *, tokens: int, in_flight: int) -> float | None:
    """When the provider's own rate limits will let a request of so many tokens pass; None: now. Calls that are in
    flight since the limits were told have taken of them as well: that is why they are counted."""
    told = health.limits
    if told is None:
        return None
    until = 0.0
    if told.requests is not None and told.requests <= in_flight:
        until = max(until, health.limits_at + (told.requests_reset_s or 0.0))
    if told.tokens is not None and told.tokens < tokens * (in_flight + 1):
        until = max(until, health.limits_at + (told.tokens_reset_s or 0.0))
    return until if until > now else None


def learned(health: Health, *, ttft_s: float | None = None, tokens_per_s: float | None = None) -> Health:
    """What an answer showed of the place's pace."""
    pace = Pace(ttft_s=_mean(health.pace.ttft_s, ttft_s), tokens_per_s=_mean(health.pace.tokens_per_s, tokens_per_s))
    return replace(health, pace=pace)


def _mean(old: float | None, new: float | None) -> float | None:
    if new is None:
        return old
    return new if old is None else old + WEIGHT * (new - old)
