"""The config's `[store]`: where rows and what gateways share are kept, as URLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from turnout.errors import ConfigError
from turnout.plugging import installed

__all__ = ["ALONE", "LEDGERS", "SHARED", "StoreConfig", "check_store", "ledger_scheme", "scheme_of"]

LEDGERS: Mapping[str, str] = {
    "sqlite": "sqlite:///",
    "postgresql": "postgresql://",
    "postgres": "postgres://",
}
"""Schemes of `store.ledger`, and how such a URL begins."""

SHARED: Mapping[str, str] = {
    "memory": "memory:",
    "sqlite": "sqlite:///",
    "valkey": "valkey://",
    "valkeys": "valkeys://",
    "redis": "redis://",
    "rediss": "rediss://",
    "unix": "unix://",
    **{f"{name}+sentinel": f"{name}+sentinel://" for name in ("valkey", "valkeys", "redis", "rediss")},
}
"""Schemes of `store.shared`, and how such a URL begins."""


ALONE = "memory:"
"""Of `store.shared`: what one gateway alone knows."""

LEAST_LEASE_S, MOST_LEASE_S = 2.0, 300.0


class StoreConfig(Struct, frozen=True, kw_only=True):
    """`ledger`: where rows are kept for good, with keys, budgets, conversations, answers and outcomes. `shared`: what
    several gateways know of each other while they run. `folder`: where a gateway keeps files of its own when the
    ledger is no file that they could lie beside (docs/stores.md).

    `shared_lost`: while the engine of shared state is away hard budgets go on with what is leased, and then refuse
    (`closed`) or let pass (`open`). A gateway that is silent for `lease_s` may lose its lease; `lost_money`: whether
    what one had that died with its disk counts as spent (`count`: a hard budget is never overrun) or is given back
    (`return`). `spool_mb`: of rows that wait in `folder` while the database is away."""

    ledger: str = "sqlite:///turnout.db"
    shared: str = "memory:"
    folder: str = "turnout-data"
    shared_lost: Literal["closed", "open"] = "closed"
    lost_money: Literal["count", "return"] = "count"
    lease_s: float = 5.0
    spool_mb: int = 1_024


def ledger_scheme(told: StoreConfig) -> str:
    """The scheme of `store.ledger`: one of ours, or the name of a plug-in that is installed. Raises ConfigError."""
    scheme, _, rest = told.ledger.partition(":")
    if rest.startswith("//") and scheme not in LEDGERS and scheme in installed("turnout.stores"):
        return scheme
    return scheme_of(told.ledger, LEDGERS, "store.ledger")


def scheme_of(url: str, known: Mapping[str, str], key: str) -> str:
    """The scheme of a URL that `known` lists. Raises ConfigError, which does not tell the URL: a password may stand in
    it."""
    scheme = url.partition(":")[0]
    if not url.startswith(known.get(scheme, "\0")):
        # Without a colon it is a file's name or a word, and no password.
        told = f"{scheme}:..." if ":" in url else url
        raise ConfigError(f"{key} = {told[:60]}: must begin with one of {', '.join(known.values())}", param=key)
    return scheme


def check_store(told: StoreConfig) -> None:
    """Raises ConfigError for a URL of no kind that is known."""
    ledger_scheme(told)
    if scheme_of(told.shared, SHARED, "store.shared") == "memory" and told.shared != ALONE:
        raise ConfigError(
            f"store.shared = {told.shared[:60]}: memory has nothing behind it; write {ALONE}", param="store.shared"
        )
    if not LEAST_LEASE_S <= told.lease_s <= MOST_LEASE_S:
        raise ConfigError(
            f"store.lease_s = {told.lease_s}: must lie between {LEAST_LEASE_S} and {MOST_LEASE_S}",
            param="store.lease_s",
        )
    if told.spool_mb < 1:
        raise ConfigError(f"store.spool_mb = {told.spool_mb}: must be at least 1", param="store.spool_mb")
