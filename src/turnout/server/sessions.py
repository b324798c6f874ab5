"""Sessions that an admin looks at and holds: those in memory, and one as a timeline."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json
from turnout.config import MOST_USD
from turnout.contexts import CONTEXT_NOTES, context_story
from turnout.engine import Engine
from turnout.errors import InvalidRequest, NotFound
from turnout.server.reading import decoded, whole
from turnout.spend.brakes import BY_HAND, LIMITS, LimitName, SessionRun, Verdict
from turnout.spend.ledger import LedgerRow
from turnout.spend.volume import PARTS

__all__ = ["context", "limit", "one", "pause", "resume", "sessions"]

MOST_STEPS = 1_000
MOST_LISTED = 20_000

MOST_WORDS = 200


def sessions(engine: Engine, query: str, _: bytes) -> object:
    """The sessions in memory; `?limit=` of them, `?held=1` those alone that do not run. Raises InvalidRequest."""
    told = dict(parse_qsl(query))
    held, limit = told.get("held") == "1", whole(told, "limit", MOST_LISTED, MOST_LISTED)
    found = ((owner, name, run) for owner, name, run in engine.state.memory.runs if run.paused is not None or not held)
    return {"data": [_session(owner, name, run) for owner, name, run in islice(found, limit)]}


def one(engine: Engine, name: str, _: bytes) -> object:
    """One session step by step, the oldest first. Raises NotFound. Blocks."""
    rows = engine.ledger.recent(MOST_STEPS, name)
    live = [_session(owner, name, run) for owner, run in engine.state.memory.runs.of(name)]
    if not rows and not live:
        raise NotFound(f"there is no session {name!r}; GET /admin/sessions lists those in memory")
    return {
        "id": name,
        "live": live,
        "total": _summed(rows) if rows else None,
        "steps": [_step(row) for row in reversed(rows)],
        "cut": len(rows) == MOST_STEPS,
        "context": any(True for _ in engine.state.memory.contexts.of(name)),
    }


class _Pause(Struct, forbid_unknown_fields=True):
    by: str = "an admin"
    why: str = ""


def pause(engine: Engine, name: str, body: bytes) -> object:
    """Hold a session until somebody resumes it. Raises NotFound and InvalidRequest."""
    told = decoded(body or b"{}", _Pause, '{"by": "ann", "why": "it spends too much"}')
    if len(told.by) > MOST_WORDS or len(told.why) > MOST_WORDS:
        raise InvalidRequest(f"by, why: at most {MOST_WORDS} characters each", param="why")
    said = f"paused by {told.by or 'an admin'}" + (f": {told.why}" if told.why else "")
    verdict = Verdict(brake=BY_HAND, action="pause", why=said)
    runs = engine.state.memory.runs
    for owner in _owners(engine, name):
        runs.hold(owner, name, verdict)
    _tell(engine, name)
    return {"data": [_session(owner, name, run) for owner, run in runs.of(name)]}


def resume(engine: Engine, name: str, _: bytes) -> object:
    """Let a held session go on. Raises NotFound."""
    runs = engine.state.memory.runs
    if not runs.resume(name):
        raise NotFound(f"there is no session {name!r} in memory; GET /admin/sessions lists them")
    _tell(engine, name)
    return {"data": [_session(owner, name, run) for owner, run in runs.of(name)]}


class _Limits(Struct, forbid_unknown_fields=True):
    max_session_usd: float | None = None
    max_session_steps: int | None = None
    max_session_tokens: int | None = None


def limit(engine: Engine, name: str, body: bytes) -> object:
    """Other limits for one session; 0: none. Raises NotFound and InvalidRequest."""
    told = decoded(body, _Limits, '{"max_session_usd": 10}')
    limits: dict[LimitName, float] = {}
    for field in LIMITS:
        value = getattr(told, field)
        if value is not None:
            if not 0 <= value <= MOST_USD:
                raise InvalidRequest(f"{field} = {value}: must lie between 0 and {MOST_USD:,}", param=field)
            limits[field] = round(value * NANO_PER_USD) if field == "max_session_usd" else value
    if not limits:
        raise InvalidRequest(f"tell at least one of {', '.join(LIMITS)}")
    runs = engine.state.memory.runs
    found = runs.of(name)
    if not found:
        raise NotFound(f"there is no session {name!r} in memory; GET /admin/sessions lists them")
    for _, run in found:
        run.limit(limits)
    _tell(engine, name)
    return {"data": [_session(owner, name, run) for owner, run in found]}


def context(engine: Engine, name: str, _: bytes) -> object:
    """What a session's conversations carry for nothing. Raises NotFound."""
    told = [context_story(watched, engine.fleet) for watched in engine.state.memory.contexts.of(name)]
    if not told:
        raise NotFound(
            f"no conversation of a session {name!r} has been looked at; set context.report = true in the config "
            "(GET /admin/sessions lists sessions)"
        )
    return {"data": told, "notes": CONTEXT_NOTES}


