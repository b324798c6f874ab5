"""What an admin may look at and change: which path is answered by whom, and keys. JSON in, JSON out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from turnout.config import check_key
from turnout.engine import Engine
from turnout.errors import ConfigError, InvalidRequest
from turnout.keys import Key, StoredKey
from turnout.server import budgets, requests, sessions, texts
from turnout.server.learning import learning, outcomes
from turnout.server.models import models
from turnout.server.overview import history, overview, snowball, volume
from turnout.server.reading import decoded, whole
from turnout.usage import moment, report, report_story

__all__ = ["CHANGES", "READS", "Errand", "admin_at", "key_story", "new_key_from"]

MOST_GRACE_S = 90 * 86_400

MOST_GROUPS = 1_000

Handler = Callable[[Engine, str, bytes], object]


class Errand(Struct, frozen=True, kw_only=True):
    """One request of an admin: who answers it, with the part of the path that names something, and whether it changes
    anything."""

    handler: Handler
    name: str | None
    changes: bool

    async def run(self, engine: Engine, query: str, body: bytes) -> object:
        """The JSON value of the answer. Raises NotFound and InvalidRequest."""
        told = query if self.name is None else self.name
        if self.handler in READS or self.handler in _WRITES:
            return await asyncio.to_thread(self.handler, engine, told, body)
        answer = self.handler(engine, told, body)
        return await answer if isinstance(answer, Awaitable) else answer


def admin_at(method: str, path: str) -> Errand | None:
    """Who answers an admin's request. None where nobody does."""
    if not path.startswith("/admin/"):
        return None
    for (wanted, pattern), (_, handler) in CHANGES.items():
        # A HEAD is a GET of which the server sends no body.
        if wanted == ("GET" if method == "HEAD" else method) and (found := re.fullmatch(pattern, path)):
            name = unquote(found[1]) if found.groups() else None
            return Errand(handler=handler, name=name, changes=wanted != "GET" and handler is not requests.tried)
    return None


def _usage(engine: Engine, query: str, _: bytes) -> object:
    told = dict(parse_qsl(query))
    now = datetime.now(UTC)
    since = moment(told.get("since", "30d"), now, param="since")
    until = moment(told["until"], now, param="until") if "until" in told else now + timedelta(seconds=1)
    limit = whole(told, "limit", MOST_GROUPS, MOST_GROUPS)
    found = report(engine.ledger, engine.price_of, by=told.get("by", "feature"), since=since, until=until)
    return report_story(found, limit=limit)


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
    told = decoded(body, _NewKey, '{"name": "ci", "team": "core", "rpm": 60}')
    if not _NAME.fullmatch(told.name):
        raise InvalidRequest("name: letters, digits and . _ @ - , at most 100", param="name")
    return _checked(Key(**msgspec.structs.asdict(told)))


def _rotate_key(engine: Engine, name: str, body: bytes) -> object:
    told = decoded(body or b"{}", _Grace, '{"grace_s": 3600}')
    if not 0 <= told.grace_s <= MOST_GRACE_S:
        raise InvalidRequest(f"grace_s = {told.grace_s}: must lie between 0 and {MOST_GRACE_S:,}", param="grace_s")
    stored, text = engine.keyring.rotate(name, grace_s=told.grace_s)
    return {**key_story(stored, configured=False), "key": text}


def _update_key(engine: Engine, name: str, body: bytes) -> object:
    fields = decoded(body, dict[str, msgspec.Raw], '{"rpm": 60}')

    def change(stored: StoredKey) -> StoredKey:
        known = {
            key: msgspec.Raw(msgspec.json.encode(value)) for key, value in msgspec.structs.asdict(stored.key).items()
        }
        told = decoded(msgspec.json.encode({**known, **fields, "name": name}), _NewKey, '{"rpm": 60}')
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


CHANGES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("GET", "/admin/requests"): (
        "the newest requests; ?limit=100&session=ID&model=&key=&feature=&reason=&failed=1&before=ID",
        requests.newest,
    ),
    ("GET", "/admin/requests/([^/]+)"): ("one request's whole story", requests.story),
    ("GET", "/admin/requests/([^/]+)/texts"): ("what was said in it, redacted, where that is kept", texts.redacted),
    ("POST", "/admin/requests/([^/]+)/texts"): ("the same as it was said: for admins alone", texts.whole),
    ("POST", "/admin/route"): ("the decision for a request; nobody is called", requests.tried),
    ("GET", "/admin/models"): ("the models: health, pace, what was learned, prices", models),
    ("GET", "/admin/budgets"): ("what each budget may spend, has spent and holds", budgets.budgets),
    ("POST", "/admin/budgets"): ("a new budget, which holds at once", budgets.create),
    ("PATCH", "/admin/budgets/([^/]+)"): ("other figures for a budget that was made here", budgets.change),
    ("DELETE", "/admin/budgets/([^/]+)"): ("take away a budget that was made here", budgets.remove),
    ("POST", "/admin/budgets/([^/]+)/add"): ("more money for a budget's current period", budgets.add),
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
    ("GET", "/admin/sessions"): ("the sessions in memory, the latest first; ?held=1&limit=100", sessions.sessions),
    ("GET", "/admin/sessions/([^/]+)"): ("one session step by step", sessions.one),
    ("GET", "/admin/sessions/([^/]+)/context"): ("what its conversations carry for nothing", sessions.context),
    ("POST", "/admin/sessions/([^/]+)/pause"): ("hold a session until somebody resumes it", sessions.pause),
    ("POST", "/admin/sessions/([^/]+)/resume"): ("let a paused session go on", sessions.resume),
    ("POST", "/admin/sessions/([^/]+)/limits"): ("other limits for one session; 0: none", sessions.limit),
}
"""Method and path, what it is for, and who answers."""

READS: frozenset[Handler] = frozenset(
    {
        *(_usage, outcomes, overview, volume, snowball, history, sessions.one),
        *(requests.newest, requests.story, texts.redacted, texts.whole),
    }
)
"""Those who only read the store, which may take a while: not on the event loop."""

_WRITES: frozenset[Handler] = frozenset({_create_key, _update_key, _revoke_key, _rotate_key})
"""Those who write to it, and to nothing that the event loop owns: not there either."""
