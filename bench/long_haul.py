"""Whether a gateway stays as it was: python bench/long_haul.py [--requests 200000] [--stream-minutes 30]

Steps of agents' conversations, and streams beside them, through a running gateway with everything switched on; the
same conversations over and over, so that tables which are bounded are at last as large as they get. Told after each
tenth, once nobody asks anything: latencies, the gateway's memory, what it says is in flight, its connections with
callers and with the provider. Memory counts from after the fourth tenth: a conversation that begins anew is a thread of
its own, and the 20,000 that are kept are some 65,000 requests. Ends with 1 where it grew by more than 5 MB (not judged
after fewer requests), something is in flight or connected, or an answer failed; latency is told and not judged: the
machine's other work is in it. Without options two minutes, as many requests as fit. Loopback only, ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from msgspec import Struct

sys.path.insert(0, str(Path(__file__).parent))

from gateways.bodies import conversation
from gateways.everything import ADMIN, KEY, everything
from gateways.measuring import build

TENTHS, WARM = 10, 4
FULL = 65_000
"""Requests of the warm-up, before which tables still grow."""

TALKS = 400
"""Conversations that are held over and over."""

CALLERS, STREAMS = 16, 16
STREAM_PACE = "100x20000"
GROWTH_MB = 5.0
SETTLE_S = 3.0
SIZE = 3_000
"""Of a small conversation, which has three requests: one of 4 KB has 21, and the tables would not be full in time."""
ESTABLISHED = "01"
"""As /proc/net/tcp has it. Connections with the provider are kept for the next request and are no leak."""


class Limits(Struct, frozen=True, kw_only=True):
    """A tenth ends after its share of either; the streams go on for as long as all tenths."""

    requests: int
    seconds: float


class Seen(Struct, frozen=True, kw_only=True):
    """The gateway's process between two tenths, when nobody asks anything."""

    memory_mb: float
    in_flight: int
    callers: int
    upstream: int


class Tenth(Struct, frozen=True, kw_only=True):
    """What happened in one tenth; milliseconds."""

    answered: int
    streams: int
    p50_ms: float
    p99_ms: float
    first_ms: float
    failed: int
    seen: Seen


