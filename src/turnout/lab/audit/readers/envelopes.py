"""Where a logged exchange keeps its bodies: the shapes that proxies, callbacks and batch files write. Pure.

Every field of an object is looked for under the names that tools give it; a shape is a choice of names, not a case of
its own. Seen at: claude-trace, mitmproxy add-ons and HAR files, Helicone's export, LiteLLM's standard logging payload,
the batch APIs of OpenAI and Anthropic, recorded cassettes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec import Raw, Struct

from turnout.chat import Json
from turnout.dialects.fields import join_fields
from turnout.lab.audit.readers.bodies import body_of, fields_of
from turnout.lab.audit.readers.loose import decoded, list_of, object_in, table_of, text_in

__all__ = ["BARE", "Envelope", "Side", "envelope_of", "headers_of", "holds_talk"]

REQUESTS = ("request", "req", "request_body", "requestBody", "raw_request", "proxy_server_request")
ANSWERS = ("response", "res", "resp", "response_body", "responseBody", "raw_response", "result", "completion")
BODIES = ("body", "body_raw", "bodyRaw", "json", "text", "data", "postData", "content", "message", "events")
HTTP = frozenset({"method", "url", "path", "headers", "status", "status_code", "statusCode", "endpoint", "postData"})
TALK = frozenset({"messages", "input", "contents", "prompt", "previous_response_id"})
BARE = frozenset({"choices", "candidates", "stopReason"})
ANSWERED = BARE | {"output", "usage", "usageMetadata", "role"}
STATUS = ("status", "status_code", "statusCode", "response_status")
PLAIN = ("messages", "input", "contents", "prompt")
PARAMETERS = ("model_parameters", "optional_params", "params", "parameters")


class Side(Struct, frozen=True, kw_only=True):
    """One half of an exchange: its body, and what an HTTP log says of it."""

    body: Raw | bytes = b"null"
    told: dict[str, Json] = {}
    status: int | None = None


class Envelope(Struct, frozen=True, kw_only=True):
    """An exchange; `line` is what stands beside its halves, decoded; `batch`: it was served in one, at that price."""

    asked: Side | None = None
    answered: Side | None = None
    line: dict[str, Json] = {}
    batch: bool = False


def holds_talk(fields: Mapping[str, object]) -> bool:
    return not TALK.isdisjoint(fields)


def envelope_of(fields: dict[str, Raw]) -> Envelope:
    """The halves of an exchange, as far as there are any."""
    asked_at = next((name for name in REQUESTS if _is_there(fields, name)), "")
    answered_at = next((name for name in ANSWERS if _is_there(fields, name)), "")
    asked = _side(fields[asked_at]) if asked_at else None
    answered = _side(fields[answered_at]) if answered_at else None
    if asked is None and "body" in fields:
        asked = Side(body=fields["body"], told=_told(fields, ("url", "method", "headers")))
    if asked is None or not _speaks(asked):
        asked = _plain(fields) or asked
    used = {asked_at, answered_at, "body", *PLAIN}
    line = _told(fields, tuple(name for name in fields if name not in used or name == "metadata"))
    if answered is None and (not BARE.isdisjoint(fields) or line.get("object") == "response"):
        answered = Side(body=join_fields(fields))
    if answered is not None and answered.status is None:
        status = next((line[name] for name in STATUS if isinstance(line.get(name), int)), None)
        answered = Side(body=answered.body, told=answered.told, status=status)
    batch = "custom_id" in fields and answered is not None
    return Envelope(asked=asked, answered=answered, line=line, batch=batch)


def _is_there(fields: dict[str, Raw], name: str) -> bool:
    return name in fields and bytes(fields[name])[:4] not in {b"null", b'""', b"{}"}


def _told(fields: dict[str, Raw], names: tuple[str, ...]) -> dict[str, Json]:
    return {name: decoded(fields[name]) for name in names if name in fields}


def _side(raw: Raw) -> Side:
    inner = fields_of(body_of(raw))
    if not inner or holds_talk(inner) or not ANSWERED.isdisjoint(inner):
        return Side(body=raw)
    http = not HTTP.isdisjoint(inner)
    batched = "type" in inner and "message" in inner  # {"type": "succeeded", "message": {...}}
    name = next((n for n in BODIES if _is_there(inner, n)), "")
    if not name or not (http or batched or holds_talk(fields_of(body_of(inner[name])))):
        return Side(body=raw)
    body: Raw | bytes = inner[name]
    within = fields_of(body_of(body))
    if "text" in within and ("mimeType" in within or "size" in within):  # HAR
        body = within["text"]
    told = _told(inner, tuple(n for n in inner if n not in BODIES))
    status = next((told[n] for n in STATUS if isinstance(told.get(n), int)), None)
    return Side(body=body, told=told, status=cast("int | None", status))


def _speaks(side: Side) -> bool:
    return holds_talk(fields_of(body_of(side.body)))


def _plain(fields: dict[str, Raw]) -> Side | None:
    """A request whose fields stand in the line itself, its settings beside the messages."""
    name = next((name for name in PLAIN if _is_there(fields, name)), "")
    if not name:
        return None
    settings = next((table_of(fields[n]) for n in PARAMETERS if n in fields), {})
    whole: dict[str, Raw | bytes] = {key: msgspec.json.encode(value) for key, value in settings.items()}
    for key in ("model", "tools", "system", "instructions", "previous_response_id"):
        if key in fields:
            whole[key] = fields[key]
    whole[name] = body_of(fields[name]) or b"null"
    return Side(body=join_fields(whole))


def headers_of(told: dict[str, Json]) -> dict[str, str]:
    """Headers by lower-case name, from an object, or a list of pairs or of objects."""
    value = told.get("headers")
    if isinstance(value, dict):
        pairs = list(cast("dict[str, Json]", value).items())
    else:
        pairs = [_pair(entry) for entry in list_of(value)]
    found: dict[str, str] = {}
    for name, said in pairs:
        one = next(iter(list_of(said)), None) if isinstance(said, list) else said
        if isinstance(name, str) and isinstance(one, str):
            found[name.lower()] = one
    return found


def _pair(entry: Json) -> tuple[Json, Json]:
    if isinstance(entry, list):
        pair = cast("list[Json]", entry)
        return (pair[0], pair[1]) if len(pair) == 2 else (None, None)
    told = object_in(entry)
    return text_in(told, "name", "key"), told.get("value")
