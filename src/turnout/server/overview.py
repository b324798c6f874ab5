"""What an admin sees at a glance: the sums of the ledger as JSON, from what is kept beside its rows.

The ledger is asked, which blocks: off the event loop (`admin.READS`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from turnout.catalog.prices import NANO_PER_USD
from turnout.engine import Engine
from turnout.errors import InvalidRequest
from turnout.server.reading import whole
from turnout.spend.volume import PARTS, Summed, Volume, advise
from turnout.usage import Report, moment, report_story

__all__ = ["history", "overview", "snowball", "volume"]

SUMMED = (
    *("requests", "errors", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
    *("reasoning_tokens", "repeated_tokens", "unpriced", "attempts"),
)

HOURLY_DAYS = 3
"""A span of so many days is shown by the hour, a longer one by the day."""

MOST_ROWS = 1_000


def overview(engine: Engine, query: str, _: bytes) -> object:
    """Totals, what was saved beside both baselines, the course over time, and who took what. USD and tokens."""
    since, until, _told = _span(query)
    by_hour = until - since <= timedelta(days=HOURLY_DAYS)
    ledger = engine.ledger
    course = ledger.sums(since, until, "hour" if by_hour else "day")
    reasons, features = ledger.sums(since, until, "reason"), ledger.sums(since, until, "feature", sessions=False)
    baseline = engine.pipeline.baseline
    return {
        "since": since,
        "until": until,
        "step": "hour" if by_hour else "day",
        "totals": _sums(course),
        "baselines": {"model": baseline.id if baseline else None, **_saved(course)},
        "series": [{"at": at, **_sums(volumes)} for at, volumes in sorted(_grouped(course, "group").items())],
        "series_by_model": [
            {"at": volume.group, "model": volume.deployment, **_sums([volume])}
            for volume in sorted(course, key=lambda v: (v.group or "", v.deployment or ""))
        ],
        "by_model": _rows(_grouped(course, "deployment"), "model"),
        "by_tier": _rows(_grouped(course, "tier"), "tier"),
        "by_reason": _rows(_grouped(reasons, "group"), "reason"),
        "by_feature": _rows(_grouped(features, "group"), "feature"),
        "notes": "by model and tier of whole hours, by reason and feature of whole days (UTC). Saved: beside what the "
        "baseline would have cost for the same tokens, of requests where both are known; that it writes as much is "
        "assumed",
    }


def volume(engine: Engine, query: str, _: bytes) -> object:
    """As /admin/usage, by whole hours or days and from sums: of a million requests in milliseconds, with
    `?sessions=no` whatever the number of sessions."""
    since, until, told = _span(query)
    by = told.get("by", "feature")
    limit = whole(told, "limit", MOST_ROWS, MOST_ROWS)
    counted = told.get("sessions") != "no"
    volumes: tuple[Volume, ...] = tuple(engine.ledger.sums(since, until, by, sessions=counted))
    advice = tuple(advise(volumes, engine.price_of))
    return report_story(Report(by=by, since=since, until=until, volumes=volumes, advice=advice), limit=limit)


def snowball(engine: Engine, query: str, _: bytes) -> object:
    """The mean context at each step of an agent, by feature and part, of whole days. Tokens."""
    since, until, _told = _span(query)
    steps = engine.ledger.steps(since, until)
    return {
        "since": since,
        "until": until,
        "data": [
            {
                "feature": told.feature,
                "step": told.step,
                "requests": told.requests,
                "input_tokens": round(told.input_tokens / told.requests),
                "parts": {part: round(getattr(told, part) / told.requests) for part in PARTS},
            }
            for told in steps
            if told.requests
        ],
    }


def history(engine: Engine, query: str, _: bytes) -> object:
    """Agents of sessions that the ledger has, the latest first; ?session= for one alone."""
    since, until, told = _span(query)
    runs = engine.ledger.past_sessions(since, until, whole(told, "limit", 100, MOST_ROWS), name=told.get("session"))
    return {
        "data": [
            {
                "id": run.session_id,
                "key": run.key_id,
                "agent": run.agent,
                "feature": run.feature,
                "mode": run.mode,
                "model": run.deployment,
                "first_at": run.first_at,
                "last_at": run.last_at,
                "requests": run.requests,
                "errors": run.errors,
                "first_context": run.first_input,
                "last_context": run.last_input,
                "longest_context": run.deepest,
                "input_tokens": run.input_tokens,
                "cache_read_tokens": run.cache_read_tokens,
                "output_tokens": run.output_tokens,
                "cost_usd": run.cost_nano_usd / NANO_PER_USD,
            }
            for run in runs
        ]
    }


def _span(query: str) -> tuple[datetime, datetime, Mapping[str, str]]:
    told = dict(parse_qsl(query))
    now = datetime.now(UTC)
    since = moment(told.get("since", "30d"), now, param="since")
    until = moment(told["until"], now, param="until") if "until" in told else now + timedelta(seconds=1)
    if until <= since:
        raise InvalidRequest(f"until = {told.get('until')!r} is not after since", param="until")
    return since, until, told


def _grouped(volumes: Iterable[Summed], field: str) -> dict[str | None, list[Summed]]:
    groups: dict[str | None, list[Summed]] = {}
    for told in volumes:
        groups.setdefault(getattr(told, field), []).append(told)
    return groups


def _rows(groups: Mapping[str | None, list[Summed]], name: str) -> list[dict[str, object]]:
    first = sorted(groups.items(), key=lambda one: -sum(v.cost_nano_usd for v in one[1]))
    return [{name: group, **_sums(volumes)} for group, volumes in first]


def _sums(volumes: Iterable[Summed]) -> dict[str, object]:
    told = list(volumes)
    count = sum(v.requests for v in told)
    first = sum(v.ttft_count for v in told)
    return {
        **{name: sum(getattr(v, name) for v in told) for name in SUMMED},
        "cost_usd": sum(v.cost_nano_usd for v in told) / NANO_PER_USD,
        "overhead_ms": round(sum(v.overhead_us for v in told) / count / 1_000, 3) if count else None,
        "ttft_ms": round(sum(v.ttft_ms for v in told) / first) if first else None,
    }


def _saved(volumes: Iterable[Summed]) -> dict[str, object]:
    told = list(volumes)
    paid, uncached, cached = (
        sum(getattr(v, name) for v in told) / NANO_PER_USD
        for name in ("compared_nano_usd", "baseline_uncached_nano_usd", "baseline_cached_nano_usd")
    )
    return {
        "compared_requests": sum(v.compared for v in told),
        "paid_usd": paid,
        "uncached_usd": uncached,
        "cached_usd": cached,
        "saved_uncached_usd": uncached - paid,
        "saved_cached_usd": cached - paid,
    }
