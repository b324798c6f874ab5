"""Requests looked for in a ledger: what follows `FROM requests`, in SQLite's words."""

from __future__ import annotations

from turnout.spend.wanted import MOST_SEARCHED, Wanted
from turnout.stores.questions import Value

__all__ = ["find_query"]

_CONDITIONS = {
    "session": "session_id = ?{n}",
    "model": "(deployment = ?{n} OR requested_model = ?{n})",
    "key": "key_id = ?{n}",
    "feature": "json_extract(tags, '$.feature') = ?{n}",
    "reason": "reason = ?{n}",
}


def find_query(wanted: Wanted, limit: int, *, number: str) -> tuple[str, list[Value]]:
    """The end of a statement, and its values: the newest `limit` rows that are wanted, newest first. `number`: the
    column that counts rows as they came. A session's rows have an index; what else is wanted is looked for in
    `MOST_SEARCHED` rows, of that session where one is meant."""
    values: list[Value] = []
    told = [("session", wanted.session), ("model", wanted.model), ("key", wanted.key)]
    told += [("feature", wanted.feature), ("reason", wanted.reason)]
    conditions: list[str] = []
    for name, value in told:
        if value is not None:
            values.append(value)
            conditions.append(_CONDITIONS[name].format(n=len(values)))
    if wanted.failed:
        conditions.append("outcome NOT IN ('ok', 'cancelled')")
    among = conditions[: wanted.session is not None]  # what an index finds
    looked = len(conditions) > len(among)
    if wanted.before is not None:
        values.append(wanted.before)
        older = (
            f"(received_at, {number}) < (SELECT received_at, {number} FROM requests WHERE request_id = ?{len(values)})"  # noqa: S608
        )
        among.append(older)
        conditions.append(older)
    if looked:
        start = f"WHERE {' AND '.join(among)} " if among else ""
        conditions.append(
            f"received_at >= ifnull((SELECT received_at FROM requests {start}ORDER BY received_at DESC "  # noqa: S608
            f"LIMIT 1 OFFSET {MOST_SEARCHED}), '')"
        )
    values.append(limit)
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    return f"{where}ORDER BY received_at DESC, {number} DESC LIMIT ?{len(values)}", values
