"""`turnout budgets`: what each budget may spend, has spent, and until when; from the config and its ledger."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime

import msgspec
from rich.console import Console
from rich.table import Table

from turnout.budget_book import book_rules
from turnout.catalog.prices import format_usd
from turnout.config import Config, load_config
from turnout.money import budget_story, open_budgets
from turnout.spend.budgets import BudgetState
from turnout.stores.opening import open_stores

__all__ = ["budgets"]


def budgets(args: argparse.Namespace) -> int:
    """Print the budgets. Raises ConfigError."""
    config = load_config(args.config) if args.config else Config()
    stores = open_stores(config.store)
    try:
        states = open_budgets(book_rules(config, stores.budgets), stores.ledger).states()
    finally:
        stores.close()
    if args.json:
        told = msgspec.json.encode({"data": [budget_story(state) for state in states]})
        sys.stdout.buffer.write(msgspec.json.format(told, indent=2) + b"\n")
    elif not states:
        print("no budget is set; add [budgets.NAME] with amount_usd to the config")
    else:
        Console().print(_table(states))
    return 0


def _table(states: list[BudgetState]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("budget", "covers", "spent", "of", "left", "period"):
        table.add_column(name, justify="right" if name in {"spent", "of", "left"} else "left")
    for state in states:
        match = budget_story(state)["match"]
        covers = ", ".join(f"{k} {v}" for k, v in match.items()) if isinstance(match, dict) else ""
        table.add_row(
            state.rule.name,
            covers or "everything",
            format_usd(state.spent_nano_usd),
            format_usd(state.amount_nano_usd),
            format_usd(state.left_nano_usd),
            state.rule.period.told(datetime.now().astimezone()),
        )
    return table
