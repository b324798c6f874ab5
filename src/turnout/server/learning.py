"""`POST /v1/feedback`, and what an admin sees of what is learned: outcomes, and how each model stands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from turnout.engine import Engine
from turnout.errors import InvalidRequest, RequestNotFound
from turnout.learning import POOR, Answered
from turnout.routing.drift import Alarm, Standing
from turnout.routing.outcomes import Outcome
from turnout.server.reading import whole

__all__ = ["feedback", "learning", "outcomes"]

MOST_OUTCOMES = 1_000

MOST_TEXT = 200

EXAMPLE = '{"request_id": "req_0a1b", "score": 0.8}'

POOR_FEEDBACK = "poor feedback"


class Feedback(Struct, frozen=True, kw_only=True):
    """Of one answer (`request_id`) or of a whole session (`session`, as the caller names it). `score`: 0 (no good) to
    1; `label`: a word of the caller's own."""

    request_id: str = ""
    session: str = ""
    score: float
    label: str | None = None


async def feedback(engine: Engine, headers: Mapping[str, str], body: bytes) -> object:
    """Take in what a caller says of an answer. Raises Unauthorized, InvalidRequest, and RequestNotFound for a request
    that is unknown or another key's."""
    key = engine.keyring.caller(headers)
    told, owner = feedback_from(body), key.name if key is not None else ""
    learner, sessions = engine.state.memory.learner, engine.state.memory.sessions
    recorded = learner.rules.enabled and (key is None or key.learning)
    if told.session:
        return _session_over(engine, told, owner, recorded=recorded)
    answered = learner.known(told.request_id)
    if answered is None:
        answered = await asyncio.to_thread(_looked_up, engine, told.request_id)
    if answered is None or answered.owner != owner:
        raise RequestNotFound(
            f"no request {told.request_id!r} of this key is known; send the x-turnout-request-id of its answer, "
            "with the key that it was asked with",
            param="request_id",
        )
    if not answered.model:
        raise InvalidRequest(f"no model answered {told.request_id}: there is nothing to judge", param="request_id")
    if recorded:
        learner.fed_back(answered, told.score, told.label)
    if answered.thread:
        sessions.blame(owner, answered.view, POOR_FEEDBACK if told.score < POOR else None)
    return {"request_id": told.request_id, "model": answered.model, "recorded": recorded}


def _session_over(engine: Engine, told: Feedback, owner: str, *, recorded: bool) -> object:
    learner = engine.state.memory.learner
    judged = learner.ended(owner, told.session, told.score, told.label) if recorded else []
    if recorded and not judged:
        raise RequestNotFound(
            f"no session {told.session!r} of this key is remembered; name it as its requests did, with the key that "
            "they were made with, or send the request_id of an answer",
            param="session",
        )
    return {"session": told.session, "requests": [answered.request_id for answered in judged], "recorded": recorded}


def feedback_from(body: bytes) -> Feedback:
    """Raises InvalidRequest naming the field that is wrong."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not as it should be ({error}); it looks like {EXAMPLE}") from None
    score, label = fields.get("score"), fields.get("label")
    for name in fields:
        if name not in Feedback.__struct_fields__:
            told = f"{name[:MOST_TEXT]!r} is no field of feedback; there are request_id or session, score, label"
            raise InvalidRequest(told, param=name[:MOST_TEXT])
    which = "session" if "session" in fields and "request_id" not in fields else "request_id"
    name = fields.get(which)
    if not isinstance(name, str) or not 0 < len(name) <= MOST_TEXT or {"session", "request_id"} <= fields.keys():
        told = "request_id: the x-turnout-request-id of the answer, a string; or session, and not both"
        raise InvalidRequest(told, param=which)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise InvalidRequest("score: a number from 0 (no good) to 1 (as it should be)", param="score")
    if label is not None and (not isinstance(label, str) or len(label) > MOST_TEXT):
        raise InvalidRequest(f"label: a string of at most {MOST_TEXT} characters", param="label")
    return Feedback(**{which: name}, score=float(score), label=label)


def _looked_up(engine: Engine, request_id: str) -> Answered | None:
    """A request that is no longer in memory: from what was kept of it, else from its row in the ledger. Blocks."""
    if (asked := engine.state.memory.learner.store.find(request_id)) is not None:
        return Answered(
            request_id=asked.request_id,
            owner=asked.owner,
            session=asked.session,
            thread=asked.thread,
            model=asked.model,
            mode=asked.mode,
            predicted=asked.predicted,
            features=asked.features,
        )
    if (row := engine.ledger.get(request_id)) is None:
        return None
    return Answered(request_id=request_id, owner=row.key_id or "", model=row.deployment or "", mode=row.mode)


def outcomes(engine: Engine, query: str, _: bytes) -> object:
    """The newest outcomes; `?model=` and `?limit=`. Raises InvalidRequest."""
    told = dict(parse_qsl(query))
    limit = whole(told, "limit", 100, MOST_OUTCOMES)
    found = engine.state.memory.learner.store.recent(limit, told.get("model"))
    return {"data": [_outcome(outcome) for outcome in found]}


def learning(engine: Engine, _: str, __: bytes) -> object:
    """How each model stands."""
    learner = engine.state.memory.learner
    return {
        "enabled": learner.rules.enabled,
        "keep_days": learner.rules.keep_days,
        "keep_prompts": learner.rules.keep_prompts,
        "data": [_standing(standing) for standing in learner.drift.standings(datetime.now(UTC))],
        "notes": "of the last 200 outcomes of each model; observed and predicted are weighted means over all sources, "
        "calibration_error is over those that measure success (measured of them; null below 100). shift: the largest "
        "population stability index of a feature, the last 500 requests against those before. Alarms stay for a day",
    }


def _outcome(told: Outcome) -> dict[str, object]:
    """What became of an answer, without what the predictor saw: that says nothing to people."""
    story = msgspec.structs.asdict(told)
    del story["features"]
    return {**story, "owner": told.owner or None}


def _standing(told: Standing) -> dict[str, object]:
    return {
        "model": told.model,
        "outcomes": told.outcomes,
        "measured": told.measured,
        "observed": _rounded(told.observed),
        "predicted": _rounded(told.predicted),
        "calibration_error": _rounded(told.calibration_error),
        "shift": _rounded(told.shift),
        "alarm": bool(told.alarms),
        "alarms": [_alarm(alarm) for alarm in told.alarms],
    }


def _alarm(told: Alarm) -> dict[str, object]:
    return {"kind": told.kind, "why": told.why, "at": told.at}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
