"""Sums that SQLite keeps beside the ledger's rows, so that a page that asks of a million requests reads hundreds.

`hour_sums` has an hour of one model, `day_sums` a day of one feature (key, team, mode, reason) and model, `step_sums`
the contexts of a feature by step, `session_sums` an agent of a session, `spend_sums` what one spender paid for one
deployment in a minute. Rows are summed many at a time, each once: a
mark says up to which, and moves in the same transaction.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterable, Sequence

from turnout.context import Parts
from turnout.errors import InvalidRequest
from turnout.spend.volume import LATER_STEPS

__all__ = [
    "CHOSEN",
    "DIMENSIONS",
    "MEASURES",
    "PAST_QUERY",
    "ROLLED_BY_KIND",
    "ROLLING",
    "SPEND_MIGRATION",
    "STEPS_QUERY",
    "SUMS_MIGRATION",
    "roll",
    "sessions_query",
    "span_of",
    "sums_query",
    "unsummed",
]

_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

MOST_ROLLED = 100_000
"""Rows summed in one transaction: about half a second, during which nobody else writes."""

DIMENSIONS: dict[str, str] = {
    "key": "key_id",
    "team": "team",
    "feature": "json_extract(tags, '$.feature')",
    "mode": "mode",
    "reason": "reason",
}
"""What days can be broken down by beside the model, and where it stands in a request's row. Empty: it has none."""

_BRIEF = "(tier = 'frontier' AND output_tokens IS NOT NULL AND output_tokens <= 200)"

_COMPARED = "(baseline_cached_nano_usd IS NOT NULL AND cost_nano_usd IS NOT NULL)"


def _flag(condition: str) -> str:
    """1 where it holds, for sums: PostgreSQL adds up no conditions."""
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


MEASURES: dict[str, str] = {
    "requests": "1",
    "errors": _flag("outcome NOT IN ('ok', 'cancelled')"),
    "input_tokens": "ifnull(input_tokens, 0)",
    "cache_read_tokens": "ifnull(cache_read_tokens, 0)",
    "cache_write_tokens": "ifnull(cache_write_tokens, 0)",
    "output_tokens": "ifnull(output_tokens, 0)",
    "reasoning_tokens": "ifnull(reasoning_tokens, 0)",
    "cost_nano_usd": "ifnull(cost_nano_usd, 0)",
    "unpriced": _flag("cost_nano_usd IS NULL AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL)"),
    "repeated_tokens": "ifnull(repeated_tokens, 0)",
    **{name: f"ifnull(part_{name}, 0)" for name in Parts.__struct_fields__},
    "brief_requests": _flag(_BRIEF),
    "brief_cost_nano_usd": f"CASE WHEN {_BRIEF} THEN ifnull(cost_nano_usd, 0) ELSE 0 END",
    "compared": _flag(_COMPARED),
    "compared_nano_usd": f"CASE WHEN {_COMPARED} THEN cost_nano_usd ELSE 0 END",
    "baseline_uncached_nano_usd": f"CASE WHEN {_COMPARED} THEN baseline_uncached_nano_usd ELSE 0 END",
    "baseline_cached_nano_usd": f"CASE WHEN {_COMPARED} THEN baseline_cached_nano_usd ELSE 0 END",
    "overhead_us": "ifnull(overhead_us, 0)",
    "ttft_ms": "ifnull(ttft_ms, 0)",
    "ttft_count": _flag("ttft_ms IS NOT NULL"),
    "attempts": "attempts",
}
"""What is summed, and of what in a request's row."""

_STEP = (
    "CASE " + " ".join(f"WHEN step >= {step} THEN {step}" for step in reversed(LATER_STEPS)) + " ELSE max(step, 0) END"
)

_STEP_MEASURES = ("requests", "input_tokens", *Parts.__struct_fields__)

_SESSION_MEASURES = ("requests", "errors", "input_tokens", "cache_read_tokens", "output_tokens", "cost_nano_usd")

