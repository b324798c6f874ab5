"""What recorded sessions carried along for nothing, summed by kind of session: the laboratory's side of hygiene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import Json, Message, ToolSpec
from turnout.contexts import weights_of
from turnout.dialects import DIALECTS
from turnout.lab.sessions import Session, ToolTable, tools_of
from turnout.routing.calibration import family_of
from turnout.routing.tokens import approximate
from turnout.spend.hygiene import FINDING_KINDS, PATIENCE, ContextTrail, FindingKind, HygieneReport, KindSum
from turnout.spend.trimming import Billing

__all__ = ["KindReport", "SessionHygiene", "decoded", "look", "summed"]


class SessionHygiene(Struct, frozen=True, kw_only=True):
    """One session's report. `kind`: the benchmark it is of, else what the recording calls its kind; `offered`: whose
    tools; `inferred`: their definitions were not recorded. `recorded_tokens` were reported for requests whose estimate
    adds up to `estimated_tokens`, where the recording model has the tokenizer of the model that is priced."""

    id: str
    kind: str
    offered: str | None
    inferred: bool
    report: HygieneReport
    recorded_tokens: int
    estimated_tokens: int


class KindReport(Struct, frozen=True, kw_only=True):
    """All sessions of a kind. `shares`: of the billed input, all tools' definitions and each kind of finding.
    `never_called`: tools that no session of the kind called, of how many offered, and their share of the billed
    input. `net_share`: what all findings that are worth it would have saved together, of the bill for input. `off`: how
    far estimated tokens are from those recorded; None where none were."""

    kind: str
    sessions: int
    requests: int
    billed_tokens: int
    billed_nano_usd: int
    tools_share: float
    shares: dict[FindingKind, float]
    sums: dict[FindingKind, KindSum]
    offered: int
    never_called: tuple[str, ...]
    never_called_share: float
    never_called_nano_usd: int
    results: int
    judged: int
    delays: tuple[int, ...]
    late: int
    net_nano_usd: int
    net_share: float
    off: float | None
    inferred: bool


def look(
    session: Session, tools: ToolTable, billing: Billing, model: str, *, patience: int = PATIENCE
) -> SessionHygiene:
    """One recorded session, as its requests went out, priced as if `model` (as its provider calls it) had read it."""
    weights = weights_of(model)
    offered = tools_of(session, tools) or []
    known = session.tools is not None and session.tools in tools
    trail = ContextTrail(approximate, _specs(offered))
    for messages in decoded(session):
        trail.step(messages)
    if session.steps:
        trail.end(_messages((session.steps[-1].out,)))
    report = trail.report(billing, weights, patience=patience)
    totals = trail.totals(weights)
    alike = family_of(session.model) == family_of(model)
    both = [(s.usage.input, total) for s, total in zip(session.steps, totals, strict=False) if s.usage and alike]
    return SessionHygiene(
        id=session.id,
        kind=session.bench or session.kind or "sessions",
        offered=session.tools,
        inferred=bool(offered) and not known,
        report=report,
        recorded_tokens=sum(recorded for recorded, _ in both),
        estimated_tokens=sum(total for _, total in both),
    )


def decoded(session: Session) -> Iterator[tuple[Message, ...]]:
    """What is new in each request of a session: the answer before it, and what came after that."""
    before: tuple[dict[str, Json], ...] = ()
    for step in session.steps:
        yield _messages((*before, *step.add))
        before = (step.out,)


def _messages(told: Iterable[dict[str, Json]]) -> tuple[Message, ...]:
    body = msgspec.json.encode({"model": "recorded", "messages": list(told)})
    return DIALECTS["openai-chat"].decode_request(body).messages


def _specs(tools: list[dict[str, Json]]) -> tuple[ToolSpec, ...]:
    message = {"role": "user", "content": "-"}
    body = msgspec.json.encode({"model": "recorded", "messages": [message], "tools": tools})
    return DIALECTS["openai-chat"].decode_request(body).tools


def summed(looked: Iterable[SessionHygiene]) -> Iterator[KindReport]:
    """The sessions of each kind together, in the order in which kinds were met."""
    kinds: dict[str, list[SessionHygiene]] = {}
    for session in looked:
        kinds.setdefault(session.kind, []).append(session)
    for kind, sessions in kinds.items():
        yield _kind(kind, sessions)


def _kind(kind: str, sessions: list[SessionHygiene]) -> KindReport:
    reports = [session.report for session in sessions]
    tokens = sum(report.billed_tokens for report in reports)
    money = sum(report.billed_nano_usd for report in reports)
    sums: dict[FindingKind, KindSum] = {
        name: _added([report.sums[name] for report in reports]) for name in FINDING_KINDS
    }
    shares: dict[FindingKind, float] = {name: sums[name].billed_tokens / max(1, tokens) for name in FINDING_KINDS}
    delays: Counter[int] = Counter()
    for report in reports:
        delays.update(dict(enumerate(report.delays)))
    never, never_tokens, never_nano = _never_called(sessions)
    recorded = sum(session.recorded_tokens for session in sessions)
    return KindReport(
        kind=kind,
        sessions=len(sessions),
        requests=sum(report.requests for report in reports),
        billed_tokens=tokens,
        billed_nano_usd=money,
        tools_share=sum(report.tools_tokens for report in reports) / max(1, tokens),
        shares=shares,
        sums=sums,
        offered=len({(session.offered, tool) for session in sessions for tool in session.report.tools}),
        never_called=never,
        never_called_share=never_tokens / max(1, tokens),
        never_called_nano_usd=never_nano,
        results=sum(report.results for report in reports),
        judged=sum(report.judged for report in reports),
        delays=tuple(delays[answers] for answers in range(max(delays, default=-1) + 1)),
        late=sum(report.late for report in reports),
        net_nano_usd=sum(report.net_nano_usd for report in reports),
        net_share=sum(report.net_nano_usd for report in reports) / max(1, money),
        off=sum(session.estimated_tokens for session in sessions) / recorded - 1 if recorded else None,
        inferred=any(session.inferred for session in sessions),
    )


def _added(sums: list[KindSum]) -> KindSum:
    total = KindSum()
    for told in sums:
        total = replace(
            total, **{name: getattr(total, name) + getattr(told, name) for name in KindSum.__struct_fields__}
        )
    return total


def _never_called(sessions: list[SessionHygiene]) -> tuple[tuple[str, ...], int, int]:
    """Tools that none of these sessions called: what could be left out of every session without missing it in one.
    Their names, tokens billed, and nano-dollars."""
    offered: Counter[tuple[str | None, str]] = Counter()
    unused: Counter[tuple[str | None, str]] = Counter()
    tokens: Counter[tuple[str | None, str]] = Counter()
    money: Counter[tuple[str | None, str]] = Counter()
    for session in sessions:
        offered.update((session.offered, tool) for tool in session.report.tools)
        for finding in session.report.findings:
            if finding.kind == "unused_tool":
                key = session.offered, finding.tool
                unused[key] += 1
                tokens[key] += finding.billed_tokens
                money[key] += finding.net_nano_usd
    never = sorted((key for key, count in unused.items() if count == offered[key]), key=str)
    names = tuple(name for _, name in never)
    return names, sum(tokens[key] for key in never), sum(money[key] for key in never)
