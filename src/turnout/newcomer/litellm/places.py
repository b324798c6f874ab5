"""`model_list` as providers, models, aliases and stand-ins. Pure.

LiteLLM's group is a name behind which deployments are exchanged at random. Here a name may mean one model at several
places, among which the load is spread; different models behind one name stand in for each other in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from turnout.catalog.catalog import Catalog
from turnout.catalog.known import tier_of
from turnout.catalog.prices import Price
from turnout.newcomer.litellm.entries import OF_ENVIRONMENT, Entry, plain_host
from turnout.newcomer.litellm.notes import Notes
from turnout.newcomer.litellm.variables import Variables
from turnout.providers.registry import PROVIDERS

__all__ = ["Offer", "offer_of"]

PICO_PER_MILLION = 1_000_000
"""A price in pico-dollars a token, over this, is USD per million tokens."""

UNNAMED = frozenset({"vertex"})
"""Providers that cannot stand under another name: their paths are their own."""


class Offer(Struct, frozen=True, kw_only=True):
    """Tables of our config. `groups`: what each of LiteLLM's names came to; `ids` the same by `model_info.id`."""

    providers: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]
    aliases: dict[str, str]
    fallbacks: dict[str, list[str]]
    groups: dict[str, list[str]]
    ids: dict[str, str]


class _Place(Struct, kw_only=True):
    """One account at one address, and the entries that are asked there."""

    entry: Entry
    base: str | None
    key: str | None
    entries: list[Entry]
    name: str = ""

    @property
    def kind(self) -> str:
        """What its provider is called when it is the only one of its kind."""
        return self.entry.host.provider or (
            plain_host(self.base) if self.base and _is_url(self.base) else self.entry.prefix
        )

    @property
    def models(self) -> frozenset[str]:
        return frozenset(entry.model for entry in self.entries)


def offer_of(entries: Sequence[Entry], variables: Variables, notes: Notes) -> Offer:
    """All of them. What has no counterpart is noted."""
    places = _places(entries, variables, notes)
    providers, kept = _providers(places, notes)
    offer = Offer(providers=providers, models={}, aliases={}, fallbacks={}, groups={}, ids={})
    named = {id(entry): place.name for place in kept for entry in place.entries}
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if id(entry) in named:
            groups.setdefault(entry.group, []).append(entry)
    for group, members in groups.items():
        _group(group, sorted(members, key=lambda one: one.order), named, offer, notes)
    _spread(offer, notes)
    return offer


def _places(entries: Sequence[Entry], variables: Variables, notes: Notes) -> list[_Place]:
    found: dict[tuple[object, ...], _Place] = {}
    for entry in entries:
        host = entry.host
        base = _base(entry, variables, notes)
        told = entry.params.get("api_key")
        usual = host.key or f"{entry.prefix.upper().replace('-', '_')}_API_KEY"
        key = variables.secret(told, f"{entry.path}.litellm_params.api_key", usual)
        if told is None and host.key and not entry.base:
            key = variables.name(host.key)
        kind = (host.provider, base, key)
        found.setdefault(kind, _Place(entry=entry, base=base, key=key, entries=[])).entries.append(entry)
    return list(found.values())


def _base(entry: Entry, variables: Variables, notes: Notes) -> str | None:
    """Where it is, as our base_url has it; None: where the registry says."""
    told, suffix, params = entry.base, entry.host.suffix, entry.params
    if told is None:
        return entry.host.base_url or _cloud(params, variables, notes)
    if told.startswith(OF_ENVIRONMENT):
        name = variables.environment(told)
        if suffix and name:
            notes.todo("litellm_params.api_base", f"the value of {name.removeprefix('env:')} must end with {suffix}")
        return name
    told = told.strip().rstrip("/")
    if not _is_url(told):
        notes.todo("litellm_params.api_base", "it is no http or https URL; correct it")
    if suffix:
        told = told.partition("/openai")[0] if suffix.startswith("/openai") else told.removesuffix(suffix)
    return told + suffix


def _cloud(params: Mapping[str, Any], variables: Variables, notes: Notes) -> str | None:
    """Bedrock's and Vertex's regions, which are part of the address."""
    region = params.get("aws_region_name")
    if isinstance(region, str) and region.replace("-", "").isalnum():
        return f"https://bedrock-runtime.{region}.amazonaws.com"
    if isinstance(region, str) and region != f"{OF_ENVIRONMENT}AWS_REGION":
        notes.todo("litellm_params.aws_region_name", "set AWS_REGION to it")
        variables.needed.setdefault("AWS_REGION")
    project, location = (params.get(f"vertex_{n}") or params.get(f"vertex_ai_{n}") for n in ("project", "location"))
    if all(isinstance(one, str) and one.replace("-", "").isalnum() for one in (project, location)):
        prefix = "" if location == "global" else f"{location}-"
        return f"https://{prefix}aiplatform.googleapis.com/v1/projects/{project}/locations/{location}"
    if project or location:
        notes.todo("litellm_params.vertex_*", "set GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION to them")
    return None


