"""The ledger's questions are written once, in SQLite's SQL; this is what its words are in PostgreSQL. Pure."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["translated"]

_WORDS: tuple[tuple[str, str], ...] = (
    (r"\bifnull\(", "coalesce("),
    # A column of its own: to read JSON of a million rows takes seconds.
    (r"json_extract\(tags, '\$\.feature'\)", "feature"),
    (r"json_extract\(tags, \?3\)", "(tags::json ->> ?3)"),
    (r"json_each\(tags\)", "json_each_text(tags::json)"),
    (r"\binstr\(model, '/'\) - 1", "greatest(strpos(model, '/') - 1, 0)"),
    (r"\bAS INTEGER\)", "AS bigint)"),
    # Of arrays NULL is equal to NULL, and they can be hashed: IS NOT DISTINCT FROM compares each row with each group.
    (r"(\w\.grouped) IS c\.grouped", r"ARRAY[\1] = ARRAY[c.grouped]"),
    # A sum of bigints is numeric there.
    (r"\bsum\((\w+)\)", r"sum(\1)::bigint"),
    (r"= max\(", "= greatest("),
    (r"= min\(", "= least("),
    (r"\bmax\(step, 0\)", "greatest(step, 0)"),
    # Both are in partitions by time: each is told which.
    (r"a\.request_id = r\.request_id", "a.nr = r.nr AND a.received_at = r.received_at"),
    (r"r\.received_at (>=|<) \?(\d+)", r"r.received_at \1 ?\2 AND a.received_at \1 ?\2"),
    (r"\?(\d+)", r"%(v\1)s"),
)


@cache
def translated(sql: str) -> bytes:
    """A statement of `stores.sums`, `usage`, `totals` or `charges` as psycopg takes it, its values named v1, v2, ..."""
    for word, meaning in _WORDS:
        sql = re.sub(word, meaning, sql)
    return sql.encode()
