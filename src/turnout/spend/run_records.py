"""Sessions that brakes watch, as plain data that another gateway goes on from: what was done to them, what they have
taken, and what their agents did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from msgspec import Struct

from turnout.spend.brakes import AgentRun, LimitName, SessionRun, Verdict
from turnout.spend.loops import Trail, TrailRecord

__all__ = [
    "AgentRecord",
    "Hold",
    "RunRecord",
    "agent_of",
    "agent_record",
    "counts_of",
    "hear",
    "hold_of",
    "run_record",
    "take_counts",
    "take_over",
]

WINDOW_S = 10.0
"""Calls of a session that are written down: as far back as the brake on calls a second looks."""

MOST_CALLS = 64
MOST_GATEWAYS = 16


class AgentRecord(Struct, frozen=True, kw_only=True, array_like=True):
    """An `AgentRun`, as it was in the session's `epoch`."""

    epoch: int
    seen: int
    tokens: int
    escalated: bool
    thrifty: bool
    trail: TrailRecord


class Hold(Struct, frozen=True, kw_only=True, array_like=True):
    """What was done to a session, by a brake or by hand: its pause, and limits of its own. `version` and `epoch` as the
    run's."""

    owner: str
    session: str
    version: int
    epoch: int
    paused: Verdict | None
    limits: dict[str, float]


class RunRecord(Struct, frozen=True, kw_only=True, array_like=True):
    """A `SessionRun` as one gateway knows it: figures over all gateways, as far as it was told. `calls`: milliseconds
    since each of its latest calls, by gateway."""

    hold: Hold
    steps: int
    tokens: int
    cost_nano_usd: int
    total_nano_usd: int
    begun: bool
    feature: str
    calls: dict[str, list[int]]


def hold_of(owner: str, session: str, run: SessionRun) -> Hold:
    """What others must know of it, and may miss."""
    return Hold(
        owner=owner,
        session=session,
        version=run.version,
        epoch=run.epoch,
        paused=run.paused,
        limits=cast("dict[str, float]", dict(run.limits)),
    )


def hear(run: SessionRun, told: Hold) -> bool:
    """Take over what was done elsewhere; whether anything is new. Where two gateways acted at once, a pause holds."""
    if told.version < run.version or (told.version == run.version and not (told.paused and run.paused is None)):
        return False
    limits = cast("dict[LimitName, float]", told.limits)
    run.limits = limits if told.version > run.version else {**run.limits, **limits}
    if told.epoch > run.epoch:
        run.epoch = told.epoch
        run.anew()
    run.version, run.paused = told.version, told.paused
    return True


def run_record(owner: str, session: str, run: SessionRun, gateway: str, now_s: float) -> RunRecord:
    """The session as `gateway` knows it at `now_s` (monotonic)."""
    calls = {gateway: run.calls_s, **run.elsewhere_s}
    since = now_s - WINDOW_S
    ages = {name: [round((now_s - at) * 1000) for at in told if at > since] for name, told in calls.items()}
    return RunRecord(
        hold=hold_of(owner, session, run),
        steps=run.steps,
        tokens=run.tokens,
        cost_nano_usd=run.cost_nano_usd,
        total_nano_usd=run.total_nano_usd,
        begun=run.begun,
        feature=run.feature,
        calls={name: told[-MOST_CALLS:] for name, told in list(ages.items())[:MOST_GATEWAYS] if told},
    )


def take_over(run: SessionRun, told: RunRecord, *, gateway: str, now_s: float, elapsed_s: float) -> None:
    """What another gateway wrote `elapsed_s` ago of a session, beside what is known here: the larger of two figures is
    the newer, for within an epoch they only grow."""
    hear(run, told.hold)
    if told.hold.epoch == run.epoch:
        run.steps = max(run.steps, told.steps)
        run.tokens = max(run.tokens, told.tokens)
        run.cost_nano_usd = max(run.cost_nano_usd, told.cost_nano_usd)
        for name, ages in told.calls.items():
            if name != gateway:
                run.elsewhere_s[name] = [now_s - max(0.0, elapsed_s) - age / 1000 for age in ages[-MOST_CALLS:]]
        while len(run.elsewhere_s) > MOST_GATEWAYS:
            del run.elsewhere_s[next(iter(run.elsewhere_s))]
    run.total_nano_usd = max(run.total_nano_usd, told.total_nano_usd)
    run.begun = run.begun or told.begun
    run.belong(told.feature)


def counts_of(epoch: int, *, steps: int, tokens: int, cost_nano_usd: int) -> dict[str, int]:
    """What a request adds to its session's shared counters: those since it was last resumed, and what it cost in
    all."""
    return {
        f"steps.{epoch}": steps,
        f"tokens.{epoch}": tokens,
        f"cost.{epoch}": cost_nano_usd,
        "total": cost_nano_usd,
    }


def take_counts(run: SessionRun, told: Mapping[str, int]) -> None:
    """What all gateways have counted, where that is more than is known here."""
    run.steps = max(run.steps, told.get(f"steps.{run.epoch}", 0))
    run.tokens = max(run.tokens, told.get(f"tokens.{run.epoch}", 0))
    run.cost_nano_usd = max(run.cost_nano_usd, told.get(f"cost.{run.epoch}", 0))
    run.total_nano_usd = max(run.total_nano_usd, told.get("total", 0))


def agent_record(agent: AgentRun, epoch: int) -> AgentRecord:
    return AgentRecord(
        epoch=epoch,
        seen=agent.seen,
        tokens=agent.tokens,
        escalated=agent.escalated,
        thrifty=agent.thrifty,
        trail=agent.trail.record(),
    )


def agent_of(told: AgentRecord, epoch: int) -> AgentRun:
    """The agent of a record; what it did before its session was last resumed does not count."""
    agent = AgentRun(
        trail=Trail.restored(told.trail),
        seen=told.seen,
        tokens=told.tokens,
        escalated=told.escalated,
        thrifty=told.thrifty,
    )
    if told.epoch < epoch:
        agent.trail.forget()
        agent.escalated = False
    return agent
