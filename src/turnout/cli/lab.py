"""`turnout lab`: what pacing does to a month's budget; what recorded sessions carry for nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.catalog import Catalog
from turnout.catalog.prices import format_usd
from turnout.errors import InvalidRequest
from turnout.lab.hygiene import KindReport, look, summed
from turnout.lab.pacing import POLICIES, SCENARIOS, Outcome, Policy, Scenario, simulate
from turnout.lab.sessions import (
    ReadCount,
    Session,
    ToolTable,
    packaged_sessions,
    packaged_tools,
    read_sessions,
    read_tools,
)
from turnout.spend.hygiene import FINDING_KINDS
from turnout.spend.trimming import Billing

__all__ = ["context", "pacing"]

TOOLS = "tools.json"


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


def context(paths: Sequence[str], model: str, *, patience: int, as_json: bool = False) -> int:
    """Look at recorded sessions, and print what they carried for nothing. Raises InvalidRequest for a trace or a model
    that is none."""
    billing = _billing(model)
    if patience < 1:
        raise InvalidRequest(f"--patience {patience}: must be at least 1", param="patience")
    count = ReadCount()
    looked = [
        look(session, tools, billing, model.partition("/")[2], patience=patience)
        for session, tools in _tracked(list(_recorded(paths, count)))
    ]
    if count.bad:
        print(f"turnout lab: {count.bad} lines left out; {count.first_error}", file=sys.stderr)
    if not looked:
        raise InvalidRequest("there is no recorded session in these files; the format is one JSON object a line")
    kinds = list(summed(looked))
    if as_json:
        told = {"model": model, "cache": billing.rule.name, "patience": patience, "data": kinds, "notes": NOTES}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    else:
        _print_context(kinds, f"{model}, {billing.rule.name}", patience)
    return 0


NOTES = (
    "Measured: which tools were called, which results are there twice. Estimated: tokens; which results nobody refers "
    "to (a model can use what it does not quote). Assumed: a warm cache from step to step and a cold one at the start; "
    "list prices. Net is after the cache that leaving out breaks: tools go before a session begins, duplicates before "
    "they are sent, results after the patience. Unused tools are known when a session is over; `never called` are "
    "those that no session of the kind called"
)


def _billing(model: str) -> Billing:
    provider, slash, name = model.partition("/")
    price = Catalog.load().price(provider, name, datetime.now(UTC).date()) if slash else None
    if price is None:
        raise InvalidRequest(f"--model {model}: no price is known; write provider/model, as openai/gpt-4.1")
    return Billing(price=price, rule=cache_rule_of(provider, name))


def _recorded(paths: Sequence[str], count: ReadCount) -> Iterator[tuple[Session, ToolTable]]:
    """Sessions, each with the tool table beside its file or folder, or above that."""
    if not paths:
        tools = packaged_tools()
        yield from ((session, tools) for session in packaged_sessions())
    for path in map(Path, paths):
        folder = path if path.is_dir() else path.parent
        beside = next((p for p in (folder / TOOLS, folder.resolve().parent / TOOLS) if p.is_file()), None)
        table = read_tools(beside) if beside else {}
        yield from ((session, table) for session in read_sessions(path, count=count))


def _tracked(sessions: list[tuple[Session, ToolTable]]) -> Iterable[tuple[Session, ToolTable]]:
    console = Console(stderr=True)
    return track(sessions, "looking", console=console, transient=True, disable=not sys.stderr.isatty())


def _print_context(kinds: list[KindReport], priced: str, patience: int) -> None:
    console = Console()
    table = Table(title=f"input, and shares of its bill at prices of {priced}", box=None, pad_edge=False)
    table.add_column("")
    for name in ("found", "of input", "gross", "net", "worth it", "net of these"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind in kinds:
        bill = kind.billed_nano_usd
        table.add_row(f"[bold]{escape(kind.kind)}[/]", f"{kind.billed_tokens:,}", "tokens", format_usd(bill))
        table.add_row("tool schemas", f"{kind.offered}", f"{kind.tools_share:.1%}")
        for finding in FINDING_KINDS:
            told = kind.sums[finding]
            amounts = (told.gross_nano_usd, told.net_nano_usd, told.worth_nano_usd)
            gross, net, worth = (f"{amount / max(1, bill):.1%}" for amount in amounts)
            row = (f"{told.findings:,}", f"{kind.shares[finding]:.1%}", gross, net, f"{told.worth:,}", worth)
            table.add_row(finding.replace("_", " "), *row)
        never = f"{kind.never_called_nano_usd / max(1, bill):.1%}"
        table.add_row("tools never called", f"{len(kind.never_called)}", f"{kind.never_called_share:.1%}", never, never)
        table.add_row("together", "", "", "", "", "", f"{kind.net_share:.1%}")
    console.print(table)
    for kind in kinds:
        console.print(f"{kind.kind}: {_told_of_results(kind, patience)}", highlight=False)
    console.print(NOTES + ".", style="dim", highlight=False)


def _told_of_results(kind: KindReport, patience: int) -> str:
    """How results are referred to, and how far the tokens are off."""
    referred = sum(kind.delays)
    unused = kind.sums["unreferenced_result"].findings
    told = f"{kind.sessions:,} sessions, {kind.requests:,} requests; {kind.results:,} results, "
    told += f"{kind.judged:,} judged: {referred:,} referred to, {unused:,} not"
    if referred:
        told += f"; {sum(kind.delays[:1]) / referred:.0%} in the next answer"
        told += f", {kind.late / referred:.0%} only after {patience} answers"
    if kind.late + unused:
        told += f" (leaving out after {patience} would be wrong for {kind.late / (kind.late + unused):.0%})"
    if kind.inferred:
        told += "; tool definitions were not recorded, but inferred from calls"
    return told + (f"; tokens are {kind.off:+.0%} off those recorded" if kind.off is not None else "")
