"""The subset of OpenAPI schemas that `parameters` and `responseSchema` are written in, as JSON Schema.

Source: ai.google.dev/api/caching#Schema. Its types are upper-case, it has `nullable`, and counts may be strings.
"""

from __future__ import annotations

from typing import cast

from turnout.chat import Json
from turnout.dialects.gemini.spelling import camel

__all__ = ["as_json_schema"]

_OWN = frozenset({"propertyOrdering", "nullable"})
"""Keywords of this subset alone: `nullable` becomes a type, an ordering is nothing to other APIs."""

_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_ONE = frozenset({"items", "additionalProperties", "not"})
_MANY = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "$defs", "defs", "definitions"})


def as_json_schema(value: Json) -> Json:
    """`value` as other APIs read it; what is no schema at all is left as it is."""
    if not isinstance(value, dict):
        return value
    told = {camel(k): v for k, v in cast("dict[str, Json]", value).items()}
    out = {k: _keyword(k, v) for k, v in told.items() if k not in _OWN and v != "TYPE_UNSPECIFIED"}
    if told.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def _keyword(name: str, value: Json) -> Json:
    if name == "type":
        if isinstance(value, list):
            return [v.lower() if isinstance(v, str) else v for v in cast("list[Json]", value)]
        return value.lower() if isinstance(value, str) else value
    if name in _COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value)
    if name in _ONE:
        return as_json_schema(value)
    if name in _MANY and isinstance(value, list):
        return [as_json_schema(v) for v in cast("list[Json]", value)]
    if name in _NAMED and isinstance(value, dict):
        return {k: as_json_schema(v) for k, v in cast("dict[str, Json]", value).items()}
    return value
