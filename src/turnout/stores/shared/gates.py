"""The limits of one key across gateways: `spend.rates` with what is open by name, so that it can be forgotten. Pure."""

from __future__ import annotations

from msgspec import Struct

from turnout.shared_state import KeyAdmission
from turnout.spend.rates import Rate, rate_of, take_all

__all__ = ["AT_ONCE_S", "Gate"]

AT_ONCE_S = 1.0
"""What a request waits for that found too many open: when one will end nobody knows."""


class Gate(Struct, array_like=True):
    """`rpm` and `tpm`: a limit, and when it is full again. `open`: requests by id, and until when they count."""

    rpm: tuple[int, float] | None = None
    tpm: tuple[int, float] | None = None
    open: dict[str, float] = {}

    def admit(self, admission: KeyAdmission, now_s: float, open_s: float) -> float:
        """Seconds to wait, and nothing is used; 0: it is in. As `spend.rates.Gates.enter`."""
        if admission.at_once is not None and self._full(admission.request_id, admission.at_once, now_s):
            return AT_ONCE_S
        rpm, tpm = _rate(self.rpm, admission.rpm), _rate(self.tpm, admission.tpm)
        if (short := take_all(((rpm, 1), (tpm, admission.tokens)), now_s)) is not None:
            return short[1]
        self.rpm, self.tpm = (rate and (rate.per_minute, rate.free_s) for rate in (rpm, tpm))
        if admission.at_once is not None:
            self.open[admission.request_id] = now_s + open_s
        return 0.0

    def leave(self, admission: KeyAdmission, used: int, now_s: float) -> None:
        """As `spend.rates.Gates.leave`."""
        self.open.pop(admission.request_id, None)
        if self.tpm is not None:
            rate = Rate(*self.tpm)
            rate.take(used - admission.tokens, now_s)
            self.tpm = rate.per_minute, rate.free_s

    def until_s(self, now_s: float) -> float:
        """From when on it is as if nobody had ever come."""
        free = [rate[1] for rate in (self.rpm, self.tpm) if rate is not None]
        return max([now_s, *free, *self.open.values()])

    def _full(self, request_id: str, at_once: int, now_s: float) -> bool:
        if len(self.open) >= at_once:
            for old in [name for name, until in self.open.items() if until <= now_s]:
                del self.open[old]
        return request_id not in self.open and len(self.open) >= at_once


def _rate(kept: tuple[int, float] | None, per_minute: int | None) -> Rate | None:
    return rate_of(Rate(*kept) if kept is not None else None, per_minute)
