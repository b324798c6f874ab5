"""`turnout usage`: where tokens and money went, read from the ledger, and the three things that would save most."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from turnout.catalog.prices import Price, format_usd
from turnout.cli.focus import write_charges
from turnout.config import Config, StoreConfig, load_config
from turnout.engine import build_engine
from turnout.spend.volume import PARTS, Volume
from turnout.stores.opening import open_stores
from turnout.usage import Report, moment, report, report_story

__all__ = ["usage"]


def usage(args: argparse.Namespace) -> int:
    """Print the report. Raises ConfigError and InvalidRequest."""
    config = load_config(args.config) if args.config else Config()
    now = datetime.now(UTC)
    since = moment(args.since, now, param="--since")
    until = moment(args.until, now, param="--until") if args.until else now
    stores = open_stores(config.store)
    try:
        ledger = stores.ledger
        if args.csv is not None or args.parquet is not None:
            write_charges(ledger.charges(since, until), to_csv=args.csv, to_parquet=args.parquet)
            return 0
        volumes = ledger.usage(since, until, args.by)
        prices = asyncio.run(_prices(config, volumes))
        told = report(ledger, prices.get, by=args.by, since=since, until=until)
    finally:
        stores.close()
    if args.json:
        story = msgspec.json.encode(report_story(told))
        sys.stdout.buffer.write(msgspec.json.format(story, indent=2) + b"\n")
    else:
        _print(told)
    return 0


async def _prices(config: Config, volumes: list[Volume]) -> dict[str, Price | None]:
    """What the config and the catalogue say now of the deployments that answered."""
    names = {volume.deployment for volume in volumes if volume.deployment}
    quiet = replace(config, store=StoreConfig(ledger="sqlite:///:memory:"), budgets={})
    engine = await build_engine(quiet, os.environ)
    try:
        return {name: engine.price_of(name) for name in names}
    finally:
        await engine.aclose()


def _print(told: Report) -> None:
    console = Console()
    if not told.volumes:
        console.print(
            f"no request from {told.since:%Y-%m-%d %H:%M} to {told.until:%Y-%m-%d %H:%M} UTC is in the ledger"
        )
        return
    table = Table(box=None, pad_edge=False)
    table.add_column(told.by)
    for name in ("model", "calls", "input", "a call", "repeated", "cached", "+ a step", "output", "cost"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=name != "model")
    for v in told.volumes:
        given = max(1, v.input_tokens)
        table.add_row(
            v.group or "-",
            v.deployment or "nobody",
            f"{v.requests:,}",
            f"{v.input_tokens:,}",
            f"{v.input_tokens // max(1, v.requests):,}",
            f"{v.repeated_tokens / given:.0%}",
            f"{v.cache_read_tokens / given:.0%}",
            "" if v.growth_per_step is None else f"{v.growth_per_step:,.0f}",
            f"{v.output_tokens:,}",
            format_usd(v.cost_nano_usd) + (f" + {v.unpriced} unpriced" if v.unpriced else ""),
        )
    console.print(table)
    sums = {part: sum(getattr(v, part) for v in told.volumes) for part in PARTS}
    whole = max(1, sum(sums.values()))
    shares = ", ".join(f"{part.replace('_', ' ')} {tokens / whole:.0%}" for part, tokens in sums.items() if tokens)
    console.print(f"\ninput by part (estimated): {shares}")
    for number, advice in enumerate(told.advice, start=1):
        console.print(f"\n{number}. {advice.title}: up to {format_usd(advice.saving_nano_usd)}", highlight=False)
        console.print(f"   {told.by} {advice.group or '-'}: {advice.how}", highlight=False)
