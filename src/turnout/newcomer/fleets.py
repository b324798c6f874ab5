"""The models and places that a config offers, looked up without opening a store or asking anyone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from turnout.catalog.catalog import Catalog
from turnout.catalog.fleet import Fleet
from turnout.config import Config, ProviderConfig
from turnout.describing import Describer
from turnout.places import places_of, provider_of
from turnout.providers.exchange import Provider
from turnout.providers.http import HttpTransport

__all__ = ["fleet_of", "places_in"]


def fleet_of(config: Config, env: Mapping[str, str]) -> Fleet:
    """The fleet of a config at the packaged list prices. Raises ConfigError."""
    http = HttpTransport()  # opens nothing until it is used
    providers = {name: provider_of(name, told, env, http) for name, told in config.providers.items()}
    describe = Describer(config, Catalog.load(), providers)
    return Fleet(describe.configured(), providers=tuple(providers), describe=describe, knows=describe.knows)


def places_in(config: Config, env: Mapping[str, str], found: Iterable[str] = ()) -> dict[str, Provider]:
    """Every place that calls may go to, by name: each key and region of the config's providers, and of those that were
    `found` without one. Raises ConfigError."""
    http = HttpTransport()
    rows = {**{name: ProviderConfig() for name in found}, **config.providers}
    places: dict[str, Provider] = {}
    for name, told in rows.items():
        places |= places_of(provider_of(name, told, env, http), told, env, http)
    return places
