"""Builds a running gateway's parts from a Config: the one place where everything meets. Closes them again."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import cache
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from turnout.alerts import Alerts
from turnout.background import Background
from turnout.budget_book import BudgetBook
from turnout.catalog.catalog import Catalog, read_table
from turnout.catalog.fleet import Fleet
from turnout.catalog.models import Deployment
from turnout.catalog.prices import (
    Price,
)
from turnout.config import (
    BrakeLimits,
    BrakesConfig,
    Config,
    ModeConfig,
    ProviderConfig,
    ServerConfig,
)
from turnout.delivery.attempts import Delivery
from turnout.delivery.board import Board
from turnout.delivery.deadlines import LONGEST_S
from turnout.delivery.retry import RetryBudget, RetryPolicy
from turnout.describing import Describer
from turnout.errors import ConfigError
from turnout.keys import Grant, Key, Keys, KeyStore
from turnout.learning import Learner
from turnout.leasing import Leasing, told_once
from turnout.memory import Memory
from turnout.money import nano
from turnout.peers import Peers
from turnout.pipeline import Pipeline, Rules
from turnout.places import has_key, places_of, provider_of
from turnout.plugged import Plugged, chooser_of, embedder_of
from turnout.predicting import predictor_for
from turnout.providers.discovery import discover_local
from turnout.providers.embedded import EMBEDDED_MODEL, EMBEDDED_ROW, EmbeddedTransport, available
from turnout.providers.exchange import Provider
from turnout.providers.http import HttpTransport
from turnout.providers.price_refresh import PriceSource
from turnout.providers.registry import PROVIDERS
from turnout.repair import RepairRules
from turnout.routing.affinity import SessionTable
from turnout.routing.calibration import TokenEstimator
from turnout.routing.habits import Habits
from turnout.routing.names import ModeTarget, Names
from turnout.routing.outlook import Foresight
from turnout.routing.rank import Router
from turnout.routing.volatile import PrefixWatch
from turnout.routing.warmth import Warmth
from turnout.semantic import Embedder
from turnout.server.auth import Keyring
from turnout.shadow import AT_ONCE, shadowing
from turnout.shared_state import SharedState
from turnout.sharing import AnswerCache
from turnout.spend.baseline import baseline_of
from turnout.spend.brakes import BRAKE_NAMES, DEFAULTS, Brake, BrakeName, BrakeRules, Brakes
from turnout.spend.budgets import Budgets
from turnout.spend.ledger import Ledger
from turnout.spend.pacing import Pacing
from turnout.spend.rates import Gates
from turnout.spend.runs import Runs
from turnout.store_rules import ALONE, StoreConfig
from turnout.stores.answers import MemoryAnswers
from turnout.stores.opening import Stores, beside, open_stores
from turnout.stores.shared.opening import open_shared
from turnout.streams import Drains

__all__ = [
    "Engine",
    "Extra",
    "State",
    "build_engine",
    "check_binding",
    "keyring_of",
    "open_state",
    "price_source",
]

log = logging.getLogger("turnout")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

OPEN_MARGIN_S = 60.0
"""Beyond the whole time of an answer: until its last byte is read and it has left its key's gate everywhere."""


class Extra(Struct, frozen=True, kw_only=True):
    """A provider that no config file names: the embedded model, or the demo's recorded one."""

    provider: Provider
    deployments: tuple[Deployment, ...]


class State(Struct, frozen=True, kw_only=True):
    """What outlives a change of the config: connections, books, sessions, health, and what was learnt."""

    http: HttpTransport
    memory: Memory
    board: Board
    embedded: Extra
    alerts: Alerts
    stores: Stores
    plugged: Plugged
    shared: SharedState | None = None

    async def start(self) -> None:
        """Meet the other gateways, if there are any. Raises ConfigError and NoCapacity."""
        if self.shared is not None:
            await self.shared.start()
        if self.memory.peers is not None:
            await self.memory.peers.start()

    async def aclose(self) -> None:
        """End connections and child processes; write what is not written yet."""
        memory = self.memory
        parts = (
            *(memory.background, memory.drains, memory.answers, self.alerts),
            *(self.plugged, self.embedded.provider.transport, self.http),
            *(part for part in (memory.peers, memory.leasing, self.shared) if part is not None),
        )
        async with AsyncExitStack() as closing:  # whatever one says, the others end too, and rows are written
            closing.callback(self.stores.close)
            for part in reversed(parts):
                closing.push_async_callback(part.aclose)


