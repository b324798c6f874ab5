"""LiteLLM's settings beside the models: what each is here, as data where it can be. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

from msgspec import Struct

from turnout.errors import ConfigError
from turnout.newcomer.litellm.entries import mapping
from turnout.newcomer.litellm.hosts import HOSTS
from turnout.newcomer.litellm.notes import Notes
from turnout.newcomer.litellm.places import Offer
from turnout.newcomer.litellm.variables import Variables
from turnout.spend.periods import parse_period, parse_zone

__all__ = ["budget_of", "convert_settings"]

Tables = dict[str, dict[str, Any]]

PERIODS: Mapping[str, str] = {
    "1d": "day",
    "24h": "day",
    "7d": "week",
    "1w": "week",
    "30d": "month",
    "1mo": "month",
}
"""`budget_duration` (docs.litellm.ai/docs/proxy/budget_reset_and_tz): these end at midnight, on Monday, on the 1st."""

HERE_ANYWAY: Mapping[str, str] = {
    "enable_pre_call_checks": "a model whose context window is too small is never asked",
    "redact_user_api_key_info": "keys are in no log",
    "disable_spend_logs": "the ledger is what budgets rest on",
    "store_model_in_db": "models are in the config, which is read again when it changes",
    "infer_model_from_keys": "models are in the config",
    "background_health_checks": "places are judged by their answers to real requests",
    "health_check_interval": "places are judged by their answers to real requests",
    "set_verbose": "turnout keeps the log short; a request's story is at /admin/requests/ID",
    "turn_off_message_logging": "no text of requests is logged",
}

NOT_HERE: Mapping[str, str] = {
    "drop_params": "what a model cannot take is named in a warning, or refused where it matters (docs/formats.md)",
    "modify_params": "requests are not changed beyond what another API needs (docs/formats.md)",
    "allowed_fails": "breakers open by three failures in a row or half of the calls (docs/delivery.md)",
    "allowed_fails_policy": "breakers open by three failures in a row or half of the calls (docs/delivery.md)",
    "cooldown_time": "a place is left alone for 2 s, doubled up to 120 s (docs/delivery.md)",
    "disable_cooldowns": "a place that is not well is tried last, not never",
    "retry_policy": "what follows each failure is fixed (docs/delivery.md); how often is delivery.retries",
    "routing_strategy": "among equals the quicker, less busy place is chosen; a session stays where its cache is",
    "routing_strategy_args": "as routing_strategy",
    "enable_tag_filtering": "say who may use what by keys.*.models, and what a call is for by modes",
    "max_fallbacks": "all stand-ins are tried, delivery.max_attempts at most",
    "stream_timeout": "providers.NAME.first_byte_timeout_s says how long a stream may take to begin",
    "database_url": "its tables are not read: make keys anew (turnout keys create); rows go to store.ledger",
    "custom_auth": "code of one's own does not run in the gateway; keys and OpenID do (docs/keys.md, docs/console.md)",
    "alerting_threshold": "slow answers are in /metrics: alert there",
    "litellm_license": "there is nothing to license",
    "guardrails": "texts are not inspected",
    "mcp_servers": "MCP is the agent's own affair",
    "vector_store_registry": "retrieval is the agent's own affair",
    "pass_through_endpoints": "only the paths of docs/http.md are served, so that budgets see everything",
    "prompts": "prompts are the caller's",
    "include": "files that it includes are not followed: join them first",
    "environment_variables": "set them where the gateway is started",
    "finetune_settings": "only chat, embeddings and token counts are served",
    "files_settings": "only chat, embeddings and token counts are served",
    "max_user_budget": 'make a budget for each: [budgets.NAME] match = { key = "NAME" }',
    "max_internal_user_budget": 'make a budget for each: [budgets.NAME] match = { key = "NAME" }',
    "default_team_settings": "teams are of keys (keys.*.team), budgets match them",
    "key_generation_settings": "keys are made by admins alone",
    "global_max_parallel_requests": "server.max_concurrency bounds all requests at once; 2,000 where it is left out",
}

CALLBACKS: Mapping[str, str] = {
    "prometheus": "is always there: /metrics (other names, docs/telemetry.md)",
    "langfuse": "takes OpenTelemetry: [telemetry] otel = true, otlp_endpoint = its /api/public/otel",
    "langsmith": "takes OpenTelemetry: [telemetry] otel = true, otlp_endpoint and otlp_headers as it says",
    "arize": "takes OpenTelemetry: [telemetry] otel = true, otlp_endpoint and otlp_headers as it says",
    "arize_phoenix": "takes OpenTelemetry: [telemetry] otel = true, otlp_endpoint as it says",
    "datadog": "takes OpenTelemetry: [telemetry] otel = true, otlp_endpoint = its agent",
    "slack": "[telemetry] webhook tells of budgets and held sessions",
}


def convert_settings(told: Mapping[str, Any], offer: Offer, variables: Variables, notes: Notes) -> Tables:
    """Tables of our config beside the offer. `told`: the whole of LiteLLM's file."""
    sections = {name: mapping(told.get(name)) for name in ("litellm_settings", "router_settings", "general_settings")}
    tables: Tables = {}
    for section, values in sections.items():
        for name, value in values.items():
            path = f"{section}.{name[:60]}"
            if name in _HANDLERS:
                _HANDLERS[name](value, _Here(path, sections, tables, offer, variables, notes))
            else:
                _say(path, name, notes)
    for name in told:
        if name not in {*sections, "model_list", "credential_list"}:
            _say(name[:60], name, notes)
    return tables


