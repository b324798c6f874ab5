"""LiteLLM's config, as data, to the text of ours, with notes of what is not the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from turnout.config import parse_config
from turnout.errors import ConfigError, InvalidRequest
from turnout.newcomer.litellm.entries import Entry, mapping, read_entry
from turnout.newcomer.litellm.notes import Note, Notes
from turnout.newcomer.litellm.places import Offer, offer_of
from turnout.newcomer.litellm.settings import budget_of, convert_settings
from turnout.newcomer.litellm.variables import Variables
from turnout.toml_text import comment, toml_key, toml_text, toml_value

__all__ = ["Converted", "convert"]

ORDER = ("server", "keys", "routing", "delivery", "answers", "budgets", "telemetry")
"""Of the tables behind the models."""

NAMED = frozenset({"keys", "budgets"})
"""Tables of tables."""


class Converted(Struct, frozen=True, kw_only=True):
    """`text`: our config; it passes its check once the variables in `needed` are set."""

    text: str
    needed: tuple[str, ...]
    notes: tuple[Note, ...]
    models: int
    providers: int


def convert(told: Mapping[str, Any]) -> Converted:
    """The whole of it. Raises InvalidRequest where nothing of it could be taken over."""
    notes = Notes()
    variables = Variables(notes)
    offer = offer_of(_entries(told, notes), variables, notes)
    if not offer.providers:
        raise InvalidRequest("no model of its model_list has a counterpart here: " + _why(notes))
    tables = convert_settings(told, offer, variables, notes)
    _model_budgets(told, offer, tables)
    text = _text(offer, tables, notes.all())
    try:
        parse_config(text, dict.fromkeys(variables.needed, "unset"))
    except ConfigError as error:
        raise InvalidRequest(f"what came out is no valid config ({error.message}); please report this") from None
    return Converted(
        text=text,
        needed=tuple(variables.needed),
        notes=notes.all(),
        models=len(offer.models),
        providers=len(offer.providers),
    )


def _entries(told: Mapping[str, Any], notes: Notes) -> list[Entry]:
    listed = told.get("model_list")
    if not isinstance(listed, list):
        raise InvalidRequest("it has no model_list, so there is nothing to serve")
    named = cast("list[object]", told["credential_list"]) if isinstance(told.get("credential_list"), list) else []
    credentials = {
        str(one.get("credential_name")): mapping(one.get("credential_values")) for one in map(mapping, named)
    }
    found = [
        read_entry(one, f"model_list[{i}]", credentials, notes) for i, one in enumerate(cast("list[object]", listed))
    ]
    return [entry for entry in found if entry is not None]


def _model_budgets(told: Mapping[str, Any], offer: Offer, tables: dict[str, dict[str, Any]]) -> None:
    """Budgets of single deployments."""
    for one in map(mapping, told["model_list"]):
        params = mapping(one.get("litellm_params"))
        ids = offer.groups.get(str(one.get("model_name")), [])
        budget = budget_of(params.get("max_budget"), params.get("budget_duration"))
        if budget and ids:
            budgets = tables.setdefault("budgets", {})
            budgets[f"model-{len(budgets) + 1}"] = {**budget, "match": {"model": ids[0]}}


def _why(notes: Notes) -> str:
    return "; ".join(note.told for note in notes.all()[:3]) or "it is empty"


def _text(offer: Offer, tables: Mapping[str, Mapping[str, Any]], notes: Sequence[Note]) -> str:
    lines = ["# Made by `turnout import litellm`. What LiteLLM had and this has not stands at the end."]
    for name, table in offer.providers.items():
        lines += ["", f"[providers.{toml_key(name)}]", *_values(table)]
    for name, table in offer.models.items():
        lines += ["", f"[models.{toml_text(name)}]", *_values(table)]
    for title, plain in (("aliases", offer.aliases), ("fallbacks", offer.fallbacks)):
        if kept := {name: value for name, value in plain.items() if value}:
            lines += ["", f"[{title}]", *_values(kept)]
    for title in ORDER:
        if (table := tables.get(title)) is None:
            continue
        if title in NAMED:
            for name, inner in table.items():
                lines += ["", f"[{title}.{toml_key(name)}]", *_values(inner)]
        else:
            lines += ["", f"[{title}]", *_values(table)]
    lines += ["", *(comment(f"{note.kind}: {note.line}") for note in notes)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _values(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{toml_key(name)} = {toml_value(value)}"