class Engine(Struct, frozen=True, kw_only=True):
    """A gateway's parts under one config. Requests that are open keep theirs when another takes over."""

    state: State
    fleet: Fleet
    names: Names
    router: Router
    pipeline: Pipeline
    keyring: Keyring
    budgets: BudgetBook
    extras: tuple[Extra, ...]
    server: ServerConfig

    @property
    def ledger(self) -> Ledger:
        return self.state.memory.ledger

    def price_of(self, deployment: str) -> Price | None:
        """The price of a deployment's id as it is now; None where it is not known."""
        found = self.fleet.find(deployment)
        return found[0].price if found else None

    async def aclose(self) -> None:
        for extra in self.extras:
            await extra.provider.transport.aclose()
        await self.state.aclose()


def open_state(config: Config, shared: SharedState | None = None) -> State:
    """What a gateway keeps for its whole life. Raises ConfigError where the store cannot be opened. `shared`: in place
    of what the config names."""
    gateway = shared.gateway if shared else None if config.store.shared == ALONE else f"gw-{secrets.token_hex(6)}"
    stores = open_stores(config.store, gateway, serving=True)
    try:
        return _state(config.store, stores, shared or _shared(config.store, stores, gateway))
    except BaseException:
        stores.close()
        raise


def _shared(store: StoreConfig, stores: Stores, gateway: str | None) -> SharedState | None:
    """What this gateway shares with others. Nobody can have money on lease where no request was ever settled; else an
    engine that knows of none may have lost it: how old the newest row is says nothing of what is open."""
    if gateway is None:
        return None
    return open_shared(store.shared, gateway, lease_s=store.lease_s, recently=bool(stores.ledger.recent(1)))


def _state(store: StoreConfig, stores: Stores, shared: SharedState | None) -> State:
    background, http = Background(at_once=AT_ONCE), HttpTransport()
    learner = Learner(stores.outcomes)
    learner.recall()
    alerts, habits = Alerts(http), Habits()
    on_alert = alerts.tell if shared is None else told_once(shared, background, alerts.tell)
    sessions, runs = SessionTable(clock=time.monotonic, on_end=habits.ended), Runs()
    board = Board(clock=time.monotonic, random=Random())  # noqa: S311 (chooses among equals)
    budgets = Budgets((), on_alert=on_alert, leased=shared is not None)
    return State(
        http=http,
        memory=Memory(
            ledger=stores.ledger,
            conversations=stores.conversations,
            sessions=sessions,
            foresight=Foresight(Warmth(), habits),
            tokens=TokenEstimator(),
            budgets=budgets,
            journal=stores.journal,
            runs=runs,
            pacing=Pacing(),
            gates=Gates(),
            drains=Drains(),
            prefixes=PrefixWatch(),
            answers=AnswerCache({"memory": MemoryAnswers(), "sqlite": stores.answers}, clock=time.time),
            learner=learner,
            background=background,
            gateway=shared.gateway if shared else None,
            peers=Peers(shared, sessions=sessions, runs=runs, board=board) if shared else None,
            leasing=None if shared is None else leasing_of(store, shared, budgets, stores),
        ),
        board=board,
        embedded=embedded_extra(http),
        alerts=alerts,
        stores=stores,
        plugged=Plugged(http),
        shared=shared,
    )


def leasing_of(store: StoreConfig, shared: SharedState, budgets: Budgets, stores: Stores) -> Leasing:
    """How a gateway leases the money of budgets that it shares."""
    return Leasing(
        shared,
        budgets,
        stores.ledger,
        stores.journal,
        open_when_lost=store.shared_lost == "open",
        lost_money=store.lost_money,
    )


async def build_engine(
    config: Config,
    env: Mapping[str, str],
    *,
    discover: bool = False,
    extras: Sequence[Extra] = (),
    state: State | None = None,
    shared: SharedState | None = None,
) -> Engine:
    """Everything a gateway needs. Raises ConfigError, and then nothing has changed.

    `discover`: no config file was given, so use what is there: providers whose key variables are set, else
    servers on loopback, else the embedded model. `state`: of the gateway whose config this one replaces. `shared`: in
    place of what the config names.
    """
    fresh = state is None
    state = state or open_state(config, shared)
    try:
        if fresh:
            await state.start()
        engine = await _build(config, env, discover=discover, extras=extras, state=state)
        if fresh and state.memory.leasing is not None:
            await state.memory.leasing.start()
    except BaseException:
        if fresh:
            await state.aclose()
        raise
    return engine


