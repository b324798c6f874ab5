"""A recorded session as what-if pricing sees it: a beat for each request, with its size, its time, and its kind.

Sizes are the recorded usage where there is one, else estimated. What a later request repeats of an earlier one is the
whole of it: recordings only grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from turnout.dialects import DIALECTS
from turnout.errors import InvalidRequest
from turnout.lab.sessions import Session, ToolTable, requests_of, usage_of
from turnout.routing.moves import Evidence, routine
from turnout.routing.trajectory import Trajectory

__all__ = ["ASSUMED_GAP_S", "Beat", "Score", "score_of"]

ASSUMED_GAP_S = 5.0
"""Between two steps of a session whose times were not recorded. The median of those that were is 2.8 s, 99 % are below
25 s."""

CHAT = DIALECTS["openai-chat"]


class Beat(Struct, frozen=True, kw_only=True):
    """One request: `context` and `output` in tokens, `at_s` seconds since the session began; `system`: how much of it
    is system text and tools. `routine`: a small model is assumed to do as well here."""

    context: int
    output: int
    at_s: float
    system: int
    routine: bool


class Score(Struct, frozen=True, kw_only=True):
    """A whole session. `opening` is its first user message. `estimated`: some sizes were not recorded."""

    id: str
    kind: str
    task: str
    model: str
    outcome: float | None
    opening: str
    beats: tuple[Beat, ...]
    estimated: bool


def score_of(session: Session, tools: ToolTable | None = None) -> Score:
    """The beats of a session, in order."""
    trajectory, beats = Trajectory(), list[Beat]()
    times = _times([step.ts for step in session.steps])
    estimated = False
    for step, recorded, at_s in zip(session.steps, requests_of(session, tools), times, strict=True):
        usage = usage_of(step, recorded)
        estimated = estimated or usage.estimated
        _feed(trajectory, list(step.add))
        last = step.add[-1] if step.add else {}
        beats.append(
            Beat(
                context=usage.input,
                output=usage.output,
                at_s=at_s,
                system=round(usage.input * _system_share(recorded.messages, recorded.tools)),
                routine=routine(
                    tool_result_last=last.get("role") == "tool",
                    evidence=Evidence(signs=trajectory.signs),
                    signed=False,
                ),
            )
        )
        _feed(trajectory, [step.out])
    return Score(
        id=session.id,
        kind=session.bench or session.kind,
        task=session.task,
        model=session.model,
        outcome=session.outcome,
        opening=_opening(session),
        beats=tuple(beats),
        estimated=estimated,
    )


def _feed(trajectory: Trajectory, messages: list[dict[str, object]]) -> None:
    if not messages:
        return
    try:
        request = CHAT.decode_request(msgspec.json.encode({"model": "recorded", "messages": messages}))
    except InvalidRequest:  # a recording may hold what no API takes: then nothing is known of how the agent fares
        return
    trajectory.feed(request.messages)


def _system_share(messages: Sequence[dict[str, object]], tools: object) -> float:
    """Of a request's bytes, how many are system text and tools (tools weigh half, see `sessions.estimate_tokens`)."""
    system = sum(len(msgspec.json.encode(m)) for m in messages if m.get("role") in {"system", "developer"})
    offered = len(msgspec.json.encode(tools)) / 2 if tools else 0.0
    whole = sum(len(msgspec.json.encode(m)) for m in messages) + offered
    return (system + offered) / whole if whole else 0.0


def _times(stamps: Sequence[str | None]) -> list[float]:
    """Seconds since the first; a stamp that is missing or goes back counts as the usual gap after the one before."""
    times: list[float] = []
    before: datetime | None = None
    for stamp in stamps:
        try:
            now = datetime.fromisoformat(stamp) if stamp else None
            gap = (now - before).total_seconds() if now is not None and before is not None else ASSUMED_GAP_S
        except (ValueError, TypeError):  # no time, or one with a zone beside one without
            now, gap = None, ASSUMED_GAP_S
        times.append(times[-1] + (gap if gap >= 0 else ASSUMED_GAP_S) if times else 0.0)
        before = now or before
    return times


def _opening(session: Session) -> str:
    for step in session.steps:
        for message in step.add:
            if message.get("role") == "user":
                content = message.get("content")
                return content if isinstance(content, str) else msgspec.json.encode(content).decode()
    return ""
