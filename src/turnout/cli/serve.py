"""`turnout serve`: the gateway under uvicorn, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
import uvloop

from turnout.config import Config, load_config
from turnout.engine import build_engine, check_binding
from turnout.errors import NoCapacity
from turnout.server.app import App

__all__ = ["make_server", "serve"]


def serve(config_path: str | None, host: str | None, port: int | None) -> int:
    """Run until a signal ends it. Raises ConfigError or NoCapacity before anything listens."""
    config = load_config(config_path) if config_path else Config()
    return uvloop.run(_serve(config, host, port, discover=config_path is None))


async def _serve(config: Config, host: str | None, port: int | None, *, discover: bool) -> int:
    check_binding(config, host or config.server.host)
    engine = await build_engine(config, os.environ, discover=discover)
    try:
        if not len(engine.fleet):
            raise NoCapacity(
                "no model was found: set a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...), "
                "start a local server, install turnout[local], or write a config"
            )
        server = make_server(App(engine), config, host, port)
        await server.serve()
    finally:
        await engine.aclose()
    return 0 if server.started else 1


def make_server(app: App, config: Config, host: str | None, port: int | None) -> AnnouncingServer:
    """The uvicorn server for `app`. Raises ConfigError where it may not listen."""
    bind = host or config.server.host
    check_binding(config, bind)
    return AnnouncingServer(
        uvicorn.Config(
            app,
            host=bind,
            port=config.server.port if port is None else port,
            http="httptools",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing of ours asks who called, and a header may lie
            date_header=False,
            timeout_graceful_shutdown=int(config.server.shutdown_grace_s),
        )
    )


class AnnouncingServer(uvicorn.Server):
    """Says where it listens once it does (with port 0 nobody else could know)."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    def address(self) -> str:
        """`http://host:port` of the first socket. Valid once started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set()
            print(f"turnout: listening on {self.address()}", file=sys.stderr, flush=True)
