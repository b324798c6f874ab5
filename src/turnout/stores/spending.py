"""The questions what was spent, as SQL over the sums that SQLite keeps, and over rows that are in no sum yet.

`spend_sums` has what one spender (sessions aside) paid for one deployment in a minute. It is brought up with the other
sums (`stores.sums`), behind the same mark, and one statement reads mark, sums and rows: no row is missed or counted
twice, whoever sums meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from turnout.context import Spender
from turnout.spend.ledger import LedgerRow, attempts_to_records, iso_utc
from turnout.spend.spent import BudgetEntry, Past, Question, Spent, minute_of

__all__ = ["past_of", "spending_query", "spent_of_record"]

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""Names of tags that SQLite's JSON paths take as they are."""

_SUMMED = """
    SELECT minute, key_id, team, mode, tags, deployment, gateway, cost_nano_usd
    FROM spend_sums WHERE minute >= substr(?2, 1, 16)
    """

_RAW = """
    SELECT substr(r.received_at, 1, 16), r.key_id, r.team, r.mode, r.tags, a.deployment, r.gateway, a.cost_nano_usd
    FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id
    WHERE a.cost_nano_usd > 0 AND
    """

# The plus keeps the time's index out of it: few rows are behind the mark, many may be as young.
_BEHIND = _RAW + "r.rowid > (SELECT rolled FROM sums_mark) AND +r.received_at >= ?2"  # noqa: S608 - our own words

_FIRST_MINUTE = _RAW + "r.received_at >= ?1 AND r.received_at < ?2"
"""Where a question does not begin with a minute: its sum says too much."""

_OF_SESSIONS = """
    SELECT substr(r.received_at, 1, 16), r.key_id, r.team, r.mode, r.tags, a.deployment, r.gateway,
        sum(a.cost_nano_usd), r.session_id
    FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id
    WHERE r.session_id IN (SELECT value FROM json_each(?2)) AND r.received_at >= ?1 AND a.cost_nano_usd > 0
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 9 ORDER BY 1
    """


def spending_query(question: Question) -> tuple[str, tuple[str, ...]]:
    """The SQL of a question and its values; its rows are what `spent_of_record` reads."""
    since = question.since
    if question.sessions is not None:
        return _OF_SESSIONS, (iso_utc(since), msgspec.json.encode(question.sessions).decode())
    whole = minute_of(since)
    parts = [_SUMMED, _BEHIND]
    if whole != since:
        whole += timedelta(minutes=1)
        parts.append(_FIRST_MINUTE)
    values = [iso_utc(since), iso_utc(whole)]

    def value(text: str) -> str:
        values.append(text)
        return f"?{len(values)}"

    told = {
        "at": _time([value(iso_utc(cut)[:16]) for cut in question.cuts]) if question.cuts else "minute",
        "key_id": "key_id" if question.key else "NULL",
        "team": "team" if question.team else "NULL",
        "mode": "mode" if question.mode else "NULL",
        "tags": "'{}'" if question.tags == () else "tags",
        "deployment": "deployment" if question.model else "''",
        "gateway": "gateway",
    }
    # By as few columns as there may be: grouping is what takes the time.
    groups = ", ".join(name for name, what in told.items() if what != "NULL" and what[0] not in "'?")
    # Without the first minute ?1 is not in it, and SQLite takes as many values as it is given numbers.
    query = f"""
        SELECT {", ".join(f"{what} AS {name}" for name, what in told.items())}, sum(cost_nano_usd) AS cost, '' AS said
        FROM ({" UNION ALL ".join(parts)}) WHERE ifnull(?1, 1) IS NOT NULL GROUP BY {groups}
        """  # noqa: S608 - our own expressions
    if question.tags and all(map(_PLAIN.fullmatch, question.tags)):
        # Once more, of the tags that are asked for: sets of tags are few, and taking one apart is dear.
        pairs = ", ".join(f"{value(name)}, json_extract(tags, {value(_path(name))})" for name in question.tags)
        query = f"""
            SELECT at, key_id, team, mode, json_object({pairs}), deployment, gateway, sum(cost), '' FROM ({query})
            GROUP BY 1, 2, 3, 4, 5, 6, 7
            """  # noqa: S608 - our own expressions
    return query, tuple(values)


def _path(name: str) -> str:
    return f'$."{name}"'


def _time(cuts: Sequence[str]) -> str:
    """The last cut before a minute."""
    first, *later = cuts
    told = " ".join(f"WHEN minute >= {cut} THEN {cut}" for cut in reversed(later))
    return f"CASE {told} ELSE {first} END" if told else first


def spent_of_record(record: Sequence[Any]) -> Spent:
    """What a row of `spending_query` says."""
    minute, key, team, mode, tags, deployment, gateway, cost, session = record
    told: dict[str, str | None] = msgspec.json.decode(tags)
    return Spent(
        at=_moment(minute),
        spender=Spender(
            key=key or None,
            team=team or None,
            tags={name: value for name, value in told.items() if value is not None},
            mode=mode or None,
            session=session or "",
        ),
        deployment=deployment,
        provider=deployment.partition("/")[0],
        cost_nano_usd=cost,
        gateway=gateway or None,
    )


def past_of(later: Iterable[LedgerRow | BudgetEntry]) -> Past:
    """What a ledger will say of rows and entries that it was given; the spending as one answer, each row by itself."""
    spent: list[Spent] = []
    entries: list[BudgetEntry] = []
    for item in later:
        if isinstance(item, LedgerRow):
            spent.extend(_of_row(item))
        else:
            entries.append(item)
    return Past(spent=(spent,), entries=entries)


def _of_row(row: LedgerRow) -> list[Spent]:
    """What the ledger will say of a row that it was given."""
    at = _moment(row.received_at[:16])
    spender = Spender(key=row.key_id, team=row.team, tags=row.tags, mode=row.mode, session=row.session_id or "")
    spent: list[Spent] = []
    for record in attempts_to_records(row):
        deployment, cost = record[2], record[-2]
        if isinstance(deployment, str) and isinstance(cost, int) and cost > 0:
            spent.append(
                Spent(
                    at=at,
                    spender=spender,
                    deployment=deployment,
                    provider=deployment.partition("/")[0],
                    cost_nano_usd=cost,
                    gateway=row.gateway,
                )
            )
    return spent


def _moment(minute: str) -> datetime:
    return datetime.fromisoformat(minute).replace(tzinfo=UTC)
