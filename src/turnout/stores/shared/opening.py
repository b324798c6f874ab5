"""Shared state by the URL in `store.shared`: a table of schemes, each imported when a config names it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from turnout.errors import ConfigError
from turnout.shared_state import SharedState
from turnout.stores.shared.purses import LEASE_S

__all__ = ["SCHEMES", "open_shared"]

Opener = Callable[[str, str, float, bool], SharedState]


def _memory(_: str, gateway: str, lease_s: float, __: bool) -> SharedState:
    from turnout.stores.shared.memory import MemoryShared

    return MemoryShared(gateway, lease_s=lease_s)


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


SCHEMES: dict[str, Opener] = {
    "memory:": _memory,
    "sqlite:///": _sqlite,
    **{
        f"{name}://": _valkey
        for name in (
            *("valkey", "valkeys", "redis", "rediss", "unix"),
            *("valkey+sentinel", "valkeys+sentinel", "redis+sentinel", "rediss+sentinel"),
        )
    },
}
"""How a URL begins, and what it opens."""


def open_shared(url: str, gateway: str, *, lease_s: float = LEASE_S, recently: bool = True) -> SharedState:
    """What `url` names, for the process `gateway`; `start` connects it. `recently` False only where no other gateway
    can have money on lease (none was there for `lease_s`): then a new engine grants at once. Raises ConfigError."""
    for begins, opened in SCHEMES.items():
        if url.startswith(begins):
            return opened(url, gateway, lease_s, recently)
    raise ConfigError(
        f"store.shared begins with none of {', '.join(SCHEMES)}: write memory:, sqlite:///FILE or valkey://HOST",
        param="store.shared",
    )
