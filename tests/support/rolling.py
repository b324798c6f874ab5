"""Gateways as processes of their own behind something that balances: what a rolling update does to callers."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from support.calls import CHAT, post
from support.gateway import lab
from support.upstream import Script, ScriptedUpstream, answer, stream

PATH = "/v1/chat/completions"
ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}]}
BODY = json.dumps(ASK).encode()
STREAMED = json.dumps({**ASK, "stream": True}).encode()
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@dataclass
class Gateway:
    """`turnout serve` as a process with its ledger in `folder`."""

    folder: Path
    toml: str
    port: int = 0
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "turnout.toml"
        file.write_text(f'store.ledger = "sqlite:///{self.folder}/t.db"\n{self.toml}')
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "turnout.cli", "serve", "--config", str(file), "--port", str(self.port),
            stderr=asyncio.subprocess.PIPE, env={**os.environ},
        )  # fmt: skip
        assert self.process.stderr is not None
        line = (await asyncio.wait_for(self.process.stderr.readline(), 20)).decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found is not None, line
        self.port = int(found[1])

    def end(self, sig: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(sig)

    async def ended(self) -> tuple[int, str]:
        """Its exit status and what it said, once its books are written."""
        assert self.process is not None
        assert self.process.stderr is not None
        said = (await asyncio.wait_for(self.process.stderr.read(), 20)).decode()
        return await self.process.wait(), said

    def outcomes(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "t.db")) as books:
            return [row[0] for row in books.execute("select outcome from requests")]


@asynccontextmanager
async def serving(folder: Path, url: str, server: str) -> AsyncGenerator[Gateway]:
    """A gateway whose only provider is at `url`; `server`: lines of its [server] table."""
    gateway = Gateway(folder, f"[server]\n{server}\n{lab(url)}")
    await gateway.start()
    try:
        yield gateway
    finally:
        if gateway.process is not None and gateway.process.returncode is None:
            gateway.process.kill()
            await gateway.ended()


async def look(port: int, path: str = "/readyz") -> tuple[int, str, Any]:
    """Status, head and JSON body of a GET on a connection that the caller would keep."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await look_again(reader, writer, path)
    finally:
        writer.close()
        await writer.wait_closed()


async def look_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, str, Any]:
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    found = re.search(r"content-length: (\d+)", head)
    assert found is not None
    return int(head.split()[1]), head, json.loads(await reader.readexactly(int(found[1])))


class Provider(ScriptedUpstream):
    """Answers a stream with a stream of a third of a second, anything else at once."""

    def __init__(self) -> None:
        super().__init__(answer(CHAT))
        self._streamed = stream(*[CHUNK] * 6, END, pause_s=0.05)

    async def _answer(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        streamed = self.requests[-1].json().get("stream")
        return await super()._answer(self._streamed if streamed else script, reader, writer)


@dataclass
class Balancer:
    """A small reverse proxy as they are: asks every gateway now and then whether it is ready, sends each connection
    to one that was when last asked, in turn, and tries nothing twice."""

    gateways: list[Gateway]
    ready: set[int] = field(default_factory=set)
    sent: dict[int, int] = field(default_factory=dict)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._turns = itertools.count()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._asking.cancel()
        self._server.close()
        await self._server.wait_closed()

    async def _ask(self) -> None:
        while True:
            for gateway in self.gateways:
                try:
                    well = (await look(gateway.port))[0] == 200
                except (OSError, asyncio.IncompleteReadError):
                    well = False
                (self.ready.add if well else self.ready.discard)(gateway.port)
            await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = sorted(self.ready)
        port = ready[next(self._turns) % len(ready)]
        self.sent[port] = self.sent.get(port, 0) + 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_carry(reader, up_writer), _carry(up_reader, writer))
        finally:
            for end in (up_writer, writer):
                end.close()
                await end.wait_closed()

    async def is_ready(self, gateway: Gateway) -> bool:
        return gateway.port in self.ready


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def until(told: Callable[[Gateway], Coroutine[Any, Any, bool]], gateway: Gateway, *, ready: bool) -> None:
    async with asyncio.timeout(20):
        while await told(gateway) != ready:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def update(
    gateways: list[Gateway], port: int, is_ready: Callable[[Gateway], Coroutine[Any, Any, bool]]
) -> list[tuple[int, bool]]:
    """Exchange one gateway after the other while callers ask at `port`; each answer's status and whether it was whole.
    `is_ready`: whether the balancer thinks so."""
    asked, answers, done = itertools.count(), list[tuple[int, bool]](), asyncio.Event()

    async def asks() -> None:
        while not done.is_set():
            body, last = (STREAMED, b"[DONE]") if next(asked) % 2 else (BODY, b"Paris")
            status, _, raw = await post(f"x:{port}", PATH, body)
            answers.append((status, last in raw))
            await asyncio.sleep(0.05)

    await asyncio.gather(*(until(is_ready, gateway, ready=True) for gateway in gateways))
    async with asyncio.TaskGroup() as callers:
        for _ in range(4):
            callers.create_task(asks())
        for gateway in gateways:
            gateway.end()
            await until(is_ready, gateway, ready=False)
            code, said = await gateway.ended()
            assert (code, "Traceback" in said) == (0, False), said
            await gateway.start()
            await until(is_ready, gateway, ready=True)
        done.set()
    for gateway in gateways:
        gateway.end()
        await gateway.ended()
    return answers
