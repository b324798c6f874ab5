"""Rate limits as providers tell them in an answer's headers: what is left, and when it is full again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from turnout.catalog.models import RateLimits

__all__ = ["limits_of"]

_FIELDS: Mapping[str, tuple[str, str]] = {
    # OpenAI, Azure, Groq, OpenRouter, Mistral, Together and most others.
    "x-ratelimit-remaining-requests": ("requests", "remaining"),
    "x-ratelimit-remaining-tokens": ("tokens", "remaining"),
    "x-ratelimit-reset-requests": ("requests", "reset"),
    "x-ratelimit-reset-tokens": ("tokens", "reset"),
    "x-ratelimit-remaining": ("requests", "remaining"),
    "x-ratelimit-reset": ("requests", "reset"),
    # Anthropic: docs.anthropic.com/en/api/rate-limits. `tokens` is the most restrictive of its limits.
    "anthropic-ratelimit-requests-remaining": ("requests", "remaining"),
    "anthropic-ratelimit-requests-reset": ("requests", "reset"),
    "anthropic-ratelimit-tokens-remaining": ("tokens", "remaining"),
    "anthropic-ratelimit-tokens-reset": ("tokens", "reset"),
}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EPOCH = 1_000_000_000
"""A number of seconds as large as this is a date."""


def limits_of(headers: Sequence[tuple[str, str]]) -> RateLimits | None:
    """The limits that an answer's headers tell; None where they tell none. What cannot be read counts as not told."""
    told: dict[tuple[str, str], float] = {}
    for name, value in headers:
        if "ratelimit" in name and (field := _FIELDS.get(name)) is not None:
            read = _reset_s(value) if field[1] == "reset" else _number(value)
            if read is not None:
                told[field] = read
    if not told:
        return None
    return RateLimits(
        requests=_whole(told.get(("requests", "remaining"))),
        requests_reset_s=told.get(("requests", "reset")),
        tokens=_whole(told.get(("tokens", "remaining"))),
        tokens_reset_s=told.get(("tokens", "reset")),
    )


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _reset_s(value: str) -> float | None:
    """Seconds from now: `12`, `6m0s`, `20ms`, an RFC 3339 time, or seconds (or milliseconds) since 1970."""
    value = value.strip()
    now = datetime.now(UTC)
    if (number := _number(value)) is not None:
        if number >= _EPOCH * 1000:
            number /= 1000
        return number if number < _EPOCH else max(0.0, number - now.timestamp())
    if parts := _DURATION.findall(value):
        return sum(float(amount) * _SECONDS[unit] for amount, unit in parts) if _DURATION.sub("", value) == "" else None
    try:
        until = datetime.fromisoformat(value)
    except ValueError:
        return None
    return max(0.0, (until - now).total_seconds()) if until.tzinfo else None