async def _build(
    config: Config, env: Mapping[str, str], *, discover: bool, extras: Sequence[Extra], state: State
) -> Engine:
    rows = dict(config.providers)
    if discover:
        rows |= {n: ProviderConfig() for n, row in PROVIDERS.items() if n not in rows and has_key(row, env)}
    providers = _providers(rows, env, state)
    prices = price_source(config)
    catalog = Catalog(read_table(prices.file)) if prices else Catalog.load()
    describe = Describer(config, catalog, providers)
    deployments = describe.configured()
    if discover:
        local = [r for r in PROVIDERS.values() if r.local and r.name not in providers]
        for found in await discover_local(local, state.http):
            providers[found.provider] = provider_of(found.provider, ProviderConfig(), env, state.http)
            deployments += [describe(found.provider, model) for model in found.models]
    embedded = (discover and not deployments and available()) or EMBEDDED_ROW.name in rows
    for extra in (*extras, *((state.embedded,) if embedded else ())):
        providers[extra.provider.row.name] = extra.provider
        deployments += [describe.overridden(d) for d in extra.deployments]
    fleet = Fleet(deployments, providers=tuple(providers), describe=describe, knows=describe.knows)
    names, keyring = _names(config, fleet), keyring_of(config, state.stores, env)
    _check_against(config, fleet)
    predictor = predictor_for(config.routing.predictor, fleet, state.memory.learner)
    router = Router(
        fleet,
        names,
        short_prompt_tokens=config.routing.short_prompt_tokens,
        predictor=predictor,
        quality=config.routing.quality,
        pace=state.board.pace,
        detours=config.routing.detours,
    )
    router.chooser, embedder = chooser_of(config.routing), embedder_of(config.answers.semantic)
    brakes, rules = _brake_rules(config.brakes), _rules(config, fleet)
    accounts = {name: places_of(provider, rows.get(name), env, state.http) for name, provider in providers.items()}
    book = BudgetBook(config, state.stores.budgets, state.memory)
    await book.take()
    # Nothing can fail from here on: what is shared with the engine before this one is changed now.
    state.board.accounts = {name: tuple(places) for name, places in accounts.items()}
    _follow(config, state, embedder)
    state.memory.learner.predictor = predictor
    return Engine(
        state=state,
        fleet=fleet,
        names=names,
        router=router,
        pipeline=Pipeline(
            router=router,
            providers={key: place for places in accounts.values() for key, place in places.items()},
            delivery=_delivery(config, providers, state.board),
            brakes=brakes,
            rules=rules,
            memory=state.memory,
        ),
        keyring=keyring,
        budgets=book,
        extras=tuple(extras),
        server=config.server,
    )


def _providers(rows: Mapping[str, ProviderConfig], env: Mapping[str, str], state: State) -> dict[str, Provider]:
    """Who is asked: plug-ins where the config names them, else our own. Raises ConfigError."""
    return {
        name: state.plugged.provider(name, told) if told.plugin else provider_of(name, told, env, state.http)
        for name, told in rows.items()
    }


def _follow(config: Config, state: State, embedder: Embedder | None) -> None:
    """Let what outlives a config go by this one."""
    state.memory.answers.rules, state.memory.answers.embedder = config.answers, embedder
    state.memory.learner.follow(config.learning)
    state.alerts.follow(config)
    state.memory.signals.on_brake = state.alerts.braked
    if state.shared is not None:
        state.shared.open_s = config.delivery.timeout_s + OPEN_MARGIN_S


def embedded_extra(http: HttpTransport) -> Extra:
    """The embedded small model as a provider: started at its first use."""
    provider = Provider(row=EMBEDDED_ROW, api_key=None, transport=EmbeddedTransport(http))
    return Extra(provider=provider, deployments=(EMBEDDED_MODEL,))


def price_source(config: Config) -> PriceSource | None:
    """Where newer prices come from and are kept; None where the config does not ask for them."""
    if not config.prices.refresh:
        return None
    return PriceSource(
        url=config.prices.url,
        file=beside(config.store, "prices.json"),
        every_s=config.prices.every_hours * 3600,
    )


def keyring_of(config: Config, stores: Stores, env: Mapping[str, str]) -> Keyring:
    """The keys of the config and the store."""
    configured = {
        name: (Key(name=name, **{field: getattr(told, field) for field in Grant.__struct_fields__}), told.key.reveal())
        for name, told in config.keys.items()
    }
    admin, viewer = (k.reveal() if k else None for k in (config.server.admin_key, config.server.viewer_key))
    return Keyring(configured, stores.keys, cache(lambda: stores.secret(env)), admin_key=admin, viewer_key=viewer)


