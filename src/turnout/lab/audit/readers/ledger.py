"""Turnout's own ledger: one request a row of the SQLite file that `stores.sqlite` writes.

It is opened for reading alone and brought to no newer version. A request's failed attempts are part of its row's cost;
reservations of a process that died were never calls, and what the response cache answered asked nobody.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from turnout.chat import Json, Usage
from turnout.context import CACHE_HIT
from turnout.lab.audit.readers.base import Head, Reader, Source, seconds_of
from turnout.lab.audit.readers.databases import DAMAGES, open_readonly, tables_of
from turnout.lab.audit.readers.loose import count_of, object_in, text_in, unwrapped
from turnout.lab.audit.records import Event, ReadTally, Step

__all__ = ["LEDGER"]

_NEEDED = frozenset({"request_id", "received_at", "outcome", "requested_model"})
_READ = (
    *("request_id", "received_at", "session_id", "agent", "tags", "requested_model", "deployment", "provider"),
    *("reason", "outcome", "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("output_tokens", "reasoning_tokens", "service_tier", "cost_nano_usd", "decision", "mode"),
)

MOST_SESSIONS = 20_000


def _claims(head: Head) -> bool:
    made = head.tables.get("requests", "")
    return "requested_model" in made and "cost_nano_usd" in made


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        path.stat()
        try:
            with closing(open_readonly(path)) as db:
                yield from _steps(db, path, told)
        except DAMAGES as error:
            told.broken(path.name, error)


def _steps(db: sqlite3.Connection, path: Path, told: ReadTally) -> Iterator[Step]:
    there: set[str] = set()
    if "requests" in tables_of(path):
        there = {row[1] for row in db.execute("PRAGMA table_info(requests)")}
    if not there >= _NEEDED:
        told.broken(path.name, "it has no table of requests as Turnout makes it")
        return
    columns = [name for name in _READ if name in there]
    query = f"SELECT {', '.join(columns)} FROM requests ORDER BY received_at, request_id"  # noqa: S608 - our own names
    first: OrderedDict[str, str] = OrderedDict()
    for number, values in enumerate(db.execute(query), start=1):
        told.lines += 1
        row: dict[str, Json] = dict(zip(columns, values, strict=True))
        if any(isinstance(value, bytes) for value in values):
            told.broken(f"{path.name} row {number}", "bytes where a text or a number belongs")
            continue
        step = _step(row, told)
        if step is not None:
            yield _with_agent(step, text_in(row, "agent"), first)


def _step(row: dict[str, Json], told: ReadTally) -> Step | None:
    outcome = text_in(row, "outcome")
    if outcome == "lost":
        told.strange("reservation of a process that died")
        return None
    if row.get("reason") == CACHE_HIT:
        told.strange("answered from Turnout's cache")
        return None
    provider, deployment = text_in(row, "provider"), text_in(row, "deployment")
    usage = Usage(
        input=count_of(row.get("input_tokens")),
        cache_read=count_of(row.get("cache_read_tokens")),
        cache_write=count_of(row.get("cache_write_tokens")),
        cache_write_1h=count_of(row.get("cache_write_1h_tokens")),
        output=count_of(row.get("output_tokens")),
        reasoning=count_of(row.get("reasoning_tokens")),
        service_tier=text_in(row, "service_tier") or None,
    )
    counted = usage.input is not None or usage.output is not None
    cost = row.get("cost_nano_usd")
    tags, decision = object_in(unwrapped(row.get("tags"))), object_in(unwrapped(row.get("decision")))
    return Step(
        session=text_in(row, "session_id") or text_in(row, "request_id") or "no session",
        project=text_in(tags, "feature", "project"),
        id=text_in(row, "request_id"),
        model=deployment.removeprefix(f"{provider}/") if deployment else text_in(row, "requested_model"),
        provider=provider,
        at=seconds_of(row.get("received_at")),
        usage=usage if counted else None,
        cost_nano_usd=cost if isinstance(cost, int) and 0 <= cost < 10**15 else None,
        effort=text_in(decision, "effort") or None,
        failed=outcome == "error" or (outcome == "cancelled" and not usage.output),
    )


def _with_agent(step: Step, agent: str, first: OrderedDict[str, str]) -> Step:
    """The agent that a session begins with is its main one."""
    main = first.setdefault(step.session, agent)
    first.move_to_end(step.session)
    if len(first) > MOST_SESSIONS:
        first.popitem(last=False)
    return step if agent == main else replace(step, agent=agent)


LEDGER = Reader(name="ledger", title="Turnout's ledger", claims=_claims, read=_read)
