"""One entry of `model_list` read: which model, at which place, with what key, at what price. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

from msgspec import Struct

from turnout.catalog.catalog import Catalog
from turnout.newcomer.litellm.hosts import HOSTS, NOT_HERE, Host
from turnout.newcomer.litellm.notes import Notes

__all__ = ["NO_KEYS", "OF_ENVIRONMENT", "Entry", "mapping", "plain_host", "read_entry"]

OF_ENVIRONMENT = "os.environ/"

NO_KEYS = frozenset({"", "none", "null", "empty", "any", "anything", "dummy", "fake", "fake-key", "na", "not-needed"})
"""What people write where a host takes no key."""

CHAT_MODES = frozenset({"", "chat", "responses", "embedding", "completion"})

CAPABILITIES: Mapping[str, str] = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_pdf_input": "files",
    "supports_audio_input": "audio",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
}

PRICES: Mapping[str, str] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
}

LEFT: Mapping[str, str] = {
    "rpm": "a provider's limits are learnt from its answers; callers are limited by keys.*.rpm",
    "tpm": "a provider's limits are learnt from its answers; callers are limited by keys.*.tpm",
    "max_parallel_requests": "as rpm; for a caller it is keys.*.max_concurrency",
    "weight": "among equals the quicker and less busy place is chosen",
    "timeout": "deadlines are for all (delivery.timeout_s) or by provider (first_byte_timeout_s)",
    "stream_timeout": "deadlines are for all (delivery.timeout_s) or by provider (first_byte_timeout_s)",
    "max_retries": "retries are for all: delivery.retries",
    "num_retries": "retries are for all: delivery.retries",
    "cooldown_time": "a place is left alone as long as its failures say (docs/delivery.md)",
    "tags": "say who may use what by keys.*.models, and what a call is for by modes",
    "organization": "send it as a header from the caller: openai-organization is handed on",
    "extra_headers": "headers are not set in the config; the caller's own are handed on where the host knows them",
    "extra_body": "a request's body is the caller's; put it there",
    "api_version": "the v1 API of Azure has no versions",
    "drop_params": "what a model cannot take is named in a warning, or refused where it matters (docs/formats.md)",
    "merge_reasoning_content_in_choices": "reasoning comes as the caller's API has it",
}

MEANT = frozenset(
    {"model", "api_key", "api_base", "base_url", "custom_llm_provider", "litellm_credential_name", "order"}
    | {"aws_region_name", "vertex_project", "vertex_location", "vertex_ai_project", "vertex_ai_location"}
    | {"max_budget", "budget_duration", "mock_response", *PRICES}
)
"""Parameters that are read here or where places are made."""

CREDENTIALS: Mapping[str, str] = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "aws_profile_name": "AWS_PROFILE",
    "vertex_credentials": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""Where each cloud's own library looks for them."""


class Entry(Struct, frozen=True, kw_only=True):
    """`group` is the name callers ask for. `wild`: all models of the host are meant."""

    path: str
    group: str
    prefix: str
    host: Host
    model: str
    params: Mapping[str, Any]
    info: Mapping[str, Any]
    order: int = 0

    @property
    def wild(self) -> bool:
        return self.model == "*"

    @property
    def base(self) -> str | None:
        told = _address(self.params)
        return told if isinstance(told, str) else None

    def settings(self) -> dict[str, Any]:
        """What the entry says of its model: our keys of `models.*`."""
        told: dict[str, Any] = {}
        for theirs, ours in (("max_input_tokens", "context_window"), ("max_output_tokens", "max_output_tokens")):
            value = self.info.get(theirs)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
                told[ours] = value
        told |= {ours: v for theirs, ours in CAPABILITIES.items() if isinstance(v := self.info.get(theirs), bool)}
        if price := _price({**self.info, **self.params}):
            told["price"] = price
        return told


def mapping(value: object) -> dict[str, Any]:
    """A mapping with names as keys; empty for anything else."""
    return {str(k): v for k, v in cast("dict[object, Any]", value).items()} if isinstance(value, dict) else {}


