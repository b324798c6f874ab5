"""Sums in PostgreSQL, as `stores.sums` has them: kept up by whichever gateway holds a lock, each row once.

A sequence says nothing of the order of commits, so no mark could say up to which row all is summed. Each transaction
that writes requests leaves the number of its batch instead; who sums takes numbers away, sums the rows that bear them,
and commits both as one. A number can be seen only when its rows can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg

from turnout.stores.postgres.database import Row, lock_named
from turnout.stores.postgres.schema import IN_BATCH
from turnout.stores.postgres.words import translated
from turnout.stores.sums import CHOSEN, MEASURES, ROLLED_BY_KIND, ROLLING

__all__ = ["roll"]

MOST_BATCHES = 50
"""Taken at a time, if they are small."""

MOST_ROWS = 100_000
"""No further batch is taken with so many: a batch may be some ten thousand rows, and its sums take seconds."""

_LOCK = lock_named("sums")
"""Who sums holds this advisory lock, until its transaction ends."""

_USED = (
    "nr, request_id, received_at, key_id, team, mode, reason, tags, feature, deployment, tier, session_id, agent, "
    "step, outcome, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, "
    "cost_nano_usd, repeated_tokens, part_system, part_tools, part_history, part_tool_results, part_attachments, "
    "part_reasoning, baseline_uncached_nano_usd, baseline_cached_nano_usd, overhead_us, ttft_ms, attempts, gateway"
)

_TABLE = f"CREATE TEMP TABLE IF NOT EXISTS rolled ON COMMIT DELETE ROWS AS SELECT {_USED} FROM requests LIMIT 0"  # noqa: S608

_TAKE = """
    DELETE FROM unsummed WHERE batch IN (
        SELECT batch FROM (
            SELECT batch, sum(max(size)) OVER (ORDER BY batch) - max(size) AS before FROM unsummed
            GROUP BY batch ORDER BY batch LIMIT %s
        ) AS counted WHERE before < %s
    )
    RETURNING batch, since, until
    """

_CHOOSE = f"""
    INSERT INTO rolled SELECT {_USED} FROM requests
    WHERE received_at >= %s AND received_at <= %s AND nr / {IN_BATCH} = ANY(%s)
    """  # noqa: S608 - our own column names

_TOLD_APART = {
    "received_at": "substr(received_at, 1, 13)",
    **{name: name for name in ("key_id", "team", "mode", "reason", "feature", "deployment", "tier")},
}

_GATHERED = "gathered"

_GATHERED_TABLE = f"""
    CREATE TEMP TABLE IF NOT EXISTS {_GATHERED} ON COMMIT DELETE ROWS AS
    SELECT {", ".join(_TOLD_APART)}, {", ".join(f"0::bigint AS {name}" for name in MEASURES)} FROM rolled LIMIT 0
    """  # noqa: S608 - our own column names

_GATHER = f"""
    INSERT INTO {_GATHERED} SELECT {", ".join(_TOLD_APART.values())},
        {", ".join(f"sum({told})" for told in MEASURES.values())}
    FROM rolled GROUP BY {", ".join(str(n + 1) for n in range(len(_TOLD_APART)))}
    """  # noqa: S608 - our own expressions


def _of_gathered(statement: str) -> str:
    """The same sums, of what is summed already: by the hour and all that tells days apart. Each row is then worked out
    once, not once for each kind of sum."""
    for name, told in MEASURES.items():
        statement = statement.replace(f"sum({told})", f"sum({_GATHERED}.{name})::bigint", 1)
    return statement.replace(CHOSEN, f"FROM {_GATHERED} WHERE true")


_ROLLING = (
    translated(_GATHER),
    *(translated(_of_gathered(statement)) for statement in ROLLED_BY_KIND),
    *(
        translated(statement.replace(CHOSEN, "FROM rolled WHERE true"))
        for statement in ROLLING
        if CHOSEN in statement and statement not in ROLLED_BY_KIND
    ),
)

_SPENDER = {
    "key_id": "coalesce(r.key_id, '')",
    "team": "coalesce(r.team, '')",
    "mode": "coalesce(r.mode, '')",
    "tags": "r.tags",
    "deployment": "a.deployment",
    "gateway": "coalesce(r.gateway, '')",
}
"""Who paid whom. A session is not told: there are too many, and an index finds each one's rows."""

_WHO = ", ".join(_SPENDER)

_SPENT = f"""
    INSERT INTO spend_sums (minute, who, {_WHO}, cost_nano_usd)
    SELECT minute, sha256(convert_to(json_build_array({_WHO})::text, 'UTF8')), {_WHO}, cost
    FROM (
        SELECT substr(r.received_at, 1, 16) AS minute,
            {", ".join(f"{told} AS {name}" for name, told in _SPENDER.items())}, sum(a.cost_nano_usd) AS cost
        FROM rolled AS r JOIN attempts AS a ON a.nr = r.nr AND a.received_at = r.received_at
        WHERE a.cost_nano_usd > 0 AND a.nr >= %s AND a.nr < %s AND a.received_at >= %s AND a.received_at <= %s
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ) AS s
    ON CONFLICT (minute, who) DO UPDATE SET cost_nano_usd = spend_sums.cost_nano_usd + excluded.cost_nano_usd
    """  # noqa: S608 - our own expressions

_SPENT_BY_HOUR = (
    _SPENT.replace("substr(r.received_at, 1, 16)", "substr(r.received_at, 1, 13)")
    .replace("spend_sums", "spend_hours")
    .replace("minute", "hour")
)


def roll(db: psycopg.Connection[Row], *, wait_s: float = 0.0) -> bool:
    """Sum some batches that nobody has summed; False when there are none, or another gateway is at it and `wait_s` is
    zero. Raises psycopg.Error, also when it is at it for longer; then nothing was summed."""
    with db.transaction():
        if wait_s:
            db.execute(b"SELECT set_config('lock_timeout', %s, true)", (str(round(wait_s * 1_000)),))
            db.execute(f"SELECT pg_advisory_xact_lock({_LOCK})".encode())
        elif db.execute(f"SELECT pg_try_advisory_xact_lock({_LOCK})".encode()).fetchone() != (True,):
            return False
        taken = db.execute(_TAKE.encode(), (MOST_BATCHES, MOST_ROWS)).fetchall()
        if not taken:
            return False
        batches = sorted({batch for batch, _, _ in taken})
        spans = _joined((since, until) for _, since, until in taken)
        numbers = batches[0] * IN_BATCH, (batches[-1] + 1) * IN_BATCH
        for table in (_TABLE, _GATHERED_TABLE):
            db.execute(table.encode())
        for since, until in spans:
            db.execute(_CHOOSE.encode(), (since, until, batches))
        for statement in _ROLLING:
            db.execute(statement)
        for statement in (_SPENT, _SPENT_BY_HOUR):
            db.execute(statement.encode(), (*numbers, spans[0][0], spans[-1][1]))
    return True


def _joined(spans: Iterable[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Spans of time without those that overlap: no row is chosen twice."""
    joined: list[tuple[str, str]] = []
    for since, until in sorted(spans):
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(until, joined[-1][1])
        else:
            joined.append((since, until))
    return joined