CHOSEN = "FROM requests WHERE rowid > ?1 AND rowid <= ?2"
"""The rows that are summed, in each statement of `ROLLING` that reads nothing else."""


# ---- Keeping them ----------------------------------------------------------------------------------------------


def _put(table: str, keys: dict[str, str], measures: Iterable[str], more: str = "") -> str:
    """SQL: add the chosen rows, grouped by `keys`, to the sums of `table`."""
    measures = tuple(measures)
    sums = ", ".join(f"sum({MEASURES[name]})" for name in measures)
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in measures)
    return (
        f"INSERT INTO {table} ({', '.join((*keys, *measures))}) SELECT {', '.join(keys.values())}, {sums} "
        f"{CHOSEN} {more} GROUP BY {', '.join(str(n) for n in range(1, len(keys) + 1))} "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}"
    )


_MODEL = {"model": "ifnull(deployment, '')", "tier": "ifnull(tier, '')"}
_AGENT = {"key_id": "ifnull(key_id, '')", "session_id": "session_id", "agent": "ifnull(agent, '')"}

# A time as the ledger writes it is 24 characters long: what stands behind it is that of the first or the last.
_SESSION_ENDS = {
    "first_at": "min(received_at)",
    "last_at": "max(received_at)",
    "first_input": "min(received_at || ' ' || input_tokens)",
    "last_input": "max(received_at || ' ' || input_tokens)",
    "last_model": "max(received_at || ' ' || deployment)",
    "last_mode": "max(received_at || ' ' || mode)",
    "last_feature": f"max(received_at || ' ' || {DIMENSIONS['feature']})",
}


def _sessions() -> str:
    sums = ", ".join(f"sum({MEASURES[name]})" for name in _SESSION_MEASURES)
    added = [f"{name} = session_sums.{name} + excluded.{name}" for name in _SESSION_MEASURES]
    for name, told in _SESSION_ENDS.items():
        mine, new = f"session_sums.{name}", f"excluded.{name}"
        added.append(f"{name} = {told[:3]}(ifnull({mine}, {new}), ifnull({new}, {mine}))")
    names = (*_AGENT, *_SESSION_ENDS, "deepest", *_SESSION_MEASURES)
    return (
        f"INSERT INTO session_sums ({', '.join(names)}) "
        f"SELECT {', '.join((*_AGENT.values(), *_SESSION_ENDS.values()))}, ifnull(max(input_tokens), 0), {sums} "
        f"{CHOSEN} AND session_id IS NOT NULL GROUP BY 1, 2, 3 ON CONFLICT ({', '.join(_AGENT)}) "
        f"DO UPDATE SET {', '.join(added)}, deepest = max(session_sums.deepest, excluded.deepest)"
    )


_SPENDER = {
    "minute": "substr(r.received_at, 1, 16)",
    "key_id": "ifnull(r.key_id, '')",
    "team": "ifnull(r.team, '')",
    "mode": "ifnull(r.mode, '')",
    "tags": "r.tags",
    "deployment": "a.deployment",
    "gateway": "ifnull(r.gateway, '')",
}
"""Who paid whom, and when. A session is not told: there are too many, and an index finds each one's rows."""

_SPENT = (
    f"INSERT INTO spend_sums ({', '.join(_SPENDER)}, cost_nano_usd) "  # noqa: S608 - our own expressions
    f"SELECT {', '.join(_SPENDER.values())}, sum(a.cost_nano_usd) "
    "FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id "
    "WHERE r.rowid > ?1 AND r.rowid <= ?2 AND a.cost_nano_usd > 0 "
    f"GROUP BY {', '.join(str(n + 1) for n in range(len(_SPENDER)))} "
    f"ON CONFLICT ({', '.join(_SPENDER)}) "
    "DO UPDATE SET cost_nano_usd = spend_sums.cost_nano_usd + excluded.cost_nano_usd"
)


