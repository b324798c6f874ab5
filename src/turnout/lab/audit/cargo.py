"""What each tool's results and definition came to over all requests that carried them. Pure.

Nothing is walked through at each request: the sum of the scales so far is kept, and a thing is settled when its own
size changes or at the end.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Cargo", "Carried"]

MOST = 500


class Carried(Struct, kw_only=True):
    """`size` in the context's own units, since the sums stood at `tokens_then` and `money_then`."""

    size: float = 0.0
    tokens: float = 0.0
    nano_usd: float = 0.0
    requests: int = 0
    tokens_then: float = 0.0
    money_then: float = 0.0
    requests_then: int = 0


class Cargo:
    """Things by name. `sent` tells of each request what a unit weighed in it, in tokens, and what a token cost."""

    def __init__(self) -> None:
        self.kept: dict[str, Carried] = {}
        self._tokens = self._money = 0.0
        self._requests = 0

    def sent(self, scale: float, nano_usd_per_token: float) -> None:
        self._tokens += scale
        self._money += scale * nano_usd_per_token
        self._requests += 1

    def put(self, name: str, size: float) -> None:
        """So much more of it is carried from the next request on. Beyond `MOST` names it is let go."""
        found = self.kept.get(name)
        if found is None:
            if len(self.kept) >= MOST:
                return
            found = self.kept[name] = Carried()
        self._settle(found)
        found.size += size

    def drop(self, name: str) -> None:
        """It is not carried any more."""
        if found := self.kept.get(name):
            self._settle(found)
            found.size = 0.0

    def settled(self) -> dict[str, Carried]:
        """All of it, up to now."""
        for found in self.kept.values():
            self._settle(found)
        return self.kept

    def _settle(self, found: Carried) -> None:
        if found.size:
            found.tokens += found.size * (self._tokens - found.tokens_then)
            found.nano_usd += found.size * (self._money - found.money_then)
            found.requests += self._requests - found.requests_then
        found.tokens_then, found.money_then = self._tokens, self._money
        found.requests_then = self._requests
