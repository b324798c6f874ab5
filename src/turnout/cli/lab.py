"""`turnout lab pacing`: what pacing does to a month's budget, beside a hard cap and nothing at all."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from turnout.lab.pacing import POLICIES, SCENARIOS, Outcome, Policy, Scenario, simulate

__all__ = ["pacing"]


def pacing(seed: int, *, as_json: bool = False) -> int:
    """Simulate every scenario under every policy, and print what came of it."""
    pairs: list[tuple[Scenario, Policy]] = [(scenario, policy) for scenario in SCENARIOS for policy in POLICIES]
    shown = track(pairs, "simulating", console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    outcomes = [simulate(scenario, policy, seed=seed) for scenario, policy in shown]
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"data": outcomes}), indent=2) + b"\n")
    else:
        Console().print(_table(outcomes))
    return 0


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="30 days, demand as it would cost on the frontier", box=None, pad_edge=False)
    table.add_column("demand")
    table.add_column("policy")
    for name in ("spent", "over", "served", "frontier", "hours dark", "in the last 3 days"):
        table.add_column(name, justify="right")
    for o in outcomes:
        shares = (f"{o.spent:.1%}", f"{o.overspent:.1%}", f"{o.served:.0%}", f"{o.frontier:.0%}")
        hours = (f"{o.blackout_h:.0f}", f"{o.last_days_blackout_h:.0f}")
        table.add_row(o.scenario if o.policy == POLICIES[0] else "", o.policy, *shares, *hours)
    return table