ROLLED_BY_KIND: tuple[str, ...] = (
    _put("hour_sums", {"hour": "substr(received_at, 1, 13)", **_MODEL}, MEASURES),
    *(
        _put(
            "day_sums",
            {"day": "substr(received_at, 1, 10)", "kind": f"'{kind}'", "value": f"ifnull({where}, '')", **_MODEL},
            MEASURES,
        )
        for kind, where in DIMENSIONS.items()
    ),
)
"""Those of `ROLLING` that keep all of `MEASURES`."""

ROLLING: tuple[str, ...] = (
    *ROLLED_BY_KIND,
    _put(
        "step_sums",
        {
            "day": "substr(received_at, 1, 10)",
            "feature": f"ifnull({DIMENSIONS['feature']}, '')",
            "step": _STEP,
        },
        _STEP_MEASURES,
    ),
    _sessions(),
    _SPENT,
)


_MARKS = "SELECT rolled, (SELECT ifnull(max(rowid), 0) FROM requests) FROM sums_mark"


def unsummed(db: sqlite3.Connection) -> int:
    """How many rows are not in the sums yet, about."""
    (mark, newest), *_ = db.execute(_MARKS)
    return max(0, newest - mark)


def roll(db: sqlite3.Connection) -> None:
    """Bring the sums up to the newest row, `MOST_ROLLED` rows a transaction. Raises sqlite3.Error."""
    while unsummed(db):
        db.execute("BEGIN IMMEDIATE")
        try:
            # Read again: another process may have done it since.
            (mark, newest), *_ = db.execute(
                "SELECT rolled, (SELECT ifnull(max(rowid), 0) FROM requests) FROM sums_mark"
            )
            until = min(newest, mark + MOST_ROLLED)
            for statement in ROLLING:
                db.execute(statement, (mark, until))
            db.execute("UPDATE sums_mark SET rolled = ?", (until,))
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _table(name: str, columns: str, keys: Iterable[str], *, by_key: bool) -> str:
    options = [option for option in (_STRICT, "WITHOUT ROWID" if by_key else "") if option]
    return f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({', '.join(keys)})) {', '.join(options)}"


def _integers(names: Iterable[str]) -> str:
    return ", ".join(f"{name} INTEGER NOT NULL" for name in names)


def _texts(names: Iterable[str]) -> str:
    return ", ".join(f"{name} TEXT NOT NULL" for name in names)


def _sums_table(name: str, keys: Sequence[str], measures: Iterable[str]) -> str:
    return _table(name, f"{_texts(keys)}, {_integers(measures)}", keys, by_key=True)


SUMS_MIGRATION: tuple[str, ...] = (
    "ALTER TABLE requests ADD COLUMN baseline_uncached_nano_usd INTEGER",
    "ALTER TABLE requests ADD COLUMN baseline_cached_nano_usd INTEGER",
    _sums_table("hour_sums", ("hour", *_MODEL), MEASURES),
    _sums_table("day_sums", ("kind", "day", "value", *_MODEL), MEASURES),
    _table(
        "step_sums",
        f"{_texts(('day', 'feature'))}, step INTEGER NOT NULL, {_integers(_STEP_MEASURES)}",
        ("day", "feature", "step"),
        by_key=True,
    ),
    _table(
        "session_sums",
        f"{_texts(_AGENT)}, {_texts(('first_at', 'last_at'))}, "
        f"{', '.join(f'{name} TEXT' for name in _SESSION_ENDS if name not in {'first_at', 'last_at'})}, "
        f"{_integers(('deepest', *_SESSION_MEASURES))}",
        _AGENT,
        by_key=False,
    ),
    "CREATE INDEX session_sums_last ON session_sums (last_at)",
    f"CREATE TABLE sums_mark (rolled INTEGER NOT NULL) {_STRICT}",
    "INSERT INTO sums_mark (rolled) VALUES (0)",
)
"""The sums begin empty: what is there already is summed like what comes."""

SPEND_MIGRATION: tuple[str, ...] = (
    _sums_table("spend_sums", tuple(_SPENDER), ("cost_nano_usd",)),
    _SPENT.replace("?1", "0").replace("?2", "(SELECT rolled FROM sums_mark)"),
)
"""What the other sums have by now is added at once: seconds for each million of rows, the first time alone."""


