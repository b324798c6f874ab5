"""One TOML file to a frozen, typed Config; every error names its key, the value and the fix."""

from __future__ import annotations

import difflib
import math
import os
import tomllib
import typing
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, field

from turnout.answers import AnswerRules
from turnout.catalog.models import Tier
from turnout.errors import ConfigError
from turnout.keys import Grant
from turnout.learning_rules import LearningRules, check_learning
from turnout.oidc_rules import OidcRules, check_oidc
from turnout.spend.brakes import Action, BrakeName
from turnout.spend.budgets import Match
from turnout.spend.periods import parse_period, parse_zone
from turnout.store_rules import StoreConfig, check_store

__all__ = [
    "BrakeLimits",
    "BrakesConfig",
    "BudgetConfig",
    "CacheConfig",
    "Config",
    "ContextConfig",
    "DeliveryConfig",
    "EndpointConfig",
    "KeyConfig",
    "ModeConfig",
    "ModelConfig",
    "PriceConfig",
    "PriceTierConfig",
    "PricesConfig",
    "ProviderConfig",
    "RatesConfig",
    "RoutingConfig",
    "Secret",
    "ServerConfig",
    "StoreConfig",
    "TelemetryConfig",
    "load_config",
    "nearest",
    "parse_config",
    "told_config",
]


MOST_USD = 1_000_000_000
"""No budget of a billion is meant; and nine zeros more must fit a database's integer."""


class Secret:
    """A value that never shows itself in a log, a repr or an error."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class OidcConfig(OidcRules, frozen=True, kw_only=True):
    """Sign-in to the console by an OpenID provider; needs turnout[oidc]. `client_secret` None: a public client."""

    client_secret: Secret | None = None


class ServerConfig(Struct, frozen=True, kw_only=True):
    """`max_body_bytes` bounds a request's body, `body_timeout_s` the seconds it may take to come; `max_concurrency` is
    how many requests are served at once, `queue_s` how long one more waits for its turn; `idle_reader_s` how long a
    caller may leave its answer unread. Told to end (SIGTERM), the gateway says so at /readyz and serves on for
    `drain_s`, until whoever spreads the load has seen it; then it takes nothing more, and streams may finish for
    `shutdown_grace_s`.
    `admin_key` opens /admin and /console once virtual keys exist; without it they stay shut then. `viewer_key` lets
    look and change nothing, `oidc` lets people sign in by name (docs/console.md)."""

    host: str = "127.0.0.1"
    port: int = 8787
    admin_key: Secret | None = None
    viewer_key: Secret | None = None
    oidc: OidcConfig | None = None
    max_body_bytes: int = 64 * 1024 * 1024
    body_timeout_s: float = 60.0
    max_concurrency: int = 2_000
    queue_s: float = 1.0
    idle_reader_s: float = 120.0
    drain_s: float = 0.0
    shutdown_grace_s: float = 10.0
    workers: int = 1


class KeyConfig(Grant, frozen=True, kw_only=True):
    """A virtual key that callers present; its table name is what appears in records. Further keys are made with
    `turnout keys create` (docs/keys.md)."""

    key: Secret


class EndpointConfig(Struct, frozen=True, kw_only=True):
    """A further region or account of a provider; what is left out is as in the provider's own table."""

    base_url: str | None = None
    api_key: Secret | None = None


class ProviderConfig(Struct, frozen=True, kw_only=True):
    """Overrides of a registry row, or a whole new host (then `dialect` and `base_url` are needed). `dialect` may name
    several wire formats that the host speaks. `api_keys` are further keys, `endpoints` further regions or accounts:
    load is spread over all, a session stays where its cache is. Timeouts in seconds; `first_byte_timeout_s` None: by
    the request's size (docs/delivery.md). `plugin` names an installed one that is asked instead, with `options`
    (docs/guides/plug-ins.md)."""

    dialect: str | tuple[str, ...] | None = None
    base_url: str | None = None
    api_key: Secret | None = None
    api_keys: tuple[Secret, ...] = ()
    endpoints: dict[str, EndpointConfig] = {}
    local: bool | None = None
    bills_after_cancel: bool | None = None
    first_byte_timeout_s: float | None = None
    idle_timeout_s: float = 120.0
    plugin: str | None = None
    options: dict[str, Any] = {}


