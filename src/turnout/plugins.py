"""What a plug-in is written against: the four kinds, and the parts of the house that they are made of.

A package names a variable that holds one of these kinds as an entry point of its `group`; the config names the entry
point; then, and not before, it is loaded (docs/guides/plug-ins.md has one worked example each).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.chat import Json
from turnout.context import Candidate
from turnout.errors import ConfigError, NoCapacity, UpstreamBroken, UpstreamFailure, UpstreamTimeout
from turnout.plugging import API, Plugin
from turnout.providers.signing import Signer
from turnout.providers.transport import Transport, UpstreamRequest, UpstreamResponse
from turnout.routing.choosing import Choice, Chooser, Question
from turnout.spend.ledger import Ledger, LedgerRow
from turnout.stores.opening import SqliteStores, Stores
from turnout.stores.sqlite import SqliteLedger

__all__ = [
    "API",
    "Candidate",
    "Choice",
    "Chooser",
    "ConfigError",
    "Deployment",
    "Embed",
    "EmbeddingPlugin",
    "EmbeddingSetup",
    "Ledger",
    "LedgerRow",
    "NoCapacity",
    "ProviderParts",
    "ProviderPlugin",
    "ProviderSetup",
    "Question",
    "RouterPlugin",
    "RouterSetup",
    "Signer",
    "SqliteLedger",
    "SqliteStores",
    "StorePlugin",
    "StoreSetup",
    "Stores",
    "Transport",
    "UpstreamBroken",
    "UpstreamFailure",
    "UpstreamRequest",
    "UpstreamResponse",
    "UpstreamTimeout",
]


class ProviderSetup(Struct, frozen=True, kw_only=True):
    """What the config says of a provider: its name there, its key and base_url where it has them, its `options`. `http`
    sends requests over the network as our own providers do: with it a plug-in opens no socket itself."""

    name: str
    options: Mapping[str, Json]
    api_key: str | None
    base_url: str | None
    http: Transport


class ProviderParts(Struct, frozen=True, kw_only=True):
    """A provider. `transport` takes requests in the wire format `dialect` and answers in it; it is closed with the
    gateway. Formats are openai-chat, openai-responses, anthropic-messages, gemini and bedrock-converse; of several the
    preferred is the first. `models` are what it has where the config names none. `local`: on this machine, not charged
    by the token."""

    transport: Transport
    dialect: str | tuple[str, ...] = "openai-chat"
    models: tuple[str, ...] = ()
    signer: Signer | None = None
    local: bool = False


class ProviderPlugin(Plugin, frozen=True, kw_only=True):
    """`[providers.NAME] plugin = "..."`. `make` raises ConfigError for options that mean nothing."""

    group: ClassVar[str] = "turnout.providers"

    make: Callable[[ProviderSetup], ProviderParts]


class RouterSetup(Struct, frozen=True, kw_only=True):
    """The table `[routing.options]`."""

    options: Mapping[str, Json]


class RouterPlugin(Plugin, frozen=True, kw_only=True):
    """`routing.plugin`. `make` is called when a config is taken, also anew."""

    group: ClassVar[str] = "turnout.routers"

    make: Callable[[RouterSetup], Chooser]


class StoreSetup(Struct, frozen=True, kw_only=True):
    """`url` as the config has it in `store.ledger`. `folder` is for files of a gateway that serves, None for a command
    that looks; `gateway` names the process where several share their state."""

    url: str
    folder: Path | None
    gateway: str | None


class StorePlugin(Plugin, frozen=True, kw_only=True):
    """`store.ledger = "NAME://..."`, where NAME is the entry point's. `make` opens nothing yet."""

    group: ClassVar[str] = "turnout.stores"

    make: Callable[[StoreSetup], Stores]


class EmbeddingSetup(Struct, frozen=True, kw_only=True):
    """The table `[answers.semantic.options]`."""

    options: Mapping[str, Json]


class Embed(Protocol):
    """The vector of a question; all of one length. Called on the event loop: what takes long belongs in a thread. What
    it raises is logged, and the question is asked as any other."""

    def __call__(self, text: str, /) -> Awaitable[Sequence[float]]: ...


class EmbeddingPlugin(Plugin, frozen=True, kw_only=True):
    """`answers.semantic.plugin`, in place of a `model` that a provider has."""

    group: ClassVar[str] = "turnout.embeddings"

    make: Callable[[EmbeddingSetup], Embed]
