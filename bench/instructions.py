"""Instructions that a request takes in the gateway, counted by callgrind: python bench/instructions.py [--update]

A count is the same on a busy machine, where times say little. The gateway runs under valgrind with everything switched
on; a fixed script of requests goes through it, one at a time, and each part's count is taken alone: `begin` is the
first request of a conversation, `step` each that follows it, `event` one event of a stream, by the event loop's thread
and by all others. Timers of the gateway are slowed down meanwhile (`gateways/still.py`), as the count of a quiet second
shows. User space only: what the kernel does is not seen.

The event loop's are compared with bench/instructions.json, +-5 %: more or less is an exit code of 1, until `--update`
writes the new figure. That file holds for one build of Python and its libraries; where another was measured, that is
said and nothing is judged.
`--keep FOLDER` leaves each part's profile for callgrind_annotate. `--json FILE` writes what was counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

sys.path.insert(0, str(Path(__file__).parent))

from gateways.bodies import conversation, size_name
from gateways.everything import KEY, everything

COMMITTED = Path(__file__).parent / "instructions.json"
TOLERANCE = 0.05
PATIENCE_S = 1_200.0
TALKS = {1_000: (30, 1), 40_000: (6, 5), 400_000: (2, 7)}
"""By size: conversations that are counted, and the steps of each after its first request."""

STREAMS = 6
EVENTS = 200
QUIET_S = 5
PACKAGES = ("httptools", "msgspec", "uvloop", "xxhash")
QUIET = "quiet second"

ANSWER = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_741_569_952,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 60}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 250, "completion_tokens": 72, "total_tokens": 322},
    }
)
CHUNK = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1741569952,"model":"m",'
EVENT = b"data: " + CHUNK + b'"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
END = (
    b"data: " + CHUNK + b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: " + CHUNK + b'"choices":[],"usage":{"prompt_tokens":250,"completion_tokens":200,"total_tokens":450}}\n\n'
    b"data: [DONE]\n\n"
)


class Counted(Struct, frozen=True, kw_only=True):
    """Instructions by what was done, with what it was measured on."""

    machine: dict[str, str]
    instructions: dict[str, Count]


class Provider(asyncio.Protocol):
    """Answers at once; of a stream, the next event only once the caller has the one before, so that none is read
    together with another and each count is of as many reads and writes."""

    arrived = asyncio.Semaphore(0)
    events = EVENTS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = bytearray()
        self._streams = set[asyncio.Task[None]]()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < (length := content_length(bytes(head))):
            return
        stream = b'"stream":true' in rest[:length]
        self._buffer.clear()
        if stream:
            self._streams.add(asyncio.get_running_loop().create_task(self.stream()))
        else:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
            self._transport.write(bytes(head) + ANSWER)

    async def stream(self) -> None:
        Provider.arrived = asyncio.Semaphore(0)  # of the one before the end was told of too
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self._transport.write(head + chunk(EVENT))
        for _ in range(Provider.events - 1):
            await Provider.arrived.acquire()
            self._transport.write(chunk(EVENT))
        await Provider.arrived.acquire()
        self._transport.write(chunk(END) + b"0\r\n\r\n")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


class Caller:
    """One connection to the gateway, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, body: bytes) -> None:
        """A request and its whole answer. Raises RuntimeError where that is not a 200 with all that was sent."""
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        told = head + b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n" % (KEY.encode(), len(body))
        self._writer.write(told + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode() + (await self._reader.read(2_000)).decode())
        if b"content-length" in answer.lower():
            await self._reader.readexactly(content_length(answer))
        else:
            await self.events()

    async def events(self) -> None:
        """Read a stream to its end, telling the provider of each event."""
        seen, tail = 0, b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            data = tail + (await self._reader.readexactly(size + 2))[:-2]
            whole, _, tail = data.rpartition(b"\n\n")
            for _ in range(whole.count(b"data: ")):
                seen += 1
                Provider.arrived.release()
        await self._reader.readexactly(2)
        if seen < Provider.events:
            raise RuntimeError(f"{seen} of {Provider.events} events came")


