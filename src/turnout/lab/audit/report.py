"""The audit's report: the stable form that `--json` writes and that screen, page and recommendations are made from.

Money is in USD at list price where nothing else is said. Names of sessions are shortened hashes, names of projects the
last part of their path; no text of any message is in a report unless it was asked for.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

__all__ = [
    "SCHEMA",
    "Basis",
    "CacheDay",
    "CacheReport",
    "CurvePoint",
    "DayModel",
    "Finding",
    "FindingKind",
    "MissRow",
    "ModelRow",
    "Month",
    "PartRow",
    "ProjectRow",
    "Report",
    "SessionRow",
    "SourceRow",
    "ToolRow",
    "Totals",
    "WhatIf",
]

SCHEMA = "turnout.audit/1"
"""Fields may be added under this name; what is there keeps its meaning."""

Basis = Literal["measured", "estimated", "assumed"]

FindingKind = Literal[
    "snowball",
    "cache_misses",
    "loops",
    "failed_sessions",
    "smaller_model",
    "unused_tools",
    "heavy_tools",
    "unseen_context",
    "reasoning",
    "month",
]


class SourceRow(Struct, frozen=True, kw_only=True):
    """One kind of log. `unknown`: well-formed lines of kinds that the reader does not know, by kind; `bad`: lines that
    could not be read."""

    reader: str
    title: str
    files: int
    bytes: int
    lines: int
    steps: int
    conversations: int
    unknown: dict[str, int]
    bad: int
    first_error: str | None


class Totals(Struct, frozen=True, kw_only=True):
    """Everything. `input_tokens` include cache reads and writes, `output_tokens` reasoning. `copies`: answers that were
    written twice and counted once. `estimated_calls`: their tokens are not in the log. `unpriced_calls`: nobody has a
    price. `logged_usd`: what the logs themselves say was paid, of `logged_calls`."""

    sessions: int
    conversations: int
    calls: int
    failed_calls: int
    copies: int
    estimated_calls: int
    unpriced_calls: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float
    input_usd: float
    logged_calls: int
    logged_usd: float


class ProjectRow(Struct, frozen=True, kw_only=True):
    project: str
    calls: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_usd: float


class ModelRow(Struct, frozen=True, kw_only=True):
    """`unpriced` calls cost an unknown amount that is in no sum."""

    model: str
    tier: str | None
    calls: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float
    unpriced: int


class DayModel(Struct, frozen=True, kw_only=True):
    """One model on one day (UTC; "" where the log has no time)."""

    day: str
    model: str
    calls: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_usd: float


class SessionRow(Struct, frozen=True, kw_only=True):
    """`id` is a hash. `longest_context` in tokens. `opening` only where texts were asked for."""

    id: str
    project: str
    model: str
    calls: int
    agents: int
    input_tokens: int
    output_tokens: int
    longest_context: int
    cost_usd: float
    began: datetime | None
    seconds: float | None
    solved: bool | None
    why: str
    bad_end: bool
    loop_calls: int
    loop_usd: float
    opening: str | None = None


class PartRow(Struct, frozen=True, kw_only=True):
    """A part of all contexts, in tokens sent. `unseen`: sent, and not in the log: system text and tools mostly."""

    part: str
    tokens: int
    share: float
    cost_usd: float


class ToolRow(Struct, frozen=True, kw_only=True):
    """`result_tokens`: once; `carried_tokens`: in every request that carried them. `idle_*`: its definition while
    nobody had called it in that conversation."""

    tool: str
    calls: int
    errors: int
    result_tokens: int
    carried_tokens: int
    carried_usd: float
    schema_tokens: int
    idle_tokens: int
    idle_usd: float


class CurvePoint(Struct, frozen=True, kw_only=True):
    """The mean context at one step of a conversation (from 0; later steps in widening spans), by part in tokens."""

    step: int
    calls: int
    output_tokens: float
    parts: dict[str, float]

    @property
    def context(self) -> float:
        return sum(self.parts.values())


class MissRow(Struct, frozen=True, kw_only=True):
    """Tokens that could have been read from a cache and were not. `mendable`: marks, a longer lifetime or a prefix left
    alone may save it."""

    reason: str
    meaning: str
    calls: int
    tokens: int
    cost_usd: float
    mendable: bool


class CacheDay(Struct, frozen=True, kw_only=True):
    day: str
    input_tokens: int
    cache_read_tokens: int


class CacheReport(Struct, frozen=True, kw_only=True):
    """`repeated_tokens`: sent in the step before already, all steps; `judged_tokens`: of those whose provider tells
    what it read, `read_tokens` of which were read."""

    repeated_tokens: int
    repeated_share: float
    judged_tokens: int
    read_tokens: int
    read_share: float | None
    misses: tuple[MissRow, ...]
    days: tuple[CacheDay, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing to know, with what it rests on. `cost_usd`: what it cost; `saving_usd`: what may be saved, None where
    nobody can say. `advice`: what to do about it, and `config` the section of turnout.toml that does it, if any."""

    kind: FindingKind
    basis: Basis
    title: str
    evidence: str
    tokens: int | None = None
    cost_usd: float | None = None
    saving_usd: float | None = None
    advice: str = ""
    config: str | None = None


class WhatIf(Struct, frozen=True, kw_only=True):
    """What the same conversations would have cost. `policy`: `paid`, `no_cache`, `caching_repaired`, `session_routing`,
    `brakes`, `together`; saved beside `paid`."""

    policy: str
    title: str
    basis: Basis
    usd: float
    saved_usd: float
    saved_share: float
    how: str


class Month(Struct, frozen=True, kw_only=True):
    """What a month of 30.44 days costs at this rate; None without times."""

    usd: float
    days: float
    usd_per_day: float
    basis: Basis = "estimated"


class Report(Struct, frozen=True, kw_only=True):
    """All of it. `what_if` covers `what_if_conversations`; `notes` say what the figures rest on."""

    schema: str = SCHEMA
    turnout: str
    made_at: datetime
    since: datetime | None
    until: datetime | None
    sources: tuple[SourceRow, ...]
    unknown_files: int
    unknown_names: tuple[str, ...]
    totals: Totals
    projects: tuple[ProjectRow, ...]
    models: tuple[ModelRow, ...]
    days: tuple[DayModel, ...]
    sessions: tuple[SessionRow, ...]
    parts: tuple[PartRow, ...]
    tools: tuple[ToolRow, ...]
    curve: tuple[CurvePoint, ...]
    cache: CacheReport
    findings: tuple[Finding, ...]
    what_if: tuple[WhatIf, ...]
    what_if_conversations: int
    month: Month | None
    notes: tuple[str, ...]
    with_text: bool = False
    prices: str = ""
