"""Which requests of a ledger somebody looks for."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["MOST_SEARCHED", "Wanted"]

MOST_SEARCHED = 100_000
"""So many of the newest rows are looked through: a word that no row has must not read a ledger of years to its end."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What a request must have to be listed; None: no matter. `model`: it was asked for, or answered. `failed`: nobody
    answered it, and its caller did not hang up. `before`: the id of a request; only older ones are meant."""

    session: str | None = None
    model: str | None = None
    key: str | None = None
    feature: str | None = None
    reason: str | None = None
    failed: bool = False
    before: str | None = None
