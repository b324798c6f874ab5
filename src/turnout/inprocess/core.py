"""The engine on the running event loop: opened once, asked by whoever is in the same process, closed with its books."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from turnout.call import Call
from turnout.config import Config, load_config, told_config
from turnout.engine import Engine, build_engine, price_source
from turnout.errors import NoCapacity, TurnoutError
from turnout.pipeline import Reply
from turnout.providers.counting import CountOperation
from turnout.providers.operations import Operation
from turnout.providers.price_refresh import refreshing
from turnout.server.following import following
from turnout.server.views import explain
from turnout.spans import open_spans
from turnout.spend.ledger import LedgerRow

__all__ = ["Core", "Told", "config_of"]

log = logging.getLogger("turnout")

Told = str | Path | Mapping[str, object] | Config | None
"""A config: the file it is in, its tables, what was read from either; None: what is found here, as `turnout serve`."""


class _Closing(Protocol):
    async def aclose(self) -> None: ...


def config_of(told: Told, env: Mapping[str, str]) -> Config:
    """The config that a program means. Raises ConfigError."""
    if isinstance(told, Config):
        return told
    if isinstance(told, str | Path):
        return load_config(told, env)
    return Config() if told is None else told_config(told, env)


class Core:
    """One gateway on one event loop, which is the one that asks first. Raises ConfigError where the config is wrong."""

    def __init__(self, told: Told, env: Mapping[str, str] | None) -> None:
        self._env = os.environ if env is None else env
        self._config = config_of(told, self._env)
        self._discovers = told is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._engine: Engine | None = None
        self._parts = AsyncExitStack()
        self._asking: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._streams: set[_Closing] = set()
        self._closed = False

    async def engine(self) -> Engine:
        """The engine, built at the first call. Raises ConfigError, and NoCapacity where there is no model at all, or
        the gateway is closed."""
        self._check()
        if self._engine is not None:
            return self._engine
        async with self._opening:
            self._check()
            if self._engine is None:
                self._engine = await self._built()
                if self._closed:  # and who closed it may have given up waiting
                    await self._parts.aclose()
                self._check()
        return self._engine

    async def run(self, operation: Operation, body: bytes, headers: Mapping[str, str]) -> tuple[str, Reply]:
        """Ask, and get the request's id and its answer. Raises TurnoutError."""
        engine = await self.engine()
        call = _call(engine, operation, body, headers)
        reply = await self._answered(engine, call)
        if reply.stream is not None:
            self._streams.add(reply.stream)
        return call.request_id, reply

    async def _answered(self, engine: Engine, call: Call) -> Reply:
        asking = asyncio.current_task()
        if asking is None:
            raise RuntimeError("a request is asked in a task")
        self._asking.add(asking)
        try:
            if isinstance(call.operation, CountOperation):
                return await engine.pipeline.count(call, call.operation)
            return await engine.pipeline.run(call)
        except asyncio.CancelledError:
            if not self._closed:
                raise
            asking.uncancel()
            raise NoCapacity("the gateway was closed before it had answered; make another") from None
        finally:
            self._asking.discard(asking)
            if not self._asking:
                self._idle.set()

    async def explain(self, operation: Operation, body: bytes, headers: Mapping[str, str]) -> dict[str, object]:
        """The decision for a request that nobody serves. Raises TurnoutError."""
        engine = await self.engine()
        return explain(engine, _call(engine, operation, body, headers))

    async def record(self, request_id: str) -> LedgerRow | None:
        """A request's row in the ledger. Raises Internal where that cannot be read."""
        return await asyncio.to_thread((await self.engine()).ledger.get, request_id)

    async def end(self, stream: _Closing) -> None:
        """Close a stream that `run` gave: its books are closed with it, and the provider stops."""
        self._streams.discard(stream)
        await stream.aclose()

    async def aclose(self) -> None:
        """End what is being answered, write the books, let go of all. May be called twice."""
        if self._closed:
            return
        self._closed = True
        async with self._opening:  # what is still being built must be let go of too
            parts = self._parts
        async with parts:
            self._idle.clear()
            for task in self._asking:
                task.cancel()
            if self._asking:
                await self._idle.wait()
            for stream in list(self._streams):
                await self.end(stream)

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise NoCapacity("the gateway is closed; make another")
        if self._loop not in {None, loop}:
            raise RuntimeError("this AsyncGateway belongs to another event loop; make one in each, or use Gateway")
        self._loop = loop

    async def _built(self) -> Engine:
        """The engine with what runs beside it while it serves: the same as beside a server."""
        config = self._config
        async with AsyncExitStack() as parts:
            spans = open_spans(config.telemetry, self._env)
            if spans is not None:
                parts.callback(spans.close)  # after the engine, whose last requests it is still told of
            engine = await build_engine(config, self._env, discover=self._discovers)
            parts.push_async_callback(self._let_go, engine)
            if not len(engine.fleet):
                raise NoCapacity(
                    "no model was found: set a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...), start a local "
                    "server, install turnout[local], or name a config"
                )
            engine.state.memory.signals.tracer = spans.settled if spans is not None else None
            await parts.enter_async_context(refreshing(price_source(config), engine.state.http, self._priced))
            await parts.enter_async_context(following(self._looked))
            self._parts = parts.pop_all()
        return engine

    async def _let_go(self, engine: Engine) -> None:
        await (self._engine or engine).aclose()

    async def _looked(self) -> None:
        if self._engine is not None:
            await self._engine.budgets.look()

    async def _priced(self) -> None:
        if (old := self._engine) is None:
            return
        try:
            self._engine = await build_engine(
                self._config, self._env, discover=self._discovers, extras=old.extras, state=old.state
            )
        except TurnoutError as error:  # the prices are kept: the next gateway has them
            log.warning("new prices wait for the next start: %s", error.message)


def _call(engine: Engine, operation: Operation, body: bytes, headers: Mapping[str, str]) -> Call:
    """A request as a server would hand it over. Raises Unauthorized."""
    return Call(
        request_id=f"req_{secrets.token_hex(12)}",
        key=engine.keyring.caller(headers),
        operation=operation,
        body=body,
        headers=headers,
        started_s=time.monotonic(),
    )