class RatesConfig(Struct, frozen=True, kw_only=True):
    """USD per million tokens, as in every provider's price list."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None


class PriceTierConfig(RatesConfig, frozen=True, kw_only=True):
    """Prices of requests with more than `above_input_tokens` input tokens."""

    above_input_tokens: int


class PriceConfig(RatesConfig, frozen=True, kw_only=True):
    """`tiers`: prices by input; `batch`, `flex` and `priority`: what these service tiers cost, as a factor over the
    standard prices or in prices of their own."""

    tiers: tuple[PriceTierConfig, ...] = ()
    batch: Decimal | RatesConfig | None = None
    flex: Decimal | RatesConfig | None = None
    priority: Decimal | RatesConfig | None = None


class ModelConfig(Struct, frozen=True, kw_only=True):
    """What the catalogue does not know of a model, or should see otherwise; the table is named `"provider/model"`.
    `tier`: for whom `auto` takes it; `upstream_model`: its name at the provider, where that is another; `tools`,
    `vision`, `files`, `audio`, `json_schema` and `reasoning`: whether it takes them. `cache_repair` False: nothing is
    put into requests to it for the provider's cache."""

    tier: Tier | None = None
    upstream_model: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    files: bool | None = None
    audio: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    price: PriceConfig | None = None
    cache_repair: bool = True


class ModeConfig(Struct, frozen=True, kw_only=True):
    """What a declared mode stands for: a model name in any form the API takes, and an effort word."""

    model: str
    effort: str | None = None


class RoutingConfig(Struct, frozen=True, kw_only=True):
    """`quality`: share of the best model's expected success that must be kept (0..1).
    `baseline`: the model that savings are reported against. `short_prompt_tokens`: what `auto` takes for a simple
    question by its size alone; left out, the predictor tells (docs/learning.md). `predictor`: the folder of one that
    `turnout train` fitted, in place of the packaged. `second_usd`: what a second of waiting is worth to a caller
    who waits (`x-turnout-latency: interactive`), in the choice among models of one tier. `detours`: routine steps of a
    session that `auto` keeps on a dear model may go to a small one where both caches' state says that it pays.
    `cascade`: a small model is asked first where its answer can be checked and that is expected to be cheaper
    (docs/probes.md). `plugin` names a router that has the last word on `auto`, with `options`
    (docs/guides/plug-ins.md)."""

    default: str = "auto"
    quality: float = 0.95
    baseline: str | None = None
    short_prompt_tokens: int | None = None
    predictor: str | None = None
    second_usd: Decimal = Decimal("0.0002")
    detours: bool = False
    cascade: bool = False
    plugin: str | None = None
    options: dict[str, Any] = {}


class DeliveryConfig(Struct, frozen=True, kw_only=True):
    """How hard an answer is tried for (docs/delivery.md). Seconds: `timeout_s` for a whole answer, `max_wait_s` for a
    provider that asks to be left alone. `retries` at the same place, `retry_share` of all requests at most.
    `content_refusal`: hand a model's refusal back, or ask another model. `hedge`: a second call when the first is slow.
    `continue_streams`: another model finishes a text whose stream died."""

    timeout_s: float = 1800.0
    max_wait_s: float = 10.0
    max_attempts: int = 8
    retries: int = 2
    retry_share: float = 0.2
    content_refusal: Literal["return", "fallback"] = "return"
    hedge: bool = False
    continue_streams: bool = False


class CacheConfig(Struct, frozen=True, kw_only=True):
    """What is done so that providers' prompt caches are read (docs/caching.md). `repair`: marks for callers that set
    none, and the session's name for providers that ask for it; `ttl`: how long what is marked is kept."""

    repair: bool = True
    ttl: Literal["5m", "1h"] = "5m"


class BudgetConfig(Struct, frozen=True, kw_only=True):
    """`period`: day, week (from Monday), month, from 00:00 in `timezone`; lifetime; or a rolling window (`24h`, `30d`).
    `on_exhausted`: `small` leaves the last `small_reserve_usd` (default: a twentieth) to small models, `warn` is a soft
    budget that never refuses. `alerts` are shares of the amount, told in the log and by a POST to `webhook`.
    `pacing`: `thrift` spends less dearly where the money would not last, `strict` may also queue and pause before it is
    used up, `off` does neither (docs/spend.md)."""

    amount_usd: Decimal
    period: str = "month"
    timezone: str = "UTC"
    match: Match = Match()
    on_exhausted: Literal["pause", "small", "block", "warn"] = "block"
    small_reserve_usd: Decimal | None = None
    alerts: tuple[float, ...] = (0.5, 0.8, 1.0)
    webhook: Secret | None = None
    pacing: Literal["off", "thrift", "strict"] = "thrift"


