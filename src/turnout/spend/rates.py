"""Limits of a key: requests and tokens a minute, and how many requests at once. Pure; monotonic seconds.

The rate is the generic cell rate algorithm (ITU-T I.371): one number a limit, any weight, and it says exactly when the
next will fit. Bursts up to the whole minute's amount pass.
"""

from __future__ import annotations

from msgspec import Struct

from turnout.errors import RateLimited

__all__ = ["Gates", "Rate"]

MINUTE_S = 60.0


class Rate:
    """So many a minute. Never used, it is full. `free_s` is when it will be full again: all there is to keep of it."""

    def __init__(self, per_minute: int, free_s: float = float("-inf")) -> None:
        self.per_minute = per_minute
        self.free_s = free_s

    def wait_s(self, weight: float, now_s: float) -> float:
        """Seconds until `weight` fits; 0: now. What is more than a whole minute's amount fits when it is full."""
        weight = min(weight, self.per_minute)
        return max(0.0, max(self.free_s, now_s) + weight / self.per_minute * MINUTE_S - MINUTE_S - now_s)

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
        gate = self._gates.setdefault(name, _Gate())
        gate.rpm, gate.tpm = _rate(gate.rpm, rpm), _rate(gate.tpm, tpm)
        if at_once is not None and gate.open >= at_once:
            raise RateLimited(
                f"key {name} has {gate.open} requests open, and may have {at_once}; wait for one", retry_after=1
            )
        for rate, weight, unit in ((gate.rpm, 1, "requests"), (gate.tpm, tokens, "tokens")):
            if rate is not None and (wait := rate.wait_s(weight, now_s)) > 0:
                raise RateLimited(
                    f"key {name} may use {rate.per_minute:,} {unit} a minute; try again in {wait:.1f} s",
                    retry_after=wait,
                )
        for rate, weight in ((gate.rpm, 1), (gate.tpm, tokens)):
            if rate is not None:
                rate.take(weight, now_s)
        gate.open += 1

    def leave(self, name: str, *, estimated: int, used: int, now_s: float) -> None:
        """A request has ended that was let in for `estimated` tokens and took `used`."""
        gate = self._gates.get(name)
        if gate is None:
            return
        gate.open -= 1
        if gate.tpm is not None:
            gate.tpm.take(used - estimated, now_s)


def _rate(known: Rate | None, per_minute: int | None) -> Rate | None:
    if per_minute is None:
        return None
    return known if known is not None and known.per_minute == per_minute else Rate(per_minute)
