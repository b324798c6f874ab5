"""`turnout route`: the decision for one request, explained; nobody is called."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import msgspec
from msgspec.structs import replace

from turnout.call import Call
from turnout.config import Config, StoreConfig, load_config
from turnout.dialects import DIALECTS
from turnout.engine import build_engine
from turnout.providers.operations import ChatOperation
from turnout.server.views import explain

__all__ = ["route"]


def route(config_path: str | None, body: bytes, *, mode: str | None = None, anthropic: bool = False) -> int:
    """Print the decision as JSON. Raises ConfigError and whatever the request itself deserves."""
    config = load_config(config_path) if config_path else Config()
    told = asyncio.run(_explain(config, body, mode, anthropic, discover=config_path is None))
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    return 0


async def _explain(config: Config, body: bytes, mode: str | None, anthropic: bool, *, discover: bool) -> object:
    # Nothing is booked, so the user's ledger stays shut.
    config = replace(config, store=StoreConfig(ledger="sqlite:///:memory:"))
    engine = await build_engine(config, os.environ, discover=discover)
    try:
        call = Call(
            request_id="explained",
            operation=ChatOperation(DIALECTS["anthropic-messages" if anthropic else "openai-chat"]),
            body=body,
            headers={"x-turnout-mode": mode} if mode else {},
            started_s=time.monotonic(),
        )
        return explain(engine, call)
    finally:
        await engine.aclose()
