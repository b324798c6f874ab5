"""How a provider is told which session a request belongs to, so that it goes where its cache is; and which parts of a
request take no mark there.

Rows made by hand from the providers' pages (`data/cache_affinity.json`); of a provider's rows the first whose pattern
is found in the model's lower-case name decides. Who has no row is told nothing.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["AffinityHint", "affinity_hint_of", "opaque_session"]

AFFINITY = Path(__file__).parent / "data" / "cache_affinity.json"


class AffinityHint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row. `keys` is the body's key by wire format; where a format has none, `header` is used. `own` are further
    keys by which a caller may say it. `unmarked` are parts of a request that take no mark. `source` is where it was
    read, `read` the day (ISO)."""

    provider: str
    match: str
    keys: dict[str, str] = {}
    header: str | None = None
    own: tuple[str, ...] = ()
    unmarked: tuple[str, ...] = ()
    source: str = ""
    read: str = ""


_NOTHING = AffinityHint(provider="", match="")


@cache
def affinity_rows() -> tuple[AffinityHint, ...]:
    """The rows, read on first use."""
    return msgspec.json.decode(AFFINITY.read_bytes(), type=tuple[AffinityHint, ...])


@lru_cache(maxsize=4096)  # callers choose model names
def affinity_hint_of(provider: str, model: str) -> AffinityHint:
    """The row for `model` at `provider`; an empty one where there is none."""
    name = model.lower()
    rows = (row for row in affinity_rows() if row.provider == provider and re.search(row.match, name))
    return next(rows, _NOTHING)


def opaque_session(owner: str, session: str) -> str:
    """32 hex digits that are the same for the same two names, and from which neither can be read (BLAKE2)."""
    names = msgspec.json.encode((owner, session))
    return blake2b(names, digest_size=16, person=b"turnout session").hexdigest()
