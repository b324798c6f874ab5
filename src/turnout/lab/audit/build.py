"""The report from what was read: rows, shares and orders. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from turnout import __version__
from turnout.catalog.catalog import Catalog
from turnout.catalog.known import tier_of
from turnout.catalog.prices import NANO_PER_USD
from turnout.lab.audit.findings import findings_of
from turnout.lab.audit.misses import MENDABLE, REASONS
from turnout.lab.audit.reading import Reading
from turnout.lab.audit.report import (
    Basis,
    CacheDay,
    CacheReport,
    CurvePoint,
    DayModel,
    MissRow,
    ModelRow,
    Month,
    PartRow,
    ProjectRow,
    Report,
    SessionRow,
    SourceRow,
    ToolRow,
    Totals,
    WhatIf,
)
from turnout.lab.audit.sources import Strange
from turnout.lab.audit.sums import Cell, SessionSum, Sums
from turnout.lab.audit.whatif import Otherwise

__all__ = ["build_report"]

MOST_ROWS = 20
"""Sessions, projects and tools that are shown; the totals have all."""

MOST_MODELS = MOST_TOOLS = 40

DAYS_A_MONTH = 30.44

DAY_S = 86_400.0

NOTES = (
    "measured: tokens, times and outcomes as the logs tell them, at the list prices of their day",
    (
        "estimated: parts of the context (by length, held to the measured input); tokens where a log tells none; why a "
        "cache was missed; caches kept by the providers' published rules; a month at this rate"
    ),
    (
        "assumed: a small model does the routine steps as well (those that read a tool's result while nothing has "
        "failed) and writes as much; a loop would have been stopped at the third identical call and result"
    ),
    "a subscription costs what it costs: list prices say what the same tokens cost by the token",
)


def build_report(
    reading: Reading,
    strange: Strange,
    priced: Otherwise,
    *,
    assumed: bool,
    now: datetime,
    with_text: bool = False,
) -> Report:
    """`priced`: the what-if over `reading.tracks`; `assumed`: of logs that do not tell what was cached."""
    sums = reading.sums
    totals = _totals(reading)
    month = _month(sums, totals)
    told = _what_if(priced, assumed=assumed)
    times = [at for s in sums.sessions.values() for at in (s.first, s.last) if at is not None]
    tools = _tools(sums)
    cache = _cache(sums)
    return Report(
        turnout=__version__,
        made_at=now,
        since=_moment(min(times, default=None)),
        until=_moment(max(times, default=None)),
        sources=tuple(_source(name, reading) for name in reading.sources),
        unknown_files=strange.files + strange.unreadable,
        unknown_names=tuple(strange.names),
        totals=totals,
        projects=_projects(sums, with_text=with_text),
        models=_models(sums),
        days=_days(sums),
        sessions=_sessions(sums.sessions.values(), with_text=with_text),
        parts=_parts(sums),
        tools=tools,
        curve=_curve(sums),
        cache=cache,
        findings=findings_of(sums, totals, cache, told, month),
        what_if=told,
        what_if_conversations=priced.conversations,
        month=month,
        notes=(*NOTES, *_limits(reading, priced, assumed=assumed)),
        with_text=with_text,
        prices=Catalog.load().source,
    )


def _limits(reading: Reading, priced: Otherwise, *, assumed: bool) -> Iterable[str]:
    totals = _totals(reading)
    if totals.estimated_calls:
        yield (
            f"{totals.estimated_calls:,} of {totals.calls:,} calls have no token counts in their logs: theirs are "
            "estimates, priced as if nothing had been cached"
        )
    if totals.unpriced_calls:
        yield f"{totals.unpriced_calls:,} calls went to models without a list price: they count as nothing in every sum"
    if assumed and priced.conversations:
        yield "no log tells what was cached: the what-if begins from nothing cached at all"
    left_out = len(reading.tracks) - priced.conversations
    if left_out > 0:
        yield f"{left_out:,} conversations are not in the what-if: no token counts, or no price"
    if reading.tracks_left_out:
        yield f"{reading.tracks_left_out:,} conversations more are not in the what-if: it keeps 400,000 steps at most"
    if reading.sums.sessions_in_sum:
        yield f"{reading.sums.sessions_in_sum:,} sessions are in the sums only: no more than 200,000 are told apart"


def _usd(nano: float) -> float:
    return nano / NANO_PER_USD


def _moment(at: float | None) -> datetime | None:
    try:
        return None if at is None else datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _totals(reading: Reading) -> Totals:
    sums, total = reading.sums, Cell()
    for cell in sums.cells.values():
        total.add(cell)
    return Totals(
        sessions=sum(1 for told in sums.sessions.values() if told.calls) + sums.sessions_in_sum,
        conversations=reading.threads,
        calls=total.calls,
        failed_calls=total.failed,
        copies=sums.copies,
        estimated_calls=total.estimated,
        unpriced_calls=total.unpriced,
        input_tokens=total.input,
        cache_read_tokens=total.cache_read,
        cache_write_tokens=total.cache_write,
        cache_write_1h_tokens=total.cache_write_1h,
        output_tokens=total.output,
        reasoning_tokens=total.reasoning,
        cost_usd=_usd(total.cost_nano_usd),
        input_usd=_usd(total.input_nano_usd),
        logged_calls=total.logged,
        logged_usd=_usd(total.logged_nano_usd),
    )


def _source(name: str, reading: Reading) -> SourceRow:
    told = reading.sources[name]
    return SourceRow(
        reader=name,
        title=told.title,
        files=told.files,
        bytes=told.bytes,
        lines=told.tally.lines,
        steps=told.steps,
        conversations=told.threads,
        unknown=dict(sorted(told.tally.unknown.items(), key=lambda kind: (-kind[1], kind[0]))),
        bad=told.tally.bad,
        first_error=told.tally.first_error,
    )


def _grouped(sums: Sums, key: Callable[[tuple[str, str, str]], tuple[str, ...]]) -> list[tuple[tuple[str, ...], Cell]]:
    groups: dict[tuple[str, ...], Cell] = {}
    for place, cell in sums.cells.items():
        groups.setdefault(key(place), Cell()).add(cell)
    return sorted(groups.items(), key=lambda one: (-one[1].cost_nano_usd, -one[1].input, one[0]))


def _projects(sums: Sums, *, with_text: bool) -> tuple[ProjectRow, ...]:
    return tuple(
        ProjectRow(
            project=_project(name, with_text=with_text),
            calls=cell.calls,
            input_tokens=cell.input,
            cache_read_tokens=cell.cache_read,
            output_tokens=cell.output,
            cost_usd=_usd(cell.cost_nano_usd),
        )
        for (name,), cell in _grouped(sums, lambda place: (place[0],))[:MOST_ROWS]
    )


def _project(name: str, *, with_text: bool) -> str:
    """The last part of a path: where somebody's folders are is nobody's business."""
    short = name if with_text else name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return short[:200] or "-"


def _models(sums: Sums) -> tuple[ModelRow, ...]:
    return tuple(
        ModelRow(
            model=name[:200],
            tier=tier_of(name),
            calls=cell.calls,
            input_tokens=cell.input,
            cache_read_tokens=cell.cache_read,
            cache_write_tokens=cell.cache_write,
            output_tokens=cell.output,
            reasoning_tokens=cell.reasoning,
            cost_usd=_usd(cell.cost_nano_usd),
            unpriced=cell.unpriced,
        )
        for (name,), cell in _grouped(sums, lambda place: (place[2],))[:MOST_MODELS]
    )


def _days(sums: Sums) -> tuple[DayModel, ...]:
    rows = _grouped(sums, lambda place: (place[1], place[2]))
    return tuple(
        DayModel(
            day=day,
            model=model[:200],
            calls=cell.calls,
            input_tokens=cell.input,
            cache_read_tokens=cell.cache_read,
            output_tokens=cell.output,
            cost_usd=_usd(cell.cost_nano_usd),
        )
        for (day, model), cell in sorted(rows, key=lambda one: one[0])
    )


def _sessions(sessions: Iterable[SessionSum], *, with_text: bool) -> tuple[SessionRow, ...]:
    first = sorted(sessions, key=lambda s: (-s.cost_nano_usd, -s.input, s.session))[:MOST_ROWS]
    return tuple(
        SessionRow(
            id=told.session[:200] if with_text else _hashed(told.session),
            project=_project(told.project, with_text=with_text),
            model=told.model[:200],
            calls=told.calls,
            agents=told.agents,
            input_tokens=told.input,
            output_tokens=told.output,
            longest_context=told.deepest,
            cost_usd=_usd(told.cost_nano_usd),
            began=_moment(told.first),
            seconds=None if told.first is None or told.last is None else told.last - told.first,
            solved=told.solved,
            why=told.why[:60],
            bad_end=told.bad_end,
            loop_calls=told.loop_calls,
            loop_usd=_usd(told.loop_nano_usd),
            opening=told.opening or None,
        )
        for told in first
    )


def _hashed(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _parts(sums: Sums) -> tuple[PartRow, ...]:
    told = sums.parts
    whole = sum(told.values()) or 1.0
    return tuple(
        PartRow(
            part=name,
            tokens=round(tokens),
            share=tokens / whole,
            cost_usd=_usd(sums.parts_nano_usd.get(name, 0.0)),
        )
        for name, tokens in sorted(told.items(), key=lambda one: -one[1])
        if tokens >= 1
    )


def _tools(sums: Sums) -> tuple[ToolRow, ...]:
    first = sorted(sums.tools.items(), key=lambda t: (-t[1].carried_tokens - t[1].schema_tokens, t[0]))[:MOST_TOOLS]
    return tuple(
        ToolRow(
            tool=name[:200],
            calls=tool.calls,
            errors=tool.errors,
            result_tokens=round(tool.result_tokens),
            carried_tokens=round(tool.carried_tokens),
            carried_usd=_usd(tool.carried_nano_usd),
            schema_tokens=round(tool.schema_tokens),
            idle_tokens=round(tool.idle_tokens),
            idle_usd=_usd(tool.idle_nano_usd),
        )
        for name, tool in first
    )


def _curve(sums: Sums) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            step=step,
            calls=told.calls,
            output_tokens=told.output / told.calls,
            parts={name: tokens / told.calls for name, tokens in told.parts.items()},
        )
        for step, told in sorted(sums.curve.items())
        if told.calls
    )


def _cache(sums: Sums) -> CacheReport:
    rows = sorted(sums.misses.items(), key=lambda one: (-one[1].nano_usd, -one[1].tokens, one[0]))
    later = sum(cell.input for cell in sums.cells.values()) or 1
    days = [
        CacheDay(day=day, input_tokens=cell.input, cache_read_tokens=cell.cache_read)
        for (day,), cell in _grouped(sums, lambda place: (place[1],))
        if day
    ]
    return CacheReport(
        repeated_tokens=sums.repeated,
        repeated_share=sums.repeated / later,
        judged_tokens=sums.repeated_known,
        read_tokens=sums.read_known,
        read_share=sums.read_known / sums.repeated_known if sums.repeated_known else None,
        misses=tuple(
            MissRow(
                reason=reason,
                meaning=REASONS[reason],
                calls=miss.calls,
                tokens=miss.tokens,
                cost_usd=_usd(miss.nano_usd),
                mendable=reason in MENDABLE,
            )
            for reason, miss in rows
        ),
        days=tuple(sorted(days, key=lambda day: day.day)),
    )


def _month(sums: Sums, totals: Totals) -> Month | None:
    times = [at for s in sums.sessions.values() for at in (s.first, s.last) if at is not None]
    dated = sum(cell.cost_nano_usd for (_, day, _), cell in sums.cells.items() if day)
    if not times or not totals.cost_usd:
        return None
    days = max(1.0, (max(times) - min(times)) / DAY_S)
    a_day = _usd(dated) / days
    return Month(usd=a_day * DAYS_A_MONTH, days=days, usd_per_day=a_day)


def _what_if(told: Otherwise, *, assumed: bool) -> tuple[WhatIf, ...]:
    if not told.conversations or not told.paid:
        return ()
    known: Basis = "assumed" if assumed else "measured"
    rules: Basis = "assumed" if assumed else "estimated"
    rows: Sequence[tuple[str, str, Basis, int, str]] = (
        ("paid", "as it was", known, told.paid, "list prices of what was used"),
        ("no_cache", "without any cache", known, told.uncached, "all input at the price of input"),
        ("caching_repaired", "caching repaired", rules, told.cached, "each step reads what the one before sent"),
        (
            "session_routing",
            "caching and session routing",
            "assumed",
            told.routed,
            f"{told.moved:,} of {told.steps:,} steps to a small model of the same provider, where it pays",
        ),
        ("brakes", "brakes alone", "assumed", told.braked, "a run pauses at its third identical call and result"),
        ("together", "all together", "assumed", told.together, "caching, session routing and brakes"),
    )
    return tuple(
        WhatIf(
            policy=policy,
            title=title,
            basis=basis,
            usd=_usd(nano),
            saved_usd=_usd(told.paid - nano),
            saved_share=(told.paid - nano) / told.paid,
            how=how,
        )
        for policy, title, basis, nano, how in rows
    )
