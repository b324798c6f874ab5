"""The ledger in PostgreSQL: microseconds of an append, rows a second that are taken, and how long the console's
questions take of many rows.

    PYTHONPATH=src:tests python bench/postgres.py [--ingest 60000] [--rows 1000000] [--url URL]

Without a URL: an embedded PostgreSQL with its data in a temporary folder, which is removed. The server syncs each
commit to the disk, as PostgreSQL does unless it is told otherwise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from ledger import settled

from support.postgres import own_server
from turnout.errors import Internal
from turnout.spend.budgets import BudgetRule, Match
from turnout.spend.ledger import iso_utc, row_from_context
from turnout.spend.periods import parse_period
from turnout.spend.spent import questions_of
from turnout.stores.postgres import sums
from turnout.stores.postgres.database import Database
from turnout.stores.postgres.ledger import PostgresLedger
from turnout.stores.postgres.schema import IN_BATCH, make_partitions
from turnout.stores.spool import Spool
from turnout.stores.spooled import HEAD, encode

SERVER = (
    "-c shared_buffers=512MB -c max_wal_size=8GB -c checkpoint_timeout=30min -c work_mem=32MB "
    "-c random_page_cost=1.1 -c max_connections=50"
)

DAYS = 30

CHUNK = 100_000

FILLED = (
    *("nr", "request_id", "received_at", "key_id", "team", "session_id", "agent", "step", "dialect", "mode", "tags"),
    *("feature", "requested_model", "deployment", "provider", "tier", "reason", "status", "outcome", "input_tokens"),
    *("cache_read_tokens", "output_tokens", "usage_estimated", "usage_raw", "cost_nano_usd", "price_source"),
    *("attempts", "overhead_us", "ttft_ms", "duration_ms", "warnings", "decision", "part_system", "part_history"),
    *("repeated_tokens", "gateway"),
)

CALLED = ("nr", "received_at", "number", "deployment", "status", "duration_ms", "cost_nano_usd")

DECISION = '{"reason":"default","candidates":[' + '"lab/model","0.5",' * 40 + "0]}"

_LEFT = "INSERT INTO turnout.unsummed (batch, since, until) VALUES (%(batch)s, %(begun)s, %(ended)s)"


@contextmanager
def server(url: str | None) -> Generator[str]:
    if url is not None:
        yield url
        return
    with own_server(SERVER) as own:
        yield own.url()


def ingest(url: str, folder: Path, count: int) -> None:
    """What an append costs, and how many rows a second get in, from the first append to the last commit."""
    rows = [row_from_context(settled(n), "bench") for n in range(2 * count)]
    few = rows[: min(count, 10_000)]
    spool = Spool(folder / "alone", HEAD)
    start = time.thread_time()
    for row in few:
        spool.write(encode(row))
    print(f"encode, and write to the spool   {(time.thread_time() - start) / len(few) * 1e6:10.1f} us of CPU")
    spool.close()

    ledger = PostgresLedger(url, spool=folder / "spool", max_waiting=count)
    before, start, cpu = spent_s(url), time.perf_counter(), time.thread_time()
    for row in rows[:count]:
        ledger.append(row)
    print(f"append, while the writer writes  {(time.thread_time() - cpu) / count * 1e6:10.1f} us of CPU")
    told(url, ledger, count, (start, before), "through append, with the spool")

    ledger = PostgresLedger(url, max_waiting=count, flush_interval_s=3_600)
    for row in rows[count:]:
        ledger.append(row)
    told(url, ledger, count, (time.perf_counter(), spent_s(url)), "the writer alone")


def told(url: str, ledger: PostgresLedger, count: int, begun: tuple[float, tuple[float, float]], name: str) -> None:
    """Of CPU, a row: what this process and what the server's own took, sums being made meanwhile. `begun`: when, and
    what they had taken by then."""
    start, before = begun
    if not ledger.flush(600) or ledger.dropped:
        raise SystemExit(f"not all rows were taken: {ledger.last_error}")
    took = time.perf_counter() - start
    mine, its = ((after - earlier) / count * 1e6 for after, earlier in zip(spent_s(url), before, strict=True))
    print(f"{name:<32} {count / took:10,.0f} rows/s; CPU a row: {mine:.1f} us here, {its:.1f} us in the server")
    ledger.close(60)


def spent_s(url: str) -> tuple[float, float]:
    """Seconds of CPU of this process, and of the server's processes that are there now (Linux's, on this machine)."""
    with psycopg.connect(url) as db:
        found = db.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
    ticks = 0
    for (pid,) in found:
        with suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return time.process_time(), ticks / os.sysconf("SC_CLK_TCK")


def several(url: str, count: int, writers: int) -> None:
    """As many processes at once, each with a writer of its own, as gateways are."""
    with ProcessPoolExecutor(writers, mp_context=multiprocessing.get_context("spawn")) as pool:
        taken = list(pool.map(one_of_several, [url] * writers, range(1, writers + 1), [count] * writers))
    first, last = min(begun for begun, _ in taken), max(ended for _, ended in taken)
    print(f"{writers} processes at once             {writers * count / (last - first):10,.0f} rows/s")


def one_of_several(url: str, number: int, count: int) -> tuple[float, float]:
    """When it began to write and when all was written."""
    ledger = PostgresLedger(url, max_waiting=count, flush_interval_s=3_600)
    for n in range(count):
        ledger.append(row_from_context(settled((number << 32) + n), f"bench-{number}"))
    begun = time.time()
    if not ledger.flush(600) or ledger.dropped:
        raise SystemExit(f"not all rows were taken: {ledger.last_error}")
    ended = time.time()
    ledger.close(60)
    return begun, ended


def row_line(nr: int, n: int, at: str) -> str:
    """A row as COPY takes it. Its id is one of many in no order, as a gateway's are."""
    return (
        f"{nr}\treq_{n * 0x9E3779B97F4A7C15 % 2**64:016x}\t{at}\tkey-{n % 20}\tteam-{n % 5}\t"
        f"session-{n // 200 * 10 + n % 10}\tmain\t{n % 20}\topenai-chat\tmode-{n % 4}\t"
        f'{{"feature":"feature-{n % 10}"}}\tfeature-{n % 10}\tauto\tlab/model-{n % 8}\tlab\t'
        f"{('small', 'mid', 'frontier')[n % 3]}\tdefault\t200\tok\t{1000 + n % 9000}\t{n % 900}\t{n % 500}\t0\t"
        f'{{"prompt_tokens":12345,"completion_tokens":512}}\t{1_000_000 + n % CHUNK}\tconfig\t1\t900\t420\t2100\t[]\t'
        f"{DECISION}\t400\t600\t500\tgateway-{n % 4}\n"
    )


