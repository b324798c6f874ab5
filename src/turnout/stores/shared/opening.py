"""Shared state by URL (`store.shared` in the config). What an engine needs is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from turnout.errors import ConfigError
from turnout.shared_state import SharedState
from turnout.store_rules import SHARED, scheme_of
from turnout.stores.shared.purses import LEASE_S

__all__ = ["open_shared"]

Opener = Callable[[str, str, float, bool], SharedState]


def _sqlite(url: str, gateway: str, lease_s: float, recently: bool) -> SharedState:
    from turnout.stores.shared.sqlite import SqliteShared

    return SqliteShared(url.removeprefix("sqlite:///"), gateway, lease_s=lease_s, recently=recently)


def _valkey(url: str, gateway: str, lease_s: float, recently: bool) -> SharedState:
    if find_spec("redis") is None or find_spec("hiredis") is None:
        raise ConfigError(
            "store.shared names Valkey or Redis, and what speaks with it is not installed: "
            "pip install 'turnout[valkey]'",
            param="store.shared",
        )
    from turnout.stores.shared.valkey import ValkeyShared

    return ValkeyShared(url, gateway, lease_s=lease_s, recently=recently)


_OPENERS: dict[str, Opener] = {"sqlite": _sqlite}
"""By scheme; the others of `store_rules.SHARED` are Valkey's. What is alone (`memory:`) has nothing to open."""


def open_shared(url: str, gateway: str, *, lease_s: float = LEASE_S, recently: bool = True) -> SharedState:
    """What `url` names, for the process `gateway`; `start` connects it. `recently` False only where no other gateway
    can have money on lease, for the ledger has no row at all: then a new engine grants at once. Raises ConfigError."""
    opened = _OPENERS.get(scheme_of(url, SHARED, "store.shared"), _valkey)
    return opened(url, gateway, lease_s, recently)