class BrakeLimits(Struct, frozen=True, kw_only=True):
    """Limits on one session, 0: none; left out: as for everybody. `max_session_usd`, `max_session_steps` and
    `max_session_tokens`: of all its requests; `calls_per_second`: over ten seconds; `repeat_call`: how often a tool may
    be called with the same arguments and give the same result; `cycle`: rounds of one to five calls; `tool_errors`:
    failures of one tool in a row; `no_progress`: results in a row that had all been seen; `cost_p99`: how many times
    what 99 of 100 sessions of the same feature cost. `actions` says what each brake does (docs/spend.md)."""

    max_session_usd: Decimal | None = None
    max_session_steps: int | None = None
    max_session_tokens: int | None = None
    calls_per_second: float | None = None
    repeat_call: int | None = None
    cycle: int | None = None
    tool_errors: int | None = None
    no_progress: int | None = None
    cost_p99: float | None = None
    actions: dict[BrakeName, Action] = {}


class BrakesConfig(BrakeLimits, frozen=True, kw_only=True):
    """Limits for everybody. `features` and `keys` hold other limits for sessions of one feature (tag) or key; `note`
    tells the model itself, too, of a warning."""

    note: bool = False
    features: dict[str, BrakeLimits] = {}
    keys: dict[str, BrakeLimits] = {}


class ContextConfig(Struct, frozen=True, kw_only=True):
    """`report`: look at what conversations carry for nothing, for `GET /admin/sessions/ID/context` (docs/context.md).
    No request is changed."""

    report: bool = False


class PricesConfig(Struct, frozen=True, kw_only=True):
    """`refresh`: fetch newer list prices from `url` (genai-prices' own table) every so many hours while the gateway
    runs. They are kept beside the ledger and hold for requests after; without it nothing is fetched."""

    refresh: bool = False
    url: str = "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data.json"
    every_hours: float = 24.0


class TelemetryConfig(Struct, frozen=True, kw_only=True):
    """What the gateway tells of itself (docs/telemetry.md). `log`: lines for people, or JSON with one line a request.
    `webhook` is told of every budget alert and of sessions that a brake holds; `webhook_secret` signs what any webhook
    is sent. `otel`: traces and metrics to an OpenTelemetry collector, at `otlp_endpoint` with `otlp_headers`, else
    where the usual `OTEL_EXPORTER_OTLP_*` variables say; `capture_content` sends prompts and answers along."""

    log: Literal["text", "json"] = "text"
    webhook: Secret | None = None
    webhook_secret: Secret | None = None
    otel: bool = False
    otlp_endpoint: str | None = None
    otlp_headers: dict[str, Secret] = {}
    capture_content: bool = False


class Config(Struct, frozen=True, kw_only=True):
    """The whole of a config. `modes` are labels that agents declare, each with a model or tier in any form the API
    takes (`"tier/small"`), or a table; `aliases` are further names of models; `fallbacks` say who answers, in which
    order, when a model's every place fails."""

    server: ServerConfig = ServerConfig()
    keys: dict[str, KeyConfig] = {}
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, ModelConfig] = {}
    modes: dict[str, str | ModeConfig] = {}
    aliases: dict[str, str] = {}
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    fallbacks: dict[str, tuple[str, ...]] = {}
    delivery: DeliveryConfig = DeliveryConfig()
    cache: CacheConfig = CacheConfig()
    budgets: dict[str, BudgetConfig] = {}
    brakes: BrakesConfig = BrakesConfig()
    answers: AnswerRules = AnswerRules()
    store: StoreConfig = StoreConfig()
    prices: PricesConfig = PricesConfig()
    context: ContextConfig = ContextConfig()
    learning: LearningRules = LearningRules()
    telemetry: TelemetryConfig = TelemetryConfig()


def load_config(path: str | Path, env: Mapping[str, str] | None = None) -> Config:
    """The config in the file at `path`. Raises ConfigError that names the file, the key and the fix."""
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such config file; write one or leave out --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from None
    try:
        return parse_config(text, os.environ if env is None else env)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}", param=error.param) from None


