"""The questions what requests came to, as SQL over the ledger's rows."""

from __future__ import annotations

from turnout.spend.ledger import GroupBy

__all__ = ["GROUPS", "TOTALS"]

GROUPS: dict[GroupBy, str] = {
    GroupBy.ALL: "'all'",
    GroupBy.KEY: "key_id",
    GroupBy.SESSION: "session_id",
    GroupBy.AGENT: "agent",
    GroupBy.MODE: "mode",
    GroupBy.MODEL: "requested_model",
    GroupBy.DEPLOYMENT: "deployment",
    GroupBy.PROVIDER: "provider",
    GroupBy.TIER: "tier",
    GroupBy.REASON: "reason",
    GroupBy.OUTCOME: "outcome",
    GroupBy.DAY: "substr(received_at, 1, 10)",
    GroupBy.HOUR: "substr(received_at, 1, 13)",
}

TOTALS: dict[GroupBy, str] = {
    group: f"""
        SELECT {column}, count(*), sum(CASE WHEN outcome IN ('ok', 'cancelled') THEN 0 ELSE 1 END),
            ifnull(sum(input_tokens), 0), ifnull(sum(cache_read_tokens), 0), ifnull(sum(cache_write_tokens), 0),
            ifnull(sum(output_tokens), 0), ifnull(sum(reasoning_tokens), 0), ifnull(sum(cost_nano_usd), 0),
            sum(CASE WHEN cost_nano_usd IS NULL AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL)
                THEN 1 ELSE 0 END)
        FROM requests WHERE received_at >= ?1 AND received_at < ?2
            AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) AS t WHERE t.key = ?3 AND t.value = ?4))
        GROUP BY 1 ORDER BY 9 DESC, 2 DESC, 1 NULLS FIRST
        """  # noqa: S608 - the column is one of the table above
    for group, column in GROUPS.items()
}
"""By group: rows of `spend.ledger.Totals` from ?1 to before ?2, of those tagged ?3 = ?4 where ?3 is given."""
