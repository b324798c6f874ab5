"""What an admin may look at and change: budgets, sessions, keys. JSON in, JSON out."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.config import MOST_USD, check_key
from turnout.contexts import CONTEXT_NOTES, context_story
from turnout.engine import Engine
from turnout.errors import ConfigError, InvalidRequest, NotFound
from turnout.keys import Key, StoredKey
from turnout.money import budget_story
from turnout.server.learning import learning, outcomes
from turnout.server.overview import history, overview, snowball, volume
from turnout.spend.brakes import SessionRun
from turnout.spend.ledger import BudgetEntry
from turnout.usage import moment, report, report_story

__all__ = ["CHANGES", "admin_at", "key_story", "new_key_from"]

MOST_GRACE_S = 90 * 86_400

MOST_GROUPS = 1_000

Handler = Callable[[Engine, str, bytes], object]

T = TypeVar("T")


class _Amount(Struct, forbid_unknown_fields=True):
    usd: float


Answer = Callable[[Engine, Mapping[str, str], str, bytes], object]
"""Called with the engine, headers, query and body, it gives the JSON value, or what to await for it. Raises
Unauthorized, NotFound and InvalidRequest."""


def admin_at(method: str, path: str) -> Answer | None:
    """Who answers an admin's request. None where nobody does."""
    if not path.startswith("/admin/"):
        return None
    for (wanted, pattern), (_, handler) in CHANGES.items():
        # A HEAD is a GET of which the server sends no body.
        if wanted == ("GET" if method == "HEAD" else method) and (found := re.fullmatch(pattern, path)):
            return _admitted(handler, unquote(found[1]) if found.groups() else None)
    return None


def _admitted(handler: Handler, name: str | None) -> Answer:
    def answer(engine: Engine, headers: Mapping[str, str], query: str, body: bytes) -> object:
        engine.keyring.admit_admin(headers)
        return handler(engine, query if name is None else name, body)

    return answer


def _usage(engine: Engine, query: str, _: bytes) -> object:
    return asyncio.to_thread(_read_usage, engine, query)


def _read_usage(engine: Engine, query: str) -> object:
    told = dict(parse_qsl(query))
    now = datetime.now(UTC)
    since = moment(told.get("since", "30d"), now, param="since")
    until = moment(told["until"], now, param="until") if "until" in told else now + timedelta(seconds=1)
    limit = told.get("limit", str(MOST_GROUPS))
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_GROUPS:
        raise InvalidRequest(f"limit = {limit!r}: a whole number from 1 to {MOST_GROUPS:,}", param="limit")
    found = report(engine.ledger, engine.price_of, by=told.get("by", "feature"), since=since, until=until)
    return report_story(found, limit=int(limit))


def _caches(engine: Engine, _: str, __: bytes) -> object:
    figures = engine.state.memory.foresight.warmth.figures
    return {
        "data": [
            {
                "rule": rule,
                "visit": kind,
                "age_below": age,
                **msgspec.to_builtins(told),
                "believed": round(told.share, 4),
            }
            for (rule, kind, age), told in sorted(figures.items())
        ],
        "notes": "tokens in our own count. visit: stay (the model that served the step before), return (one of an "
        "earlier step), first (one that knows the agent's system text and tools alone). believed: share of what a "
        "rule promises that is counted on, the promise itself weighing as much as five requests. Lost at a restart",
    }


def _budgets(engine: Engine, _: str, __: bytes) -> object:
    return {"data": [budget_story(state) for state in engine.state.memory.budgets.states()]}


def _add(engine: Engine, name: str, body: bytes) -> object:
    told = _decoded(body, _Amount, '{"usd": 10}')
    if not -MOST_USD <= told.usd <= MOST_USD:
        raise InvalidRequest(f"usd = {told.usd}: must lie between -{MOST_USD:,} and {MOST_USD:,}", param="usd")
    memory, amount = engine.state.memory, round(told.usd * NANO_PER_USD)
    try:
        state = memory.budgets.add(name, amount)
    except KeyError:
        names = ", ".join(rule.name for rule in memory.budgets.rules) or "none is set"
        raise NotFound(f"there is no budget {name!r}; there are: {names}") from None
    entry_id = f"add_{secrets.token_hex(8)}"
    memory.ledger.enter(
        BudgetEntry(id=entry_id, budget=name, at=datetime.now(UTC), kind="added", amount_nano_usd=amount)
    )
    return budget_story(state)


def _sessions(engine: Engine, _: str, __: bytes) -> object:
    return {"data": [_session(owner, name, run) for owner, name, run in engine.state.memory.runs]}


def _resume(engine: Engine, name: str, _: bytes) -> object:
    runs = engine.state.memory.runs
    if not runs.resume(name):
        raise NotFound(f"there is no session {name!r} in memory; GET /admin/sessions lists them")
    return {"data": [_session(owner, found, run) for owner, found, run in runs if found == name]}


def _context(engine: Engine, name: str, _: bytes) -> object:
    told = [context_story(watched, engine.fleet) for watched in engine.state.memory.contexts.of(name)]
    if not told:
        raise NotFound(
            f"no conversation of a session {name!r} has been looked at; set context.report = true in the config "
            "(GET /admin/sessions lists sessions)"
        )
    return {"data": told, "notes": CONTEXT_NOTES}


