"""What is worth knowing in the sums, the dearest first, each with what it rests on and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from turnout.catalog.prices import NANO_PER_USD
from turnout.lab.audit.report import Basis, CacheReport, Finding, Month, Totals, WhatIf
from turnout.lab.audit.sums import Kind, Sums, ToolSum

__all__ = ["findings_of"]

ENOUGH = 20
"""Judged steps from which a share means something."""

LEAST_SHARE = 0.02
"""Of all cost, or of all input: what is smaller is not worth a word."""


def findings_of(
    sums: Sums, totals: Totals, cache: CacheReport, told: tuple[WhatIf, ...], month: Month | None
) -> tuple[Finding, ...]:
    """The findings there are, by what they cost."""
    found = [
        *_snowball(sums, totals, cache),
        *_misses(cache),
        *_loops(sums),
        *_failed(sums),
        *_smaller(sums, told),
        *_unused(sums, totals),
        *_heavy(sums, totals),
        *_unseen(sums, totals),
        *_reasoning(sums, totals),
    ]
    found.sort(key=lambda f: -(f.saving_usd if f.saving_usd is not None else f.cost_usd or 0.0))
    return (*found, *_month(month))


def _basis(totals: Totals) -> Basis:
    return "estimated" if totals.estimated_calls else "measured"


def _usd(nano: float) -> float:
    return nano / NANO_PER_USD


def _snowball(sums: Sums, totals: Totals, cache: CacheReport) -> Iterator[Finding]:
    if not sums.final_context or not cache.repeated_tokens:
        return
    times = totals.input_tokens / sums.final_context
    yield Finding(
        kind="snowball",
        basis=_basis(totals),
        title=f"every step resends the conversation: {cache.repeated_share:.0%} of the input was sent before",
        evidence=f"{totals.input_tokens:,} input tokens were billed for contexts that ended at {sums.final_context:,} "
        f"in all, {times:.1f} times as many",
        tokens=cache.repeated_tokens,
        cost_usd=totals.input_usd * cache.repeated_share,
        advice="keep what comes first unchanged so that it is read from the cache, and clear old tool results",
    )


def _misses(cache: CacheReport) -> Iterator[Finding]:
    mendable = [miss for miss in cache.misses if miss.mendable]
    tokens = sum(miss.tokens for miss in mendable)
    if not mendable or tokens < LEAST_SHARE * max(1, cache.judged_tokens):
        return
    first = mendable[0]
    share = 1.0 if cache.read_share is None else cache.read_share
    yield Finding(
        kind="cache_misses",
        basis="estimated",
        title=f"{share:.0%} of what was repeated was read from a cache; {tokens:,} tokens more could have been",
        evidence=f"measured: tokens repeated and read. Likeliest reason: {first.reason} ({first.calls:,} calls, "
        f"{first.tokens:,} tokens): {first.meaning}",
        tokens=tokens,
        cost_usd=sum(miss.cost_usd for miss in mendable),
        saving_usd=sum(miss.cost_usd for miss in mendable),
        advice="let the gateway set cache marks, keep system text and tools the same from step to step, and ask for "
        "the longer lifetime where people think for more than five minutes",
        config='[cache]\nrepair = true\nttl = "1h"'
        if first.reason == "kept time expired"
        else "[cache]\nrepair = true",
    )


def _loops(sums: Sums) -> Iterator[Finding]:
    looping = [s for s in sums.sessions.values() if s.loop_calls]
    calls = sum(s.loop_calls for s in looping)
    if not calls:
        return
    money = _usd(sum(s.loop_nano_usd for s in looping))
    yield Finding(
        kind="loops",
        basis="measured",
        title=f"{calls:,} calls in {len(looping):,} sessions went round: the same calls with the same results",
        evidence="a call made for the third time with the same arguments and the same result, or a cycle of up to five "
        "calls gone through three times",
        cost_usd=money,
        saving_usd=money,
        advice="pause a run at the third identical call and result",
        config="[brakes]\nrepeat_call = 3",
    )


def _failed(sums: Sums) -> Iterator[Finding]:
    judged = [s for s in sums.sessions.values() if s.solved is not None]
    failed = [s for s in judged if not s.solved]
    if failed:
        yield Finding(
            kind="failed_sessions",
            basis="measured",
            title=f"{len(failed):,} of {len(judged):,} judged sessions failed",
            evidence=f"their logs say so; they took {sum(s.input + s.output for s in failed):,} tokens",
            tokens=sum(s.input + s.output for s in failed),
            cost_usd=_usd(sum(s.cost_nano_usd for s in failed)),
            advice="let a session rise to a stronger model on evidence, and put a limit on what one may cost",
            config="[brakes]\nmax_session_usd = " + _limit(sums),
        )
    ended = [s for s in sums.sessions.values() if s.solved is None and s.bad_end]
    if ended:
        yield Finding(
            kind="failed_sessions",
            basis="estimated",
            title=f"{len(ended):,} sessions stopped in the midst of failures",
            evidence="their last tool results had failed, and no result after them went well; nobody judged them",
            tokens=sum(s.input + s.output for s in ended),
            cost_usd=_usd(sum(s.cost_nano_usd for s in ended)),
            advice="let a session rise to a stronger model on evidence",
        )


def _limit(sums: Sums) -> str:
    """A limit that 99 of 100 sessions keep, in whole dollars or cents."""
    costs = sorted(s.cost_nano_usd for s in sums.sessions.values())
    usd = _usd(costs[min(len(costs) - 1, int(len(costs) * 0.99))]) if costs else 0.0
    return f"{max(0.01, usd * 1.5):.2f}"


def _smaller(sums: Sums, told: tuple[WhatIf, ...]) -> Iterator[Finding]:
    small, large = sums.routine.get("small", Kind()), Kind()
    for tier in ("mid", "frontier"):
        large.add(sums.routine.get(tier, Kind()))
    if not large.calls:
        return
    by = {row.policy: row.usd for row in told}
    saving = by["caching_repaired"] - by["session_routing"] if by else None
    known = small.judged >= ENOUGH and large.judged >= ENOUGH
    evidence = (
        f"in your own traffic {small.went_well / small.judged:.0%} of {small.judged:,} such steps of small models led "
        f"to no failing tool, {large.went_well / large.judged:.0%} of {large.judged:,} of the larger ones"
        if known
        else "steps that read a tool's result while nothing has failed; hardly any of them went to a small model here: "
        "that it does them as well is assumed"
    )
    yield Finding(
        kind="smaller_model",
        basis="estimated" if known else "assumed",
        title=f"{large.calls:,} routine steps were answered by mid or frontier models",
        evidence=evidence,
        cost_usd=_usd(large.cost_nano_usd),
        saving_usd=saving if saving is not None and saving > 0 else None,
        advice="let routine steps of a session go to a small model where both caches say that it pays",
        config="[routing]\ndetours = true",
    )


def _unused(sums: Sums, totals: Totals) -> Iterator[Finding]:
    idle = {name: tool for name, tool in sums.tools.items() if tool.offered and tool.idle_tokens >= 1}
    never = sorted(name for name, tool in idle.items() if not tool.calls)
    tokens = round(sum(tool.idle_tokens for tool in idle.values()))
    if tokens < LEAST_SHARE * max(1, totals.input_tokens):
        return
    money = _usd(sum(tool.idle_nano_usd for tool in idle.values()))
    lost = _usd(sum(idle[name].idle_nano_usd for name in never))
    yield Finding(
        kind="unused_tools",
        basis="estimated",
        title=f"definitions of tools that were not called took {tokens / max(1, totals.input_tokens):.0%} of the input",
        evidence=f"{len(never)} of {sum(1 for t in sums.tools.values() if t.offered)} tools were never called at all"
        + (f" ({', '.join(name[:40] for name in never[:4])}{', ...' if len(never) > 4 else ''})" if never else "")
        + "; the others not yet, in the conversations that carried them",
        tokens=tokens,
        cost_usd=money,
        saving_usd=lost or None,
        advice="offer only the tools that a task needs, or load them when they are asked for",
    )


def _heavy(sums: Sums, totals: Totals) -> Iterator[Finding]:
    tools = sorted(sums.tools.items(), key=lambda one: -one[1].carried_tokens)
    name, tool = tools[0] if tools else ("", ToolSum())
    if tool.carried_tokens < 5 * LEAST_SHARE * max(1, totals.input_tokens) or not tool.calls:
        return
    times = tool.carried_tokens / max(1.0, tool.result_tokens)
    yield Finding(
        kind="heavy_tools",
        basis="estimated",
        title=f"results of {name[:60]} are {tool.carried_tokens / max(1, totals.input_tokens):.0%} of all input",
        evidence=f"{tool.calls:,} calls brought {tool.result_tokens:,.0f} tokens, sent {times:.1f} times over",
        tokens=round(tool.carried_tokens),
        cost_usd=_usd(tool.carried_nano_usd),
        advice="return less (ranges, summaries), and clear results that are done with",
    )


def _unseen(sums: Sums, totals: Totals) -> Iterator[Finding]:
    tokens = sums.parts["unseen"]
    if tokens < 5 * LEAST_SHARE * max(1, totals.input_tokens):
        return
    yield Finding(
        kind="unseen_context",
        basis="estimated",
        title=f"{tokens / max(1, totals.input_tokens):.0%} of the input is not in the logs: system text, tools",
        evidence="tokens that the provider counted at the first step, beyond what the log shows of it",
        tokens=round(tokens),
        cost_usd=_usd(sums.parts_nano_usd.get("unseen", 0.0)),
        advice="switch off tool servers and memory files that a project does not use: they are sent with every step",
    )


def _reasoning(sums: Sums, totals: Totals) -> Iterator[Finding]:
    routine = Kind()
    for kind in sums.routine.values():
        routine.add(kind)
    share = totals.reasoning_tokens / max(1, totals.output_tokens)
    if share < 5 * LEAST_SHARE:
        return
    asked = ", ".join(f"{name} {effort.calls:,}" for name, effort in sorted(sums.efforts.items())[:5])
    yield Finding(
        kind="reasoning",
        basis="measured",
        title=f"{share:.0%} of the output was thinking",
        evidence=f"{routine.reasoning:,} of {totals.reasoning_tokens:,} thinking tokens were spent on routine steps"
        + (f"; calls by effort asked for: {asked}" if asked else ""),
        tokens=totals.reasoning_tokens,
        cost_usd=_usd(routine.reasoning_nano_usd),
        advice="ask for less effort where steps are routine",
    )


def _month(month: Month | None) -> Iterator[Finding]:
    if month is None:
        return
    yield Finding(
        kind="month",
        basis="estimated",
        title=f"a month at this rate costs ${month.usd:,.2f}",
        evidence=f"${month.usd_per_day:,.2f} a day over {month.days:,.1f} days",
        cost_usd=month.usd,
        advice="set a budget, so that the month holds",
        config=f'[budgets.company]\namount_usd = {max(1, round(month.usd))}\nperiod = "month"',
    )
