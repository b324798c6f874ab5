"""The providers that a config names, and the places where each can be asked."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from turnout.config import ProviderConfig, join, nearest
from turnout.errors import ConfigError
from turnout.providers.apis import APIS, Api
from turnout.providers.embedded import EMBEDDED_ROW
from turnout.providers.exchange import Provider
from turnout.providers.http import HttpTransport
from turnout.providers.registry import PROVIDERS, ProviderRow, base_variables, custom_row, filled_base
from turnout.providers.signing import SIGNERS

__all__ = ["apis_of", "has_key", "places_of", "provider_of"]


def has_key(row: ProviderRow, env: Mapping[str, str]) -> bool:
    """Whether the environment holds what it takes to ask this provider."""
    return any(env.get(name) for name in row.key_env) and all(env.get(name) for name in base_variables(row))


def provider_of(name: str, override: ProviderConfig, env: Mapping[str, str], http: HttpTransport) -> Provider:
    """A provider as the config tells of it, over its row. Raises ConfigError."""
    row = PROVIDERS.get(name) or (EMBEDDED_ROW if name == EMBEDDED_ROW.name else None)
    if row is None:
        if not override.dialect or override.base_url is None:
            near = nearest(name, PROVIDERS)
            hint = f"did you mean {near[0]}?" if near else "give it a dialect and a base_url"
            raise ConfigError(f"{join('providers', name)}: no provider of that name is known; {hint}", param=name)
        row = custom_row(name, apis_of(name, override.dialect), override.base_url)
    row = replace(
        row,
        apis=apis_of(name, override.dialect) or row.apis,
        base_url=override.base_url or _base_url(row, env),
        local=row.local if override.local is None else override.local,
        bills_after_cancel=(
            row.bills_after_cancel if override.bills_after_cancel is None else override.bills_after_cancel
        ),
    )
    from_env = next((env[n] for n in row.key_env if env.get(n)), None)
    api_key = override.api_key.reveal() if override.api_key else from_env
    return Provider(
        row=row,
        api_key=api_key,
        transport=http,
        signer=SIGNERS[row.auth]() if row.auth in SIGNERS and api_key is None else None,
        idle_timeout_s=override.idle_timeout_s,
    )


def places_of(
    provider: Provider, override: ProviderConfig | None, env: Mapping[str, str], http: HttpTransport
) -> dict[str, Provider]:
    """The places where a provider can be asked, by name: `openai`, `openai@key2`, `azure@eu`."""
    name = provider.row.name
    places = {name: provider}
    if override is None:
        return places
    for number, key in enumerate(override.api_keys, start=2 if override.api_key else 1):
        places[name if number == 1 else f"{name}@key{number}"] = replace(provider, api_key=key.reveal(), signer=None)
    for place, told in override.endpoints.items():
        merged = replace(
            override, base_url=told.base_url or override.base_url, api_key=told.api_key or override.api_key
        )
        places[f"{name}@{place}"] = provider_of(name, merged, env, http)
    return places


def apis_of(name: str, told: str | tuple[str, ...] | None) -> tuple[Api, ...]:
    """The APIs of a config's `dialect`, each once."""
    dialects = (told,) if isinstance(told, str) else told or ()
    for dialect in dialects:
        if dialect not in APIS:
            near = nearest(dialect, APIS)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(APIS)}"
            raise ConfigError(f"{join('providers', name)}.dialect = {dialect!r}: unknown; {hint}")
    return tuple(dict.fromkeys(api for dialect in dialects for api in APIS[dialect]))


def _base_url(row: ProviderRow, env: Mapping[str, str]) -> str:
    try:
        return filled_base(row, env)
    except KeyError as missing:
        raise ConfigError(
            f"{join('providers', row.name)}: where is it? Set base_url, or the variable {missing.args[0]}",
            param=row.name,
        ) from None