class _NewKey(Key, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be told of a key: its own fields and no others."""


class _Grace(Struct, forbid_unknown_fields=True):
    grace_s: float = 0.0


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


def _keys(engine: Engine, _: str, __: bytes) -> object:
    return {"data": [key_story(stored, configured=c) for stored, c in engine.keyring.listing()]}


def _create_key(engine: Engine, _: str, body: bytes) -> object:
    stored, text = engine.keyring.create(new_key_from(body))
    return {**key_story(stored, configured=False), "key": text}


def new_key_from(body: bytes) -> Key:
    """What is told of a key to be made. Raises InvalidRequest."""
    told = _decoded(body, _NewKey, '{"name": "ci", "team": "core", "rpm": 60}')
    if not _NAME.fullmatch(told.name):
        raise InvalidRequest("name: letters, digits and . _ @ - , at most 100", param="name")
    return _checked(Key(**msgspec.structs.asdict(told)))


def _rotate_key(engine: Engine, name: str, body: bytes) -> object:
    told = _decoded(body or b"{}", _Grace, '{"grace_s": 3600}')
    if not 0 <= told.grace_s <= MOST_GRACE_S:
        raise InvalidRequest(f"grace_s = {told.grace_s}: must lie between 0 and {MOST_GRACE_S:,}", param="grace_s")
    stored, text = engine.keyring.rotate(name, grace_s=told.grace_s)
    return {**key_story(stored, configured=False), "key": text}


def _update_key(engine: Engine, name: str, body: bytes) -> object:
    fields = _decoded(body, dict[str, msgspec.Raw], '{"rpm": 60}')

    def change(stored: StoredKey) -> StoredKey:
        known = {
            key: msgspec.Raw(msgspec.json.encode(value)) for key, value in msgspec.structs.asdict(stored.key).items()
        }
        told = _decoded(msgspec.json.encode({**known, **fields, "name": name}), _NewKey, '{"rpm": 60}')
        return msgspec.structs.replace(stored, key=_checked(Key(**msgspec.structs.asdict(told))))

    return key_story(engine.keyring.change(name, change), configured=False)


def _revoke_key(engine: Engine, name: str, _: bytes) -> object:
    return key_story(engine.keyring.revoke(name), configured=False)


def _checked(key: Key) -> Key:
    try:
        check_key(key.name, key)
    except ConfigError as error:
        raise InvalidRequest(error.message, param=error.param) from None
    return key


def key_story(stored: StoredKey, *, configured: bool) -> dict[str, object]:
    """A key as JSON: nothing of its secret but the last four characters."""
    now = datetime.now(UTC)
    expired = stored.key.expires is not None and stored.key.expires <= now
    return {
        **msgspec.structs.asdict(stored.key),
        "hint": f"...{stored.hint}",
        "created_at": stored.created_at,
        "state": "revoked" if stored.revoked_at else "expired" if expired else "active",
        "source": "config" if configured else "store",
    }


def _session(owner: str, name: str, run: SessionRun) -> dict[str, object]:
    """A session as JSON. What it has taken since it was last resumed, and in all (`total_usd`)."""
    held = run.paused
    return {
        "id": name,
        "key": owner or None,
        "feature": run.feature or None,
        "steps": run.steps,
        "tokens": run.tokens,
        "spent_usd": run.cost_nano_usd / NANO_PER_USD,
        "total_usd": run.total_nano_usd / NANO_PER_USD,
        "agents": len(run.agents),
        "state": "running" if held is None else "blocked" if held.action == "block" else "paused",
        "brake": held.brake if held else None,
        "why": held.why if held else None,
    }


def _decoded(body: bytes, kind: type[T], example: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the body is not as it should be ({error}); it looks like {example}") from None


CHANGES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("GET", "/admin/budgets"): ("what each budget may spend, has spent and holds", _budgets),
    ("POST", "/admin/budgets/([^/]+)/add"): ("more money for a budget's current period", _add),
    ("GET", "/admin/usage"): ("token volume, and what would save most; ?by=feature&since=7d", _usage),
    ("GET", "/admin/overview"): ("totals, savings and their course; ?since=30d", overview),
    ("GET", "/admin/volume"): ("as /admin/usage, from sums, by whole hours or days; ?by=feature&since=30d", volume),
    ("GET", "/admin/snowball"): ("the mean context at each step, by feature and part; ?since=30d", snowball),
    ("GET", "/admin/history"): ("agents of sessions in the ledger; ?since=30d&session=S&limit=100", history),
    ("GET", "/admin/caches"): (
        "how far providers keep what their cache rules promise, by kind and age of visit",
        _caches,
    ),
    ("GET", "/admin/outcomes"): ("what became of answers, the newest first; ?model=M&limit=100", outcomes),
    ("GET", "/admin/learning"): ("how each model does against what was predicted, and drift alarms", learning),
    ("GET", "/admin/keys"): ("the virtual keys, without their secrets", _keys),
    ("POST", "/admin/keys"): ("a new key, shown once", _create_key),
    ("PATCH", "/admin/keys/([^/]+)"): ("other limits for a key", _update_key),
    ("DELETE", "/admin/keys/([^/]+)"): ("revoke a key", _revoke_key),
    ("POST", "/admin/keys/([^/]+)/rotate"): ("another secret for a key, shown once", _rotate_key),
    ("GET", "/admin/sessions"): ("the sessions in memory, the latest first", _sessions),
    ("GET", "/admin/sessions/([^/]+)/context"): ("what its conversations carry for nothing", _context),
    ("POST", "/admin/sessions/([^/]+)/resume"): ("let a paused session go on", _resume),
}
"""Method and path, what it is for, and who answers."""
