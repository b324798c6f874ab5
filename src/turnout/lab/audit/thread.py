"""One conversation of a log, step by step, into the sums: what each request was made of, cost and repeated. Pure.

A thread is one agent of one session. It keeps sizes, hashes and counts; texts are let go as soon as they were seen.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from turnout.catalog.cache_rules import cache_rule_of, readable_tokens
from turnout.catalog.known import tier_of
from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Message, Text, ToolCall, ToolResult, Usage
from turnout.lab.audit.contexts import Context, Grown
from turnout.lab.audit.misses import Repeat, loss_nano_usd, missed, reason_of
from turnout.lab.audit.pricing import Pricer
from turnout.lab.audit.records import Step
from turnout.lab.audit.sums import Cell, Curve, Effort, Kind, Miss, SessionSum, Sums, ToolSum, bucket_of
from turnout.lab.audit.weights import answer_tokens
from turnout.lab.beats import ASSUMED_GAP_S
from turnout.routing.moves import Evidence, routine
from turnout.routing.trajectory import STRUGGLES, Trajectory
from turnout.spend.brakes import DEFAULTS
from turnout.spend.loops import Trail

__all__ = ["Thread", "Track"]

COMPACTED = 0.6
"""A context this much shorter than the one before was cut short, though the log does not say so."""

OPENING = 160
"""Characters of a first message that are kept where texts are asked for."""

REPEATS = DEFAULTS["repeat_call"].limit
ROUNDS = DEFAULTS["cycle"].limit


class Track(Struct, frozen=True, kw_only=True):
    """A whole conversation as what-if pricing needs it, packed: five numbers a step in `numbers` (context, output,
    milliseconds since the first, system and tools, 1 where a small model could do it). `loop_at`: the step before which
    the default brake would have paused it; `paid_nano_usd`: what its steps cost at list price, one number each; `at`:
    when it began, in seconds since 1970."""

    session: str
    project: str
    provider: str
    model: str
    numbers: bytes
    paid_nano_usd: bytes
    loop_at: int | None
    estimated: bool
    at: float | None


class _Now(Struct, kw_only=True):
    """A step being looked at: what it is of, and what it was found to be."""

    provider: str
    model: str
    price: Price | None
    usage: Usage
    context: int
    input_cost: int
    cost: int
    estimated: bool


class Thread:
    """Feed it with the steps of one agent, in order."""

    def __init__(self, step: Step, pricer: Pricer, *, keep_text: bool = False) -> None:
        self._pricer, self._keep_text = pricer, keep_text
        self.session, self.agent = step.session, step.agent
        self._project = step.project
        self._model: tuple[str, str] = "", ""
        self._context = Context()
        self._trajectory, self._trail = Trajectory(), Trail()
        self._numbers, self._paid = array("q"), array("q")
        self._before: _Now | None = None
        self._first = self._last = step.at
        self._at_ms = 0
        self._marked = self._long = self._estimated = False
        self._loop_at: int | None = None
        self._routine_tier = ""
        self._opening = ""

    def step(self, step: Step, sums: Sums) -> None:
        """One request more."""
        self._context.offer(step.tools)
        grown = self._context.become(step.new) if step.whole else self._context.grow(step.new)
        severities = self._trajectory.feed(grown.new)
        self._trail.feed(grown.new)
        gap = self._time(step.at)
        now = self._weigh(step)
        self._tell_tools(grown.new, severities, sums)
        self._judge_before(severities, sums)
        self._count(step, now, sums)
        self._repeat(step, grown, now, gap, sums)
        self._note(step, grown, now, sums)
        self._before = now
        self._answered(step)

    def end(self, sums: Sums) -> Track | None:
        """No step comes any more. The track, for a conversation of two steps or more."""
        told = sums.sessions.get(self.session)
        signs = self._trajectory.signs
        if told is not None:
            told.bad_end = told.bad_end or (signs.failed and signs.severity >= STRUGGLES)
        if self._before is not None:
            sums.final_context += self._before.context
        self._unload(sums)
        if len(self._paid) < 2:
            return None
        return Track(
            session=self.session,
            project=self._project,
            provider=self._model[0],
            model=self._model[1],
            numbers=self._numbers.tobytes(),
            paid_nano_usd=self._paid.tobytes(),
            loop_at=self._loop_at,
            estimated=self._estimated,
            at=self._first,
        )

    def _unload(self, sums: Sums) -> None:
        """What each tool came to in this conversation."""
        context = self._context
        for name, carried in context.results.settled().items():
            tool = sums.tools.setdefault(name, ToolSum())
            tool.carried_tokens += carried.tokens
            tool.carried_nano_usd += carried.nano_usd
        for name, carried in context.schemas.settled().items():
            tool = sums.tools.setdefault(name, ToolSum())
            tool.offered += carried.requests
            tool.schema_tokens += carried.tokens
        for name, carried in context.idle.settled().items():
            tool = sums.tools.setdefault(name, ToolSum())
            tool.idle += carried.requests
            tool.idle_tokens += carried.tokens
            tool.idle_nano_usd += carried.nano_usd

    # ---- One step ---------------------------------------------------------------------------------------------

    def _weigh(self, step: Step) -> _Now:
        told = step.usage
        measured = told.input if told is not None else None
        context = self._context.fit(measured)
        output = told.output if told is not None and told.output is not None else round(answer_tokens(step.out))
        provider, model = self._pricer.home(step.provider, step.model)
        price = self._pricer.price(provider, model, step.at)
        usage = told if told is not None and measured is not None else Usage(input=context, output=output)
        estimated = (measured is None or told is None or told.output is None) and not step.failed
        if step.failed and told is None:
            usage = Usage(input=0, output=0)
        return _Now(
            provider=provider,
            model=model,
            price=price,
            usage=usage,
            context=context,
            input_cost=0 if price is None else cost_nano_usd(_without_output(usage), price),
            cost=0 if price is None else cost_nano_usd(usage, price),
            estimated=estimated,
        )

    def _count(self, step: Step, now: _Now, sums: Sums) -> None:
        usage, name = now.usage, f"{now.provider}/{now.model}" if now.provider else now.model or "unknown"
        cell = sums.cells.setdefault((step.project, _day(step.at), name), Cell())
        cell.add(
            Cell(
                calls=1,
                failed=int(step.failed),
                estimated=int(now.estimated),
                unpriced=int(now.price is None and bool(usage.input or usage.output)),
                input=usage.input or 0,
                cache_read=usage.cache_read or 0,
                cache_write=usage.cache_write or 0,
                cache_write_1h=usage.cache_write_1h or 0,
                output=usage.output or 0,
                reasoning=usage.reasoning or 0,
                input_nano_usd=now.input_cost,
                cost_nano_usd=now.cost,
                logged=int(step.cost_nano_usd is not None),
                logged_nano_usd=step.cost_nano_usd or 0,
            )
        )
        if step.effort:
            sums.efforts.setdefault(step.effort[:40], Effort()).add(
                Effort(calls=1, output=usage.output or 0, reasoning=usage.reasoning or 0, cost_nano_usd=now.cost)
            )
        self._estimated = self._estimated or now.estimated
        if not step.failed:
            self._spread(now, sums)

    def _spread(self, now: _Now, sums: Sums) -> None:
        """This request's input over parts and tools, and over the curve of its session."""
        money = now.input_cost / now.context
        parts = self._context.parts
        bucket = bucket_of(len(self._paid))
        curve = sums.curve.get(bucket)
        if curve is None:
            curve = sums.curve[bucket] = Curve()
        curve.calls += 1
        curve.output += now.usage.output or 0
        for name, tokens in parts.items():
            if tokens:
                curve.parts[name] = curve.parts.get(name, 0.0) + tokens
                sums.parts_nano_usd[name] = sums.parts_nano_usd.get(name, 0.0) + tokens * money
        self._context.sent(money)

    def _repeat(self, step: Step, grown: Grown, now: _Now, gap: float | None, sums: Sums) -> None:
        before = self._before
        usage = now.usage
        if before is None or step.failed:
            self._marks(usage)
            return
        repeated = could = min(before.context, now.context)
        if step.compacted or now.context < COMPACTED * before.context:
            repeated = could = min(could, round(self._context.shared))
        elif step.whole:
            repeated = round(repeated * grown.kept)
        sums.repeated += repeated
        if now.estimated or usage.cache_read is None:
            self._marks(usage)
            return
        told = Repeat(
            tokens=could,
            read=usage.cache_read,
            kept=grown.kept if step.whole and not step.compacted else None,
            shared=round(self._context.shared),
            gap_s=gap,
            same_model=(before.provider, before.model) == (now.provider, now.model),
            marked=self._marked,
            long=self._long,
        )
        sums.repeated_known += could
        sums.read_known += min(could, usage.cache_read)
        rule = cache_rule_of(now.provider, now.model)
        if lost := missed(told):
            reason = reason_of(told, rule)
            lost = min(lost, readable_tokens(rule, could) or lost)
            price = now.price
            money = loss_nano_usd(lost, usage, price) if price is not None else 0
            sums.misses.setdefault(reason, Miss()).add(Miss(calls=1, tokens=lost, nano_usd=money))
        self._marks(usage)

    def _marks(self, usage: Usage) -> None:
        self._marked = self._marked or bool(usage.cache_write or usage.cache_read)
        self._long = self._long or bool(usage.cache_write_1h)

    def _note(self, step: Step, grown: Grown, now: _Now, sums: Sums) -> None:
        """This request as a step of its session: for what-if, for loops, and for the session's own sums."""
        last = grown.new[-1] if grown.new else None
        reads = last is not None and any(isinstance(part, ToolResult) for part in last.parts)
        small = routine(tool_result_last=reads, evidence=Evidence(signs=self._trajectory.signs), signed=False)
        self._routine_tier = (tier_of(now.model) or "") if small and not step.failed else ""
        if self._routine_tier:
            kind = sums.routine.setdefault(self._routine_tier, Kind())
            reasoning = now.usage.reasoning or 0
            kind.add(
                Kind(
                    calls=1,
                    cost_nano_usd=now.cost,
                    reasoning=reasoning,
                    reasoning_nano_usd=0 if now.price is None else reasoning * now.price.output // 1_000,
                )
            )
        numbers = (now.context, now.usage.output or 0, self._at_ms, round(self._context.shared), int(small))
        self._numbers.extend(numbers)
        self._model = now.provider, now.model
        looping = self._trail.repeated[1] >= REPEATS or self._trail.cycle[1] >= ROUNDS
        if self._trail.repeated[1] >= REPEATS and self._loop_at is None:
            self._loop_at = len(self._paid)
        self._paid.append(now.cost)
        told = SessionSum(
            session=self.session,
            project=step.project,
            model=f"{now.provider}/{now.model}" if now.provider else now.model,
            calls=1,
            agents=int(self._before is None),
            input=now.usage.input or 0,
            output=now.usage.output or 0,
            cost_nano_usd=now.cost,
            deepest=now.context,
            first=step.at,
            last=step.at,
            loop_calls=int(looping),
            loop_nano_usd=now.cost if looping else 0,
            opening=self._open(grown.new),
        )
        if self.session in sums.sessions:
            sums.sessions[self.session].add(told)
        else:
            sums.sessions[self.session] = told

    def _open(self, messages: Sequence[Message]) -> str:
        if not self._keep_text or self._opening or self.agent:
            return ""
        texts = (p.text for m in messages if m.role == "user" for p in m.parts if isinstance(p, Text))
        self._opening = " ".join(next(texts, "").split())[:OPENING]
        return self._opening

    # ---- Around it --------------------------------------------------------------------------------------------

    def _tell_tools(self, messages: Sequence[Message], severities: Sequence[float], sums: Sums) -> None:
        results = [part for message in messages for part in message.parts if isinstance(part, ToolResult)]
        for result, severity in zip(results, severities, strict=False):
            tool = sums.tools.setdefault(self._context.tool_of(result.call_id) or "?", ToolSum())
            tool.calls += 1
            tool.errors += int(severity > 0)
            tool.result_tokens += sum(len(p.text) / 4 for p in result.parts if isinstance(p, Text))

    def _judge_before(self, severities: Sequence[float], sums: Sums) -> None:
        """Whether the step before, if it was routine, led to a tool that failed."""
        if self._routine_tier and severities:
            went_well = int(not any(severities))
            sums.routine[self._routine_tier].add(Kind(judged=1, went_well=went_well))

    def _answered(self, step: Step) -> None:
        calls = [part for part in step.out if isinstance(part, ToolCall)]
        self._context.called(calls)
        if not step.whole:  # a whole request brings its answers again with the next
            answer = (Message(role="assistant", parts=step.out),)
            self._trajectory.feed(answer)
            self._trail.feed(answer)
            self._context.grow(answer)

    def _time(self, at: float | None) -> float | None:
        """Seconds since the step before; None where a time is missing or goes back."""
        last, self._last = self._last, at if at is not None else self._last
        gap = None if at is None or last is None or at < last else at - last
        if self._before is not None:
            self._at_ms += round((ASSUMED_GAP_S if gap is None else gap) * 1_000)
        return gap


def _without_output(usage: Usage) -> Usage:
    return Usage(
        input=usage.input,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        cache_write_1h=usage.cache_write_1h,
        output=0,
        service_tier=usage.service_tier,
    )


def _day(at: float | None) -> str:
    try:
        return "" if at is None else datetime.fromtimestamp(at, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return ""
