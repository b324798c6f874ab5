"""A host that says exactly these bytes, and then closes, resets or keeps silent: what ScriptedUpstream cannot do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from turnout.providers.transport import UpstreamRequest

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: Serve, **more: ssl.SSLContext) -> AsyncGenerator[int]:
    """`serve(reader, writer)` for each connection. Gives the port."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # what is unsent has no reader any more
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, **more)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the loop's next turn


class RawHost:
    """Takes one request a connection, says `parts` one by one, then does what `then` says: `close` in good order,
    `reset`, `keep` to take the next request, `hang`, or `half`: end its own side alone. `gone` is set when the other
    side has hung up."""

    def __init__(self, *parts: bytes, then: str = "close", pause_s: float = 0.0) -> None:
        self._parts = parts
        self._then = then
        self._pause_s = pause_s
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.heads.append(await take_head(reader))
                self.bodies.append(await reader.readexactly(length_of(self.heads[-1])))
                for part in self._parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(self._pause_s)
                if self._then != "keep":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
            raise
        if self._then == "reset":
            reset(writer)
        if self._then == "half":
            writer.write_eof()
        if self._then in {"hang", "half"}:
            await hung_up(reader)
            self.gone.set()


async def take_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def hung_up(reader: asyncio.StreamReader) -> None:
    """Wait until the other side is gone, by a reset or an end."""
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass


def get(url: str, **more: float) -> UpstreamRequest:
    return UpstreamRequest(method="GET", url=url, headers=[], **more)


def post(url: str, body: bytes = b"{}", **more: float) -> UpstreamRequest:
    return UpstreamRequest(method="POST", url=url, headers=[("content-type", "application/json")], body=body, **more)