class Count(Struct, frozen=True):
    """Instructions of the event loop's thread, and of all others, as the writer of the ledger."""

    loop: int
    others: int

    def per(self, many: int) -> Count:
        return Count(self.loop // many, self.others // many)

    def less(self, other: Count) -> Count:
        return Count(self.loop - other.loop, self.others - other.others)


class Profiled:
    """The gateway under callgrind. A count is of what was done since the count before."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process, self._folder, self._dumps = process, folder, 0

    async def count(self, part: str) -> Count:
        """All that was done. Its profile, a file for each thread, is kept under `part`'s name."""
        asked = await asyncio.create_subprocess_exec(
            *("vgdb", f"--pid={self.process.pid}", "dump", part),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if await asyncio.wait_for(asked.wait(), PATIENCE_S):
            raise RuntimeError("vgdb did not reach the gateway: valgrind must run as the same user, without a sandbox")
        self._dumps += 1
        totals: list[int] = []
        for written in sorted(self._folder.glob(f"callgrind.{self._dumps}-*")):
            found = re.search(r"^totals: (\d+)", written.read_text(), re.MULTILINE)
            totals.append(int(found[1]) if found else 0)
            written.rename(self._folder / f"{part}.thread{written.suffix.rpartition('-')[2]}.callgrind")
        return Count(totals[0], sum(totals[1:]))


async def start(folder: Path, profiles: Path, upstream: int) -> tuple[Profiled, int]:
    """The gateway under callgrind, and its port."""
    config = folder / "turnout.toml"
    config.write_text(everything(f"http://127.0.0.1:{upstream}/v1", folder))
    gateway = (sys.executable, str(Path(__file__).parent / "gateways" / "still.py"), str(config))
    valgrind = (
        "valgrind",
        "--tool=callgrind",
        "--quiet",
        "--separate-threads=yes",
        f"--callgrind-out-file={profiles}/callgrind",
    )
    process = await asyncio.create_subprocess_exec(
        *valgrind, *gateway, stderr=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    assert process.stderr is not None
    said: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while line := (await process.stderr.readline()).decode():
            said.append(line)
            if "listening on" in line:
                return Profiled(process, profiles), int(line.strip().rpartition(":")[2])
    raise RuntimeError("the gateway did not start:\n" + "".join(said))


async def script(profiled: Profiled, port: int) -> dict[str, Count]:
    """The counts of each part, after some of its kind that are not counted."""
    caller = Caller(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
    counts: dict[str, Count] = {}
    await caller.ask(conversation("auto", 1_000).body(1, 0))
    counts[QUIET] = await quiet(profiled)
    for size in TALKS:
        counts |= await steps(profiled, caller, size)
    await streams(profiled, caller, 10, EVENTS)
    long = await streams(profiled, caller, 20, EVENTS)
    short = await streams(profiled, caller, 30, EVENTS // 10)
    counts["event"] = long.less(short).per(STREAMS * (EVENTS - EVENTS // 10))
    return counts


async def quiet(profiled: Profiled) -> Count:
    """What a second takes in which nobody asks anything: hardly anything, or requests are not counted alone."""
    await asyncio.sleep(2)
    await profiled.count("before")
    await asyncio.sleep(QUIET_S)
    return (await profiled.count("quiet")).per(QUIET_S)


async def steps(profiled: Profiled, caller: Caller, size: int) -> dict[str, Count]:
    """Beginnings and further steps of conversations of one size, each counted together and shared out."""
    talk, (begun, followed), name = conversation("auto", size), TALKS[size], size_name(size)
    for number in (0, 1):  # not counted: first of their size
        for step in range(followed + 1):
            await caller.ask(talk.body(number, step))
    await profiled.count("before")
    for number in range(100, 100 + begun):
        await caller.ask(talk.body(number, 0))
    first = await profiled.count(f"{name} begin")
    for number in range(100, 100 + begun):
        for step in range(1, followed + 1):
            await caller.ask(talk.body(number, step))
    further = await profiled.count(f"{name} step")
    return {f"{name} begin": first.per(begun), f"{name} step": further.per(begun * followed)}


async def streams(profiled: Profiled, caller: Caller, first: int, events: int) -> Count:
    """STREAMS streams of so many events, each of a conversation of its own."""
    talk = conversation("auto", 1_000, stream=True)
    await profiled.count("before")
    Provider.events = events
    for number in range(first, first + STREAMS):
        await caller.ask(talk.body(number, 0))
    return await profiled.count(f"streams of {events}")


async def measure(profiles: Path) -> dict[str, Count]:
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
        profiled, port = await start(Path(folder), profiles, server.sockets[0].getsockname()[1])
        try:
            return await script(profiled, port)
        finally:
            server.close()
            with suppress(ProcessLookupError):
                profiled.process.kill()  # it looks whether it is to end as seldom as at anything else
            await profiled.process.wait()


def machine() -> dict[str, str]:
    """What a count depends on beside our own code."""
    told = {"machine": platform.machine(), "python": platform.python_version(), "compiler": platform.python_compiler()}
    return told | {name: version(name) for name in PACKAGES}


def compared(now: Counted, before: Counted) -> tuple[list[str], bool]:
    """A line for each count, and whether the loop's are within the tolerance."""
    lines = [f"{'':14}{'event loop':>13}{'committed':>13}{'':>8}{'other threads':>15}{'committed':>11}"]
    fine = True
    for part, count in now.instructions.items():
        known = before.instructions.get(part)
        if known is None or not known.loop:
            lines.append(f"{part:14}{count.loop:>13,}{'':>21}{count.others:>15,}")
            continue
        change = count.loop / known.loop - 1
        off = part != QUIET and abs(change) > TOLERANCE
        fine = fine and not off
        told = f"{part:14}{count.loop:>13,}{known.loop:>13,}{change:>+8.1%}{count.others:>15,}{known.others:>11,}"
        lines.append(f"{told}{'  !' if off else ''}")
    return lines, fine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--update", action="store_true", help="write what was counted as the figure to hold")
    parser.add_argument("--keep", type=Path, help="folder for the profile of each part")
    parser.add_argument("--json", type=Path, help="write what was counted to this file")
    told = parser.parse_args(arguments)
    if missing := [tool for tool in ("valgrind", "vgdb") if shutil.which(tool) is None]:
        print(f"instructions: {', '.join(missing)} not found: install valgrind (apt-get install valgrind)")
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        profiles = told.keep or Path(scratch)
        profiles.mkdir(parents=True, exist_ok=True)
        now = Counted(machine=machine(), instructions=asyncio.run(measure(profiles.resolve())))
    if told.json:
        told.json.write_bytes(msgspec.json.format(msgspec.json.encode(now)))
    return report(now, update=told.update, took_s=time.monotonic() - began)


def report(now: Counted, *, update: bool, took_s: float) -> int:
    before = msgspec.json.decode(COMMITTED.read_bytes(), type=Counted) if COMMITTED.exists() else now
    lines, fine = compared(now, before)
    print("instructions in user space, each request or event", *lines, f"({took_s:.0f} s)", sep="\n")
    if update:
        COMMITTED.write_bytes(msgspec.json.format(msgspec.json.encode(now)) + b"\n")
        return 0
    if now.machine != before.machine:
        other = [name for name, value in now.machine.items() if before.machine.get(name) != value]
        print(f"not judged: {', '.join(other)} differ from what {COMMITTED.name} was counted on")
        return 0
    if not fine:
        print(f"more than {TOLERANCE:.0%} off: find out why, or write the new figure with --update")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
