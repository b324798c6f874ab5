"""What requests came to, from sums where they tell a group apart, else from the rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from turnout.spend.ledger import GroupBy, Totals, iso_utc
from turnout.stores.sums import MEASURES
from turnout.stores.totals import GROUPS, TOTALS

__all__ = ["totals_query"]

_BY_HOUR = {
    GroupBy.ALL: "'all'",
    GroupBy.DEPLOYMENT: "nullif(model, '')",
    GroupBy.PROVIDER: "nullif(substr(model, 1, instr(model, '/') - 1), '')",
    GroupBy.TIER: "nullif(tier, '')",
    GroupBy.DAY: "substr(hour, 1, 10)",
    GroupBy.HOUR: "hour",
}

_BY_DAY = {GroupBy.KEY: "key", GroupBy.MODE: "mode", GroupBy.REASON: "reason"}

_COUNTED = Totals.__struct_fields__[1:]

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def totals_query(
    group: GroupBy, since: datetime, until: datetime, tag: tuple[str, str] | None
) -> tuple[bool, str, tuple[str | None, ...]]:
    """Whether sums are asked, the SQL, and its values. Whole hours (or days) are taken from the sums, and what is left
    at both ends from the rows."""
    name, value = tag or (None, None)
    whole = _HOUR if group in _BY_HOUR else _DAY if group in _BY_DAY else None
    first, last = (_ceiling(since, whole), _floor(until, whole)) if whole else (until, since)
    if whole is None or tag is not None or first >= last:
        return False, TOTALS[group], (iso_utc(since), iso_utc(until), name, value)
    by_hour = whole == _HOUR
    told, table, at, length = (
        (_BY_HOUR[group], "hour_sums", "hour", 13) if by_hour else ("nullif(value, '')", "day_sums", "day", 10)
    )
    kind = "" if by_hour else f"kind = '{_BY_DAY[group]}' AND "
    query = f"""
        SELECT g, {", ".join(f"sum({name})" for name in _COUNTED)} FROM (
            SELECT {told} AS g, {", ".join(_COUNTED)} FROM {table} WHERE {kind}{at} >= ?2 AND {at} < ?3
            UNION ALL
            SELECT {GROUPS[group]}, {", ".join(MEASURES[name] for name in _COUNTED)} FROM requests
            WHERE (received_at >= ?1 AND received_at < ?5) OR (received_at >= ?6 AND received_at < ?4)
        ) AS t GROUP BY 1 ORDER BY 9 DESC, 2 DESC, 1 NULLS FIRST
        """  # noqa: S608 - our own expressions
    ends = iso_utc(first), iso_utc(last)
    return True, query, (iso_utc(since), ends[0][:length], ends[1][:length], iso_utc(until), *ends)


def _floor(at: datetime, whole: timedelta) -> datetime:
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    begun = utc.replace(minute=0, second=0, microsecond=0)
    return begun if whole == _HOUR else begun.replace(hour=0)


def _ceiling(at: datetime, whole: timedelta) -> datetime:
    begun = _floor(at, whole)
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return begun if begun == utc else begun + whole
