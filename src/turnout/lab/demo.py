"""`turnout demo`: the main job on real input, with no key and no network.

Recorded agent sessions go through a real gateway over HTTP, driven by the official SDKs; a recorded frontier
model and a recorded small one answer them, and the embedded model answers live prompts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.catalog import Catalog
from turnout.catalog.models import Capabilities, Deployment, Tier
from turnout.catalog.prices import Price
from turnout.cli.serve import make_server
from turnout.config import ProviderConfig, StoreConfig, parse_config
from turnout.dialects import DIALECTS
from turnout.engine import Engine, Extra, build_engine
from turnout.errors import ConfigError
from turnout.lab.clients import Clients, Step, drive_session, live_prompt
from turnout.lab.demo_report import Report
from turnout.lab.sessions import Session, offered_model, packaged_sessions, turns_of
from turnout.providers.apis import APIS
from turnout.providers.embedded import available
from turnout.providers.exchange import Provider
from turnout.providers.recorded import RecordedTransport
from turnout.providers.registry import ProviderRow
from turnout.server.app import App
from turnout.server.listener import GatewayServer

__all__ = ["demo", "recorded_extra"]

PRICED_AS = {"frontier": "gpt-4.1", "small": "gpt-4.1-mini"}
"""Whose list price (OpenAI) each recorded model is booked at. Assumed for the airline and coding sessions,
which other models recorded."""

CONFIG = """
[modes]
order_desk = "tier/small"   # routine order changes: declared small by whoever runs the agent
extraction = "tier/small"

[budgets.demo]
amount_usd = 1
period = "day"
pacing = "off"              # nothing here may depend on the hour
"""

PROMPTS = (
    ("extraction", "Extract the order number: 'Hi, my order #W4817420 has not arrived yet.'"),
    (None, "What is the capital of France?"),
    (None, "Write a one-line commit message: fixed a crash when the cart is empty."),
    ("extraction", "Is this review positive or negative? 'The kettle broke after two days.'"),
    (None, "Translate to Spanish: Where is the train station?"),
)

HARD = "Design a migration plan from our monolith to services. " + "Here is the module list and its call graph. " * 120


class Plan(Struct, frozen=True, kw_only=True):
    """One session to drive: `task` names it, `mode` is declared or None, `sdk` speaks for the agent."""

    task: str
    mode: str | None
    sdk: str


def demo(*, stay: bool, port: int) -> int:
    """Run the demo; `stay` keeps the gateway up afterwards. Returns the exit status."""
    return asyncio.run(_demo(stay=stay, port=port))


def plans(sessions: list[Session]) -> list[Plan]:
    """Every packaged task once. Of the retail tasks, recorded by both a strong and a small model, all but the
    first are declared `order_desk`; the rest say nothing and are routed by `auto`."""
    tasks = list(dict.fromkeys(s.task for s in sessions))
    retail = [t for t in tasks if t.startswith("tau2-retail")]
    coding = {s.task for s in sessions if s.kind == "coding-agent"}
    return [
        Plan(
            task=task,
            mode="order_desk" if task in retail[1:] else None,
            sdk="anthropic" if task in coding else "openai",
        )
        for task in tasks
    ]


def recorded_extra(sessions: list[Session]) -> Extra:
    """The recorded provider, with the packaged sessions' turns."""
    dialect = DIALECTS["openai-chat"]
    row = ProviderRow(name="recorded", apis=APIS[dialect.name], base_url="recorded:", local=False)
    tiers: dict[str, Tier] = {"frontier": "frontier", "small": "small"}
    deployments = tuple(
        Deployment(
            id=f"recorded/{name}",
            provider="recorded",
            upstream_model=name,
            dialect=dialect.name,
            tier=tier,
            capabilities=Capabilities(context_window=128_000),
            price=price_of(name),
        )
        for name, tier in tiers.items()
    )
    transport = RecordedTransport(turns_of(sessions, dialect), dialect)
    return Extra(provider=Provider(row=row, api_key=None, transport=transport), deployments=deployments)


def price_of(offered: str) -> Price:
    price = Catalog.load().price("openai", PRICED_AS[offered])
    if price is None:
        raise ConfigError(f"the catalogue has no price for {PRICED_AS[offered]}; run tools/update_catalog.py")
    return price


async def _demo(*, stay: bool, port: int) -> int:
    sessions = packaged_sessions()
    report = Report(Console(), price_of("frontier"), cache_rule_of("openai", PRICED_AS["frontier"]))
    async with _gateway(sessions, port) as (server, engine, running):
        report.opening(server.address(), embedded=available())
        clients = Clients.to(server.address())
        for plan in plans(sessions):
            await _drive(plan, sessions, clients, engine, report)
        if available():
            report.heading("Live prompts, answered by the embedded small model", "")
            for mode, prompt in PROMPTS:
                report.prompt(prompt, await live_prompt(clients, engine, prompt, mode))
        report.explained(HARD, await clients.explain(HARD))
        report.closing()
        await clients.aclose()
        if stay:
            report.staying(server.address())
            await running
    return 0


async def _drive(plan: Plan, sessions: list[Session], clients: Clients, engine: Engine, report: Report) -> None:
    by_model = {offered_model(s): s for s in sessions if s.task == plan.task}
    frontier = by_model["frontier"]
    report.heading(f"{frontier.bench}  {plan.task.rpartition('/')[2]}", f"{plan.sdk} SDK, {plan.mode or 'no mode'}")
    steps: list[Step] = []
    async for step in drive_session(plan.task, by_model, clients, engine, mode=plan.mode, sdk=plan.sdk):
        report.step(step)
        steps.append(step)
    report.session(by_model[steps[-1].followed], frontier, steps)


@contextlib.asynccontextmanager
async def _gateway(
    sessions: list[Session], port: int
) -> AsyncGenerator[tuple[GatewayServer, Engine, asyncio.Task[None]]]:
    """A gateway on loopback in this process, ended on leaving."""
    config = replace(
        parse_config(CONFIG, {}),
        store=StoreConfig(ledger="sqlite:///:memory:"),
        providers={"embedded": ProviderConfig()} if available() else {},
    )
    # No variable of the user's environment counts here: the demo calls no provider.
    engine = await build_engine(config, {}, extras=[recorded_extra(sessions)])
    server = make_server(App(engine), config, "127.0.0.1", port)
    running = asyncio.create_task(server.serve())
    starting = asyncio.create_task(server.listening.wait())
    await asyncio.wait({running, starting}, return_when=asyncio.FIRST_COMPLETED)
    if not server.listening.is_set():
        starting.cancel()
        raise ConfigError(
            f"the demo's gateway did not start on port {port}; choose another with --port"
        ) from running.exception()
    try:
        yield server, engine, running
    finally:
        server.should_exit = True
        await running
        await engine.aclose()
