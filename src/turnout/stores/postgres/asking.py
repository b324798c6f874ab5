"""Questions to the database that a request can go on without: in threads of their own, and none for a while after one
that failed, so that an engine that is away costs each request nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
import psycopg

from turnout.stores.postgres.database import Database, Row, cause_of, is_passing

__all__ = ["Asking"]

log = logging.getLogger("turnout")

THREADS = 4

ANSWER_S = 2.0
"""A request waits no longer than this for what it can do without."""

PAUSE_S = 2.0

T = TypeVar("T")

Connection = psycopg.Connection[Row]


class Asking:
    """Asks `database` in up to `THREADS` threads. Failures are logged once until one succeeds. `what` names whose
    they are, for the log. May be used by any thread; to be closed by its owner."""

    def __init__(self, database: Database, what: str) -> None:
        self._database = database
        self._what = what
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"turnout-{what}")
        self._away_until_s = 0.0
        self._told = False

    async def ask(self, work: Callable[[Connection], T], otherwise: T) -> T:
        """What `work` makes of a connection; `otherwise` where the database fails or takes longer than `ANSWER_S`."""
        if time.monotonic() < self._away_until_s:
            return otherwise
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, work, otherwise)
        except TimeoutError:  # what of it has begun goes on in its thread, which tells how it ends
            self._away_until_s = time.monotonic() + PAUSE_S
            return otherwise

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _ask(self, work: Callable[[Connection], T], otherwise: T) -> T:
        if time.monotonic() < self._away_until_s:
            return otherwise
        try:
            with self._database.connection() as db, self._database.within(db, ANSWER_S):
                found = work(db)
        except (psycopg.Error, msgspec.MsgspecError) as error:
            self._failed(error)
            return otherwise
        if self._told:
            self._told = False
            log.warning("%s are kept again in %s", self._what, self._database.place)
        return found

    def _failed(self, error: Exception) -> None:
        if isinstance(error, psycopg.Error) and is_passing(error):
            self._away_until_s = time.monotonic() + PAUSE_S
        if self._told:
            return
        self._told = True
        why = str(error)
        if isinstance(error, psycopg.Error):
            why = self._database.why_not(error) if error.sqlstate is None else cause_of(error)
        log.warning("%s are neither kept nor found in %s: %s", self._what, self._database.place, why)
