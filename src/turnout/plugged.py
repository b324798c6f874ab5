"""The plug-ins at work in one gateway: made when a config names them, kept while it does, closed with the gateway."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from turnout.answers import SemanticRules
from turnout.call import Call
from turnout.config import ProviderConfig, RoutingConfig, join
from turnout.errors import ConfigError
from turnout.places import apis_of
from turnout.plugging import begun, load
from turnout.providers.exchange import Provider
from turnout.providers.registry import custom_row
from turnout.providers.transport import Transport
from turnout.routing.choosing import Chooser
from turnout.semantic import Embedder

if TYPE_CHECKING:
    from turnout.plugins import Embed

__all__ = ["Plugged", "chooser_of", "embedder_of"]

log = logging.getLogger("turnout")


class Plugged:
    """A provider's transport outlives a change of the config that says the same of it: requests may be open on it."""

    def __init__(self, http: Transport) -> None:
        self._http = http
        self._providers: list[tuple[str, ProviderConfig, Provider]] = []

    def provider(self, name: str, told: ProviderConfig) -> Provider:
        """The provider that a plug-in makes. Raises ConfigError."""
        for known, before, provider in self._providers:
            if (known, before) == (name, told):
                return provider
        from turnout.plugins import ProviderPlugin, ProviderSetup

        key, plugin = join(join("providers", name), "plugin"), told.plugin or ""
        if told.dialect or told.api_keys or told.endpoints:
            raise ConfigError(f"{key}: dialect, api_keys and endpoints are its own affair; leave them out", param=key)
        setup = ProviderSetup(
            name=name,
            options=told.options,
            api_key=told.api_key.reveal() if told.api_key else None,
            base_url=told.base_url,
            http=self._http,
        )
        make = load(ProviderPlugin, plugin, key).make
        parts = begun(lambda: make(setup), plugin, key)
        row = custom_row(name, apis_of(name, parts.dialect), told.base_url or f"http://{name}.invalid")
        provider = Provider(
            row=replace(row, models=parts.models, local=parts.local if told.local is None else told.local),
            api_key=setup.api_key,
            transport=parts.transport,
            signer=parts.signer,
            idle_timeout_s=told.idle_timeout_s,
        )
        self._providers.append((name, told, provider))
        return provider

    async def aclose(self) -> None:
        """Close what plug-ins opened; one that fails keeps no other from it."""
        for name, _, provider in self._providers:
            try:
                await provider.transport.aclose()
            except Exception:
                log.exception("the plug-in of provider %s did not close", name)
        self._providers.clear()


def chooser_of(told: RoutingConfig) -> Chooser | None:
    """Who has the last word on requests to `auto`; None for nobody. Raises ConfigError."""
    if told.plugin is None:
        return None
    from turnout.plugins import RouterPlugin, RouterSetup

    key = "routing.plugin"
    make = load(RouterPlugin, told.plugin, key).make
    return begun(lambda: make(RouterSetup(options=told.options)), told.plugin, key)


def embedder_of(told: SemanticRules | None) -> Embedder | None:
    """Who embeds questions in place of a provider's model; None where that does. Raises ConfigError."""
    if told is None or told.plugin is None:
        return None
    from turnout.plugins import EmbeddingPlugin, EmbeddingSetup

    key = "answers.semantic.plugin"
    make = load(EmbeddingPlugin, told.plugin, key).make
    return _Careful(begun(lambda: make(EmbeddingSetup(options=told.options)), told.plugin, key))


class _Careful:
    """An Embedder whose failures cost nobody an answer."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    async def __call__(self, call: Call, text: str) -> Sequence[float] | None:
        del call  # whoever asks, it costs nothing
        try:
            return await self._embed(text)
        except Exception:
            log.exception("the embedding plug-in failed; the question is asked as any other")
            return None
