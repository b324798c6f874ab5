"""The HTTP API as OpenAPI 3.1: paths from the tables that serve them, bodies as far as the gateway reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from turnout import __version__
from turnout.chat import Json
from turnout.server.paths import FEEDBACK, FIXED, GEMINI_VERBS, ROUTE

__all__ = ["BODIES", "document"]

TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "minimum": 1}
OBJECT: Json = {"type": "object"}
LIST: Json = {"type": "array", "items": OBJECT}
TEXT_OR_LIST: Json = {"oneOf": [TEXT, LIST]}


def _messages(*roles: str) -> Json:
    message: Json = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": list(roles)}, "content": TEXT_OR_LIST},
    }
    return {"type": "array", "minItems": 1, "items": message}


_CONTENT: Json = {
    "type": "object",
    "required": ["parts"],
    "properties": {"role": {"enum": ["user", "model"]}, "parts": {"type": "array", "minItems": 1, "items": OBJECT}},
}

BODIES: Mapping[str, tuple[tuple[str, ...], dict[str, Json]]] = {
    "openai-chat": (
        ("model", "messages"),
        {
            "model": TEXT,
            "messages": _messages("system", "developer", "user", "assistant"),
            "stream": FLAG,
            "max_completion_tokens": COUNT,
            "max_tokens": COUNT,
            "tools": LIST,
            "reasoning_effort": TEXT,
            "metadata": OBJECT,
            "user": TEXT,
        },
    ),
    "openai-responses": (
        ("model", "input"),
        {
            "model": TEXT,
            "input": TEXT_OR_LIST,
            "instructions": TEXT,
            "stream": FLAG,
            "store": FLAG,
            "max_output_tokens": COUNT,
            "tools": LIST,
            "previous_response_id": TEXT,
        },
    ),
    "anthropic-messages": (
        ("model", "messages", "max_tokens"),
        {
            "model": TEXT,
            "messages": _messages("user", "assistant"),
            "max_tokens": COUNT,
            "system": TEXT_OR_LIST,
            "stream": FLAG,
            "tools": LIST,
            "metadata": OBJECT,
        },
    ),
    "openai-embeddings": (
        ("model", "input"),
        {"model": TEXT, "input": {"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}},
    ),
    "gemini": (("contents",), {"contents": {"type": "array", "minItems": 1, "items": _CONTENT}, "tools": LIST}),
    "gemini-embeddings": ((), {"content": _CONTENT, "requests": LIST}),
}
"""By wire format: the fields that a request must have, and those that the gateway reads; others go on as they are."""

STATUSES: Mapping[int, str] = {
    200: "the answer, in the wire format asked in; a stream of events where a stream was asked for",
    400: "the request is wrong; the error names the field",
    401: "no key, or an unknown one",
    402: "a budget is used up (`budget_exhausted`)",
    403: "a brake stopped this run (`run_paused`)",
    404: "unknown model or request; the error names near models",
    408: "the request did not come in time",
    413: "the body is too large",
    415: "the body is compressed",
    429: "the provider limits the rate; `retry-after` says when to come again",
    502: "no provider answered, or what came was no answer",
    503: "nobody can take the request now",
    504: "no provider answered in time",
}


def document(looks: Mapping[str, str], errands: Mapping[tuple[str, str], str] | None = None) -> dict[str, Json]:
    """The OpenAPI document. `looks`: the paths that are looked at with GET, and what is there; `errands`: what an admin
    may do, by method and path, where names stand as `([^/]+)`."""
    paths: dict[str, Json] = {path: {"post": _call(operation.name)} for path, operation in FIXED.items()}
    for verb, make in GEMINI_VERBS.items():
        paths[f"/v1beta/models/{{model}}:{verb}"] = {"post": _call(make("m").name), "parameters": [_in_path("model")]}
    paths[ROUTE] = {"post": {**_call("openai-chat"), "summary": "the decision for a request; nobody is called"}}
    paths[FEEDBACK] = {"post": _FEEDBACK}
    for path, what in looks.items():
        paths[path] = {"get": _look(path, what), **_only_names(path)}
    for (method, pattern), what in (errands or {}).items():
        path = _named(pattern, paths)
        kept = cast("dict[str, Json]", paths.setdefault(path, _only_names(path)))
        kept[method.lower()] = _look(path, what) if method == "GET" else _errand(what)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Turnout", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "x-goog-api-key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
            }
        },
        "security": [{}, {"bearer": []}, {"x-api-key": []}, {"x-goog-api-key": []}],
    }


def _look(path: str, what: str) -> Json:
    """A GET. What may be asked for stands at the end of `what`, as `?since=30d&limit=100`."""
    summary, _, query = what.partition("; ?")
    asked: Json = [{"name": name, "in": "query", "schema": TEXT} for name in re.findall(r"(\w+)=", query)]
    answers = _responses(LOOK_STATUSES, LOOK_ANSWERS.get(path, JSON_ANSWER))
    return {"summary": summary, "responses": answers, **({"parameters": asked} if asked else {})}


def _only_names(path: str) -> dict[str, Json]:
    named = path.partition("{")[2].partition("}")[0]
    return {"parameters": [_in_path(named)]} if named else {}


def _named(pattern: str, known: Mapping[str, Json]) -> str:
    """The path of an errand, its name called as it is in a path that is described already."""
    same = (path for path in known if re.sub("{.*}", "([^/]+)", path) == pattern)
    return next(same, pattern.replace("([^/]+)", "{name}"))


def _errand(what: str) -> Json:
    body: Json = {"content": {"application/json": {"schema": OBJECT}}}
    return {"summary": what, "requestBody": body, "responses": _responses(ERRAND_STATUSES, JSON_ANSWER)}


JSON_ANSWER: dict[str, Json] = {"application/json": {"schema": {}}}
ANSWER: dict[str, Json] = {**JSON_ANSWER, "text/event-stream": {"schema": TEXT}}

REFUSED: Json = {"description": "the provider's own refusal, with its status and words", "content": JSON_ANSWER}

LOOK_STATUSES = (200, 400, 401, 403, 404, 429, 503)
ERRAND_STATUSES = (200, 400, 401, 403, 404, 408, 413, 415, 429, 503)

LOOK_ANSWERS: Mapping[str, dict[str, Json]] = {
    "/metrics": {"text/plain": {"schema": TEXT}},
    "/console": {"text/html": {"schema": TEXT}},
}
"""What is no JSON of what can be looked at."""


def _responses(statuses: tuple[int, ...], content: dict[str, Json]) -> dict[str, Json]:
    """Of each status; what is no success is JSON everywhere."""
    return {
        str(status): {"description": STATUSES[status], "content": content if status == 200 else JSON_ANSWER}
        for status in statuses
    }


_FEEDBACK: Json = {
    "summary": "how good an answer was, by the x-turnout-request-id that it came with, or a whole session, by its id",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["score"],
                    "oneOf": [{"required": ["request_id"]}, {"required": ["session"]}],
                    "additionalProperties": False,
                    "properties": {
                        "request_id": {"type": "string", "minLength": 1, "maxLength": 200},
                        "session": {"type": "string", "minLength": 1, "maxLength": 200},
                        "score": {"type": "number", "minimum": 0, "maximum": 1},
                        "label": {"type": ["string", "null"], "maxLength": 200},
                    },
                }
            }
        },
    },
    "responses": _responses((200, 400, 401, 404, 408, 413, 415), JSON_ANSWER),
}


def _call(dialect: str) -> dict[str, Json]:
    required, properties = BODIES[dialect]
    schema: Json = {"type": "object", "required": list(required), "properties": properties}
    return {
        "summary": f"as its maker's API ({dialect})",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {**_responses(tuple(STATUSES), ANSWER), "4XX": REFUSED},
    }


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}
