"""A rolling update: a gateway that is told to end says so first, and nothing is lost on the way."""

import asyncio
import itertools
import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.calls import CHAT, post
from support.gateway import lab
from support.upstream import ScriptedUpstream, answer, stream
from turnout.config import parse_config
from turnout.errors import ConfigError

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

    async def start(self):
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "turnout.toml"
        file.write_text(f'store.ledger = "sqlite:///{self.folder}/t.db"\n{self.toml}')
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "turnout.cli", "serve", "--config", str(file), "--port", str(self.port),
            stderr=asyncio.subprocess.PIPE, env={**os.environ},
        )  # fmt: skip
        line = (await asyncio.wait_for(self.process.stderr.readline(), 20)).decode()
        self.port = int(line.rpartition(":")[2])

    def end(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)

    async def ended(self):
        """Its exit status and what it said, once its books are written."""
        said = (await asyncio.wait_for(self.process.stderr.read(), 20)).decode()
        return await self.process.wait(), said

    def outcomes(self):
        with closing(sqlite3.connect(self.folder / "t.db")) as books:
            return [row[0] for row in books.execute("select outcome from requests")]


@asynccontextmanager
async def serving(folder, url, server):
    gateway = Gateway(folder, f"[server]\n{server}\n{lab(url)}")
    await gateway.start()
    try:
        yield gateway
    finally:
        if gateway.process.returncode is None:
            gateway.process.kill()
            await gateway.ended()


async def look(port, path="/readyz"):
    """Status, headers and body of a GET on a connection that the caller would keep."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await look_again(reader, writer, path)
    finally:
        writer.close()
        await writer.wait_closed()


async def look_again(reader, writer, path):
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    body = await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
    return int(head.split()[1]), head, json.loads(body)


async def drains(port):
    async with asyncio.timeout(5):
        while (await look(port))[0] == 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def test_told_to_end_it_first_says_so_and_serves_on(tmp_path):
    script = stream(*[CHUNK] * 8, END, pause_s=0.1)
    async with ScriptedUpstream(script, answer(CHAT)) as up, serving(tmp_path, up.url, "drain_s = 30") as gateway:
        kept = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert (await look_again(*kept, "/readyz"))[2] == {"status": "ready", "models": 1, "ledger": True}
        streaming = asyncio.create_task(post(f"x:{gateway.port}", PATH, STREAMED))
        gateway.end()
        await drains(gateway.port)
        assert (await look(gateway.port))[2] == {"status": "draining", "models": 1, "ledger": True}
        assert (await look(gateway.port, "/healthz"))[0] == 200
        assert (await post(f"x:{gateway.port}", PATH, BODY))[0] == 200
        # Whoever keeps a connection is bidden good-bye with an answer, not cut off later on.
        await asyncio.sleep(0.2)
        status, head, _ = await look_again(*kept, "/healthz")
        assert status == 200
        assert "connection: close" in head
        assert await kept[0].read() == b""
        kept[1].close()
        gateway.end()  # a second time: no more patience, but the stream ends well all the same
        status, _, raw = await streaming
        assert (status, raw.count(b"word"), b"[DONE]" in raw) == (200, 8, True)
        code, said = await gateway.ended()
        assert code == 0
        assert "told to end" in said
        assert "Traceback" not in said
        assert gateway.outcomes() == ["ok", "ok"]


@pytest.mark.parametrize(("sig", "server"), [(signal.SIGINT, "drain_s = 30"), (signal.SIGTERM, "")])
async def test_a_developers_ctrl_c_and_a_gateway_that_stands_alone_do_not_wait(tmp_path, sig, server):
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, up.url, server) as gateway:
        gateway.end(sig)
        assert (await gateway.ended())[0] == 0


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_time_that_means_nothing_is_refused(value):
    with pytest.raises(ConfigError, match=r"server\.drain_s"):
        parse_config(f"server.drain_s = {value}", {})


# ---- a rolling update --------------------------------------------------------------------------------------------


@dataclass
class Balancer:
    """A small reverse proxy as they are: asks every gateway now and then whether it is ready, sends each connection
    to one that was when last asked, in turn, and tries nothing twice."""

    gateways: list[Gateway]
    ready: set[int] = field(default_factory=set)
    sent: dict[int, int] = field(default_factory=dict)
    port: int = 0

    async def __aenter__(self):
        self._turns = itertools.count()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *_):
        self._asking.cancel()
        self._server.close()
        await self._server.wait_closed()

    async def _ask(self):
        while True:
            for gateway in self.gateways:
                try:
                    well = (await look(gateway.port))[0] == 200
                except (OSError, asyncio.IncompleteReadError):
                    well = False
                (self.ready.add if well else self.ready.discard)(gateway.port)
            await asyncio.sleep(0.05)

    async def _serve(self, reader, writer):
        ready = sorted(self.ready)
        port = ready[next(self._turns) % len(ready)]
        self.sent[port] = self.sent.get(port, 0) + 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(carry(reader, up_writer), carry(up_reader, writer))
        finally:
            for end in (up_writer, writer):
                end.close()
                await end.wait_closed()

    async def is_ready(self, gateway, *, now):
        async with asyncio.timeout(20):
            while (gateway.port in self.ready) != now:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)


async def carry(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class Provider(ScriptedUpstream):
    """Answers a stream with a stream of a third of a second, anything else at once."""

    def __init__(self):
        super().__init__(answer(CHAT))
        self._streamed = stream(*[CHUNK] * 6, END, pause_s=0.05)

    async def _answer(self, script, reader, writer):
        streamed = self.requests[-1].json().get("stream")
        return await super()._answer(self._streamed if streamed else script, reader, writer)


async def test_a_rolling_update_loses_no_request_and_no_row(tmp_path):
    server = "drain_s = 1.0\nshutdown_grace_s = 10"
    asked, answers, done = itertools.count(), [], asyncio.Event()

    async def asks(url):
        while not done.is_set():
            body = STREAMED if next(asked) % 2 else BODY
            status, _, raw = await post(url, PATH, body)
            answers.append(status == 200 and (b"Paris" in raw if body is BODY else b"[DONE]" in raw))
            await asyncio.sleep(0.05)

    async with (
        Provider() as up,
        serving(tmp_path / "a", up.url, server) as a,
        serving(tmp_path / "b", up.url, server) as b,
        Balancer([a, b]) as balancer,
    ):
        await asyncio.gather(*(balancer.is_ready(gateway, now=True) for gateway in (a, b)))
        async with asyncio.TaskGroup() as callers:
            for _ in range(4):
                callers.create_task(asks(f"x:{balancer.port}"))
            for gateway in (a, b):
                gateway.end()
                await balancer.is_ready(gateway, now=False)
                code, said = await gateway.ended()
                assert (code, "Traceback" in said) == (0, False)
                await gateway.start()
                await balancer.is_ready(gateway, now=True)
            done.set()
        for gateway in (a, b):
            gateway.end()
            await gateway.ended()
    assert all(answers)
    assert min(balancer.sent.values()) > 8
    assert a.outcomes() + b.outcomes() == ["ok"] * len(answers)
