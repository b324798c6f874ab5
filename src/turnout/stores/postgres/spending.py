"""The question what was spent, as SQL over PostgreSQL's sums and over rows that are in no sum yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from turnout.context import Spender
from turnout.spend.ledger import Spent

__all__ = ["SPENDING", "spent_of"]

SPENDING = """
    SELECT substr(r.received_at, 1, 16) AS minute, r.key_id, r.team, r.tags, r.mode,
        ifnull(r.session_id, '') AS session, a.deployment, sum(a.cost_nano_usd), r.gateway
    FROM requests AS r JOIN attempts AS a ON a.request_id = r.request_id
    WHERE r.received_at >= ?1 AND a.cost_nano_usd > 0
    GROUP BY minute, r.key_id, r.team, r.tags, r.mode, session, a.deployment, r.gateway ORDER BY minute
    """
"""By minute and session, from the rows themselves."""


def spent_of(record: Sequence[Any]) -> Spent:
    """What a row of `SPENDING` says."""
    minute, key, team, tags, mode, session, deployment, cost, gateway = record
    return Spent(
        at=datetime.fromisoformat(minute).replace(tzinfo=UTC),
        spender=Spender(key=key, team=team, tags=msgspec.json.decode(tags), mode=mode, session=session),
        deployment=deployment,
        provider=deployment.partition("/")[0],
        cost_nano_usd=cost,
        gateway=gateway,
    )