def parse_config(text: str, env: Mapping[str, str]) -> Config:
    """The config in a TOML text. `env` is where `env:NAME` values are looked up."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}") from None
    return told_config(raw, env)


def told_config(raw: Mapping[str, object], env: Mapping[str, str]) -> Config:
    """The same from the tables themselves, as a program may write them."""
    resolved = resolve_env(dict(raw), env, "")
    check_keys(resolved, Config, "")
    try:
        config = msgspec.convert(resolved, Config, dec_hook=decode_special)
    except msgspec.ValidationError as error:
        raise ConfigError(f"wrong value: {error}") from None
    check_values(config)
    return config


def decode_special(kind: type, value: object) -> object:
    """Secrets from strings; msgspec knows the rest."""
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(kind)


def resolve_env(value: Any, env: Mapping[str, str], path: str) -> Any:
    """`value` with every `env:NAME` string replaced by that variable, and floats as exact decimal text
    where money is meant (msgspec reads a Decimal from the float's shortest form)."""
    if isinstance(value, dict):
        table = typing.cast("dict[str, Any]", value)
        return {k: resolve_env(v, env, join(path, k)) for k, v in table.items()}
    if isinstance(value, list):
        return [resolve_env(v, env, f"{path}[{i}]") for i, v in enumerate(typing.cast("list[Any]", value))]
    if isinstance(value, str) and value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in env:
            raise ConfigError(
                f'{path} = "env:{name}": the environment variable {name} is not set; set it or remove {path}',
                param=path,
            )
        return env[name]
    return value


def join(path: str, key: str) -> str:
    """The dotted TOML path of `key` below `path`, quoted where TOML needs it."""
    bare = all(c.isalnum() or c in "_-" for c in key) and key
    return f"{path}.{key if bare else chr(34) + key + chr(34)}".lstrip(".")


def nearest(word: str, known: typing.Iterable[str]) -> list[str]:
    """Up to three known words that look like `word`, best first."""
    return difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)


def check_keys(raw: object, kind: Any, path: str) -> None:
    """Raise ConfigError for the first key of `raw` that the type `kind` does not have, or whose value does not
    fit: msgspec alone would name the place, but neither the value nor a near key."""
    if isinstance(raw, dict):
        table = typing.cast("dict[str, object]", raw)
        if get_origin(kind) is dict:
            for key, value in table.items():
                check_keys(value, get_args(kind)[1], join(path, key))
            return
        for option in (kind, *get_args(kind)):
            if isinstance(option, type) and issubclass(option, Struct):
                check_fields(table, option, path)
                return
    if isinstance(raw, list) and get_origin(kind) is tuple and is_table(get_args(kind)[0]):
        for i, value in enumerate(typing.cast("list[object]", raw)):
            check_keys(value, get_args(kind)[0], f"{path}[{i}]")
        return
    if path:
        check_leaf(raw, kind, path)


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def check_fields(table: dict[str, object], kind: type[Struct], path: str) -> None:
    hints = get_type_hints(kind)
    for key, value in table.items():
        if key not in hints:
            close = nearest(key, hints)
            hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(sorted(hints))}"
            secret = is_secret(hints[close[0]]) if close else True
            told = shown(value, secret=secret)
            raise ConfigError(f"unknown key {join(path, key)} = {told}; {hint}", param=join(path, key))
        check_keys(value, hints[key], join(path, key))


def check_leaf(value: object, kind: Any, path: str) -> None:
    try:
        msgspec.convert(value, kind, dec_hook=decode_special)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} = {shown(value, secret=is_secret(kind))}: {error}", param=path) from None


def is_secret(kind: Any) -> bool:
    return kind is Secret or Secret in get_args(kind)


def shown(value: object, *, secret: bool = False) -> str:
    """A value for an error message: short, no table's content, and nothing that may be a key."""
    if secret and isinstance(value, str):
        return '"***"'
    return "{...}" if isinstance(value, (dict, list)) else msgspec.json.encode(value, enc_hook=str).decode()[:60]


