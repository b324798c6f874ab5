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
from turnout.providers.recorded import PromptCache
from turnout.spend.ledger import LedgerRow

__all__ = ["Report"]

HEADINGS = ("step", "mode", "model", "reason", "context", "cached", "output", "cost")
LINE = "{:>4}  {:<11} {:<31} {:<9} {:>8} {:>8} {:>7} {:>11}"


ASSUMPTIONS = (
    "Measured: every request went through the gateway over HTTP; tokens of the retail sessions are their "
    "provider's own, those of live prompts the embedded model's. Estimated: tokens of airline and coding sessions "
    "(none were recorded). Simulated: cached tokens, by OpenAI's documented rule (from 1,024 tokens, in steps of "
    "128, kept 5 minutes). Assumed: list prices of gpt-4.1 and gpt-4.1-mini for recorded/frontier and "
    "recorded/small, whoever recorded them; the embedded model is free; the frontier would need as many tokens for "
    "a live prompt. Which tasks were declared order_desk is the demo's choice, not a prediction. The embedded model "
    "stands in for your own 8B-70B model and answers badly."
)


class Report:
    """Collects the bills while it prints. `price` and `rule` are the frontier's."""

    def __init__(self, console: Console, price: Price, rule: CacheRule) -> None:
        self._console = console
        self._price = price
        self._cache = PromptCache(rule)
        self._baseline: list[Bill] = []
        self._rows: list[LedgerRow] = []
        self._same = 0
        self._compared = 0
        self._outcomes: list[tuple[float | None, float | None]] = []

    def opening(self, url: str, *, embedded: bool) -> None:
        self._say(f"[bold]Turnout demo[/] on {url}: no key, no network.")
        self._say("Agent sessions are recordings; the [bold]recorded[/] provider answers them.")
        if not embedded:
            self._say(
                "The embedded model is not installed (pip install 'turnout\\[local]'): live prompts are left out."
            )

    def heading(self, title: str, how: str) -> None:
        self._say(f"\n[bold]{escape(title)}[/]  [dim]{escape(how)}[/]")
        self._say(f"[dim]{LINE.format(*HEADINGS)}[/]")

    def step(self, step: Step) -> None:
        row = step.row
        self._rows.append(row)
        if step.as_recorded is not None:
            self._compared += 1
            self._same += step.as_recorded
        self._say(_line(row))

    def session(self, followed: Session, frontier: Session, steps: Sequence[Step]) -> None:
        """A session's end: what it cost here and what the frontier would have cost for the same task."""
        bill = price_session(frontier, self._price, self._cache, DIALECTS["openai-chat"])
        self._baseline.append(bill)
        self._outcomes.append((followed.outcome, frontier.outcome))
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
        self._say(
            f"\n[bold]A hard prompt, explained and not sent[/]  [dim]POST /v1/route[/]\n      {escape(prompt[:55])}..."
        )
        self._say(f"      -> {told['model']}: {escape(told['explanation'])}")

    def closing(self) -> None:
        """The totals against both baselines, and what stands behind each figure."""
        base = Bill.sum(self._baseline)
        spent = sum(row.cost_nano_usd or 0 for row in self._rows)
        table = Table(title=f"\n{len(self._rows)} requests", title_justify="left")
        table.add_column("", no_wrap=True)
        for name in ("input", "cached", "output", "cost", "saved"):
            table.add_column(name, justify="right")
        for name, cached, cost in (
            ("frontier, no caching", 0, base.uncached_nano_usd),
            ("frontier, with caching", base.cached, base.cached_nano_usd),
        ):
            saved = f"{100 * (cost - spent) / cost:.1f} %" if cost else "-"
            table.add_row(name, f"{base.input:,}", f"{cached:,}", f"{base.output:,}", format_usd(cost), saved)
        tokens = ("input_tokens", "cache_read_tokens", "output_tokens")
        own = [sum(getattr(row, name) or 0 for row in self._rows) for name in tokens]
        table.add_row("[bold]Turnout[/]", *(f"{n:,}" for n in own), f"[bold]{format_usd(spent)}[/]", "")
        self._console.print(table)
        self._say(f"Answers equal to the recording: {self._same} of {self._compared}.")
        judged = [pair for pair in self._outcomes if None not in pair]
        here, there = (sum(bool(pair[i]) for pair in judged) for i in (0, 1))
        self._say(
            f"Recorded tasks solved: {here} of {len(judged)} as routed here, {there} with the frontier "
            "for everything. Too few to claim anything; mind that a cheaper model can lose a task."
        )
        self._say(f"[dim]{ASSUMPTIONS}[/]")

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
    tokens = (f"{n or 0:,}" for n in (row.input_tokens, row.cache_read_tokens, row.output_tokens))
    return LINE.format(
        row.step + 1, escape(row.mode or "-"), escape(row.deployment or "-"), row.reason or "-", *tokens, cost
    )


def _passed(outcome: float | None) -> str:
    return "not judged" if outcome is None else "solved" if outcome >= 1 else "not solved"
