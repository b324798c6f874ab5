"""10,000 requests that nobody sends in good faith: python bench/hostile_requests.py [--requests 10000]

Against `turnout serve` in a process of its own: made from our OpenAPI document by schemathesis, by meaner strategies,
and as raw bytes. Prints statuses, faults of ours and memory; ends with 1 when there is a 500 or a traceback, or when
memory grew by more than 64 MB (a single body may have as many).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.calls import CHAT
from support.gateway import lab
from support.hostile_requests import BODY, CLASSES, http, ours_to_mend, send, status_of
from support.upstream import ScriptedUpstream, answer

AT_ONCE = 16
MOST_MB = 64


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def written(folder: Path, url: str) -> Path:
    file = folder / "turnout.toml"
    file.write_text(f'store.ledger = "sqlite:///{folder}/t.db"\n' + lab(url))
    return file


async def main(count: int) -> int:
    made = {kind: list(make(round(count * share))) for kind, (share, make) in CLASSES.items()}
    with tempfile.TemporaryDirectory() as folder:
        async with ScriptedUpstream(answer(CHAT)) as up:
            config = written(Path(folder), up.url)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0"),
                stderr=asyncio.subprocess.PIPE,
                limit=1 << 24,
            )
            if process.stderr is None:
                return 1
            port = int((await process.stderr.readline()).decode().rpartition(":")[2])
            log = asyncio.create_task(process.stderr.read())
            for _ in range(200):
                await send(port, http("POST", "/v1/chat/completions", BODY))
            before = peak = resident_mb(process.pid)
            gate = asyncio.Semaphore(AT_ONCE)

            async def one(request: bytes) -> bytes:
                nonlocal peak
                async with gate:
                    got = await send(port, request, 1.0)
                    peak = max(peak, resident_mb(process.pid))
                    return got

            faults: list[bytes] = []
            sent = 0
            for kind, requests in made.items():
                answers = await asyncio.gather(*(one(r) for r in requests))
                sent += len(answers)
                faults += [r for r, a in zip(requests, answers, strict=True) if ours_to_mend(a)]
                statuses = sorted(Counter(map(status_of, answers)).items())
                print(f"{kind}: {len(answers)} sent; statuses (0: closed without one) {dict(statuses)}")
            well = status_of(await send(port, http("POST", "/v1/chat/completions", BODY)))
            after = resident_mb(process.pid)
            process.terminate()
            told = (await log).decode("utf-8", "replace")
            await process.wait()
    tracebacks = told.count("Traceback")
    print(f"all: {sent} sent; answers that show a fault of ours: {len(faults)}; tracebacks in the log: {tracebacks}")
    print(f"memory: {before:.0f} MB before, {peak:.0f} at most, {after:.0f} after; a good request then: {well}")
    for request in faults[:3]:
        print("fault:", request[:300])
    print(told[:3_000] if faults or tracebacks else "", end="")
    return 1 if faults or tracebacks or well != 200 or after - before > MOST_MB else 0


if __name__ == "__main__":
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--requests", type=int, default=10_000)
    sys.exit(asyncio.run(main(told.parse_args().requests)))
