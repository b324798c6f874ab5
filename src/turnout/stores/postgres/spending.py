"""The questions what was spent, as SQL over PostgreSQL's sums and over rows that are in no sum yet.

One statement reads both, and so one moment of the database: a batch is in the sums or still waits to be, whoever sums
meanwhile. What is asked by whole hours, as budgets of the calendar do, is read from sums by the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from turnout.spend.ledger import iso_utc
from turnout.spend.spent import Question
from turnout.stores.postgres.schema import IN_BATCH

__all__ = ["spending_query"]

_OF_SESSIONS = """
    SELECT substr(r.received_at, 1, 16) AS minute, r.key_id, r.team, r.mode, r.tags, a.deployment, r.gateway,
        sum(a.cost_nano_usd), ifnull(r.session_id, '') AS session
    FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id
    WHERE r.session_id = ANY(?2) AND r.received_at >= ?1 AND a.cost_nano_usd > 0
    GROUP BY minute, r.key_id, r.team, r.mode, r.tags, a.deployment, r.gateway, session ORDER BY minute
    """
"""By minute and session, from the rows themselves."""

_RAW = """
    SELECT substr(r.received_at, 1, 16) AS minute, ifnull(r.key_id, '') AS key_id, ifnull(r.team, '') AS team,
        ifnull(r.mode, '') AS mode, r.tags, a.deployment, ifnull(r.gateway, '') AS gateway, a.cost_nano_usd
    """

_BEHIND = f"""
    {_RAW} FROM unsummed AS u
        JOIN requests AS r ON r.received_at >= u.since AND r.received_at <= u.until AND r.nr / {IN_BATCH} = u.batch
        JOIN attempts AS a ON a.request_id = r.request_id
    WHERE a.cost_nano_usd > 0 AND r.received_at >= ?2
    """

_FIRST_MINUTE = f"""
    {_RAW} FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id
    WHERE a.cost_nano_usd > 0 AND r.received_at >= ?1 AND r.received_at < ?2
    """
"""Where a question does not begin with a minute: its sum says too much."""


def spending_query(question: Question) -> tuple[str, tuple[str | list[str], ...]]:
    """The SQL of a question and its values; its rows are what `stores.spending.spent_of_record` reads."""
    since = question.since
    if question.sessions is not None:
        return _OF_SESSIONS, (iso_utc(since), list(question.sessions))
    whole = since.replace(second=0, microsecond=0)
    parts = [_hours() if _by_hour(question.cuts) else _minutes(), _BEHIND]
    if whole != since:
        whole += timedelta(minutes=1)
        parts.append(_FIRST_MINUTE)
    values: list[str | list[str]] = [iso_utc(since), iso_utc(whole)]
    columns = (
        _time(question.cuts, values),
        "key_id" if question.key else "NULL",
        "team" if question.team else "NULL",
        "mode" if question.mode else "NULL",
        _tags(question.tags, values),
        "deployment" if question.model else "''",
        "gateway",
    )
    groups = ", ".join(str(n + 1) for n in range(len(columns)))
    query = f"""
        SELECT {", ".join(columns)}, sum(cost_nano_usd), '' FROM ({" UNION ALL ".join(parts)}) AS t
        GROUP BY {groups} ORDER BY 1
        """  # noqa: S608 - our own expressions
    return query, tuple(values)


def _minutes() -> str:
    return (
        "SELECT minute, key_id, team, mode, tags, deployment, gateway, cost_nano_usd "
        "FROM spend_sums WHERE minute >= substr(?2, 1, 16)"
    )


def _hours() -> str:
    return (
        "SELECT hour || ':00' AS minute, key_id, team, mode, tags, deployment, gateway, cost_nano_usd "
        "FROM spend_hours WHERE hour >= substr(?2, 1, 13)"
    )


def _by_hour(cuts: Sequence[datetime] | None) -> bool:
    return cuts is not None and all(cut == cut.replace(minute=0, second=0, microsecond=0) for cut in cuts)


def _time(cuts: Sequence[datetime] | None, values: list[str | list[str]]) -> str:
    """The minute, or the last cut before it; the cuts are added to the values: statements are few, moments are not."""
    if cuts is None:
        return "minute"
    told: list[str] = []
    for cut in cuts:
        values.append(iso_utc(cut)[:16])
        told.append(f"?{len(values)}::text")
    first, *later = told
    when = " ".join(f"WHEN minute >= {cut} THEN {cut}" for cut in reversed(later))
    return f"CASE {when} ELSE {first} END" if when else first


def _tags(names: Sequence[str] | None, values: list[str | list[str]]) -> str:
    """JSON of those tags that are asked for, their names being added to the values."""
    if names is None or len(names) > 5:
        return "tags"
    if not names:
        return "'{}'"
    pairs: list[str] = []
    for name in names:
        values.append(name)
        pairs.append(f"?{len(values)}::text, tags::json ->> ?{len(values)}")
    return f"json_build_object({', '.join(pairs)})::text"
