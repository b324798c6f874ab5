"""CPU of the transport alone: per request of 1 KB out and 1 KB back, and per streamed chunk. No gateway around it.

`python bench/transport.py`. Loopback only, bounded in count, ends by itself. CPU is this process's own (user and
system); the provider is another process and does not count. The best of five rounds is printed, with the worst beside
it: other work on the machine only ever adds.
"""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from turnout.providers.http import HttpTransport
from turnout.providers.transport import UpstreamRequest

ROUNDS, REQUESTS, STREAMS, CHUNKS, AT_ONCE = 5, 2_000, 20, 500, 16
BODY = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 970)
ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"%s"}}]}' % (b"x" * 960)
CHUNK = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
HEADERS = [("content-type", "application/json"), ("authorization", "Bearer k")]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the provider: `/stream` gets CHUNKS chunks, half a millisecond apart, all else ANSWER."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(BODY))
            if not head.startswith(b"POST /stream"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
                continue
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(CHUNKS):
                writer.write(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
                await asyncio.sleep(0.0005)
            writer.write(b"0\r\n\r\n")
    except asyncio.IncompleteReadError:
        writer.close()


async def provide() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def call(http: HttpTransport, url: str) -> int:
    """One exchange; the number of pieces that its body came in."""
    response = await http.send(UpstreamRequest(method="POST", url=url, headers=HEADERS, body=BODY))
    pieces, size = 0, 0
    async for chunk in response.chunks():
        pieces, size = pieces + 1, size + len(chunk)
    await response.aclose()
    if size != (CHUNKS * len(CHUNK) if url.endswith("/stream") else len(ANSWER)):
        raise RuntimeError(f"{size} bytes came")
    return pieces


async def requests(http: HttpTransport, url: str) -> int:
    """REQUESTS exchanges, AT_ONCE at a time."""
    todo = [None] * REQUESTS

    async def some() -> None:
        while todo:
            todo.pop()
            await call(http, f"{url}/x")

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return REQUESTS


async def streams(http: HttpTransport, url: str) -> int:
    """STREAMS streams at once; the number of pieces that came: a chunk that waits joins the next."""
    return sum(await asyncio.gather(*(call(http, f"{url}/stream") for _ in range(STREAMS))))


async def cost_us(work: Callable[[HttpTransport, str], Awaitable[int]], url: str) -> str:
    """Microseconds of CPU each, best and worst of ROUNDS, after one more as warm-up."""
    http = HttpTransport()
    await work(http, url)
    costs: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        count = await work(http, url)
        costs.append((time.process_time() - began) / count * 1e6)
    await http.aclose()
    return f"{min(costs):.0f} us CPU (worst of {ROUNDS} rounds: {max(costs):.0f})"


async def measure(url: str) -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, uvloop {uvloop.__version__}")
    print(f"1 KB out, 1 KB back, {AT_ONCE} at once: {await cost_us(requests, url)} a request")
    print(f"{STREAMS} streams at once: {await cost_us(streams, url)} a chunk of {len(CHUNK)} bytes")


def main() -> None:
    provider = subprocess.Popen([sys.executable, __file__, "provide"], stdout=subprocess.PIPE, text=True)
    assert provider.stdout is not None
    try:
        uvloop.run(measure(f"http://127.0.0.1:{provider.stdout.readline().strip()}"))
    finally:
        provider.terminate()
        provider.wait(10)


if __name__ == "__main__":
    if sys.argv[1:] == ["provide"]:
        asyncio.run(provide())
    else:
        main()
