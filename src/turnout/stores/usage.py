"""The questions about token volume, as SQL over the ledger's rows: sums are made where the rows are."""

from __future__ import annotations

import difflib
import re

from turnout.errors import InvalidRequest

__all__ = ["GROUPS", "usage_query"]

GROUPS: dict[str, str] = {
    "all": "'all'",
    "feature": "json_extract(tags, '$.feature')",
    "key": "key_id",
    "team": "team",
    "mode": "mode",
    "model": "deployment",
    "provider": "provider",
    "tier": "tier",
    "session": "session_id",
    "agent": "agent",
    "step": "CASE WHEN step < 10 THEN CAST(step AS TEXT) WHEN step < 20 THEN '10-19' WHEN step < 50 THEN '20-49' "
    "ELSE '50+' END",
    "day": "substr(received_at, 1, 10)",
}
"""What tokens can be broken down by; beside these, `tag:NAME`."""

BRIEF = "tier = 'frontier' AND output_tokens <= 200"

_TAG = re.compile(r"tag:([A-Za-z0-9_.-]{1,100})")


def usage_query(by: str) -> tuple[str, str | None]:
    """Rows of `spend.volume.Volume` by group and deployment, from ?1 to before ?2, and what ?3 is. Raises
    InvalidRequest."""
    tag = _TAG.fullmatch(by)
    if by not in GROUPS and tag is None:
        near = difflib.get_close_matches(by, GROUPS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(GROUPS)} or tag:NAME"
        raise InvalidRequest(f"by = {by!r}: {hint}", param="by")
    expression = "json_extract(tags, ?3)" if tag else GROUPS[by]
    query = f"""
        WITH chosen AS (
            -- The last term is always so: every query takes three values.
            SELECT *, {expression} AS grouped FROM requests
            WHERE received_at >= ?1 AND received_at < ?2 AND ifnull(?3, '') IS NOT NULL
        ), counted AS (
            SELECT grouped, count(DISTINCT session_id) AS sessions FROM chosen GROUP BY grouped
        ), steps AS (
            SELECT grouped, input_tokens, row_number() OVER agent_steps AS nth, count(*) OVER (
                PARTITION BY grouped, session_id, agent) AS n
            FROM chosen WHERE input_tokens IS NOT NULL AND session_id IS NOT NULL
            WINDOW agent_steps AS (PARTITION BY grouped, session_id, agent ORDER BY received_at, request_id)
        ), grown AS (
            -- The mean over agents of (last - first) / (n - 1): every agent has one first and one last step.
            SELECT grouped, round(
                sum(CASE nth WHEN 1 THEN -1.0 ELSE 1.0 END * input_tokens / (n - 1)) * 2 / count(*), 6) AS growth
            FROM steps WHERE n > 1 AND nth IN (1, n) GROUP BY grouped
        )
        SELECT c.grouped, deployment, tier, count(*), max(n.sessions), ifnull(sum(input_tokens), 0),
            ifnull(sum(cache_read_tokens), 0), ifnull(sum(cache_write_tokens), 0), ifnull(sum(output_tokens), 0),
            ifnull(sum(reasoning_tokens), 0), ifnull(sum(cost_nano_usd), 0),
            sum(CASE WHEN cost_nano_usd IS NULL AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL)
                THEN 1 ELSE 0 END),
            ifnull(sum(repeated_tokens), 0), ifnull(sum(part_system), 0), ifnull(sum(part_tools), 0),
            ifnull(sum(part_history), 0), ifnull(sum(part_tool_results), 0), ifnull(sum(part_attachments), 0),
            ifnull(sum(part_reasoning), 0), sum(CASE WHEN {BRIEF} THEN 1 ELSE 0 END),
            ifnull(sum(CASE WHEN {BRIEF} THEN cost_nano_usd END), 0), max(g.growth)
        FROM chosen AS c JOIN counted AS n ON n.grouped IS c.grouped
            LEFT JOIN grown AS g ON g.grouped IS c.grouped
        GROUP BY c.grouped, deployment, tier ORDER BY 11 DESC, 6 DESC, 1 NULLS FIRST, 2 NULLS FIRST, 3 NULLS FIRST
        """  # noqa: S608 - our own expressions
    return query, f'$."{tag[1]}"' if tag else None
