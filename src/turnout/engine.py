"""Builds a running gateway's parts from a Config: the one place where everything meets. Closes them again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random

from msgspec import Struct, convert
from msgspec.structs import replace

from turnout.alerts import Alerts
from turnout.budget_book import BudgetBook
from turnout.catalog.catalog import Catalog, read_table
from turnout.catalog.fleet import Fleet
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
from turnout.config import (
    BrakeLimits,
    BrakesConfig,
    Config,
    ModeConfig,
    ModelConfig,
    PriceConfig,
    ProviderConfig,
    RatesConfig,
    ServerConfig,
    join,
    nearest,
)
from turnout.delivery.attempts import Delivery
from turnout.delivery.board import Board
from turnout.delivery.deadlines import LONGEST_S
from turnout.delivery.retry import RetryBudget, RetryPolicy
from turnout.errors import ConfigError
from turnout.keys import Grant, Key, Keys
from turnout.learning import Learner
from turnout.memory import Memory
from turnout.money import nano
from turnout.pipeline import Pipeline, Rules
from turnout.predicting import predictor_for
from turnout.providers.apis import APIS, Api
from turnout.providers.discovery import discover_local
from turnout.providers.embedded import EMBEDDED_MODEL, EMBEDDED_ROW, EmbeddedTransport, available
from turnout.providers.exchange import Provider
from turnout.providers.http import HttpTransport
from turnout.providers.price_refresh import PriceSource
from turnout.providers.registry import PROVIDERS, ProviderRow, base_variables, custom_row, filled_base
from turnout.providers.signing import SIGNERS
from turnout.repair import RepairRules
from turnout.routing.affinity import SessionTable
from turnout.routing.calibration import TokenEstimator
from turnout.routing.habits import Habits
from turnout.routing.names import ModeTarget, Names
from turnout.routing.outlook import Foresight
from turnout.routing.rank import Router
from turnout.routing.volatile import PrefixWatch
from turnout.routing.warmth import Warmth
from turnout.server.auth import Keyring
from turnout.shadow import shadowing
from turnout.sharing import AnswerCache
from turnout.spend.baseline import baseline_of
from turnout.spend.brakes import BRAKE_NAMES, DEFAULTS, Brake, BrakeName, BrakeRules, Brakes
from turnout.spend.budgets import Budgets
from turnout.spend.journal import MemoryJournal
from turnout.spend.ledger import Ledger
from turnout.spend.pacing import Pacing
from turnout.spend.rates import Gates
from turnout.spend.runs import Runs
from turnout.stores.answers import MemoryAnswers, SqliteAnswers
from turnout.stores.budgets import SqliteBudgets
from turnout.stores.conversations import SqliteConversations
from turnout.stores.journal import FileJournal
from turnout.stores.keys import SqliteKeys, server_secret
from turnout.stores.outcomes import SqliteOutcomes
from turnout.stores.schema import MEMORY
from turnout.stores.sqlite import SqliteLedger
from turnout.streams import Drains

__all__ = [
    "Engine",
    "Extra",
    "State",
    "build_engine",
    "check_binding",
    "keyring_of",
    "open_state",
    "price_of",
    "price_source",
]

log = logging.getLogger("turnout")

FREE = Price(input=0, output=0, cache_read=0, cache_write=0, source="local host, not charged by the token")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


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
    keys: SqliteKeys
    budgets: SqliteBudgets
    close_stores: Callable[[], None]

    async def aclose(self) -> None:
        """End connections and child processes; write what is not written yet."""
        await self.memory.background.aclose()
        await self.memory.drains.aclose()
        await self.memory.answers.aclose()
        await self.alerts.aclose()
        await self.embedded.provider.transport.aclose()
        await self.http.aclose()
        self.close_stores()


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


def open_state(config: Config) -> State:
    """What a gateway keeps for its whole life. Raises ConfigError where the store cannot be opened."""
    http = HttpTransport()
    file = config.store.ledger.removeprefix("sqlite:///")
    journal = MemoryJournal() if file == MEMORY else FileJournal(file)
    ledger = SqliteLedger(file, on_written=journal.forget)
    conversations, keys, budgets = SqliteConversations(file), SqliteKeys(file), SqliteBudgets(file)
    kept, outcomes = SqliteAnswers(file), SqliteOutcomes(file)
    learner = Learner(outcomes)
    learner.recall()

    alerts, habits = Alerts(http), Habits()

    def close_stores() -> None:
        for store in (ledger, journal, conversations, keys, budgets, kept, outcomes):
            store.close()

    return State(
        http=http,
        memory=Memory(
            ledger=ledger,
            conversations=conversations,
            sessions=SessionTable(clock=time.monotonic, on_end=habits.ended),
            foresight=Foresight(Warmth(), habits),
            tokens=TokenEstimator(),
            budgets=Budgets((), on_alert=alerts.tell),
            journal=journal,
            runs=Runs(),
            pacing=Pacing(),
            gates=Gates(),
            drains=Drains(),
            prefixes=PrefixWatch(),
            answers=AnswerCache({"memory": MemoryAnswers(), "sqlite": kept}, clock=time.time),
            learner=learner,
        ),
        board=Board(clock=time.monotonic, random=Random()),  # noqa: S311 (chooses among equals)
        embedded=embedded_extra(http),
        alerts=alerts,
        keys=keys,
        budgets=budgets,
        close_stores=close_stores,
    )


async def build_engine(
    config: Config,
    env: Mapping[str, str],
    *,
    discover: bool = False,
    extras: Sequence[Extra] = (),
    state: State | None = None,
) -> Engine:
    """Everything a gateway needs. Raises ConfigError, and then nothing has changed.

    `discover`: no config file was given, so use what is there: providers whose key variables are set, else
    servers on loopback, else the embedded model. `state`: of the gateway whose config this one replaces.
    """
    fresh = state is None
    state = state or open_state(config)
    try:
        return await _build(config, env, discover=discover, extras=extras, state=state)
    except BaseException:
        if fresh:
            await state.aclose()
        raise


async def _build(
    config: Config, env: Mapping[str, str], *, discover: bool, extras: Sequence[Extra], state: State
) -> Engine:
    rows = dict(config.providers)
    if discover:
        rows |= {n: ProviderConfig() for n, row in PROVIDERS.items() if n not in rows and _key_in(row, env)}
    providers = {name: _provider(name, override, env, state.http) for name, override in rows.items()}
    prices = price_source(config)
    catalog = Catalog(read_table(prices.file)) if prices else Catalog.load()
    describe = _Describer(config, catalog, providers)
    deployments = describe.configured()
    if discover:
        local = [r for r in PROVIDERS.values() if r.local and r.name not in providers]
        for found in await discover_local(local, state.http):
            providers[found.provider] = _provider(found.provider, ProviderConfig(), env, state.http)
            deployments += [describe(found.provider, model) for model in found.models]
    embedded = (discover and not deployments and available()) or EMBEDDED_ROW.name in rows
    for extra in (*extras, *((state.embedded,) if embedded else ())):
        providers[extra.provider.row.name] = extra.provider
        deployments += [describe.overridden(d) for d in extra.deployments]
    fleet = Fleet(deployments, providers=tuple(providers), describe=describe, knows=describe.knows)
    names = _names(config, fleet)
    _check_against(config, fleet)
    keyring = keyring_of(config, state.keys, env)
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
    brakes, rules = _brake_rules(config.brakes), _rules(config, fleet)
    accounts = {name: _accounts(provider, rows.get(name), env, state.http) for name, provider in providers.items()}
    book = BudgetBook(config, state.budgets, state.memory)
    # Nothing can fail from here on: what is shared with the engine before this one is changed now.
    state.board.accounts = {name: tuple(places) for name, places in accounts.items()}
    book.take()
    _follow(config, state)
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


def _follow(config: Config, state: State) -> None:
    """Let what outlives a config go by this one."""
    state.memory.answers.rules = config.answers
    state.memory.learner.follow(config.learning)
    state.alerts.follow(config)
    state.memory.signals.on_brake = state.alerts.braked


def embedded_extra(http: HttpTransport) -> Extra:
    """The embedded small model as a provider: started at its first use."""
    provider = Provider(row=EMBEDDED_ROW, api_key=None, transport=EmbeddedTransport(http))
    return Extra(provider=provider, deployments=(EMBEDDED_MODEL,))


def price_source(config: Config) -> PriceSource | None:
    """Where newer prices come from and are kept; None where the config does not ask for them."""
    if not config.prices.refresh:
        return None
    ledger = Path(config.store.ledger.removeprefix("sqlite:///"))
    return PriceSource(
        url=config.prices.url,
        file=ledger.with_name(ledger.name + ".prices.json"),
        every_s=config.prices.every_hours * 3600,
    )


def keyring_of(config: Config, store: SqliteKeys, env: Mapping[str, str]) -> Keyring:
    """The keys of the config and the store."""
    configured = {
        name: (Key(name=name, **{field: getattr(told, field) for field in Grant.__struct_fields__}), told.key.reveal())
        for name, told in config.keys.items()
    }
    ledger = config.store.ledger.removeprefix("sqlite:///")
    admin, viewer = (k.reveal() if k else None for k in (config.server.admin_key, config.server.viewer_key))
    return Keyring(configured, store, cache(lambda: server_secret(ledger, env)), admin_key=admin, viewer_key=viewer)


def check_binding(config: Config, host: str, keys: SqliteKeys) -> None:
    """Raises ConfigError when a gateway without keys would listen beyond this machine."""
    if host not in LOOPBACK and not config.keys and not len(Keys(keys.all())):
        raise ConfigError(
            f"server.host = {host}: without keys the gateway listens on this machine alone; "
            "add [keys.NAME] to the config, or turnout keys create NAME",
            param="server.host",
        )


def _key_in(row: ProviderRow, env: Mapping[str, str]) -> bool:
    return any(env.get(name) for name in row.key_env) and all(env.get(name) for name in base_variables(row))


def _provider(name: str, override: ProviderConfig, env: Mapping[str, str], http: HttpTransport) -> Provider:
    row = PROVIDERS.get(name) or (EMBEDDED_ROW if name == EMBEDDED_ROW.name else None)
    if row is None:
        if not override.dialect or override.base_url is None:
            near = nearest(name, PROVIDERS)
            hint = f"did you mean {near[0]}?" if near else "give it a dialect and a base_url"
            raise ConfigError(f"{join('providers', name)}: no provider of that name is known; {hint}", param=name)
        row = custom_row(name, _apis(name, override.dialect), override.base_url)
    row = replace(
        row,
        apis=_apis(name, override.dialect) or row.apis,
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


def _accounts(
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
        places[f"{name}@{place}"] = _provider(name, merged, env, http)
    return places


def _apis(name: str, told: str | tuple[str, ...] | None) -> tuple[Api, ...]:
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


class _Describer:
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
        return listed + [self(p, m) for p in self._providers if p not in told for m in default_models(p)]

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
    if told is not None and not fleet.find(told.model):
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