class _Here(Struct, frozen=True):
    """Where a setting stands, and what it may speak to."""

    path: str
    sections: Mapping[str, Mapping[str, Any]]
    tables: Tables
    offer: Offer
    variables: Variables
    notes: Notes

    def set(self, table: str, **values: Any) -> None:
        self.tables.setdefault(table, {}).update(values)


def budget_of(amount: object, duration: object, zone: object = None) -> dict[str, Any] | None:
    """A budget's amount and period; None for what is no amount, or no time that we know."""
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= 10**9:
        return None
    told: dict[str, Any] = {"amount_usd": Decimal(str(amount)), "period": "lifetime"}
    if isinstance(duration, str) and duration:
        told["period"] = PERIODS.get(duration, duration)
    if isinstance(zone, str) and zone:
        told["timezone"] = zone
    try:
        parse_period(told["period"], parse_zone(told.get("timezone", "UTC"), key="timezone"), key="period")
    except ConfigError:
        return None
    return told


def _say(path: str, name: str, notes: Notes) -> None:
    if name in HERE_ANYWAY:
        notes.left(path, f"needs no setting: {HERE_ANYWAY[name]}")
    else:
        notes.left(path, NOT_HERE.get(name, "there is nothing like it here"))


def _retries(value: object, here: _Here) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100:
        here.set("delivery", retries=value)


def _timeout(value: object, here: _Here) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 10**6:
        here.set("delivery", timeout_s=float(value))
        here.notes.changed(here.path, "it bounds the whole of a request, stand-ins and stream included")


def _fallbacks(value: object, here: _Here) -> None:
    for group, names in _pairs(value):
        ids = here.offer.groups.get(group, [])
        targets = _targets(names, here)
        if not ids:
            here.notes.left(here.path, f"{group[:60]} is no model of the list that could be taken over")
        for made in ids:
            others = here.offer.fallbacks.setdefault(made, [])
            others.extend(t for t in targets if t not in others and t not in ids)


def _context_fallbacks(value: object, here: _Here) -> None:
    _fallbacks(value, here)
    here.notes.changed(here.path, "stand-ins for every failure: of them the ones with larger windows are asked")


def _refusal_fallbacks(value: object, here: _Here) -> None:
    _fallbacks(value, here)
    here.set("delivery", content_refusal="fallback")
    here.notes.changed(here.path, "stand-ins for every failure, and for refusals: delivery.content_refusal")


def _default_fallbacks(value: object, here: _Here) -> None:
    targets = _targets(value, here)
    for ids in here.offer.groups.values():
        for made in ids:
            others = [t for t in targets if t not in ids]
            if others and not here.offer.fallbacks.get(made):
                here.offer.fallbacks[made] = others


def _aliases(value: object, here: _Here) -> None:
    for alias, told in mapping(value).items():
        target = told.get("model") if isinstance(told, dict) else told
        if isinstance(target, str) and target in here.offer.groups:
            here.offer.aliases.setdefault(alias, here.offer.aliases.get(target, target))
        else:
            here.notes.left(here.path, f"{alias[:60]}: what it stands for is no model of the list")


def _budget(value: object, here: _Here) -> None:
    section = here.sections["litellm_settings"]
    if budget := budget_of(value, section.get("budget_duration"), section.get("timezone")):
        here.set("budgets", all=budget)
    elif value is not None:
        here.notes.left(
            here.path, "its amount, budget_duration or timezone cannot be read; write [budgets.all] by hand"
        )


def _provider_budgets(value: object, here: _Here) -> None:
    for name, told in mapping(value).items():
        found = mapping(told)
        budget = budget_of(found.get("budget_limit") or found.get("max_budget"), found.get("time_period"))
        ours = (name in HOSTS and HOSTS[name].provider) or name
        if budget and ours in here.offer.providers:
            here.set("budgets", **{f"provider-{ours}": {**budget, "match": {"provider": ours}}})
        else:
            here.notes.left(here.path, f"{name[:60]}: no amount, or no provider of the list")


