"""Plug-ins: found among installed packages by the name that the config says, loaded then and not before, checked."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from msgspec import Struct

from turnout.errors import ConfigError, TurnoutError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["API", "Plugin", "begun", "installed", "load"]

API = 1
"""The version of the protocols in `turnout.plugins`. It rises when one of them changes so that older plug-ins break."""

P = TypeVar("P", bound="Plugin")
T = TypeVar("T")


class Plugin(Struct, frozen=True, kw_only=True):
    """What an entry point names. `api`: the version of the protocols that it is written for."""

    group: ClassVar[str] = ""

    api: int


def installed(group: str) -> list[str]:
    """The names of the plug-ins of a group, in order. Reads the packages' metadata and imports none."""
    from importlib import metadata  # only for who has plug-ins

    return sorted({found.name for found in metadata.entry_points(group=group)})


def load(kind: type[P], name: str, key: str) -> P:
    """The plug-in of that name; `key` is where the config names it. Raises ConfigError where it is not installed, is
    there twice, cannot be imported, is none, or is written for another version."""
    from importlib import metadata

    found = list({point.value: point for point in metadata.entry_points(group=kind.group, name=name)}.values())
    if not found:
        raise _missing(kind, name, key)
    if len(found) > 1:
        told = " and ".join(sorted(_whose(point) for point in found))
        raise ConfigError(f"{key}: {told} both have a plug-in {name!r} of {kind.group}; uninstall one", param=key)
    (point,) = found
    try:
        plugin = point.load()
    except Exception as error:  # whatever a stranger's module raises, the config's reader is told
        raise ConfigError(
            f"{key}: plug-in {name!r} of {_whose(point)} cannot be loaded ({type(error).__name__}: {error}); "
            "mend or reinstall it",
            param=key,
        ) from error
    if not isinstance(plugin, kind):
        told = type(plugin).__name__
        raise ConfigError(
            f"{key}: {point.value} of {_whose(point)} is no {kind.__name__} but a {told}; "
            "its entry point must name a module's variable that holds one",
            param=key,
        )
    if plugin.api != API:
        raise ConfigError(
            f"{key}: plug-in {name!r} of {_whose(point)} is written for version {plugin.api} of plug-ins, and this "
            f"Turnout has version {API}; install a version of it that fits",
            param=key,
        )
    return plugin


def begun(make: Callable[[], T], name: str, key: str) -> T:
    """What a plug-in makes. Raises ConfigError where it fails: its own, else one that says how."""
    try:
        return make()
    except TurnoutError:
        raise
    except Exception as error:  # whatever a stranger's code raises, the config's reader is told
        told = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{key}: plug-in {name!r} failed to start ({told}); look at its options", param=key
        ) from error


def _missing(kind: type[Plugin], name: str, key: str) -> ConfigError:
    known = installed(kind.group)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}" if known else "none is installed"
    return ConfigError(
        f"{key} = {name}: no installed package has such a plug-in of {kind.group} ({hint}); install the one that has",
        param=key,
    )


def _whose(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module
