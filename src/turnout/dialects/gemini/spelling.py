"""The two spellings of this API's keys: camelCase as documented, snake_case as its protocol buffers have it.

Google takes both, mixed too (its own Python library sends `parameters_json_schema` within `functionDeclarations`).
Keys are read as camelCase; how a caller wrote them is noted and given back to the same API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from turnout.chat import Extras, Json
from turnout.dialects.values import keys_of

__all__ = ["NAME", "camel", "extras_of", "own_keys", "read_keys", "snake", "spelled", "write_keys"]

NAME = "gemini"

_FIELDS = (
    "allowedFunctionNames",
    "cachedContent",
    "candidateCount",
    "codeExecution",
    "codeExecutionResult",
    "displayName",
    "executableCode",
    "fileData",
    "fileUri",
    "frequencyPenalty",
    "functionCall",
    "functionCallingConfig",
    "functionDeclarations",
    "functionResponse",
    "generationConfig",
    "includeThoughts",
    "inlineData",
    "maxOutputTokens",
    "mimeType",
    "parametersJsonSchema",
    "presencePenalty",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "safetySettings",
    "serviceTier",
    "stopSequences",
    "systemInstruction",
    "thinkingBudget",
    "thinkingConfig",
    "thinkingLevel",
    "thoughtSignature",
    "toolConfig",
    "topK",
    "topP",
)


def snake(name: str) -> str:
    """`name` as the protocol buffers spell it."""
    return re.sub(r"[A-Z]", lambda found: "_" + found.group().lower(), name)


def camel(name: str) -> str:
    """`name` as the documentation spells it."""
    return re.sub(r"_([a-z0-9])", lambda found: found.group(1).upper(), name)


_CAMEL = {snake(name): name for name in (*_FIELDS, "_responseJsonSchema")}


def read_keys(told: dict[str, Json], form: dict[str, str]) -> dict[str, Json]:
    """`told` with the keys that we read in camelCase; `form` notes those that were spelled otherwise. Null is as
    good as left out, to this API too."""
    out: dict[str, Json] = {}
    for key, value in told.items():
        name = _CAMEL.get(key, key)
        if name != key:
            form[name] = key
        if value is not None:
            out[name] = value
    return out


def write_keys(out: dict[str, Json], form: dict[str, str]) -> dict[str, Json]:
    """The inverse of `read_keys`."""
    return {form.get(key, key): value for key, value in out.items()} if form else out


def extras_of(told: dict[str, Json], known: Iterable[str], spelling: dict[str, str], **form: Json) -> Extras:
    """`extras` for the keys nobody else knows; `form` notes how something was written, where it matters. No key of
    the API's begins with the underscore that marks our notes: one that does is dropped."""
    rest = {k: v for k, v in told.items() if k and k not in known and not k.startswith("_")}
    kept = {f"_{k}": v for k, v in form.items() if v is not None}
    if spelling:
        kept["_spelled"] = spelling
    return {NAME: {**rest, **kept}} if rest or kept else {}


def own_keys(extras: Extras) -> dict[str, Json]:
    return keys_of(extras, NAME)


def spelled(extras: Extras) -> dict[str, str]:
    """How the caller spelled keys, where it was not in camelCase."""
    return extras.get(NAME, {}).get("_spelled", {})
