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
from turnout.lab.sessions import Session, ToolTable, estimate_tokens, output_tokens, tools_of
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


def score_of(session: Session, tools: ToolTable) -> Score:
    """The beats of a session, in order."""
    trajectory, beats = Trajectory(), list[Beat]()
    offered = tools_of(session, tools)
    tool_bytes = len(msgspec.json.encode(offered)) if offered else 0
    said = system = 0
    for step, at_s in zip(session.steps, _times([step.ts for step in session.steps]), strict=True):
        sizes = [(message, len(msgspec.json.encode(message))) for message in step.add]
        said += sum(size for _, size in sizes)
        system += sum(size for message, size in sizes if message.get("role") in {"system", "developer"})
        context = step.usage.input if step.usage else max(1, estimate_tokens(said, tool_bytes))
        _feed(trajectory, list(step.add))
        # Definitions of tools weigh half as much as they are long (see `sessions.estimate_tokens`).
        shared = (system + tool_bytes / 2) / max(1.0, said + tool_bytes / 2)
        beats.append(
            Beat(
                context=context,
                output=step.usage.output if step.usage else output_tokens(step.out),
                at_s=at_s,
                system=round(context * shared),
                routine=routine(
                    tool_result_last=bool(step.add) and step.add[-1].get("role") == "tool",
                    evidence=Evidence(signs=trajectory.signs),
                    signed=False,
                ),
            )
        )
        _feed(trajectory, [step.out])
        said += len(msgspec.json.encode(step.out))
    return Score(
        id=session.id,
        kind=session.bench or session.kind,
        task=session.task,
        model=session.model,
        outcome=session.outcome,
        opening=_opening(session),
        beats=tuple(beats),
        estimated=any(step.usage is None for step in session.steps),
    )


def _feed(trajectory: Trajectory, messages: list[dict[str, object]]) -> None:
    if not messages:
        return
    try:
        request = CHAT.decode_request(msgspec.json.encode({"model": "recorded", "messages": messages}))
    except InvalidRequest:  # a recording may hold what no API takes: then nothing is known of how the agent fares
        return
    trajectory.feed(request.messages)


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