def _providers(places: Sequence[_Place], notes: Notes) -> tuple[dict[str, dict[str, Any]], list[_Place]]:
    """A table for each kind of place: further keys and regions in it where they have the same models, else tables of
    their own."""
    tables: dict[str, dict[str, Any]] = {}
    first: dict[str, _Place] = {}
    kept: list[_Place] = []
    for place in places:
        kind, head = place.kind, first.get(place.kind)
        if head is None:
            place.name = kind
            first[kind] = place
            tables[kind] = _table(place, own_row=place.entry.host.provider is not None)
        elif head.models == place.models and place.key and head.base == place.base:
            place.name = head.name
            tables[head.name].setdefault("api_keys", []).append(place.key)
        elif head.models == place.models:
            place.name = head.name
            told = {"base_url": place.base, "api_key": place.key}
            endpoints = tables[head.name].setdefault("endpoints", {})
            endpoints[f"place{len(endpoints) + 2}"] = {k: v for k, v in told.items() if v is not None}
        elif kind in UNNAMED:
            notes.left(
                place.entry.path, "a second project or region of Vertex with other models; only the first is kept"
            )
            continue
        else:
            place.name = next(n for i in range(2, 10_000) if (n := f"{kind}-{i}") not in tables)
            tables[place.name] = _table(place, own_row=False)
        kept.append(place)
    return tables, kept


def _table(place: _Place, *, own_row: bool) -> dict[str, Any]:
    host = place.entry.host
    base = place.base
    if not own_row and base is None and host.provider:
        base = PROVIDERS[host.provider].base_url
    dialect = PROVIDERS[host.provider].dialect if host.provider else "openai-chat"
    told = {"dialect": None if own_row else dialect, "base_url": base, "api_key": place.key}
    return {name: value for name, value in told.items() if value is not None}


def _group(group: str, members: list[Entry], named: Mapping[int, str], offer: Offer, notes: Notes) -> None:
    """One of LiteLLM's names."""
    wild = [entry for entry in members if entry.wild]
    for entry in wild:
        name = named[id(entry)]
        if group not in {"*", f"{name}/*", f"{entry.prefix}/*"}:
            notes.left(entry.path, f"{group[:60]}: a pattern of one's own; ask for {name}/MODEL")
        elif group == f"{entry.prefix}/*" and entry.prefix != name:
            notes.changed(entry.path, f"ask for {name}/MODEL where it was {entry.prefix}/MODEL")
    members = [entry for entry in members if not entry.wild]
    tails = _tails(group, members, named)
    for entry, tail in zip(members, tails, strict=True):
        made = f"{named[id(entry)]}/{tail}"
        settings = _settings(entry, named[id(entry)], tail)
        offer.models[made] = {**offer.models.get(made, {}), **settings}
        ids = offer.groups.setdefault(group, [])
        if made not in ids:
            ids.append(made)
        if isinstance(told := entry.info.get("id"), str):
            offer.ids[told] = made


def _tails(group: str, members: Sequence[Entry], named: Mapping[int, str]) -> list[str]:
    """The models' names. Deployments of Azure that bear names of their own are one model, called as the group is."""
    own = [entry.model for entry in members]
    places = [named[id(entry)] for entry in members]
    distinct = len(set(places)) == len(members) > 1
    if distinct and len(set(own)) > 1 and all(entry.prefix == "azure" for entry in members):
        return [group] * len(members)
    return own


def _settings(entry: Entry, provider: str, tail: str) -> dict[str, Any]:
    """What our config must say of a model because the catalogue cannot know it by this name."""
    told: dict[str, Any] = {}
    base_model = entry.info.get("base_model")
    real = base_model.rpartition("/")[2] if isinstance(base_model, str) and base_model else entry.model
    if tail != entry.model:
        told["upstream_model"] = entry.model
    if tail != real and (tier := tier_of(real) or tier_of(tail)):
        told["tier"] = tier
    strange = provider != entry.host.provider or tail != real
    if strange and entry.host.catalogue:
        today, catalogue = datetime.now(UTC).date(), Catalog.load()
        names = (real, tail)
        price = next((p for n in names if (p := catalogue.price(entry.host.catalogue, n, today))), None)
        window = next((w for n in names if (w := catalogue.context_window(entry.host.catalogue, n))), None)
        told |= {"price": _usd(price)} if price and price.input else {}
        told |= {"context_window": window} if window else {}
    return {**told, **entry.settings()}


def _usd(price: Price) -> dict[str, Decimal]:
    fields = {name: getattr(price, name) for name in ("input", "output", "cache_read", "cache_write")}
    return {name: Decimal(value) / PICO_PER_MILLION for name, value in fields.items() if value is not None}


def _spread(offer: Offer, notes: Notes) -> None:
    """Names that callers know. One that is a model's own name at several places finds them all by itself."""
    for group, ids in offer.groups.items():
        upstream = {made: offer.models[made].get("upstream_model", made.partition("/")[2]) for made in offer.models}
        found = [made for made in offer.models if group in (upstream[made], made.partition("/")[2])]
        if len(ids) > 1 and set(found) == set(ids) and group.partition("/")[0] not in offer.providers:
            continue
        if group != ids[0]:
            offer.aliases[group] = ids[0]
        if len(ids) > 1:
            offer.fallbacks[ids[0]] = ids[1:]
            notes.changed(
                "model_list", f"{group[:60]}: {ids[0]} answers, the others of the group stand in for it, in order"
            )


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))
