"""`turnout models`: what a running gateway serves, and how well a model of it answers questions with known answers."""

from __future__ import annotations

import argparse
import asyncio
import sys

import msgspec
from rich.console import Console
from rich.table import Table

from turnout.catalog.prices import NANO_PER_USD, format_usd
from turnout.errors import InvalidRequest
from turnout.learn.probes import load_probes, spread
from turnout.learn.probing import Asked, Gateway, Share, Tally, listed_models, run_probes, shares
from turnout.providers.http import HttpTransport

__all__ = ["models"]


def models(args: argparse.Namespace) -> int:
    """Do one action. Raises InvalidRequest, NotFound, Unauthorized and NoCapacity."""
    gateway = Gateway(
        url=args.url.rstrip("/"),
        model=getattr(args, "model", ""),
        key=args.key,
        max_tokens=getattr(args, "max_tokens", 1),
    )
    if args.action == "list":
        names = asyncio.run(_list(gateway))
        print(msgspec.json.encode(names).decode() if args.json else "\n".join(names))
        return 0
    if args.count < 1 or args.max_tokens < 1 or not 0 <= args.max_cost_usd < 1_000_000:
        raise InvalidRequest("--count and --max-tokens must be at least 1, and --max-cost-usd not negative")
    tally = asyncio.run(_probe(gateway, args.count, int(args.max_cost_usd * NANO_PER_USD), quiet=args.json))
    if args.json:
        story = msgspec.json.encode(tally_story(gateway.model, tally))
        sys.stdout.buffer.write(msgspec.json.format(story, indent=2) + b"\n")
    else:
        _print(gateway.model, tally)
    return 0


async def _list(gateway: Gateway) -> list[str]:
    transport = HttpTransport()
    try:
        return await listed_models(gateway, transport)
    finally:
        await transport.aclose()


async def _probe(gateway: Gateway, count: int, most_nano_usd: int, *, quiet: bool) -> Tally:
    probes = spread(load_probes(), count)
    transport, console = HttpTransport(), Console(stderr=True)
    try:
        with console.status(f"asking {gateway.model}") as status:
            done: list[Asked] = []

            def note(asked: Asked) -> None:
                done.append(asked)
                if not quiet:
                    right = sum(one.passed for one in done)
                    status.update(f"asking {gateway.model}: {len(done)} of {len(probes)}, {right} right")

            return await run_probes(gateway, probes, transport, most_nano_usd=most_nano_usd, on_answer=note)
    finally:
        await transport.aclose()


def tally_story(model: str, tally: Tally) -> dict[str, object]:
    """A run as JSON: the whole, by family, by level, and each answer. USD as numbers."""
    whole = shares(tally.asked, lambda _: "all")
    return {
        "model": model,
        "all": _story(whole[0]) if whole else None,
        "families": [_story(s) for s in shares(tally.asked, lambda one: one.family)],
        "levels": [_story(s) for s in shares(tally.asked, lambda one: str(one.level))],
        "answers": [msgspec.to_builtins(one) for one in tally.asked],
        "left_out": tally.left_out,
        "unpriced": tally.unpriced,
        "feedback": tally.feedback or "taken",
    }


def _story(share: Share) -> dict[str, object]:
    return {
        "group": share.group,
        "asked": share.asked,
        "passed": share.passed,
        "success": share.passed / share.asked,
        "interval": [round(share.low, 4), round(share.high, 4)],
        "input_tokens": share.input_tokens,
        "output_tokens": share.output_tokens,
        "cost_usd": share.cost_nano_usd / NANO_PER_USD,
    }


def _print(model: str, tally: Tally) -> None:
    console = Console()
    for title, told in (
        ("family", shares(tally.asked, lambda one: one.family)),
        ("level", shares(tally.asked, lambda one: f"{one.level} of 5")),
        ("", shares(tally.asked, lambda _: model)),
    ):
        table = Table(box=None, pad_edge=False)
        table.add_column(title, min_width=12, overflow="fold")
        for name in ("right", "asked", "success", "95 %", "input", "output", "cost"):
            table.add_column(name, justify="right", no_wrap=True)
        for s in told:
            table.add_row(
                s.group,
                str(s.passed),
                str(s.asked),
                f"{s.passed / s.asked:.0%}",
                f"{s.low:.0%} to {s.high:.0%}",
                f"{s.input_tokens:,}",
                f"{s.output_tokens:,}",
                format_usd(s.cost_nano_usd),
            )
        console.print(table)
        console.print()
    for sentence in _notes(tally):
        console.print(sentence, highlight=False, markup=False)


def _notes(tally: Tally) -> list[str]:
    """What the figures do not say."""
    notes: list[str] = []
    unanswered = [one for one in tally.asked if one.why is not None]
    if unanswered:
        notes.append(f"{len(unanswered)} had no answer and count as wrong; the first, {unanswered[0].probe}:")
        notes.append(f"  {unanswered[0].why}")
    if tally.left_out:
        notes.append(f"{tally.left_out} were not asked: the cost limit is reached; raise --max-cost-usd")
    if tally.unpriced:
        notes.append(f"{tally.unpriced} answers are unpriced: the cost limit cannot count them")
    told = sum(one.told for one in tally.asked)
    if tally.feedback:
        notes.append(f"the gateway did not take the scores ({tally.feedback}): it has {told} of them")
    else:
        notes.append(f"the gateway has taken {told} scores")
    return notes
