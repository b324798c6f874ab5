"""What may hold a request before anything is decided: its key's limits, brakes, and budgets that would not last."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec.structs import replace

from turnout.call import Call
from turnout.context import Decision, Pressure, RequestContext, Spender
from turnout.dialects.ends import acting, noted
from turnout.errors import BudgetExhausted, InvalidRequest, NoCapacity, RateLimited, RunPaused
from turnout.keys import Key
from turnout.memory import Memory
from turnout.peers import Peers
from turnout.shared_state import KeyAdmission
from turnout.spend.brakes import BY_HAND, AgentRun, BrakeRules, Verdict

__all__ = ["MOST_UNSEEN", "Guard", "spender_of", "thrifty"]

MOST_UNSEEN = 64
"""Messages, from the newest on, that are looked at of a conversation which comes long already: after a restart."""


class Guard:
    """Admits a request, looks what its agent has done so far, and asks budgets how they fare."""

    def __init__(self, brakes: BrakeRules, memory: Memory, *, watches: bool = False) -> None:
        self._brakes = brakes
        self._gates = memory.gates
        self._sessions = memory.sessions
        self._runs = memory.runs
        self._budgets = memory.budgets
        self._pacing = memory.pacing
        self._tokens = memory.tokens
        self._prefixes = memory.prefixes
        self._contexts = memory.contexts if watches else None
        self._learner = memory.learner
        self._signals = memory.signals
        self._peers = memory.peers

    async def admit(self, ctx: RequestContext) -> None:
        """Hold the key's limits. Raises RateLimited: such a request was never opened, and has no row. Where gateways
        share them and what they share is away, each counts alone."""
        key, peers = ctx.key, self._peers
        if key is None or (peers is not None and await self._admitted(ctx, key, peers)):
            return
        self._gates.enter(
            key.name,
            ctx.input_tokens_estimate,
            ctx.started_s,
            rpm=key.rpm,
            tpm=key.tpm,
            at_once=key.max_concurrency,
        )

    async def _admitted(self, ctx: RequestContext, key: Key, peers: Peers) -> bool:
        """Whether it is in by the limits that hold over all gateways; False where none do. Raises RateLimited."""
        if key.rpm is None and key.tpm is None and key.max_concurrency is None:
            return False
        admission = KeyAdmission(
            key=key.name,
            request_id=ctx.request_id,
            tokens=ctx.input_tokens_estimate,
            rpm=key.rpm,
            tpm=key.tpm,
            at_once=key.max_concurrency,
        )
        wait_s = await peers.admit(admission)
        if wait_s is None:
            return False
        if wait_s > 0:
            raise RateLimited(
                f"key {key.name} has used up, over all gateways, what it may: {limits_of(key)}; "
                f"try again in {wait_s:.1f} s",
                retry_after=wait_s,
            )
        ctx.admission = admission
        return True

    def pace(self, ctx: RequestContext) -> None:
        """What budgets ask of this request so that their money lasts. Raises BudgetExhausted or NoCapacity where it is
        not to be served now: only budgets with `pacing = "strict"` do that."""
        if not self._pacing.names:
            return
        now = datetime.now(UTC)
        names = self._budgets.concerning(
            Spender(key=ctx.key_id, team=ctx.team, tags=ctx.tags, mode=ctx.mode, session=ctx.session.id)
        )
        self._pacing.asked(names, now)
        if self._pacing.due(ctx.started_s):
            for name in self._pacing.names:
                state = self._budgets.state(name)
                self._pacing[name].update(
                    now, spent=state.spent_nano_usd, amount=state.amount_nano_usd, start=state.start, end=state.end
                )
        ctx.pressure = pressure = self._pacing.strictest(names)
        if pressure.pause and ctx.begins:
            raise BudgetExhausted(
                f"{hasty(pressure)}: no new session begins now, running ones go on; try later, or raise the budget"
            )
        if pressure.queue and ctx.latency == "batch":
            raise NoCapacity(f"{hasty(pressure)}: what nobody waits for is put off", retry_after=60)

    def brake(self, ctx: RequestContext, call: Call) -> AgentRun:
        """Look what the agent has done so far. Raises RunPaused; a milder verdict is noted on `ctx`."""
        session, owner, now_s = ctx.session, ctx.key_id or "", time.monotonic()
        feature = ctx.tags.get("feature", "")
        run, agent = self._runs.begin(owner, session.id, session.thread, now_s=now_s, feature=feature)
        ctx.begins = not run.begun
        if run.paused is not None:
            raise paused(session.id, run.paused)
        rules = self._brakes.of(feature, ctx.key_id)
        chat, outline = call.operation.chat, ctx.outline
        named = "" if session.source == "prefix" else session.id
        if chat is not None and (change := self._prefixes.seen(owner, named, outline)) is not None:
            ctx.warn(str(change))
            ctx.volatile_part = change.place.part if change.always else None
        before, begun = agent.tokens, agent.seen
        start = agent.unseen(len(outline.messages), session.shared)
        agent.tokens = ctx.input_tokens_estimate
        ctx.parts = self._tokens.parts(outline, agent.tokens, ctx.counted)
        # A conversation that was rewritten still begins as it did.
        ctx.repeated_tokens = before if start == begun else min(before, ctx.parts.system + ctx.parts.tools)
        if chat is not None:
            with contextlib.suppress(InvalidRequest):  # whoever answers it will say what is wrong
                watched = self._contexts
                since = max(start, len(outline.messages) - MOST_UNSEEN)
                told = acting(chat, outline, since) if watched is None else watched.look(ctx, chat, start)
                if told:
                    ctx.newest = len(outline.messages) - 1, told[-1]
                agent.trail.feed(told)
                trajectory = self._sessions.trajectory(owner, session)
                was = trajectory.recovered
                came = trajectory.feed(told)
                recovered = trajectory.recovered and not was
                self._learner.saw(ctx, told, came, start=start, recovered=recovered)
        for verdict in rules.check(run, agent, now_s=now_s, p99_nano_usd=self._runs.costs.p99(feature)):
            self.act(ctx, call, agent, verdict)
        return agent

    def act(self, ctx: RequestContext, call: Call, agent: AgentRun, verdict: Verdict) -> None:
        """Do what a brake says. Raises RunPaused."""
        self._signals.braked(ctx, verdict.brake, verdict.action, verdict.why)
        if verdict.action in {"pause", "block"}:
            self._runs.pause(ctx.key_id or "", ctx.session.id, verdict)
            if self._peers is not None:
                self._peers.held(ctx.key_id or "", ctx.session.id)
            raise paused(ctx.session.id, verdict)
        ctx.warn(f"brake {verdict.brake}: {verdict.why}")
        if verdict.action == "escalate" and not agent.escalated:
            agent.escalated = True
            self._sessions.loops(ctx.key_id or "", ctx.session)
        chat = call.operation.chat
        if self._brakes.note and chat is not None and (body := noted(chat, ctx.outline, verdict.note)) is not None:
            ctx.body, ctx.outline = body, call.operation.outline(body)


def thrifty(ctx: RequestContext, agent: AgentRun, decision: Decision) -> Decision:
    """`decision` with less effort for a session that began while money was short, where the engine decides."""
    if ctx.session.step == 0 and ctx.pressure.effort:
        agent.thrifty = True
    auto = decision.reason not in {"mode", "explicit"}
    if not (agent.thrifty and auto and ctx.outline.reasoning):
        return decision
    ctx.warn("a budget is short: this session thinks with low effort")
    return replace(decision, effort="low")


def hasty(pressure: Pressure) -> str:
    """Why a budget asks for something, in words."""
    return f"budget {pressure.budget} is used up faster than its period lasts"


def limits_of(key: Key) -> str:
    """A key's limits in words."""
    told = ((key.rpm, "requests a minute"), (key.tpm, "tokens a minute"), (key.max_concurrency, "requests at once"))
    return ", ".join(f"{most:,} {what}" for most, what in told if most is not None)


def paused(session: str, verdict: Verdict) -> RunPaused:
    """What the caller of a session that is held is told."""
    if verdict.action == "block":
        how = f"begin a new session, or set brakes.actions.{verdict.brake}"
    else:
        how = f"resume it with POST /admin/sessions/{quote(session, safe='')}/resume"
    if verdict.brake == BY_HAND:
        return RunPaused(f"session {session} is {verdict.why}; {how}")
    if verdict.action != "block":
        how += f", or raise brakes.{verdict.brake}"
    held = "blocked" if verdict.action == "block" else "paused"
    return RunPaused(f"session {session} is {held} by the brake {verdict.brake}: {verdict.why}; {how}")


def spender_of(ctx: RequestContext, decision: Decision) -> Spender:
    return Spender(key=ctx.key_id, team=ctx.team, tags=ctx.tags, mode=decision.mode or ctx.mode, session=ctx.session.id)
