"""What shared state costs a gateway: python bench/shared.py [--seconds 2] [--only valkey]

CPU of this process alone (not Valkey's) and wall time an operation, one after the other and 64 at once. `request` is
what is done for one request of a key with limits: let in, let out, a session's record kept. Only to be let in (`admit`)
is waited for; the others go behind the answer. Valkey is the one of the tests' wheel, or TURNOUT_TEST_VALKEY.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import uvloop

from support.valkey import shared_valkey
from turnout.shared_state import Claim, KeyAdmission, SharedState
from turnout.stores.shared.memory import MemoryShared
from turnout.stores.shared.sqlite import SqliteShared
from turnout.stores.shared.valkey import ValkeyShared

AT_ONCE = (1, 64)

Work = Callable[[SharedState, int], Awaitable[object]]


async def lease(shared: SharedState, n: int) -> None:
    await shared.lease([Claim(purse="company@2026-11-01", amount=10**15, spent=n, held=1_000, want=10**9)])


async def limits(shared: SharedState, n: int) -> None:
    admission = KeyAdmission(key=f"k{n % 50}", request_id=f"r{n}", tokens=100, rpm=10**9, tpm=10**9, at_once=1_000)
    await shared.admit(admission)
    await shared.leave(admission, used=90)


async def admit(shared: SharedState, n: int) -> None:
    await shared.admit(KeyAdmission(key=f"k{n % 50}", request_id=f"r{n}", tokens=100, rpm=10**9, tpm=10**9))


async def record(shared: SharedState, n: int) -> None:
    await shared.put({f"s{n % 1000}": bytes(300)}, ttl_s=60)
    await shared.get([f"s{n % 1000}"])


async def request(shared: SharedState, n: int) -> None:
    await limits(shared, n)
    await shared.put({f"s{n % 1000}": bytes(300)}, ttl_s=60)


WORKS: dict[str, Work] = {
    "lease": lease,
    "admit": admit,
    "admit + leave": limits,
    "put + get": record,
    "request": request,
}


async def measured(shared: SharedState, work: Work, at_once: int, seconds: float) -> tuple[float, list[float]]:
    """CPU microseconds of each, and how long each took in milliseconds."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    numbers = iter(range(10**9))

    async def caller() -> None:
        while (began := time.perf_counter()) < until:
            await work(shared, next(numbers))
            took.append(1e3 * (time.perf_counter() - began))
            await asyncio.sleep(0)

    gc.collect()
    cpu = time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return 1e6 * (time.process_time() - cpu) / len(took), sorted(took)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engines: dict[str, SharedState] = {
            "memory": MemoryShared("bench"),
            "sqlite": SqliteShared(f"{folder}/shared.db", "bench", recently=False),
            "valkey": ValkeyShared(shared_valkey(), "bench", recently=False, prefix=secrets.token_hex(4)),
        }
        print(f"{'':8}{'':15}{'at once':>8}{'CPU us':>9}{'p50 ms':>9}{'p99 ms':>9}{'a second':>10}")
        for name, shared in engines.items():
            if told.only not in name:
                continue
            await shared.start()
            await lease(shared, 0)
            await shared.fill("company@2026-11-01", {"": 5})
            for words, work in WORKS.items():
                for at_once in AT_ONCE:
                    cpu, took = await measured(shared, work, at_once, told.seconds)
                    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
                    rate = len(took) / told.seconds
                    print(f"{name:8}{words:15}{at_once:>8}{cpu:>9.1f}{p50:>9.3f}{p99:>9.3f}{rate:>10,.0f}")
            await shared.aclose()


if __name__ == "__main__":
    uvloop.run(main())
