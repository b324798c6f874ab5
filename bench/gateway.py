"""CPU per request of a running gateway, by size of the body and by streamed event; start-up time and memory.

`make bench`. Loopback only, bounded in count, ends by itself. CPU is the gateway process's own (user and system,
from /proc), so what client and provider spend does not count; wall-clock figures are left out on purpose.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONNECTIONS = 32
TICKS = os.sysconf("SC_CLK_TCK")
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 150}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 250, "completion_tokens": 150},
    }
).encode()
EVENT = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
END = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
EVENTS = 200


class Provider(asyncio.Protocol):
    """Answers every request at once: JSON, or a stream of EVENTS events where `"stream":true` is asked for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self.buffer = b""
        if b'"stream":true' in rest:
            asyncio.get_running_loop().create_task(self.stream())
        else:
            self.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
                + ANSWER
            )

    async def stream(self) -> None:
        self.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in [*[EVENT] * EVENTS, END]:
            self.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await asyncio.sleep(0.0005)
        self.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        self.transport.write(data)  # pyright: ignore[reportAttributeAccessIssue]


async def provide() -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def worker(port: int, request: bytes, todo: list[None]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while todo:
        todo.pop()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode() + (await reader.read(500)).decode())
        if b"content-length" in head:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        else:
            while (size := int(await reader.readuntil(b"\r\n"), 16)) or await reader.readexactly(2) != b"\r\n":
                await reader.readexactly(size + 2)
    writer.close()


async def load(port: int, body: dict[str, object], count: int) -> None:
    raw = json.dumps(body, separators=(",", ":")).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw
    todo = [None] * count
    await asyncio.gather(*(worker(port, request, todo) for _ in range(CONNECTIONS)))


def conversation(size: int, **more: object) -> dict[str, object]:
    """A request of about `size` bytes, as an agent's is made: many messages."""
    each = max(1, min(40, size // 1000))
    text = "x" * (size // each - 60)
    roles = ["user" if i % 2 == 0 else "assistant" for i in range(each)]
    return {"model": "lab/m", "messages": [{"role": role, "content": text} for role in roles], **more}


def measure(gateway: subprocess.Popen[str], port: int, body: dict[str, object], count: int) -> float:
    """CPU seconds a request, after a tenth of them as warm-up."""
    asyncio.run(load(port, body, count // 10))
    before = cpu_s(gateway.pid)
    asyncio.run(load(port, body, count))
    return (cpu_s(gateway.pid) - before) / count


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    provider = subprocess.Popen([sys.executable, __file__, "provide"], stdout=subprocess.PIPE, text=True)
    assert provider.stdout is not None
    upstream = provider.stdout.readline().strip()
    config = folder / "turnout.toml"
    config.write_text(
        f'[providers.lab]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
        '[models."lab/m"]\ntier = "small"\nprice = { input = 1, output = 2 }\n'
        f'[budgets.all]\namount_usd = 1000\n[brakes]\nmax_session_usd = 1000\n[store]\nledger = "sqlite:///{folder}/t.db"\n'
    )
    began = time.monotonic()
    command = [sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0"]
    gateway = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert gateway.stderr is not None
    port = int(gateway.stderr.readline().strip().rpartition(":")[2])
    asyncio.run(load(port, conversation(1000), 1))
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {CONNECTIONS} connections"
    )
    print(f"start to first 200: {time.monotonic() - began:.2f} s; memory then {memory_mb(gateway.pid):.0f} MB")
    try:
        for size, count in ((1_000, 6_000), (40_000, 3_000), (400_000, 600)):
            cost = measure(gateway, port, conversation(size), count)
            print(f"{size // 1000:>4} KB body: {cost * 1e3:.3f} ms CPU a request")
        streamed = measure(gateway, port, conversation(1_000, stream=True), 300)
        whole = measure(gateway, port, conversation(1_000), 3_000)
        print(f"streamed event: {(streamed - whole) / EVENTS * 1e6:.0f} us CPU")
        print(f"memory after load: {memory_mb(gateway.pid):.0f} MB")
    finally:
        gateway.terminate()
        gateway.wait(10)
        provider.terminate()
        provider.wait(10)


if __name__ == "__main__":
    if sys.argv[1:] == ["provide"]:
        asyncio.run(provide())
    else:
        main()