def read_entry(told: object, path: str, credentials: Mapping[str, Mapping[str, Any]], notes: Notes) -> Entry | None:
    """An entry, or None where nothing here is like it; the reason is noted."""
    whole = mapping(told)
    params, info = mapping(whole.get("litellm_params")), mapping(whole.get("model_info"))
    params = {**credentials.get(str(params.get("litellm_credential_name")), {}), **params}
    group, named = whole.get("model_name"), params.get("model")
    if not (isinstance(group, str) and isinstance(named, str) and group.strip() and named.strip()):
        notes.left(path, "it has no model_name or no litellm_params.model")
        return None
    mode = str(info.get("mode") or "")
    if mode not in CHAT_MODES:
        notes.left("model_info.mode", f"{mode[:30]} is no API of the gateway: chat and embeddings are")
        return None
    if "mock_response" in params:
        notes.left("litellm_params.mock_response", "no answer is made up; `turnout demo` shows one without a provider")
        return None
    found = _host(named, params)
    if isinstance(found, str):
        notes.left(path, f"{group[:60]}: {found}")
        return None
    prefix, host, model = found
    _note_rest(params, notes)
    order = params.get("order")
    return Entry(
        path=path,
        group=group,
        prefix=prefix,
        host=host,
        model=model,
        params=params,
        info=info,
        order=order if isinstance(order, int) and not isinstance(order, bool) else 0,
    )


def _host(named: str, params: Mapping[str, Any]) -> tuple[str, Host, str] | str:
    """The host, its prefix and the model's name there; or why there is none."""
    prefix, slash, rest = named.partition("/")
    told = params.get("custom_llm_provider")
    if isinstance(told, str) and told in HOSTS:
        prefix, rest = told, rest if slash and prefix == told else named
    elif not slash or prefix not in HOSTS:
        if prefix in NOT_HERE:
            return NOT_HERE[prefix]
        if slash and not _address(params):
            return f"no wire format of {prefix[:40]} is known here; name it as a provider, if it speaks one of ours"
        prefix, rest = _guessed(named), named
        if prefix is None:
            return "whose model it is cannot be told; write provider/model"
    host = HOSTS[prefix]
    for start in host.dropped:
        rest = rest.removeprefix(start)
    if not rest:
        return "it names no model"
    if _address(params) and prefix in {"openai", "custom_openai", "openai_like"}:
        host = Host(key=None if prefix != "openai" else host.key)
    elif host.provider is None and not (host.base_url or _address(params)):
        return "it has no api_base"
    return prefix, host, rest


def _address(params: Mapping[str, Any]) -> object:
    return params.get("api_base") or params.get("base_url")


def _guessed(named: str) -> str | None:
    """Whose model a bare name is, as LiteLLM would guess: by the list prices."""
    makers = {"openai": "openai", "anthropic": "anthropic", "google": "gemini"}
    return next((p for c, p in makers.items() if Catalog.load().price(c, named) is not None), None)


def _note_rest(params: Mapping[str, Any], notes: Notes) -> None:
    for name, value in params.items():
        path = f"litellm_params.{name[:60]}"
        if name in LEFT:
            notes.left(path, LEFT[name])
        elif variable := CREDENTIALS.get(name):
            if value != f"{OF_ENVIRONMENT}{variable}":
                notes.todo(path, f"set {variable} to it: the cloud's own library looks there")
        elif name not in MEANT:
            notes.left(path, "requests go out as the caller wrote them; set it there")


def _price(told: Mapping[str, Any]) -> dict[str, Decimal]:
    """USD per million tokens, from prices per token."""
    found: dict[str, Decimal] = {}
    for theirs, ours in PRICES.items():
        value = told.get(theirs)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                price = Decimal(str(value)) * 1_000_000
            except ArithmeticError:
                continue
            if price.is_finite() and 0 <= price < 1_000_000:
                found[ours] = price.normalize()
    return found if {"input", "output"} <= set(found) else {}


def plain_host(url: str) -> str:
    """A name for whoever answers at a URL: letters, digits and dashes."""
    try:
        parts = urlsplit(url)
        told = parts.netloc.rpartition("@")[2] or "host"
    except ValueError:
        told = "host"
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in told.lower()).strip("-")[:40]
    return name if name[:1].isalpha() else f"host-{name}".rstrip("-")
