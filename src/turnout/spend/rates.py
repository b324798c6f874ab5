"""Limits of a key: requests and tokens a minute, and how many requests at once. Pure; monotonic seconds.

The rate is the generic cell rate algorithm (ITU-T I.371): one number a limit, any weight, and it says exactly when the
next will fit. Bursts up to the whole minute's amount pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from turnout.errors import RateLimited

__all__ = ["Gates", "Rate", "rate_of", "take_all"]

MINUTE_S = 60.0

ROUNDED_S = 1e-6
"""What is left to wait below that is but rounding: a clock that has run for months tells a nanosecond at best."""


class Rate:
    """So many a minute. Never used, it is full. `free_s` is when it will be full again: all there is to keep of it."""

    def __init__(self, per_minute: int, free_s: float = float("-inf")) -> None:
        self.per_minute = per_minute
        self.free_s = free_s

    def wait_s(self, weight: float, now_s: float) -> float:
        """Seconds until `weight` fits; 0: now. What is more than a whole minute's amount fits when it is full."""
        weight = min(weight, self.per_minute)
        wait_s = max(self.free_s - now_s, 0.0) + weight / self.per_minute * MINUTE_S - MINUTE_S
        return wait_s if wait_s > ROUNDED_S else 0.0

    def take(self, weight: float, now_s: float) -> None:
        """Use `weight` of it, whether it fits or not; a negative weight gives back."""
        self.free_s = max(self.free_s, now_s) + weight / self.per_minute * MINUTE_S


class _Gate(Struct):
    rpm: Rate | None = None
    tpm: Rate | None = None
    open: int = 0


class Gates:
    """The limits of all keys by name. A limit that changes begins anew."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}

    def enter(
        self, name: str, tokens: int, now_s: float, *, rpm: int | None, tpm: int | None, at_once: int | None
    ) -> None:
        """Let a request of `tokens` (estimated) in. Raises RateLimited; then nothing is used."""
        if (gate := self._gates.get(name)) is None:
            gate = self._gates[name] = _Gate()
        gate.rpm, gate.tpm = rate_of(gate.rpm, rpm), rate_of(gate.tpm, tpm)
        if at_once is not None and gate.open >= at_once:
            raise RateLimited(
                f"key {name} has {gate.open} requests open, and may have {at_once}; wait for one", retry_after=1
            )
        if (short := take_all(((gate.rpm, 1), (gate.tpm, tokens)), now_s)) is not None:
            rate, wait_s = short
            unit = "requests" if rate is gate.rpm else "tokens"
            raise RateLimited(
                f"key {name} may use {rate.per_minute:,} {unit} a minute; try again in {wait_s:.1f} s",
                retry_after=wait_s,
            )
        gate.open += 1

    def leave(self, name: str, *, estimated: int, used: int, now_s: float) -> None:
        """A request has ended that was let in for `estimated` tokens and took `used`."""
        gate = self._gates.get(name)
        if gate is None:
            return
        gate.open -= 1
        if gate.tpm is not None:
            gate.tpm.take(used - estimated, now_s)


def rate_of(known: Rate | None, per_minute: int | None) -> Rate | None:
    """A limit as it stands; one that changes begins anew."""
    if per_minute is None:
        return None
    return known if known is not None and known.per_minute == per_minute else Rate(per_minute)


def take_all(wanted: Sequence[tuple[Rate | None, float]], now_s: float) -> tuple[Rate, float] | None:
    """Use so much of each, or nothing of any: then one that is too low, and the seconds until it is not."""
    for rate, weight in wanted:
        if rate is not None and (wait_s := rate.wait_s(weight, now_s)) > 0:
            return rate, wait_s
    for rate, weight in wanted:
        if rate is not None:
            rate.take(weight, now_s)
    return None
