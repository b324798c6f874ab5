"""The ledger: a row a request and a row an attempt, kept for good. What they say, and what any store must do.

Appending is on the path of every request, so a row only gathers what the context holds; its JSON is written by
the store, in its own thread (`to_record`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from turnout.catalog.models import Tier
from turnout.catalog.price_records import price_digest, price_to_json
from turnout.catalog.prices import Price
from turnout.chat import Json, Usage
from turnout.context import (
    CACHE_HIT,
    Attempt,
    Candidate,
    Decision,
    Outcome,
    Parts,
    RequestContext,
)
from turnout.spend.focus import Charged
from turnout.spend.spent import Asked, BudgetEntry, Question, Spent
from turnout.spend.volume import PastRun, StepSum, Summed, Volume
from turnout.spend.wanted import Wanted

__all__ = [
    "ATTEMPT_COLUMNS",
    "COLUMNS",
    "JSON_COLUMNS",
    "MAX_TEXT",
    "BudgetEntry",
    "Ledger",
    "LedgerRow",
    "Record",
    "Spent",
    "attempts_from_records",
    "attempts_to_records",
    "from_record",
    "iso_utc",
    "plain_decision",
    "price_record",
    "repeated_of",
    "row_from_context",
    "to_record",
]

INT64_MAX = 2**63 - 1
"""The largest integer a database column holds; a count beyond it is written as this."""

MAX_TEXT = 100_000
"""Characters kept of one text a caller or provider chose: a name of a megabyte is no name."""

_NO_USAGE = Usage()

Record = tuple[str | int | None, ...]
"""A row as a database takes it: text, integers and NULL, in the order of `COLUMNS`."""


class LedgerRow(Struct, frozen=True, kw_only=True, gc=False):
    """One request, settled; its attempts (`attempt_log`) become rows of their own. Tokens are counted as in
    `chat.Usage`; None: not reported.

    `received_at` is UTC as text with milliseconds (`2026-11-23T10:00:00.000Z`): it sorts as time does.
    `cost_nano_usd` None: unpriced, or nothing was used. `price_source` says whose prices the cost is from.
    `overhead_us` in microseconds, `ttft_ms` and `duration_ms` in milliseconds. `usage_raw` is the provider's
    own usage object. `part_*` and `repeated_tokens` (what the agent's last request had sent already) are
    estimates, scaled to the reported input. `price` is a digest: the table `prices` says what it stands for.
    `baseline_*`: what the model that savings are reported against would have cost, without a cache and with one
    that reads all that was repeated. `gateway`: the process that served it, where several share a ledger.
    `decision`, `attempt_log` and `usage_raw` are plain JSON values in a row that was read; in one that is being
    appended they may still be the context's own (immutable) objects.
    """

    request_id: str
    received_at: str
    key_id: str | None = None
    team: str | None = None
    session_id: str | None = None
    agent: str | None = None
    step: int = 0
    dialect: str = ""
    mode: str | None = None
    tags: dict[str, str] = {}
    requested_model: str = ""
    deployment: str | None = None
    provider: str | None = None
    tier: Tier | None = None
    reason: str | None = None
    status: int | None = None
    outcome: Outcome = "ok"
    error_code: str | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_estimated: bool = False
    usage_raw: Json = None
    cost_nano_usd: int | None = None
    price_source: str | None = None
    attempts: int = 0
    overhead_us: int | None = None
    ttft_ms: int | None = None
    duration_ms: int | None = None
    warnings: tuple[str, ...] = ()
    decision: Json = None
    part_system: int | None = None
    part_tools: int | None = None
    part_history: int | None = None
    part_tool_results: int | None = None
    part_attachments: int | None = None
    part_reasoning: int | None = None
    repeated_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    service_tier: str | None = None
    price: Json = None
    baseline_uncached_nano_usd: int | None = None
    baseline_cached_nano_usd: int | None = None
    gateway: str | None = None
    attempt_log: Json = None


COLUMNS: tuple[str, ...] = tuple(name for name in LedgerRow.__struct_fields__ if name != "attempt_log")

ATTEMPT_COLUMNS: tuple[str, ...] = (
    "request_id",
    "number",
    "deployment",
    "target",
    "status",
    "error_code",
    "reason",
    "waited_ms",
    "duration_ms",
    "ttft_ms",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "cost_nano_usd",
    "reprefill_nano_usd",
)
"""One call of one target. `number` counts from 0; the costs of a request's attempts add up to the request's."""

JSON_COLUMNS = frozenset({"tags", "usage_raw", "warnings", "decision"})
"""Those that hold JSON."""

_INTEGER_COLUMNS = frozenset(
    {
        "step",
        "status",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "usage_estimated",
        "cost_nano_usd",
        "attempts",
        "overhead_us",
        "ttft_ms",
        "duration_ms",
        *(f"part_{name}" for name in Parts.__struct_fields__),
        "repeated_tokens",
        "cache_write_1h_tokens",
        "baseline_uncached_nano_usd",
        "baseline_cached_nano_usd",
    }
)


class Ledger(Protocol):
    """Where rows are kept. All methods may be called from any thread."""

    @property
    def healthy(self) -> bool:
        """False while rows cannot be written; they wait in memory, up to a bound."""
        ...

    @property
    def last_error(self) -> str | None:
        """What is or was last wrong, one sentence with the next step."""
        ...

    @property
    def dropped(self) -> int:
        """Rows lost since the start."""
        ...

    @property
    def waiting(self) -> int:
        """Rows in memory that are not written yet, about."""
        ...

    def append(self, row: LedgerRow) -> None:
        """Take a row: only into memory, in microseconds, never blocking or raising. Written soon after, once:
        of two rows with one request id the first stays."""
        ...

    def enter(self, entry: BudgetEntry) -> None:
        """Take an entry of a budget, as `append` takes a row; of two with one id and budget the first stays."""
        ...

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until every row appended before is written; False when that took longer than the timeout."""
        ...

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, then let go of the store. Rows that could not be written in time are counted as dropped."""
        ...

    # Reads wait for rows appended before. They block: call them off the event loop. They raise Internal when
    # the store cannot be read.

    def get(self, request_id: str) -> LedgerRow | None: ...

    def recent(self, limit: int, session: str | None = None) -> list[LedgerRow]:
        """The newest rows, newest first. Raises InvalidRequest for a limit outside 1 to 10,000."""
        ...

    def find(self, limit: int, wanted: Wanted) -> list[LedgerRow]:
        """As `recent`, of those that are wanted; of these the newest `MOST_SEARCHED` rows alone may be looked at."""
        ...

    def ask_spending(self, questions: Sequence[Question]) -> Asked:
        """Put questions that are answered as of now: of what was appended and entered before, and of nothing after.
        Returns at once; call it where rows are appended. Never less than was appended: while rows cannot be written,
        those that wait are in it, or the answer is Internal where that is not known, as of a ledger that is closed."""
        ...

    def sums(self, since: datetime, until: datetime, by: str, *, sessions: bool = True) -> list[Summed]:
        """As `usage`, from sums that are kept beside the rows: of a million requests in milliseconds. By all, day,
        hour, model, provider and tier of whole hours; by feature, key, team, mode and reason of whole days. Sessions
        and growth only by all, feature, key and mode, and not where `sessions` is False: to count a hundred thousand
        takes a second. Raises InvalidRequest for an unknown group."""
        ...

    def steps(self, since: datetime, until: datetime) -> list[StepSum]:
        """Contexts by feature and step, by whole days."""
        ...

    def past_sessions(self, since: datetime, until: datetime, limit: int, *, name: str | None = None) -> list[PastRun]:
        """Agents of sessions that were active, the latest first; of the session `name` alone if given."""
        ...

    def usage(self, since: datetime, until: datetime, by: str) -> list[Volume]:
        """Token volume by group and deployment, the dearest first. Raises InvalidRequest for an unknown group."""
        ...

    def charges(self, since: datetime, until: datetime) -> list[Charged]:
        """What each deployment was paid a day, by key, mode and tags; whole days of UTC."""
        ...


def row_from_context(ctx: RequestContext, gateway: str | None = None) -> LedgerRow:
    """The ledger's row of a request that `gateway` settled. Pure; nothing of the request's body is kept."""
    decision, deployment, usage, session = ctx.decision, ctx.served_by, ctx.usage or _NO_USAGE, ctx.session
    price = deployment.price if deployment else None
    uncached, cached = ctx.baseline_nano_usd or (None, None)
    # In tokens of the provider's own counting.
    parts = ctx.parts.scaled(usage.input) if ctx.parts is not None and usage.input is not None else None
    return LedgerRow(
        request_id=ctx.request_id,
        received_at=iso_utc(ctx.received_at),
        key_id=ctx.key_id,
        team=ctx.team,
        session_id=session.id,
        agent=session.agent,
        step=session.step,
        dialect=ctx.dialect,
        mode=(decision.mode if decision else None) or ctx.mode,
        tags=ctx.tags,
        requested_model=ctx.outline.model,
        deployment=deployment.id if deployment else None,
        provider=deployment.provider if deployment else None,
        tier=deployment.tier if deployment else None,
        reason=decision.reason if decision else None,
        status=ctx.status,
        outcome=ctx.outcome,
        error_code=ctx.error_code,
        input_tokens=usage.input,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        usage_estimated=ctx.usage_estimated,
        usage_raw=usage.raw,
        cost_nano_usd=ctx.cost_nano_usd,
        price_source=price.source if price else None,
        attempts=len(ctx.attempts),
        overhead_us=_scaled(ctx.overhead_s, 1_000_000),
        ttft_ms=_scaled(ctx.ttft_s, 1_000),
        duration_ms=_scaled(ctx.duration_s, 1_000),
        warnings=tuple(ctx.warnings),
        decision=decision,
        attempt_log=tuple(ctx.attempts),
        cache_write_1h_tokens=usage.cache_write_1h,
        service_tier=usage.service_tier,
        price=price,
        baseline_uncached_nano_usd=uncached,
        baseline_cached_nano_usd=cached,
        gateway=gateway,
        part_system=parts.system if parts else None,
        part_tools=parts.tools if parts else None,
        part_history=parts.history if parts else None,
        part_tool_results=parts.tool_results if parts else None,
        part_attachments=parts.attachments if parts else None,
        part_reasoning=parts.reasoning if parts else None,
        repeated_tokens=repeated_of(ctx, usage.input) if parts and usage.input is not None else None,
    )


def repeated_of(ctx: RequestContext, total: int) -> int:
    """Tokens of `total`, the provider's count of the input, that the agent's last request had sent."""
    return round(total * min(1.0, ctx.repeated_tokens / max(1, ctx.input_tokens_estimate)))


def _scaled(seconds: float | None, per_second: int) -> int | None:
    return None if seconds is None else round(seconds * per_second)


def iso_utc(at: datetime) -> str:
    """A time as the ledger writes it; a naive one is taken as UTC."""
    aware = at if at.tzinfo is UTC else at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return aware.isoformat(timespec="milliseconds")[:-6] + "Z"


def to_record(row: LedgerRow) -> Record:
    """A row as a database takes it. Raises TypeError, ValueError or OverflowError for one that cannot be
    written (a usage object that is not JSON)."""
    values = astuple(row)[: len(COLUMNS)]
    return tuple([value if value is None else encode(value) for encode, value in zip(_ENCODERS, values, strict=True)])


def attempts_to_records(row: LedgerRow) -> list[Record]:
    """The attempts of a row as a database takes them."""
    attempts = row.attempt_log or ()
    told = [_attempt(a) if isinstance(a, Attempt) else dict(a) for a in attempts]
    if not told and row.deployment is not None and row.reason != CACHE_HIT:
        told = [{"deployment": row.deployment}]
    lost = [cost for a in told if isinstance(cost := a.get("cost_nano_usd"), int)]
    answered = next((a for a in reversed(told) if not a.get("cost_nano_usd")), None)
    if answered is not None and row.cost_nano_usd is not None:
        answered |= {
            "input_tokens": row.input_tokens,
            "cache_read_tokens": row.cache_read_tokens,
            "cache_write_tokens": row.cache_write_tokens,
            "output_tokens": row.output_tokens,
            "cost_nano_usd": row.cost_nano_usd - sum(lost),
        }
    return [
        (row.request_id, number, *(_cell(a.get(name)) for name in ATTEMPT_COLUMNS[2:])) for number, a in enumerate(told)
    ]


def _cell(value: Json) -> str | int | None:
    if value is None:
        return None
    return _integer(value) if isinstance(value, int) else _text(value)


def attempts_from_records(records: Sequence[Record]) -> list[dict[str, Json]]:
    """The attempts of one request as JSON values, without what did not happen."""
    return [
        {
            name: value
            for name, value in zip(ATTEMPT_COLUMNS[2:], record[2:], strict=True)
            if value is not None or name in {"status", "error_code"}
        }
        for record in records
    ]


def from_record(record: Sequence[str | int | None]) -> LedgerRow:
    """The row that `to_record` wrote. Raises msgspec.MsgspecError for one it did not write."""
    fields: dict[str, Json] = {
        name: msgspec.json.decode(value) if name in JSON_COLUMNS and isinstance(value, str) else value
        for name, value in zip(COLUMNS, record, strict=True)
    }
    return msgspec.convert(fields, LedgerRow, strict=False)


def _text(value: Json) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value[:MAX_TEXT]


def _integer(value: Json) -> int | None:
    if value.__class__ is int and -INT64_MAX <= value <= INT64_MAX:  # nearly always, and quicker
        return value
    return None if value is None else max(-INT64_MAX, min(int(value), INT64_MAX))


def _json(value: Json) -> str | None:
    return None if value is None else msgspec.json.encode(plain_decision(value)).decode()


class _Weighed(Struct, gc=False):
    """A candidate in short. What is not known is left out."""

    deployment: str
    expected_cost_nano_usd: int | None
    rejected: str | None
    expected_s: float | UnsetType
    unhealthy: str | UnsetType
    rest_nano_usd: int | UnsetType
    warm_tokens: int | UnsetType
    success: float | UnsetType
    success_bounds: tuple[float, float] | UnsetType


class _Decided(Struct, gc=False):
    """A decision in short."""

    reason: str
    explanation: str
    mode: str | None
    effort: str | None
    pins: bool
    candidates: list[_Weighed]
    rejected: list[_Weighed]


def plain_decision(value: Json) -> object:
    """A decision in short, as the ledger's JSON has it: deployments by id, without all that the catalogue knows of
    them. What is plain already comes back as it is."""
    if not isinstance(value, Decision):
        return value
    rest = value.rest()
    return _Decided(
        value.reason,
        value.explanation,
        value.mode,
        value.effort,
        value.pins,
        [_candidate(c, rest) for c in value.candidates],
        [_candidate(c, rest) for c in value.rejected],
    )


def _candidate(candidate: Candidate, rest: Mapping[str, int]) -> _Weighed:
    name = candidate.deployment.id
    return _Weighed(
        name,
        candidate.expected_cost_nano_usd,
        candidate.rejected,
        candidate.expected_s or UNSET,
        candidate.unhealthy or UNSET,
        rest.get(name) or UNSET,
        candidate.warm.tokens or UNSET,
        candidate.success or UNSET,
        candidate.bounds or UNSET,
    )


def _attempt(attempt: Attempt) -> dict[str, Json]:
    """What did not happen is left out: a plain attempt is a short one."""
    name, usage = attempt.deployment.id, attempt.usage
    return _with_known(
        {
            "deployment": name,
            "status": attempt.status,
            "error_code": attempt.error_code,
            "duration_ms": _scaled(attempt.duration_s, 1_000),
            "ttft_ms": _scaled(attempt.ttft_s, 1_000),
        },
        ("target", attempt.target if attempt.target != name else None),
        ("reason", attempt.reason),
        ("waited_ms", _scaled(attempt.waited_s, 1_000)),
        ("cost_nano_usd", attempt.cost_nano_usd),
        ("input_tokens", usage.input if usage else None),
        ("output_tokens", usage.output if usage else None),
        ("reprefill_nano_usd", attempt.reprefill_nano_usd),
    )


@lru_cache(maxsize=1_000)
def price_record(price: Price) -> tuple[str, str]:
    """A price's digest and its JSON: rows keep the one, a table the other, so that every cost can be worked out again
    (`catalog.price_records.recost`)."""
    return price_digest(price), price_to_json(price).decode()


def _price(value: Json) -> str | None:
    return price_record(value)[0] if isinstance(value, Price) else _text(value)


def _with_known(told: dict[str, Json], *fields: tuple[str, Json]) -> dict[str, Json]:
    told |= [field for field in fields if field[1]]
    return told


_ENCODERS = tuple(
    _json if name in JSON_COLUMNS else _integer if name in _INTEGER_COLUMNS else _price if name == "price" else _text
    for name in COLUMNS
)
