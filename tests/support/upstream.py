"""A provider on loopback that does exactly what a test tells it to, and notes what it was sent."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Received:
    """One request as it came over the socket."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Script:
    """What to answer. `chunks` are written one by one, `pause_s` apart; `cut` closes before the body's end, `stall`
    says nothing more instead; `hang` never answers; `drop` closes before the headers, `reset` does so with a TCP
    reset."""

    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] | None = None
    pause_s: float = 0.0
    cut: bool = False
    stall: bool = False
    hang: bool = False
    drop: bool = False
    reset: bool = False


def answer(value: object, status: int = 200, **more: Any) -> Script:
    return Script(status=status, body=json.dumps(value).encode(), **more)


def stream(*chunks: bytes, **more: Any) -> Script:
    return Script(content_type="text/event-stream", chunks=list(chunks), **more)


class ScriptedUpstream:
    """`async with ScriptedUpstream(script, ...) as upstream`: the scripts are used in turn, the last for good."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[Received] = []
        self.written = 0  # bytes of chunks that went out
        self.gone = asyncio.Event()  # somebody hung up on us before we were done
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def choose(self, _: Received) -> Script:
        """What to answer to a request."""
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except ConnectionError:
            self.gone.set()
        except asyncio.IncompleteReadError as short:
            if short.partial:  # else a kept connection was let go, between two requests
                self.gone.set()
        except asyncio.CancelledError:
            return  # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Received(method, path, headers, body))
        script = self.choose(self.requests[-1])
        if script.drop:
            return False
        if script.reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        if script.hang:
            await self._until_gone(reader, asyncio.Event().wait)
            return False
        return await self._answer(script, reader, writer)

    async def _answer(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        length = f"content-length: {len(script.body)}" if script.chunks is None else "transfer-encoding: chunked"
        more = "".join(f"{k}: {v}\r\n" for k, v in script.headers.items())
        writer.write(
            f"HTTP/1.1 {script.status} X\r\ncontent-type: {script.content_type}\r\n{length}\r\n{more}\r\n".encode()
        )
        if script.chunks is None:
            writer.write(script.body[: len(script.body) // 2] if script.cut else script.body)
            await writer.drain()
            return not script.cut
        return not await self._until_gone(reader, lambda: self._stream(script, writer)) and not script.cut

    async def _stream(self, script: Script, writer: asyncio.StreamWriter) -> None:
        for chunk in script.chunks or ():
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            self.written += len(chunk)
            await asyncio.sleep(script.pause_s)
        if script.stall:
            await asyncio.Event().wait()
        if not script.cut:
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def _until_gone(self, reader: asyncio.StreamReader, work: Callable[[], Awaitable[object]]) -> bool:
        """Do `work` until done or the other side hangs up; True when it hung up."""
        working = asyncio.ensure_future(work())
        watching = asyncio.ensure_future(reader.read(1))
        try:
            done, _ = await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when the test is over meanwhile
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)
        gone = watching in done and (working not in done or working.exception() is not None)
        if gone:
            self.gone.set()
        return gone