def attempt_line(nr: int, n: int, at: str) -> str:
    return f"{nr}\t{at}\t0\tlab/model-{n % 8}\t200\t2100\t{1_000_000 + n % CHUNK}\n"


def fill(url: str, count: int) -> None:
    """Rows of the last `DAYS` days, and their sums as the ledger makes them."""
    since = datetime.now(UTC) - timedelta(days=DAYS)
    database = Database(url, statement_timeout_s=3_600)
    start = time.perf_counter()
    with database.connect() as db:
        months = {(since + timedelta(days=day)).strftime("%Y-%m") for day in range(DAYS + 2)}
        make_partitions(db, months)
        apart = DAYS * 86_400 * 1_000_000 // count
        for batch, begun in enumerate(range(0, count, CHUNK), 1_000_000):
            few = min(CHUNK, count - begun)
            first = since + timedelta(microseconds=begun * apart)
            at = [iso_utc(first + timedelta(microseconds=n * apart)) for n in range(few)]
            with db.transaction(), db.cursor() as cursor:
                for table, columns, line in (("requests", FILLED, row_line), ("attempts", CALLED, attempt_line)):
                    with cursor.copy(f"COPY turnout.{table} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
                        for some in range(0, few, 1_000):
                            numbers = range(some, min(few, some + 1_000))
                            copy.write("".join([line(batch * IN_BATCH + n, begun + n, at[n]) for n in numbers]))
                cursor.execute(_LEFT.encode(), {"batch": batch, "begun": at[0], "ended": at[-1]})
        print(f"filled with {count:,} rows in {time.perf_counter() - start:.0f} s")
        start = time.perf_counter()
        sums.MOST_BATCHES = 2
        while sums.roll(db):
            pass
        print(f"summed in {time.perf_counter() - start:.0f} s")
        db.execute(b"VACUUM ANALYZE")
    database.close()


def questions(url: str) -> None:
    """What the console, the command and budgets ask; the worst of three, in milliseconds."""
    ledger = PostgresLedger(url)
    until = datetime.now(UTC)
    day, month = until - timedelta(days=1), until - timedelta(days=DAYS)
    request = ledger.recent(1)[0].request_id
    rules = [
        BudgetRule(name=f"{kind}{n}", amount_nano_usd=1, period=parse_period(kind), match=match)
        for kind in ("day", "week", "month")
        for n, match in enumerate((Match(), Match(key="key-1"), Match(tag="feature=feature-1"), Match(team="team-1")))
    ]
    rolling = [BudgetRule(name="24h", amount_nano_usd=1, period=parse_period("24h"))]

    def ask(some: list[BudgetRule]) -> int:
        asked = [question for question, _ in questions_of(some, until)]
        return sum(len(spent) for spent in ledger.ask_spending(asked).told.result(120).spent)

    asked: dict[str, Callable[[], object]] = {
        "get a request": lambda: ledger.get(request),
        "recent 100": lambda: ledger.recent(100),
        "recent 100 of a session": lambda: ledger.recent(100, session="session-7"),
        "sums of a month by all": lambda: ledger.sums(month, until, "all", sessions=False),
        "sums of a month by model": lambda: ledger.sums(month, until, "model", sessions=False),
        "sums of a month by feature": lambda: ledger.sums(month, until, "feature", sessions=False),
        "sums of a month by day": lambda: ledger.sums(month, until, "day", sessions=False),
        "sums of three days by hour": lambda: ledger.sums(until - timedelta(days=3), until, "hour", sessions=False),
        "sums of a day by all, sessions": lambda: ledger.sums(day, until, "all"),
        "steps of a month": lambda: ledger.steps(month, until),
        "past sessions of a week, 100": lambda: ledger.past_sessions(until - timedelta(days=7), until, 100),
        "tokens of a day by step, from rows": lambda: ledger.usage(day, until, "step"),
        "tokens of a day by session, rows": lambda: ledger.usage(day, until, "session"),
        "tokens of a month by step, rows": lambda: ledger.usage(month, until, "step"),
        "charges of a day, from rows": lambda: ledger.charges(day, until),
        "budgets of day, week and month": lambda: ask(rules),
        "a rolling budget of 24 h": lambda: ask(rolling),
    }
    for name, work in asked.items():
        took: list[float] = []
        with suppress(Internal):  # what takes the server more than 30 seconds
            for _ in range(3):
                start = time.perf_counter()
                work()
                took.append((time.perf_counter() - start) * 1e3)
        told = f"{max(took):8,.0f} ms, at best {min(took):,.0f}" if len(took) == 3 else "   more than 30 s"
        print(f"{name:<36} {told}", flush=True)
    ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ingest", type=int, default=60_000, help="rows that are appended")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows that are asked of")
    parser.add_argument("--url", help="an empty database to use instead of an embedded one")
    args = parser.parse_args()
    with server(args.url) as url, tempfile.TemporaryDirectory() as folder:
        if args.ingest:
            ingest(url, Path(folder), args.ingest)
            several(url, args.ingest, 2)
        if args.rows:
            PostgresLedger(url).close()
            fill(url, args.rows)
            with psycopg.connect(url) as db:
                ((size,),) = db.execute("SELECT pg_database_size(current_database())").fetchall()
            print(f"{size / 2**30:.1f} GiB")
            questions(url)


if __name__ == "__main__":
    main()
