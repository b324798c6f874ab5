"""`turnout replay`: what recorded sessions would have cost under other policies of routing and caching."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as RichTable

from turnout.errors import InvalidRequest
from turnout.lab.replay import (
    POLICIES,
    Decisions,
    Pair,
    Row,
    SessionRouting,
    Table,
    by_kind,
    model_named,
    read_decisions,
    read_scores,
    session_routing,
    table_of,
)
from turnout.lab.sessions import ReadCount

__all__ = ["replay"]

PAIRS = ("anthropic/claude-opus-5:anthropic/claude-haiku-4-5", "openai/gpt-5.5:openai/gpt-5-nano")

WIDTH = 130
"""Of what is piped."""

NOTES = (
    "measured: sizes, times and outcomes of sessions that recorded them; list prices",
    "estimated: sizes of sessions without recorded usage (kinds that have any are marked ~); caches by published rules",
    "assumed: another model writes as much; a small model does routine steps as well (those that read a tool's result",
    "  while nothing has failed); a step takes 5 s where no time was recorded; caches keep what the rules promise",
    "saved: beside the frontier without caching, and with it (95 % interval over sessions); off: steps not routine and",
    "  not on the frontier; oracle: the best under the same assumptions, the whole session known beforehand",
)


def replay(args: argparse.Namespace) -> int:
    """Read, play and print. Raises InvalidRequest."""
    pairs = [_pair(text) for text in args.pair or PAIRS]
    decided = dict(_decisions(text) for text in args.decisions)
    policies = [*(args.policy or POLICIES), *(name for name in decided if name not in args.policy)]
    for policy in policies:
        if policy not in POLICIES and policy not in decided:
            raise InvalidRequest(
                f"there is no policy {policy!r}; there are {', '.join(POLICIES)}, or --decisions NAME=FILE"
            )
    count = ReadCount()
    errors = Console(stderr=True)
    # Not forked: this process may have threads.
    with (
        ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool,
        Progress(console=errors, transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        reading = progress.add_task("reading sessions", total=None)
        scores = read_scores([Path(p) for p in args.paths], pool, count, lambda n: progress.advance(reading, n))
        kinds = by_kind(scores)
        playing = progress.add_task("playing policies", total=len(pairs) * len(kinds))
        tables: list[Table] = []
        jobs = [
            pool.submit(table_of, sessions, pair, policies, decided, seed=args.seed, warm=args.warm)
            for pair in pairs
            for sessions in kinds.values()
        ]
        for job in jobs:
            tables.append(job.result())
            progress.advance(playing)
    routed = [found for sessions in kinds.values() if (found := session_routing(sessions)) is not None]
    if count.bad:
        errors.print(f"{count.bad} lines left out: {count.first_error}", style="yellow", markup=False)
    if args.json:
        told = {"notes": NOTES, "data": tables, "session_routing": routed, "lines_left_out": count.bad}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        _show(tables, routed)
    return 0


def _pair(text: str) -> Pair:
    names = re.split(r":(?=[\w.-]+/)", text)  # a model's own name may have a colon
    if len(names) not in {2, 3}:
        raise InvalidRequest(f"--pair {text}: write FRONTIER:SMALL or FRONTIER:MID:SMALL, each as provider/model")
    for name in names:
        if not model_named(name, "small").price.input:  # said now, and not by a child process later
            raise InvalidRequest(f"--pair {text}: {name} costs nothing, so there is no share of its price to save")
    return Pair(frontier=names[0], small=names[-1], mid=names[1] if len(names) == 3 else None)


def _decisions(text: str) -> tuple[str, Decisions]:
    name, found, file = text.partition("=")
    if not found or not name or name in POLICIES:
        raise InvalidRequest(f"--decisions {text}: write NAME=FILE, with a name of its own")
    return name, read_decisions(Path(file))


def _show(tables: Sequence[Table], routed: Sequence[SessionRouting]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for told in tables:
        console.print(_table(told))
        visits = ", ".join(f"{name}: {n:,} ({share:.0%} read)" for name, (n, share) in told.visits.items())
        console.print(f"visits: {visits}\n", highlight=False)
    for found in routed:
        console.print(_routing_table(found))
    for note in NOTES:
        console.print(note, style="dim", highlight=False)


def _table(told: Table) -> RichTable:
    judged = f", {told.solved} solved" if told.solved is not None else ""
    title = (
        f"{'~' if told.estimated else ''}{told.kind}: {told.sessions} sessions, {told.steps:,} steps{judged}; input "
        f"{told.input_over_final:.1f}x the last context, {told.repeated_share:.0%} repeated, "
        f"{told.routine_share:.0%} routine\n{told.frontier} and {told.small}"
    )
    table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("policy", no_wrap=True)
    heads = (
        "USD",
        "solved one",
        "saved",
        "beside caching",
        "",
        "cache read",
        "small",
        "off",
        "switches",
        "dearer",
        "of oracle",
    )
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in told.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    return [
        row.policy,
        f"{row.usd:.3f}",
        "" if row.usd_per_solved is None else f"{row.usd_per_solved:.4f}",
        f"{row.saved_uncached:.1%}",
        f"{row.saved_cached:+.1%}",
        f"{row.low:+.1%}..{row.high:+.1%}",
        f"{row.read_share:.1%}",
        f"{row.small_share:.0%}",
        f"{row.off:.0%}",
        f"{row.switches:.1f}",
        f"{row.dearer:.1%}",
        "" if row.of_oracle is None else f"{row.of_oracle:.0%}",
    ]


def _routing_table(found: SessionRouting) -> RichTable:
    title = f"{found.kind}: {found.tasks} tasks, each a whole session to one of {len(found.models)} recorded models"
    table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("choice")
    for head in ("solved", "USD a session", "of the strongest's cost"):
        table.add_column(head, justify="right")
    strongest = found.choices[f"always {found.strongest}"][1]
    for name, (solved, cost) in found.choices.items():
        table.add_row(name, f"{solved:.1%}", f"{cost:.5f}", f"{cost / strongest:.1%}" if strongest else "")
    return table
