"""The ledger's tables in PostgreSQL: requests and attempts in partitions by month, prices, entries, sums.

Texts are of the collation C: they sort as in SQLite, as bytes, and times of the ledger's own writing as time does. A
request is one row by `request_id` and `received_at`, which every copy of it has alike. `nr` numbers rows, and an
attempt has that of its request: all of one transaction lie between its batch's number times `IN_BATCH` and the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import psycopg

from turnout.stores.postgres.database import Row, lock_named

__all__ = ["IN_BATCH", "LEDGER_MIGRATIONS", "make_partitions", "month_of"]

IN_BATCH = 1 << 20
"""More than one transaction ever writes."""

_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])(?=-)")

_LOCK = f"SELECT pg_advisory_xact_lock({lock_named('partitions')})".encode()
"""Partitions are made by one gateway at a time."""

_TEXT = 'text COLLATE "C"'

_MEASURES = (
    *("requests", "errors", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
    *("reasoning_tokens", "cost_nano_usd", "unpriced", "repeated_tokens", "system", "tools", "history", "tool_results"),
    *("attachments", "reasoning", "brief_requests", "brief_cost_nano_usd", "compared", "compared_nano_usd"),
    *("baseline_uncached_nano_usd", "baseline_cached_nano_usd", "overhead_us", "ttft_ms", "ttft_count", "attempts"),
)


def _sums(name: str, keys: str, measures: Iterable[str]) -> str:
    texts = ", ".join(f"{key} {_TEXT} NOT NULL" for key in keys.split(", "))
    numbers = ", ".join(f"{measure} bigint NOT NULL" for measure in measures)
    return f"CREATE TABLE {name} ({texts}, {numbers}, PRIMARY KEY ({keys}))"


LEDGER_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"""
        CREATE TABLE requests (
            nr bigint NOT NULL,
            step bigint NOT NULL,
            status bigint,
            input_tokens bigint,
            cache_read_tokens bigint,
            cache_write_tokens bigint,
            output_tokens bigint,
            reasoning_tokens bigint,
            usage_estimated bigint NOT NULL,
            cost_nano_usd bigint,
            attempts bigint NOT NULL,
            overhead_us bigint,
            ttft_ms bigint,
            duration_ms bigint,
            part_system bigint,
            part_tools bigint,
            part_history bigint,
            part_tool_results bigint,
            part_attachments bigint,
            part_reasoning bigint,
            repeated_tokens bigint,
            cache_write_1h_tokens bigint,
            baseline_uncached_nano_usd bigint,
            baseline_cached_nano_usd bigint,
            request_id {_TEXT} NOT NULL,
            received_at {_TEXT} NOT NULL,
            key_id {_TEXT},
            team {_TEXT},
            session_id {_TEXT},
            agent {_TEXT},
            dialect {_TEXT} NOT NULL,
            mode {_TEXT},
            tags {_TEXT} NOT NULL,
            feature {_TEXT},
            requested_model {_TEXT} NOT NULL,
            deployment {_TEXT},
            provider {_TEXT},
            tier {_TEXT},
            reason {_TEXT},
            outcome {_TEXT} NOT NULL,
            error_code {_TEXT},
            usage_raw {_TEXT},
            price_source {_TEXT},
            warnings {_TEXT} NOT NULL,
            decision {_TEXT},
            service_tier {_TEXT},
            price {_TEXT},
            gateway {_TEXT},
            PRIMARY KEY (request_id, received_at)
        ) PARTITION BY RANGE (received_at)
        """,
        "CREATE INDEX requests_received_at ON requests (received_at)",
        "CREATE INDEX requests_session ON requests (session_id, received_at)",
        # What is no time of ours; months have partitions of their own.
        "CREATE TABLE requests_other PARTITION OF requests DEFAULT",
        f"""
        CREATE TABLE attempts (
            nr bigint NOT NULL,
            number bigint NOT NULL,
            status bigint,
            waited_ms bigint,
            duration_ms bigint,
            ttft_ms bigint,
            input_tokens bigint,
            cache_read_tokens bigint,
            cache_write_tokens bigint,
            output_tokens bigint,
            cost_nano_usd bigint,
            reprefill_nano_usd bigint,
            received_at {_TEXT} NOT NULL,
            deployment {_TEXT} NOT NULL,
            target {_TEXT},
            error_code {_TEXT},
            reason {_TEXT}
        ) PARTITION BY RANGE (received_at)
        """,
        "CREATE INDEX attempts_nr ON attempts (nr)",
        "CREATE TABLE attempts_other PARTITION OF attempts DEFAULT",
        f"""
        CREATE TABLE budget_entries (
            id {_TEXT} NOT NULL,
            budget {_TEXT} NOT NULL,
            at {_TEXT} NOT NULL,
            kind {_TEXT} NOT NULL,
            amount_nano_usd bigint NOT NULL,
            PRIMARY KEY (id, budget)
        )
        """,
        "CREATE INDEX budget_entries_at ON budget_entries (at)",
        f"CREATE TABLE prices (digest {_TEXT} PRIMARY KEY, price {_TEXT} NOT NULL)",
        # Each transaction that writes requests leaves its number, and the spans of time that they lie in; who has
        # summed them takes it away.
        "CREATE SEQUENCE batches",
        f"""
        CREATE TABLE unsummed (
            batch bigint NOT NULL, since {_TEXT} NOT NULL, until {_TEXT} NOT NULL, PRIMARY KEY (batch, since)
        )
        """,
        _sums("hour_sums", "hour, model, tier", _MEASURES),
        _sums("day_sums", "kind, day, value, model, tier", _MEASURES),
        f"""
        CREATE TABLE step_sums (
            day {_TEXT} NOT NULL, feature {_TEXT} NOT NULL, step bigint NOT NULL,
            requests bigint NOT NULL, input_tokens bigint NOT NULL, system bigint NOT NULL, tools bigint NOT NULL,
            history bigint NOT NULL, tool_results bigint NOT NULL, attachments bigint NOT NULL,
            reasoning bigint NOT NULL,
            PRIMARY KEY (day, feature, step)
        )
        """,
        f"""
        CREATE TABLE session_sums (
            key_id {_TEXT} NOT NULL, session_id {_TEXT} NOT NULL, agent {_TEXT} NOT NULL,
            first_at {_TEXT} NOT NULL, last_at {_TEXT} NOT NULL,
            first_input {_TEXT}, last_input {_TEXT}, last_model {_TEXT}, last_mode {_TEXT}, last_feature {_TEXT},
            deepest bigint NOT NULL, requests bigint NOT NULL, errors bigint NOT NULL, input_tokens bigint NOT NULL,
            cache_read_tokens bigint NOT NULL, output_tokens bigint NOT NULL, cost_nano_usd bigint NOT NULL,
            PRIMARY KEY (key_id, session_id, agent)
        )
        """,
        "CREATE INDEX session_sums_last ON session_sums (last_at)",
        *(
            f"""
            CREATE TABLE {table} (
                {span} {_TEXT} NOT NULL, who bytea NOT NULL, key_id {_TEXT} NOT NULL, team {_TEXT} NOT NULL,
                mode {_TEXT} NOT NULL, tags {_TEXT} NOT NULL, deployment {_TEXT} NOT NULL, gateway {_TEXT} NOT NULL,
                cost_nano_usd bigint NOT NULL,
                PRIMARY KEY ({span}, who)
            )
            """
            for table, span in (("spend_sums", "minute"), ("spend_hours", "hour"))
        ),
    ),
    # How many rows a batch has; of those that are there already, the most.
    ("ALTER TABLE unsummed ADD COLUMN size bigint NOT NULL DEFAULT 20000",),
)
"""Only ever add to the end."""


def month_of(received_at: str) -> str | None:
    """The month whose partition a time belongs to, as `2026-11`; None for what is no time of ours."""
    found = _MONTH.match(received_at)
    return found[0] if found else None


def make_partitions(db: psycopg.Connection[Row], months: Iterable[str]) -> None:
    """Partitions for these months, where they are missing; in one transaction. Raises psycopg.Error."""
    with db.transaction():
        db.execute(_LOCK)
        for month in sorted(months):
            for table in ("requests", "attempts"):
                name = f"{table}_{month.replace('-', '_')}"
                made = db.execute(b"SELECT to_regclass(%s)", (name,)).fetchone()
                if made and made[0]:
                    continue
                # Attached, not made as one: that would wait for everyone who reads the table. The bounds hold what
                # begins with the month and nothing else: in ASCII `.` follows `-`.
                db.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)".encode())
                db.execute(
                    f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{month}-') TO ('{month}.')".encode()
                )