def _tell(engine: Engine, name: str) -> None:
    """Let the other gateways do the same."""
    if (peers := engine.state.memory.peers) is not None:
        for owner, _ in engine.state.memory.runs.of(name):
            peers.held(owner, name)


def _owners(engine: Engine, name: str) -> list[str]:
    """Whose sessions of that name are known: in memory, else in the ledger."""
    if found := engine.state.memory.runs.of(name):
        return [owner for owner, _ in found]
    if rows := engine.ledger.recent(1, name):
        return [rows[0].key_id or ""]
    raise NotFound(f"there is no session {name!r}; GET /admin/sessions lists those in memory")


def _session(owner: str, name: str, run: SessionRun) -> dict[str, object]:
    """A session as JSON. What it has taken since it was last resumed, and in all (`total_usd`)."""
    held = run.paused
    limits = {name: limit / NANO_PER_USD if name == "max_session_usd" else limit for name, limit in run.limits.items()}
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
        "limits": limits,
    }


def _summed(rows: list[LedgerRow]) -> dict[str, Json]:
    """One session of rows, the newest first."""
    first, last = rows[-1], rows[0]
    return {
        "id": last.session_id,
        "key": last.key_id,
        "feature": next((row.tags["feature"] for row in rows if "feature" in row.tags), None),
        "mode": next((row.mode for row in rows if row.mode), None),
        "first_at": first.received_at,
        "last_at": last.received_at,
        "requests": len(rows),
        "errors": sum(row.outcome not in {"ok", "cancelled"} for row in rows),
        "agents": len({row.agent for row in rows}),
        "models": list(dict.fromkeys(row.deployment for row in reversed(rows) if row.deployment)),
        "input_tokens": _sum(row.input_tokens for row in rows),
        "cache_read_tokens": _sum(row.cache_read_tokens for row in rows),
        "output_tokens": _sum(row.output_tokens for row in rows),
        "cost_usd": _sum(row.cost_nano_usd for row in rows) / NANO_PER_USD,
        "unpriced": sum(row.cost_nano_usd is None and row.input_tokens is not None for row in rows),
    }


def _sum(values: Iterable[int | None]) -> int:
    return sum(value or 0 for value in values)


def _step(row: LedgerRow) -> dict[str, Json]:
    decision: dict[str, Json] = row.decision if isinstance(row.decision, dict) else {}
    told: dict[str, Json] = msgspec.to_builtins(row)
    plain = (
        *("request_id", "received_at", "agent", "step", "mode", "requested_model", "deployment", "tier", "reason"),
        *("status", "outcome", "error_code", "input_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("output_tokens", "reasoning_tokens", "usage_estimated", "attempts", "ttft_ms", "duration_ms", "warnings"),
    )
    return {
        **{name: told[name] for name in plain},
        "cost_usd": None if row.cost_nano_usd is None else row.cost_nano_usd / NANO_PER_USD,
        "parts": {part: told[f"part_{part}"] or 0 for part in PARTS},
        "explanation": decision.get("explanation"),
        "attempt_log": row.attempt_log,
    }
