"""The models that a config offers, looked up without opening a store or asking anyone."""

from __future__ import annotations

from collections.abc import Mapping

from turnout.catalog.catalog import Catalog
from turnout.catalog.fleet import Fleet
from turnout.config import Config
from turnout.describing import Describer
from turnout.places import provider_of
from turnout.providers.http import HttpTransport

__all__ = ["fleet_of"]


def fleet_of(config: Config, env: Mapping[str, str]) -> Fleet:
    """The fleet of a config at the packaged list prices. Raises ConfigError."""
    http = HttpTransport()  # opens nothing until it is used
    providers = {name: provider_of(name, told, env, http) for name, told in config.providers.items()}
    describe = Describer(config, Catalog.load(), providers)
    return Fleet(describe.configured(), providers=tuple(providers), describe=describe, knows=describe.knows)