def _cache(value: object, here: _Here) -> None:
    params = mapping(here.sections["litellm_settings"].get("cache_params"))
    if value is not True:
        return
    if params.get("mode") == "default_off":
        here.notes.left(
            here.path, "a cache for those alone who ask for it: answers.enabled is for all, and may be refused"
        )
        return
    kind = str(params.get("type") or "local")
    here.set("answers", enabled=True, any_temperature=True, store="memory" if kind == "local" else "sqlite")
    ttl = params.get("ttl")
    if isinstance(ttl, int | float) and not isinstance(ttl, bool) and 1 <= ttl < 10**9:
        here.set("answers", ttl_s=float(ttl))
    if kind != "local":
        here.notes.changed("cache_params.type", "answers are kept in the ledger's file")
    here.notes.changed(here.path, 'each key has its own answers; answers.scope = "all" shares them as LiteLLM does')
    model = params.get("qdrant_semantic_cache_embedding_model") or params.get("redis_semantic_cache_embedding_model")
    if "semantic" in kind and isinstance(model, str) and here.offer.groups.get(model):
        threshold = params.get("similarity_threshold")
        told = float(threshold) if isinstance(threshold, int | float) and 0 < threshold <= 1 else 0.95
        here.set("answers", semantic={"model": here.offer.groups[model][0], "threshold": told})


def _callbacks(value: object, here: _Here) -> None:
    for name in cast("list[object]", value if isinstance(value, list) else [value]):
        told = str(name)[:40]
        if told == "otel":
            here.set("telemetry", otel=True)
            here.notes.todo(here.path, "otel: pip install 'turnout[otel]'; OTEL_EXPORTER_OTLP_* say where to")
        else:
            here.notes.left(here.path, f"{told}: {CALLBACKS.get(told, 'code of others does not run in the gateway')}")


def _json_logs(value: object, here: _Here) -> None:
    if value is True:
        here.set("telemetry", log="json")


def _alerting(value: object, here: _Here) -> None:
    if isinstance(value, list) and "slack" in value:
        here.set("telemetry", webhook=here.variables.name("SLACK_WEBHOOK_URL"))
        here.notes.changed(here.path, "slack is told of budgets and held sessions, and of nothing else")


def _master_key(value: object, here: _Here) -> None:
    if key := here.variables.secret(value, here.path, "LITELLM_MASTER_KEY"):
        here.set("server", admin_key=key)
        here.set("keys", master={"key": key})
        here.notes.changed(here.path, "opens the API and /admin; keys made in LiteLLM's database are made anew")


def _redis(_: object, here: _Here) -> None:
    here.notes.left(
        here.path, 'several gateways share by [store] shared = "valkey://..." (docs/guides/scale.md); one needs nothing'
    )


def _nothing(value: object, here: _Here) -> None:
    """Read with another setting."""


_HANDLERS: Mapping[str, Callable[[object, _Here], None]] = {
    "num_retries": _retries,
    "timeout": _timeout,
    "request_timeout": _timeout,
    "fallbacks": _fallbacks,
    "context_window_fallbacks": _context_fallbacks,
    "content_policy_fallbacks": _refusal_fallbacks,
    "default_fallbacks": _default_fallbacks,
    "model_group_alias": _aliases,
    "max_budget": _budget,
    "budget_duration": _nothing,
    "timezone": _nothing,
    "provider_budget_config": _provider_budgets,
    "cache": _cache,
    "cache_params": _nothing,
    "success_callback": _callbacks,
    "failure_callback": _callbacks,
    "callbacks": _callbacks,
    "service_callbacks": _callbacks,
    "json_logs": _json_logs,
    "alerting": _alerting,
    "master_key": _master_key,
    "redis_host": _redis,
    "redis_port": _nothing,
    "redis_password": _nothing,
    "redis_url": _redis,
    "redis_db": _nothing,
}


def _pairs(value: object) -> Iterator[tuple[str, object]]:
    """`[{"a": ["b"]}, ...]`, which some write as one mapping."""
    for one in cast("list[object]", value if isinstance(value, list) else [value]):
        yield from mapping(one).items()


def _targets(names: object, here: _Here) -> list[str]:
    """Ids of the models that names of groups, or of deployments, stand for."""
    found: list[str] = []
    for name in cast("list[object]", names if isinstance(names, list) else [names]):
        ids = here.offer.groups.get(str(name)) or [i for i in (here.offer.ids.get(str(name)),) if i]
        if not ids:
            told = f"{str(name)[:60]} is no model of the list" if isinstance(name, str) else "only names can stand in"
            here.notes.left(here.path, told)
        found.extend(made for made in ids if made not in found)
    return found
