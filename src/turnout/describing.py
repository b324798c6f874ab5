"""Models as the config tells of them, over what the catalogue knows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import convert
from msgspec.structs import replace

from turnout.catalog.catalog import Catalog
from turnout.catalog.known import capabilities_of, default_models, tier_of
from turnout.catalog.models import Capabilities, Deployment
from turnout.catalog.prices import (
    Price,
    PriceTier,
    Rates,
    ServicePrice,
    factor_from,
    price_from_usd_per_million,
    scaled,
)
from turnout.config import Config, ModelConfig, PriceConfig, RatesConfig
from turnout.errors import ConfigError
from turnout.providers.exchange import Provider

__all__ = ["Describer", "price_of"]

FREE = Price(input=0, output=0, cache_read=0, cache_write=0, source="local host, not charged by the token")


class Describer:
    """Makes deployments: the catalogue's knowledge under the config's word."""

    def __init__(self, config: Config, catalog: Catalog, providers: Mapping[str, Provider]) -> None:
        self._config = config
        self._catalog = catalog
        self._providers = providers

    def configured(self) -> list[Deployment]:
        """The config's models; for a provider without any, the catalogue's usual ones."""
        for name in self._config.models:
            if name.partition("/")[0] not in self._providers:
                raise ConfigError(
                    f'models."{name}": provider {name.partition("/")[0]} is not set up; '
                    f"add [providers.{name.partition('/')[0]}]",
                    param=name,
                )
        listed = [self(*name.split("/", 1)) for name in self._config.models]
        told = {d.provider for d in listed}
        usual = {name: (*default_models(name), *provider.row.models) for name, provider in self._providers.items()}
        return listed + [self(p, m) for p in self._providers if p not in told for m in usual[p]]

    def __call__(self, provider: str, model: str) -> Deployment:
        row = self._providers[provider].row
        price = self._catalog.price(provider, model, datetime.now(UTC).date())
        return self.overridden(
            Deployment(
                id=f"{provider}/{model}",
                provider=provider,
                upstream_model=model,
                dialect=row.api("", model).dialect,
                tier=tier_of(model) or ("small" if row.local else None),
                capabilities=capabilities_of(provider, model),
                price=FREE if row.local and price is None else price,
            )
        )

    def knows(self, provider: str, model: str) -> bool:
        return self._catalog.price(provider, model, datetime.now(UTC).date()) is not None

    def overridden(self, deployment: Deployment) -> Deployment:
        """`deployment` with what the config says of it."""
        told = self._config.models.get(deployment.id)
        if told is None:
            return deployment
        return replace(
            deployment,
            tier=told.tier or deployment.tier,
            upstream_model=told.upstream_model or deployment.upstream_model,
            capabilities=_capabilities(deployment.capabilities, told),
            price=price_of(deployment.id, told.price) if told.price else deployment.price,
        )


def _capabilities(known: Capabilities, told: ModelConfig) -> Capabilities:
    fields = {name: getattr(told, name) for name in Capabilities.__struct_fields__}
    return replace(known, **{name: value for name, value in fields.items() if value is not None})


def price_of(model: str, told: PriceConfig) -> Price:
    """The price that a config tells of a model. Raises ConfigError naming the key."""
    key = f'models."{model}".price'
    above = [t.above_input_tokens for t in told.tiers]
    if any(n < 0 for n in above) or above != sorted(set(above)):
        raise ConfigError(
            f"{key}.tiers: above_input_tokens = {above} must rise from tier to tier", param=f"{key}.tiers"
        )
    tiers = [
        convert({**_figures(t, f"{key}.tiers[{i}]"), "above_input_tokens": t.above_input_tokens}, PriceTier)
        for i, t in enumerate(told.tiers)
    ]
    price = replace(_rates(told, key), tiers=tuple(tiers))
    service = [
        _service(name, value, price, f"{key}.{name}")
        for name, value in (("batch", told.batch), ("flex", told.flex), ("priority", told.priority))
        if value is not None
    ]
    return replace(price, service=tuple(service))


def _service(name: str, told: Decimal | RatesConfig, standard: Price, key: str) -> ServicePrice:
    if isinstance(told, RatesConfig):
        return convert({**_figures(told, key), "name": name}, ServicePrice)
    return scaled(standard, name, factor_from(told, key))


def _rates(told: RatesConfig, key: str) -> Price:
    return price_from_usd_per_million(
        told.input, told.output, told.cache_read, told.cache_write, told.cache_write_1h, key=key
    )


def _figures(told: RatesConfig, key: str) -> dict[str, int | None]:
    price = _rates(told, key)
    return {name: getattr(price, name) for name in Rates.__struct_fields__}
