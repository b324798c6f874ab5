"""One request as the server hands it to the pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from turnout.answers import CacheWishes
from turnout.conversations import Turn
from turnout.keys import Key
from turnout.providers.operations import Operation

__all__ = ["Call"]


class Call(Struct, frozen=True, kw_only=True):
    """One request as the server hands it over. `headers` has lower-case names; `started_s` is monotonic; `resumes` is
    the kept turn that it goes on from, `resumed_items` how many items of it were put before the caller's own. `cache`
    is what it says of the response cache. `ours`: no caller asks it, the gateway does (a shadow, its judging)."""

    request_id: str
    operation: Operation
    body: bytes
    resumes: Turn | None = None
    resumed_items: int = 0
    cache: CacheWishes = CacheWishes()
    headers: Mapping[str, str]
    started_s: float
    key: Key | None = None
    ours: bool = False

    @property
    def key_id(self) -> str | None:
        return self.key.name if self.key else None
