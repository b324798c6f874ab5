"""Requests that an admin looks at: the newest, one with its story, and one that is only thought of."""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from turnout.call import Call
from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json
from turnout.dialects import DIALECTS
from turnout.engine import Engine
from turnout.errors import NotFound
from turnout.providers.operations import ChatOperation
from turnout.server.reading import whole
from turnout.server.views import explain
from turnout.spend.ledger import LedgerRow
from turnout.spend.wanted import MOST_SEARCHED, Wanted

__all__ = ["newest", "story", "tried"]

MOST_ROWS = 500

JSON_FIELDS = ("tags", "warnings", "decision", "usage_json")


def newest(engine: Engine, query: str, _: bytes) -> object:
    """The newest requests, `?limit=` of them; those alone of a `session`, `model`, `key`, `feature` or `reason`, with
    `failed=1` those that failed, with `before=ID` older ones. Raises InvalidRequest. Blocks."""
    told = dict(parse_qsl(query))
    wanted = Wanted(
        session=told.get("session"),
        model=told.get("model"),
        key=told.get("key"),
        feature=told.get("feature"),
        reason=told.get("reason"),
        failed=told.get("failed") == "1",
        before=told.get("before"),
    )
    rows = engine.ledger.find(whole(told, "limit", 100, MOST_ROWS), wanted)
    return {"data": [_brief(row) for row in rows], "searched": MOST_SEARCHED}


def story(engine: Engine, request_id: str, _: bytes) -> object:
    """One request's whole story. Raises NotFound. Blocks."""
    row = engine.ledger.get(request_id)
    if row is None:
        raise NotFound(f"no request {request_id!r} in the ledger; the newest appear within 0.1 s")
    told: dict[str, Any] = msgspec.to_builtins(row)
    for name in JSON_FIELDS:
        if isinstance(told.get(name), str):
            told[name] = msgspec.json.decode(told[name])
    return told


def tried(engine: Engine, _: str, body: bytes) -> object:
    """The decision for a request that nobody serves, in OpenAI's format. Raises InvalidRequest, NotFound."""
    call = Call(
        request_id=f"try_{secrets.token_hex(8)}",
        operation=ChatOperation(DIALECTS["openai-chat"]),
        body=body,
        headers={},
        started_s=time.monotonic(),
        key=None,
    )
    return explain(engine, call)


def _brief(row: LedgerRow) -> dict[str, Json]:
    told: dict[str, Json] = msgspec.to_builtins(row)
    plain = (
        *("request_id", "received_at", "key_id", "session_id", "step", "mode", "tags", "requested_model"),
        *("deployment", "tier", "reason", "status", "outcome", "error_code", "input_tokens", "cache_read_tokens"),
        *("output_tokens", "attempts", "ttft_ms", "duration_ms", "warnings"),
    )
    cost = row.cost_nano_usd
    return {**{name: told[name] for name in plain}, "cost_usd": None if cost is None else cost / NANO_PER_USD}