class Caller:
    """One kept connection to the gateway."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, body: bytes) -> tuple[bool, float]:
        """Whether a request was answered whole, and seconds until its answer began."""
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %s\r\n" % KEY.encode()
        began = time.perf_counter()
        self._writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        first = time.perf_counter() - began
        length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if length:
            await self._reader.readexactly(int(length))
            return answer.startswith(b"HTTP/1.1 200"), first
        tail = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            tail = (tail + await self._reader.readexactly(size + 2))[-40:]
        await self._reader.readexactly(2)
        return b"data: [DONE]" in tail, first

    def close(self) -> None:
        self._writer.close()


class Haul:
    """The load, and what is measured of it."""

    def __init__(self, port: int, pid: int, limits: Limits) -> None:
        self._port, self._pid, self._limits = port, pid, limits
        self._plain = conversation("auto", SIZE)
        self._stream = conversation("auto", 1_000, stream=True, paced=STREAM_PACE)
        self._numbers = cycle(range(TALKS))

    async def tenth(self) -> Tenth:
        """Requests and streams side by side, then a rest in which what is put off is done."""
        whole, first, failed = list[float](), list[float](), 0
        until, left = time.monotonic() + self._limits.seconds, self._limits.requests
        over = asyncio.Event()

        async def talk() -> None:
            nonlocal left, failed
            caller = await Caller.open(self._port)
            while left > 0 and time.monotonic() < until:
                number = next(self._numbers)
                for step in range(len(self._plain.steps)):
                    left -= 1
                    began = time.perf_counter()
                    fine, _ = await caller.ask(self._plain.body(number, step))
                    whole.append(time.perf_counter() - began)
                    failed += not fine
            caller.close()

        async def listen() -> None:
            nonlocal failed
            caller = await Caller.open(self._port)
            while not over.is_set():
                fine, began = await caller.ask(self._stream.body(next(self._numbers), 0))
                first.append(began)
                failed += not fine
            caller.close()

        async def talks() -> None:
            await asyncio.gather(*(talk() for _ in range(CALLERS)))
            await asyncio.sleep(max(0.0, until - time.monotonic()))  # the streams have their own time
            over.set()

        await asyncio.gather(talks(), *(listen() for _ in range(STREAMS)))
        gc.collect()
        await asyncio.sleep(SETTLE_S)
        whole.sort()
        first.sort()
        return Tenth(
            answered=len(whole),
            streams=len(first),
            p50_ms=at(whole, 0.5),
            p99_ms=at(whole, 0.99),
            first_ms=at(first, 0.5),
            failed=failed,
            seen=seen(self._pid, self._port, await in_flight(self._port)),
        )


def at(ordered: Sequence[float], share: float) -> float:
    """Milliseconds of a share of sorted seconds."""
    return 1e3 * ordered[int((len(ordered) - 1) * share)] if ordered else 0.0


def seen(pid: int, port: int, in_flight: int) -> Seen:
    """What the kernel knows of the process, beside what the gateway tells of itself."""
    status = Path(f"/proc/{pid}/status").read_text()
    links = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [row[1] for row in rows if row[3] == ESTABLISHED and f"socket:[{row[9]}]" in links]
    callers = sum(local.endswith(f":{port:04X}") for local in mine)
    return Seen(
        memory_mb=int(status.partition("VmRSS:")[2].split()[0]) / 1024,
        in_flight=in_flight,
        callers=callers,
        upstream=len(mine) - callers,
    )


async def in_flight(port: int) -> int:
    """Requests that the gateway says it is serving. Raises RuntimeError where it does not say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\nauthorization: Bearer {ADMIN}\r\n\r\n"
    writer.write(head.encode())
    page = (await reader.read()).decode()
    writer.close()
    found = re.search(r"^turnout_requests_in_flight (\S+)$", page, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/metrics has no turnout_requests_in_flight: {page[:300]}")
    return int(float(found[1]))


async def start(folder: Path) -> tuple[asyncio.subprocess.Process, asyncio.subprocess.Process, int]:
    """The provider, the gateway before it, and the gateway's port. Raises RuntimeError."""
    provider = await asyncio.create_subprocess_exec(str(folder / "provider"), "0", stdout=asyncio.subprocess.PIPE)
    assert provider.stdout is not None
    upstream = int(await provider.stdout.readline())
    config = folder / "turnout.toml"
    config.write_text(everything(f"http://127.0.0.1:{upstream}/v1", folder))
    command = (sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0")
    gateway = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert gateway.stderr is not None
    said = (await gateway.stderr.readline()).decode()
    if "listening on" not in said:
        provider.terminate()
        raise RuntimeError(f"the gateway did not start: {said}")
    return provider, gateway, int(said.strip().rpartition(":")[2])


async def haul(limits: Limits) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if why := build(folder, Path(__file__).parent / "gateways"):
            print(why)
            return 2
        provider, gateway, port = await start(folder)
        try:
            return await told(Haul(port, gateway.pid, limits))
        finally:
            for process in (gateway, provider):
                process.terminate()
                await process.wait()


async def told(load: Haul) -> int:
    """A line for each tenth, and the verdict."""
    print(f"{'':8}{'requests':>9}{'streams':>9}{'p50 ms':>9}{'p99 ms':>9}{'first ms':>10}{'failed':>8}", end="")
    print(f"{'MB':>8}{'in flight':>11}{'callers':>9}{'upstream':>10}")
    tenths: list[Tenth] = []
    for number in range(TENTHS):
        tenth = await load.tenth()
        tenths.append(tenth)
        print(f"{number + 1:>2}/{TENTHS:<5}{tenth.answered:>9,}{tenth.streams:>9,}{tenth.p50_ms:>9.2f}", end="")
        print(f"{tenth.p99_ms:>9.2f}{tenth.first_ms:>10.2f}{tenth.failed:>8}{tenth.seen.memory_mb:>8.1f}", end="")
        print(f"{tenth.seen.in_flight:>11}{tenth.seen.callers:>9}{tenth.seen.upstream:>10}", flush=True)
    last = tenths[-1].seen
    grown, left = last.memory_mb - tenths[WARM - 1].seen.memory_mb, last.in_flight + last.callers
    failed = sum(tenth.failed for tenth in tenths)
    full = sum(tenth.answered for tenth in tenths[:WARM]) >= FULL
    print(f"memory {grown:+.1f} MB since the warm-up, {left} requests or callers left, {failed} answers failed")
    if not full:
        print(f"memory is not judged: the warm-up had fewer than {FULL:,} requests, and tables still grow")
    return 0 if (grown <= GROWTH_MB or not full) and left <= 0 and not failed else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--requests", type=int, default=1_000_000_000, help="at most so many in all")
    parser.add_argument("--stream-minutes", type=float, default=2.0, help="of streams, and of requests at most")
    asked = parser.parse_args(arguments)
    seconds = 60 * asked.stream_minutes / TENTHS
    return asyncio.run(haul(Limits(requests=asked.requests // TENTHS, seconds=seconds)))


if __name__ == "__main__":
    sys.exit(main())
