"""The audit's report in a terminal: two screens, the dearest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from turnout.lab.audit.report import CurvePoint, Finding, Report

__all__ = ["show"]

MOST_FINDINGS = 8
MOST_ROWS = 5
BAR = 24

PART_TITLES = {
    "unseen": "not in the logs (system text, tools)",
    "system": "system text",
    "tools": "tool definitions",
    "history": "what was said",
    "tool_results": "tool results",
    "attachments": "attachments",
    "reasoning": "thinking",
}

LEVELS = " ▁▂▃▄▅▆▇█"


def show(report: Report, console: Console) -> None:
    """Print it."""
    for block in (_head(report), _findings(report), _what_if(report), _where(report), _cache(report), _end(report)):
        console.print(block)


def tokens(count: float) -> str:
    """`812`, `45.1k`, `12.3M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def usd(amount: float | None) -> str:
    if amount is None:
        return ""
    return f"${amount:,.2f}" if abs(amount) >= 0.1 or not amount else f"${amount:.4f}"


def _head(report: Report) -> RenderableType:
    total = report.totals
    span = ""
    if report.since is not None and report.until is not None:
        span = f", {report.since:%Y-%m-%d} to {report.until:%Y-%m-%d}"
    found = "; ".join(f"{s.title}: {s.files:,} files, {s.steps:,} calls" for s in report.sources)
    lines = [
        f"[bold]{usd(total.cost_usd)}[/] at list price for {total.calls:,} calls in {total.sessions:,} sessions{span}",
        f"{tokens(total.input_tokens)} input ({_share(total.cache_read_tokens, total.input_tokens)} read from caches), "
        f"{tokens(total.output_tokens)} output"
        + (f"; the logs themselves say {usd(total.logged_usd)}" if total.logged_calls == total.calls else ""),
        Text(found, style="dim").markup,
    ]
    return Group(*(Text.from_markup(line) for line in lines), Text(""))


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "0%"


def _findings(report: Report) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(width=2, justify="right")
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for number, finding in enumerate(report.findings[:MOST_FINDINGS], start=1):
        what = Text(finding.title, style="bold")
        what.append(f"\n{finding.evidence}", style="dim not bold")
        if finding.advice:
            what.append(f"\n→ {finding.advice}", style="not bold")
        table.add_row(str(number), what, _money(finding), finding.basis)
    return Group(Text("Findings", style="bold underline"), table, Text(""))


def _money(finding: Finding) -> str:
    if finding.saving_usd is not None:
        return f"save {usd(finding.saving_usd)}"
    return "" if finding.cost_usd is None else f"cost {usd(finding.cost_usd)}"


def _what_if(report: Report) -> RenderableType:
    if not report.what_if:
        return Text("No what-if: no conversation of two steps with a list price.\n", style="dim")
    table = _table(
        f"What {report.what_if_conversations:,} conversations would have cost", "", "USD", "saved", "", "basis"
    )
    most = max(row.usd for row in report.what_if) or 1.0
    for row in report.what_if:
        bar = Text("█" * round(BAR * row.usd / most), style="cyan")
        table.add_row(row.title, usd(row.usd), f"{row.saved_share:+.0%}", bar, row.basis)
    return Group(table, Text(""))


def _where(report: Report) -> RenderableType:
    parts = _table("What the input was", "", "tokens", "", "USD")
    for row in report.parts[:7]:
        bar = Text("█" * round(BAR * row.share), style="cyan")
        parts.add_row(PART_TITLES.get(row.part, row.part), tokens(row.tokens), bar, usd(row.cost_usd))
    models = _table("By model", "", "calls", "input", "cached", "USD")
    for row in report.models[:MOST_ROWS]:
        cost = usd(row.cost_usd) if not row.unpriced else "no price"
        cached = _share(row.cache_read_tokens, row.input_tokens)
        models.add_row(_short(row.model), f"{row.calls:,}", tokens(row.input_tokens), cached, cost)
    projects = _table("By project", "", "calls", "input", "USD")
    for row in report.projects[:MOST_ROWS]:
        projects.add_row(_short(row.project), f"{row.calls:,}", tokens(row.input_tokens), usd(row.cost_usd))
    tools = _table("By tool", "", "calls", "results carried", "USD")
    for row in [row for row in report.tools if row.calls][:MOST_ROWS]:
        tools.add_row(_short(row.tool), f"{row.calls:,}", tokens(row.carried_tokens), usd(row.carried_usd))
    return Group(_beside(parts, models), Text(""), _beside(projects, tools), Text(""), *_curve(report.curve), Text(""))


def _beside(left: Table, right: Table) -> RenderableType:
    grid = Table.grid(padding=(0, 4))
    grid.add_row(left, right)
    return grid


def _curve(points: Sequence[CurvePoint]) -> Iterable[RenderableType]:
    if not points:
        return
    most = max(point.context for point in points)
    bars = "".join(LEVELS[1 + round(7 * point.context / most)] if most else LEVELS[1] for point in points)
    first, last = points[0], points[-1]
    text = Text("context by step  ", style="bold")
    text.append(bars, style="cyan")
    text.append(f"  {tokens(first.context)} at the first, {tokens(last.context)} at step {last.step + 1}")
    yield text


def _cache(report: Report) -> RenderableType:
    cache = report.cache
    if not cache.judged_tokens:
        return Text("Caches: no log tells what was read.\n", style="dim")
    title = f"Caches: of {tokens(cache.judged_tokens)} repeated tokens {cache.read_share or 0:.0%} were read; missed:"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    for place in range(4):
        table.add_column(justify="right" if place else "left", no_wrap=True)
    table.add_column(ratio=1, style="dim")
    for row in cache.misses[:MOST_ROWS]:
        table.add_row(row.reason, f"{row.calls:,} calls", tokens(row.tokens), usd(row.cost_usd), row.meaning)
    return Group(table, Text(""))


def _end(report: Report) -> RenderableType:
    lines = list(report.notes)
    for source in report.sources:
        if source.bad:
            lines.append(f"{source.title}: {source.bad:,} lines could not be read ({source.first_error})")
        if source.unknown:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in list(source.unknown.items())[:4])
            lines.append(f"{source.title}: lines of kinds unknown here were left out: {kinds}")
    if report.unknown_files:
        names = ", ".join(report.unknown_names[:3])
        lines.append(f"{report.unknown_files:,} files are no log that is known here: {names}")
    return Text("\n".join(lines), style="dim")


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place, head in enumerate(heads):
        right = place and head not in {"", "basis"}
        table.add_column(head, justify="right" if right else "left", no_wrap=place > 0, overflow="ellipsis")
    return table


def _short(name: str) -> Text:
    """Names are the logs' own: never read as markup, and no control characters."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return Text(shown if len(shown) <= 40 else shown[:39] + "…")
