"""The question what each day's calls cost, as SQL over the ledger's rows."""

from __future__ import annotations

__all__ = ["CHARGES_QUERY"]

CHARGES_QUERY = """
    -- By the calls, not the requests: what a lost call cost belongs to whom it was paid.
    SELECT substr(r.received_at, 1, 10) AS day, a.deployment, r.key_id, r.team, r.mode, r.tags, count(*),
        ifnull(sum(a.input_tokens), 0), ifnull(sum(a.cache_read_tokens), 0), ifnull(sum(a.cache_write_tokens), 0),
        ifnull(sum(a.output_tokens), 0), sum(a.cost_nano_usd)
    FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id
    WHERE r.received_at >= ?1 AND r.received_at < ?2 AND a.cost_nano_usd IS NOT NULL AND a.deployment IS NOT NULL
    GROUP BY day, a.deployment, r.key_id, r.team, r.mode, r.tags
    UNION ALL
    SELECT substr(received_at, 1, 10) AS day, deployment, key_id, team, mode, tags, count(*),
        ifnull(sum(input_tokens), 0), ifnull(sum(cache_read_tokens), 0), ifnull(sum(cache_write_tokens), 0),
        ifnull(sum(output_tokens), 0), NULL
    FROM requests
    WHERE received_at >= ?1 AND received_at < ?2 AND cost_nano_usd IS NULL AND deployment IS NOT NULL
        AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL)
    GROUP BY day, deployment, key_id, team, mode, tags
    ORDER BY 1, 12 DESC NULLS LAST, 2, 3 NULLS FIRST, 4 NULLS FIRST, 5 NULLS FIRST, 6
    """
"""Rows of `spend.focus.Charged` from ?1 to before ?2."""
