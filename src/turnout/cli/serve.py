"""`turnout serve`: the gateway until it is told to stop; its config may change meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import uvloop
from msgspec import Struct
from msgspec.structs import replace

from turnout.cli.workers import Place, for_workers, watched
from turnout.config import Config, TelemetryConfig, load_config
from turnout.engine import build_engine, check_binding, price_source
from turnout.errors import ConfigError, NoCapacity, TurnoutError
from turnout.providers.price_refresh import refreshing
from turnout.server.app import App
from turnout.server.following import following
from turnout.server.listener import GatewayServer, listening_socket
from turnout.server.reload import watching
from turnout.server.siblings import Siblings
from turnout.spans import open_spans
from turnout.telemetry.exposition import AMONG
from turnout.telemetry.logs import JsonLog, json_log

__all__ = ["make_server", "reload", "serve"]

log = logging.getLogger("turnout")

GC_AFTER = (20_000, 20, 50)
"""As `gc.set_threshold` takes them: objects more, and younger collections before an older one."""

TOLD_S = 1.0
"""How often a worker tells the others its counts; also when it is scraped."""


class Where(Struct, frozen=True, kw_only=True):
    """What the command line says over the config: where to listen, and how many processes do."""

    file: Path | None = None
    host: str | None = None
    port: int | None = None
    workers: int | None = None

    def config(self) -> Config:
        """The config as it is now, for as many processes. Raises ConfigError."""
        config = load_config(self.file) if self.file else Config()
        count = config.server.workers if self.workers is None else self.workers
        return for_workers(config, count)


def serve(config_path: str | None, host: str | None, port: int | None, workers: int | None = None) -> int:
    """Run until a signal ends it. Raises ConfigError or NoCapacity before anything listens."""
    logging.basicConfig(format="turnout: %(message)s", level=logging.WARNING)
    where = Where(file=Path(config_path) if config_path else None, host=host, port=port, workers=workers)
    config = where.config()
    if config.server.workers == 1:
        return _run(config, where, None)

    def work(place: Place) -> int:
        try:
            return _run(config, where, place)
        except TurnoutError as error:  # as the command itself tells them
            print(f"turnout serve: {error.message}", file=sys.stderr)
            return 1

    made = listening_socket(host or config.server.host, config.server.port if port is None else port)
    return watched(config.server.workers, made, work)


def _run(config: Config, where: Where, place: Place | None) -> int:
    with nullcontext() if config.telemetry.log == "text" else json_log(sys.stderr) as lines:
        uvloop.run(_serve(config, where, place, lines))
    return 0


async def _serve(config: Config, where: Where, place: Place | None, lines: JsonLog | None = None) -> None:
    file, host = where.file, where.host
    engine = await build_engine(config, os.environ, discover=file is None)
    signals = engine.state.memory.signals
    signals.log = lines
    spans = open_spans(config.telemetry, os.environ)
    signals.tracer = spans.settled if spans is not None else None
    try:
        if not len(engine.fleet):
            raise NoCapacity(
                "no model was found: set a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...), "
                "start a local server, install turnout[local], or write a config"
            )
        app = App(engine, place and Siblings(place.board, place.slot, AMONG))
        server = make_server(app, config, host, where.port, announce=place and (lambda _: place.ready()))
        if place is not None:
            asyncio.get_running_loop().add_reader(place.orphaned, end_orphaned, server, place.orphaned)

        async def again() -> None:
            await reload(app, config, where.config(), host, discover=file is None)

        async def priced() -> None:
            try:
                await again()
            except TurnoutError as error:  # the prices are kept: the next config that builds has them
                log.warning("new prices wait for a config that can be built: %s", error.message)

        async def looked() -> None:
            await app.engine.budgets.look()  # of the engine that serves by then

        pricing = refreshing(price_source(config), engine.state.http, priced)
        engine.router.prepare()
        settle_in()
        async with watching(file, again), pricing, following(looked), following(app.scrapes.tell, TOLD_S):
            await server.serve(place.socket if place else None)
        await app.scrapes.tell()
    finally:
        await engine.aclose()
        if spans is not None:
            await asyncio.to_thread(spans.close)


def settle_in() -> None:
    """Let collections of garbage pass over what lives as long as the process (modules, catalogue, config), and come
    less often: requests make few cycles, and each pass goes over all the sessions that are remembered."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_AFTER)


def end_orphaned(server: GatewayServer, orphaned: int) -> None:
    """The parent is gone. Once: what can be read stays so, and a second word to end would cut the first short."""
    asyncio.get_running_loop().remove_reader(orphaned)
    server.handle_exit(signal.SIGTERM, None)


async def reload(app: App, running: Config, config: Config, host: str | None, *, discover: bool = False) -> None:
    """Let `config` take over in `app`: requests that are open end under the one they began with; sessions, budgets'
    money, health and connections stay. Raises ConfigError, and then nothing has changed.

    `running`: what the process was started with; where it listens and stores cannot change while it runs.
    """
    check_binding(config, host or running.server.host, app.engine.state.stores.keys)
    if config.store != running.store:
        raise ConfigError("[store] has changed: restart the gateway for that", param="store")
    if (config.server.host, config.server.port) != (running.server.host, running.server.port):
        log.warning("server.host and server.port have changed: that takes a restart")
    if _outlets(config) != _outlets(running):
        log.warning("telemetry.log, otel or otlp_* have changed: that takes a restart")
    old = app.engine
    app.take_over(await build_engine(config, os.environ, discover=discover, extras=old.extras, state=old.state))


def make_server(
    app: App, config: Config, host: str | None, port: int | None, announce: Callable[[str], None] | None = None
) -> GatewayServer:
    """The server for `app`. Raises ConfigError where it may not listen."""
    bind = host or config.server.host
    check_binding(config, bind, app.engine.state.stores.keys)
    return GatewayServer(app, bind, config.server.port if port is None else port, announce)


def _outlets(config: Config) -> TelemetryConfig:
    """Where logs and traces go; webhooks follow a change."""
    return replace(config.telemetry, webhook=None, webhook_secret=None)