def check_values(config: Config) -> None:
    """What types alone cannot say. Raises ConfigError."""
    if not 0 <= config.routing.quality <= 1:
        raise ConfigError(
            f"routing.quality = {config.routing.quality}: must lie between 0 and 1", param="routing.quality"
        )
    _check_server(config.server)
    _check_sign_in(config.server)
    for name, key in config.keys.items():
        check_key(join("keys", name), key)
    _check_delivery(config.delivery)
    _check_answers(config.answers)
    _check_names(config)
    check_learning(config.learning.shadow, config.learning.judge)
    for name, budget in config.budgets.items():
        check_budget(join("budgets", name), budget)
    if config.brakes.repeat_call == 1:
        raise ConfigError("brakes.repeat_call = 1: the first call repeats nothing; use 2 or more, or 0 for no limit")
    if config.prices.every_hours < 1:
        raise ConfigError(
            f"prices.every_hours = {config.prices.every_hours}: must be at least 1", param="prices.every_hours"
        )
    if config.learning.keep_days < 1:
        raise ConfigError(
            f"learning.keep_days = {config.learning.keep_days}: must be at least 1; enabled = false records nothing",
            param="learning.keep_days",
        )
    check_store(config.store)


def _check_server(told: ServerConfig) -> None:
    if not 0 <= told.port <= 65535:
        raise ConfigError(f"server.port = {told.port}: must lie between 0 and 65535", param="server.port")
    for name, value in (("drain_s", told.drain_s), ("shutdown_grace_s", told.shutdown_grace_s)):
        if not 0 <= value < math.inf:
            key = f"server.{name}"
            raise ConfigError(f"{key} = {value}: must be a number of seconds, 0 or more", param=key)


def check_key(path: str, told: Grant) -> None:
    """Raises ConfigError for limits and times that mean nothing."""
    for name, value in (("rpm", told.rpm), ("tpm", told.tpm), ("max_concurrency", told.max_concurrency)):
        if value is not None and not 1 <= value <= 10**12:
            raise ConfigError(f"{path}.{name} = {value}: must be at least 1", param=f"{path}.{name}")
    if told.expires is not None and told.expires.tzinfo is None:
        raise ConfigError(f"{path}.expires = {told.expires}: has no time zone; end it with Z for UTC", param=path)


def _check_sign_in(told: ServerConfig) -> None:
    if told.oidc is None:
        return
    check_oidc(told.oidc)
    if told.admin_key is None:  # without any key everybody is an admin
        raise ConfigError("server.oidc needs server.admin_key beside it", param="server.admin_key")


def _check_delivery(told: DeliveryConfig) -> None:
    for name, value, least in (
        ("timeout_s", told.timeout_s, 1),
        ("max_wait_s", told.max_wait_s, 0),
        ("max_attempts", told.max_attempts, 1),
        ("retries", told.retries, 0),
        ("retry_share", told.retry_share, 0),
    ):
        if value < least:
            raise ConfigError(f"delivery.{name} = {value}: must be at least {least}", param=f"delivery.{name}")


def _check_answers(told: AnswerRules) -> None:
    for name, value in (("ttl_s", told.ttl_s), ("max_bytes", told.max_bytes)):
        if value < 1:
            key = f"answers.{name}"
            raise ConfigError(f"{key} = {value}: must be at least 1; enabled = false turns the cache off", param=key)
    if told.semantic is not None and bool(told.semantic.model) == bool(told.semantic.plugin):
        key = "answers.semantic"
        raise ConfigError(f"{key}: needs either a model that embeds or a plugin, and not both", param=key)
    if told.semantic is not None and not 0 < told.semantic.threshold <= 1:
        key = "answers.semantic.threshold"
        raise ConfigError(f"{key} = {told.semantic.threshold}: is a cosine, above 0 and at most 1", param=key)


def check_budget(path: str, told: BudgetConfig) -> None:
    """Raises ConfigError for money, periods and shares that mean nothing."""
    for name, value in (("amount_usd", told.amount_usd), ("small_reserve_usd", told.small_reserve_usd)):
        if value is not None and not (value.is_finite() and 0 <= value <= MOST_USD):
            key = f"{path}.{name}"
            raise ConfigError(f"{key} = {value}: must lie between 0 and {MOST_USD:,}", param=key)
    parse_period(told.period, parse_zone(told.timezone, key=f"{path}.timezone"), key=f"{path}.period")
    for share in told.alerts:
        if not 0 < share <= 10:
            key = f"{path}.alerts"
            raise ConfigError(f"{key} = {share}: is a share of the amount, as 0.8", param=key)


def _check_names(config: Config) -> None:
    for name in config.providers:
        if "@" in name or "/" in name:
            raise ConfigError(f"{join('providers', name)}: a provider's name has no @ and no /", param=name)
    for name in config.models:
        if "/" not in name:
            raise ConfigError(f'models."{name}": a model is named provider/model', param=f'models."{name}"')