# ---- Asking them -----------------------------------------------------------------------------------------------

_BY_HOUR = {
    "all": "'all'",
    "day": "substr(hour, 1, 10)",
    "hour": "hour",
    "model": "model",
    "provider": "substr(model, 1, instr(model, '/') - 1)",
    "tier": "tier",
}


def span_of(by: str) -> int:
    """How many characters of a time tell the sums of a group apart: 13 for whole hours, 10 for whole days. Raises
    InvalidRequest."""
    if by in _BY_HOUR:
        return 13
    if by in DIMENSIONS:
        return 10
    choices = (*_BY_HOUR, *DIMENSIONS)
    near = difflib.get_close_matches(by, choices, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}"
    raise InvalidRequest(f"by = {by!r}: {hint}", param="by")


def sums_query(by: str) -> str:
    """Sums of `MEASURES` by a group, and by deployment and tier, of the hours or days (`span_of`) from ?1 to ?2 and
    both. Raises InvalidRequest."""
    hourly = span_of(by) == 13
    group, table, at = (_BY_HOUR[by], "hour_sums", "hour") if hourly else ("value", "day_sums", "day")
    kind = "" if hourly else f"kind = '{by}' AND "
    return (
        f"SELECT nullif({group}, ''), nullif(model, ''), nullif(tier, ''), "  # noqa: S608 - our own expressions
        f"{', '.join(f'sum({name})' for name in MEASURES)} FROM {table} WHERE {kind}{at} >= ?1 AND {at} <= ?2 "
        "GROUP BY 1, 2, 3 ORDER BY sum(cost_nano_usd) DESC, sum(input_tokens) DESC, "
        "1 NULLS FIRST, 2 NULLS FIRST, 3 NULLS FIRST"
    )


def _after_time(name: str) -> str:
    return f"substr({name}, 26)"


_SESSION_GROUPS = {
    "all": "'all'",
    "feature": _after_time("last_feature"),
    "key": "nullif(key_id, '')",
    "mode": _after_time("last_mode"),
}


def sessions_query(by: str) -> str | None:
    """How many sessions a group has, and how much a context grows with each step, of agents active from ?1 to before
    ?2; None where sessions are not told apart by that."""
    group = _SESSION_GROUPS.get(by)
    if group is None:
        return None
    first, last = (f"CAST({_after_time(name)} AS INTEGER)" for name in ("first_input", "last_input"))
    grown = f"CASE WHEN requests > 1 AND first_input IS NOT NULL THEN 1.0 * ({last} - {first}) / (requests - 1) END"
    return (
        f"SELECT {group}, count(DISTINCT session_id), round(avg({grown}), 6) FROM session_sums "  # noqa: S608
        "WHERE last_at >= ?1 AND first_at < ?2 GROUP BY 1"
    )


STEPS_QUERY = (
    f"SELECT nullif(feature, ''), step, {', '.join(f'sum({name})' for name in _STEP_MEASURES)} "  # noqa: S608
    "FROM step_sums WHERE day >= ?1 AND day <= ?2 GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2"
)
"""Contexts by feature and step, of the days from ?1 to ?2."""

PAST_QUERY = (
    "SELECT nullif(key_id, ''), session_id, nullif(agent, ''), "  # noqa: S608
    f"{', '.join(_after_time(name) for name in ('last_feature', 'last_mode', 'last_model'))}, first_at, last_at, "
    f"CAST({_after_time('first_input')} AS INTEGER), CAST({_after_time('last_input')} AS INTEGER), deepest, "
    f"{', '.join(_SESSION_MEASURES)} FROM session_sums "
    "WHERE last_at >= ?1 AND first_at < ?2 AND (?3 IS NULL OR session_id = ?3) ORDER BY last_at DESC LIMIT ?4"
)
"""Agents active from ?1 to before ?2, of the session ?3 or all, the latest first, ?4 at most."""
