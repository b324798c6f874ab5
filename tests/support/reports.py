"""Reports of made-up audits, for tests of what is made of them: an empty one, a large one, one with hostile names."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

from turnout.lab.audit.misses import MENDABLE, REASONS
from turnout.lab.audit.report import (
    CacheDay,
    CacheReport,
    CurvePoint,
    DayModel,
    Finding,
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
from turnout.lab.audit.sums import CURVE_STEPS
from turnout.lab.audit.weights import PART_NAMES

__all__ = ["EVIL", "empty_report", "hostile_report", "large_report"]

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)

EVIL = (
    "\"'></script></style></title></svg><script>document.title='broken'</script>"
    "<img src=x onerror=\"document.title='broken'\">\u202e&amp;\x00"
)
"""A name that wants out of wherever it stands."""

MODELS = ("anthropic/claude-opus", "openai/gpt", "google/gemini", *(f"house/model-{n}" for n in range(9)))

NO_TOTALS = Totals(
    sessions=0,
    conversations=0,
    calls=0,
    failed_calls=0,
    copies=0,
    estimated_calls=0,
    unpriced_calls=0,
    input_tokens=0,
    cache_read_tokens=0,
    cache_write_tokens=0,
    cache_write_1h_tokens=0,
    output_tokens=0,
    reasoning_tokens=0,
    cost_usd=0.0,
    input_usd=0.0,
    logged_calls=0,
    logged_usd=0.0,
)


def empty_report() -> Report:
    """Of logs in which no model was called."""
    cache = CacheReport(
        repeated_tokens=0, repeated_share=0.0, judged_tokens=0, read_tokens=0, read_share=None, misses=(), days=()
    )
    return Report(
        turnout="0.1.0",
        made_at=NOW,
        since=None,
        until=None,
        sources=(),
        unknown_files=0,
        unknown_names=(),
        totals=NO_TOTALS,
        projects=(),
        models=(),
        days=(),
        sessions=(),
        parts=(),
        tools=(),
        curve=(),
        cache=cache,
        findings=(),
        what_if=(),
        what_if_conversations=0,
        month=None,
        notes=(),
    )


def large_report(days: int = 60) -> Report:
    """Many projects, 12 models, `days` days; $10 a day and model."""
    return _report(days, MODELS, [f"project-{n}" for n in range(20)], [f"tool_{n}" for n in range(40)])


def hostile_report() -> Report:
    """Every text that comes from a log is hostile, or 100 kB long."""
    report = _report(3, [EVIL, "x" * 100_000, "\ud800 lone"], [EVIL, "y" * 100_000], [EVIL, "z" * 100_000])
    source = SourceRow(
        reader=EVIL,
        title=EVIL,
        files=1,
        bytes=10,
        lines=1,
        steps=1,
        conversations=1,
        unknown={EVIL: 1, "w" * 100_000: 2},
        bad=1,
        first_error=EVIL,
    )
    finding = Finding(kind="loops", basis="measured", title=EVIL, evidence=EVIL, cost_usd=1.0, advice=EVIL, config=EVIL)
    return replace(
        report,
        sources=(source,),
        unknown_files=2,
        unknown_names=(EVIL, "v" * 100_000),
        findings=(finding,),
        notes=(EVIL, "n" * 100_000),
        prices=EVIL,
        turnout=EVIL,
        with_text=True,
    )


def _report(days: int, models: Sequence[str], projects: Sequence[str], tools: Sequence[str]) -> Report:
    size = days * len(models)
    totals = replace(
        NO_TOTALS,
        sessions=len(projects),
        conversations=400,
        calls=size * 10,
        input_tokens=size * 1_000_000,
        cache_read_tokens=size * 700_000,
        output_tokens=size * 20_000,
        reasoning_tokens=size * 5_000,
        cost_usd=size * 10.0,
        input_usd=size * 8.0,
    )
    dates = [(date(2026, 9, 1) + timedelta(days=n)).isoformat() for n in range(days)]
    return replace(
        empty_report(),
        since=datetime(2026, 9, 1, tzinfo=UTC),
        until=datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=days - 1),
        totals=totals,
        projects=tuple(_project(name) for name in projects),
        models=tuple(_model(name) for name in models),
        days=tuple(_day(day, name) for day in dates for name in models),
        sessions=tuple(_session(n, projects[n % len(projects)], models[n % len(models)]) for n in range(20)),
        parts=tuple(PartRow(part=part, tokens=1_000_000, share=1 / 7, cost_usd=3.0) for part in PART_NAMES),
        tools=tuple(_tool(name) for name in tools),
        curve=tuple(_point(step) for step in CURVE_STEPS),
        cache=_cache(dates, len(models)),
        findings=_findings(),
        what_if=_what_if(size * 10.0),
        what_if_conversations=390,
        month=Month(usd=300.0 * len(models), days=float(days), usd_per_day=10.0 * len(models)),
        notes=("measured: as the logs tell",),
    )


def _project(name: str) -> ProjectRow:
    return ProjectRow(
        project=name, calls=10, input_tokens=5_000_000, cache_read_tokens=4_000_000, output_tokens=9_000, cost_usd=12.0
    )


def _model(name: str) -> ModelRow:
    return ModelRow(
        model=name,
        tier="frontier",
        calls=10,
        input_tokens=1_000_000,
        cache_read_tokens=700_000,
        cache_write_tokens=0,
        output_tokens=20_000,
        reasoning_tokens=5_000,
        cost_usd=10.0,
        unpriced=0,
    )


def _day(day: str, name: str) -> DayModel:
    return DayModel(
        day=day,
        model=name,
        calls=10,
        input_tokens=1_000_000,
        cache_read_tokens=700_000,
        output_tokens=20_000,
        cost_usd=10.0,
    )


def _session(number: int, project: str, model: str) -> SessionRow:
    return SessionRow(
        id=f"{number:012x}",
        project=project,
        model=model,
        calls=100 + number,
        agents=2,
        input_tokens=9_000_000,
        output_tokens=80_000,
        longest_context=150_000,
        cost_usd=50.0 - number,
        began=datetime(2026, 9, 1, 8, number, tzinfo=UTC),
        seconds=4_000.0,
        solved=None,
        why="interrupted",
        bad_end=False,
        loop_calls=3,
        loop_usd=0.5,
        opening=EVIL if project == EVIL else None,
    )


def _tool(name: str) -> ToolRow:
    return ToolRow(
        tool=name,
        calls=50,
        errors=2,
        result_tokens=4_000,
        carried_tokens=90_000,
        carried_usd=0.3,
        schema_tokens=20_000,
        idle_tokens=9_000,
        idle_usd=0.02,
    )


def _point(step: int) -> CurvePoint:
    parts = {"unseen": 15_000.0, "history": 400.0 * step, "tool_results": 900.0 * step}
    return CurvePoint(step=step, calls=max(1, 400 - step), output_tokens=300.0, parts=parts)


def _cache(days: Sequence[str], models: int) -> CacheReport:
    rows = [
        MissRow(reason=reason, meaning=meaning, calls=4, tokens=70_000, cost_usd=0.4, mendable=reason in MENDABLE)
        for reason, meaning in REASONS.items()
    ]
    return CacheReport(
        repeated_tokens=9_000_000,
        repeated_share=0.9,
        judged_tokens=9_000_000,
        read_tokens=7_000_000,
        read_share=7 / 9,
        misses=tuple(rows),
        days=tuple(
            CacheDay(day=day, input_tokens=1_000_000 * models, cache_read_tokens=700_000 * models) for day in days
        ),
    )


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(
            kind="cache_misses",
            basis="estimated",
            title="78% was read",
            evidence="measured: tokens",
            cost_usd=40.0,
            saving_usd=30.0,
            advice="set marks",
            config='[cache]\nrepair = true\nttl = "1h"',
        ),
        Finding(kind="snowball", basis="measured", title="sent before", evidence="tokens", cost_usd=90.0),
        Finding(kind="month", basis="estimated", title="a month", evidence="a day", cost_usd=300.0),
    )


def _what_if(paid: float) -> tuple[WhatIf, ...]:
    return tuple(
        WhatIf(
            policy=policy,
            title=policy,
            basis=basis,
            usd=paid * part,
            saved_usd=paid * (1 - part),
            saved_share=1 - part,
            how="so",
        )
        for policy, basis, part in (
            ("paid", "measured", 1.0),
            ("no_cache", "measured", 3.0),
            ("caching_repaired", "estimated", 0.8),
            ("together", "assumed", 0.6),
        )
    )
