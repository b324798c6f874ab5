"""A price as it is kept beside what it was applied to: its JSON, a digest that names it, and a cost worked out anew."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Usage

__all__ = ["price_digest", "price_from_json", "price_to_json", "recost"]

DIGEST_LENGTH = 16
"""Hex figures of SHA-256: two of a million versions share one with a chance below 1 in 10 million."""

_LEFT_OUT = (None, ())


def price_to_json(price: Price) -> bytes:
    """The one spelling of a price: keys sorted, what is not set left out. Equal prices have equal bytes, in any
    version that adds keys."""
    return msgspec.json.encode(_bare(msgspec.to_builtins(price)), order="sorted")


def _bare(value: object) -> object:
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items() if v not in _LEFT_OUT}
    if isinstance(value, (list, tuple)):
        return [_bare(v) for v in value]
    return value


def price_from_json(text: bytes | str) -> Price:
    """The price that `price_to_json` wrote. Raises msgspec.MsgspecError for anything else."""
    return msgspec.json.decode(text, type=Price)


def price_digest(price: Price) -> str:
    """A short name of a price's very figures and source, for a table of the versions that were applied."""
    return sha256(price_to_json(price)).hexdigest()[:DIGEST_LENGTH]


def recost(usage: Usage, price: bytes | str) -> int:
    """Nano-dollars of `usage` at a price that was kept: what was booked then, if this is the price of then. Raises
    msgspec.MsgspecError for what is no price."""
    return cost_nano_usd(usage, price_from_json(price))