def check_binding(config: Config, host: str, keys: KeyStore) -> None:
    """Raises ConfigError when a gateway without keys would listen beyond this machine."""
    if host not in LOOPBACK and not config.keys and not len(Keys(keys.all())):
        raise ConfigError(
            f"server.host = {host}: without keys the gateway listens on this machine alone; "
            "add [keys.NAME] to the config, or turnout keys create NAME",
            param="server.host",
        )


def _names(config: Config, fleet: Fleet) -> Names:
    modes = {
        name: ModeTarget(model=m.model, effort=m.effort) if isinstance(m, ModeConfig) else ModeTarget(model=m)
        for name, m in config.modes.items()
    }
    return Names(fleet, modes=modes, aliases=config.aliases, fallbacks=config.fallbacks, default=config.routing.default)


def _check_against(config: Config, fleet: Fleet) -> None:
    """What a config names must be there. Raises ConfigError; a fallback that leads nowhere is told of alone."""
    _check_semantic(config, fleet)
    for model, others in config.fallbacks.items():
        for name in (model, *others):
            if not fleet.find(name):
                near = fleet.near(name)
                hint = f"did you mean {', '.join(near)}?" if near else "set up its provider, or remove it"
                log.warning('fallbacks."%s": there is no model %s here, so it is passed over; %s', model, name, hint)


def _check_semantic(config: Config, fleet: Fleet) -> None:
    told = config.answers.semantic
    if told is not None and told.model and not fleet.find(told.model):
        near = fleet.near(told.model)
        hint = f"did you mean {', '.join(near)}?" if near else "name it as provider/model, and set up its provider"
        raise ConfigError(f"answers.semantic.model = {told.model}: there is no such model; {hint}", param=told.model)


def _brakes(told: BrakeLimits, under: dict[BrakeName, Brake] = DEFAULTS) -> Brakes:
    """What the config says of brakes, over what holds anyway; 0 takes one away."""
    brakes = dict(under)
    for name in BRAKE_NAMES:
        value = getattr(told, name)
        if value is not None:
            limit = nano(value) if isinstance(value, Decimal) else value
            brakes[name] = Brake(limit, "pause")
        if name in brakes and name in told.actions:
            brakes[name] = replace(brakes[name], action=told.actions[name])
    return Brakes(brakes={name: brake for name, brake in brakes.items() if brake.limit > 0})


def _brake_rules(told: BrakesConfig) -> BrakeRules:
    everybody = _brakes(told)
    return BrakeRules(
        everybody=everybody,
        features={name: _brakes(more, everybody.brakes) for name, more in told.features.items()},
        keys={name: _brakes(more, everybody.brakes) for name, more in told.keys.items()},
        note=told.note,
    )


def _rules(config: Config, fleet: Fleet) -> Rules:
    return Rules(
        timeout_s=config.delivery.timeout_s,
        second_nano_usd=nano(config.routing.second_usd),
        continue_streams=config.delivery.continue_streams,
        repair=RepairRules(
            on=config.cache.repair,
            ttl=config.cache.ttl,
            without=frozenset(name for name, told in config.models.items() if not told.cache_repair),
        ),
        context_report=config.context.report,
        cascade=config.routing.cascade,
        shadow=shadowing(config.learning, fleet),
        explore=config.learning.explore if config.learning.enabled else 0.0,
        baseline=baseline_of(fleet, config.routing.baseline),
    )


def _delivery(config: Config, providers: Mapping[str, Provider], board: Board) -> Delivery:
    told = config.delivery
    # A model on this machine may be slow without being ill, and going elsewhere costs money.
    patience = {name: LONGEST_S for name, provider in providers.items() if provider.row.local}
    patience |= {name: s for name, p in config.providers.items() if (s := p.first_byte_timeout_s) is not None}
    return Delivery(
        board=board,
        policy=RetryPolicy(
            max_attempts=told.max_attempts,
            max_retries=told.retries,
            max_wait_s=told.max_wait_s,
            refused_goes_on=told.content_refusal == "fallback",
        ),
        budget=RetryBudget(clock=time.monotonic, share=told.retry_share),
        random=Random(),  # noqa: S311 (jitter)
        patience=patience,
        hedge=told.hedge,
    )
