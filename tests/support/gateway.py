"""A whole gateway on loopback for a test: real sockets, real SQLite, a config in TOML."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from turnout.cli.serve import make_server
from turnout.config import parse_config
from turnout.engine import Engine, Extra, build_engine
from turnout.server.app import App
from turnout.shared_state import SharedState
from turnout.spend.ledger import LedgerRow


@dataclass
class Running:
    url: str
    engine: Engine
    app: App

    def rows(self) -> list[LedgerRow]:
        """All ledger rows, newest first."""
        self.engine.ledger.flush()
        return list(self.engine.ledger.recent(1000))

    async def booked(self, count: int = 1) -> list[LedgerRow]:
        """The rows once there are `count`: a stream is booked after its last byte, which the client does not await."""
        async with asyncio.timeout(5):
            while len(rows := self.rows()) < count:  # noqa: ASYNC110 - no event reaches out of SQLite
                await asyncio.sleep(0.01)
        return rows


@asynccontextmanager
async def gateway(
    toml: str,
    folder: Path,
    extras: Sequence[Extra] = (),
    host: str = "127.0.0.1",
    *,
    shared: SharedState | None = None,
    ledger: str = "ledger.db",
) -> AsyncGenerator[Running]:
    """The gateway of a config, its ledger in `folder`, or at the URL `ledger`. Ends cleanly on leaving. `shared`: what
    it has in common with others."""
    url = ledger if "://" in ledger else f"sqlite:///{folder}/{ledger}"
    config = parse_config(f'store.ledger = "{url}"\nstore.folder = "{folder}"\n' + toml, {})
    engine = await build_engine(config, {}, extras=extras, shared=shared)
    app = App(engine)
    server = make_server(app, config, host, 0)
    running = asyncio.create_task(server.serve())
    try:
        await asyncio.wait_for(server.listening.wait(), 10)
        yield Running(server.address(), engine, app)
    finally:
        server.should_exit = True
        await running
        await engine.aclose()


def host(url: str, dialect: str, model: str = "big") -> str:
    """A config with one host that speaks `dialect`, and its model `up/MODEL` at 5 and 25 USD a million tokens."""
    return (
        f'[providers.up]\ndialect = "{dialect}"\nbase_url = "{url}"\napi_key = "sk-up"\n'
        f'[models."up/{model}"]\ntier = "frontier"\nprice = {{ input = 5, output = 25, cache_read = 0.5 }}\n'
    )


def lab(openai: str | None = None, anthropic: str | None = None) -> str:
    """A config with one host of each format: models `lab/small` (tier small) and `claude/big` (frontier)."""
    parts: list[str] = []
    if openai:
        parts.append(
            f'[providers.lab]\ndialect = "openai-chat"\nbase_url = "{openai}/v1"\napi_key = "sk-lab-secret"\n'
            '[models."lab/small"]\ntier = "small"\nprice = { input = 1, output = 4, cache_read = 0.1 }\n'
        )
    if anthropic:
        parts.append(
            f'[providers.claude]\ndialect = "anthropic-messages"\nbase_url = "{anthropic}"\n'
            'api_key = "sk-claude-secret"\n'
            '[models."claude/big"]\ntier = "frontier"\nprice = { input = 5, output = 25, cache_read = 0.5 }\n'
        )
    return "".join(parts)
