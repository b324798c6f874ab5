"""What decides a price beside tokens: service tiers in one set of words, and cache writes that a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, cast

import msgspec
from msgspec import Raw

from turnout.chat import Json

__all__ = ["MARK_BYTES", "answers_in", "asked_cache", "has_hosted_tools", "tier_word", "wished_tier"]

_WORDS = {
    "": None,
    "auto": None,
    "unspecified": None,
    "default": "standard",
    "standard": "standard",
    "standard_only": "standard",
    "on_demand": "standard",
    "flex": "flex",
    "on_demand_flex": "flex",
    "batch": "batch",
    "priority": "priority",
    "on_demand_priority": "priority",
    "fast": "priority",
}
"""Providers' words for `Usage.service_tier`. OpenAI: auto, default, flex, priority, which it calls fast since July
2026 (openai.com/api-fast-mode); Anthropic: auto, standard_only, standard, priority, batch; Groq: on_demand; Gemini: the
plain words, or with SERVICE_TIER_ before; Vertex AI's `trafficType`: ON_DEMAND and so on."""

_LONGEST_WORD = 32


def tier_word(value: Json) -> str | None:
    """A provider's word for a service tier as ours; one that we do not know stays as it is, in lower case."""
    if not isinstance(value, str):
        return None
    word = value.lower().removeprefix("service_tier_")
    return _WORDS[word] if word in _WORDS else word[:_LONGEST_WORD]


def _value(raw: Raw | None) -> Json:
    """A field that is not ours to judge: what cannot be read counts as not there."""
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def wished_tier(fields: Mapping[str, Raw], *names: str) -> str | None:
    """The service tier that a request asks for in one of these fields (Bedrock's is an object with a `type`)."""
    for name in names:
        value = _value(fields.get(name))
        kind = cast("dict[str, Json]", value).get("type") if isinstance(value, dict) else value
        if kind is not None:
            return tier_word(kind)
    return None


def answers_in(fields: Mapping[str, Raw], name: str) -> int:
    """How many answers a request asks for at once, at least one."""
    value = _value(fields.get(name))
    return max(1, value) if isinstance(value, int) else 1


_ESCAPED_LETTER = re.compile(rb"\\u00(?:5[fF]|[46][1-9a-fA-F]|[57][0-9aA]|3[0-9])")


def asked_cache(body: bytes) -> Literal["5m", "1h"] | None:
    """The longest lifetime of cache writes that a body may ask for, by looking for the words alone. It may see them in
    a text; it never misses them: nobody escapes plain letters in JSON but to hide them."""
    # Most bodies hold neither: then they are gone through twice and no more.
    hidden = b"\\u00" in body
    if not hidden and b"cache" not in body:
        return None
    escaped = hidden and _ESCAPED_LETTER.search(body) is not None
    if b"cache_control" in body or b"cachePoint" in body or escaped:
        return "1h" if b'"1h"' in body or escaped else "5m"
    return None


MARK_BYTES = len(',"cachePoint":0')
"""The least that a wish for the cache takes in an object that says something else too."""

_HOSTED = re.compile(
    rb'"type"\s*:\s*"(?:web_search|web_fetch|code_execution|code_interpreter|file_search|image_generation|mcp|advisor)'
    rb'|"(?:googleSearch|google_search|googleMaps|urlContext|url_context|codeExecution|code_execution|fileSearch'
    rb'|google_search_retrieval|googleSearchRetrieval|systemTool)"\s*:'
)


def has_hosted_tools(tools: Raw | None) -> bool:
    """Whether the provider may run tools itself, whose results it bills as input."""
    return tools is not None and _HOSTED.search(memoryview(tools)) is not None
