"""The page of a run: tables in Markdown, plots beside it, and all that a figure depends on."""

from __future__ import annotations

import platform
import subprocess
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from gateways.bodies import SIZES, size_name
from gateways.installing import Home
from gateways.measuring import BEGUN_IN_S, CONNECTIONS, EVENTS, SETTLE_S, STREAMS, Figures, Plan, Told
from gateways.peers import DIRECT, NOT_SERVERS, Peer
from gateways.plots import Bar, Line, bars, lines
from gateways.processes import Cores

__all__ = ["Run", "page", "write"]

INSTRUCTIONS = Path(__file__).parent.parent / "instructions.json"


class Run(Struct, kw_only=True):
    """One run and all that it found."""

    plan: Plan
    figures: Figures
    peers: Sequence[Peer]
    homes: Mapping[str, Home]
    quick: bool
    cores: Cores
    rounds: int = 0
    absent: dict[str, str] = {}
    slow: dict[str, Told] = {}
    decisions: Mapping[int, Mapping[str, float]] = {}


def write(run: Run, path: Path) -> None:
    """The page at `path`, its plots in a folder of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_suffix("")
    plots = plotted(run)
    if plots:
        folder.mkdir(exist_ok=True)
    for name, drawn in plots.items():
        (folder / name).write_text(drawn)
    path.write_text(page(run, {name: f"{folder.name}/{name}" for name in plots}))
    print(f"written: {path}")


def page(run: Run, plots: Mapping[str, str]) -> str:
    shown = [peer for peer in run.peers if peer.name in run.figures.values]
    sections = [
        head(run),
        "## CPU of a request, by the size of its body",
        image(plots, "cpu.svg", "CPU of a request by size of body, both scales logarithmic"),
        by_size(run, shown, "cpu", "ms", precise),
        "## Requests a second on one core",
        by_size(run, shown, "rate", "a second", whole),
        "## Streams",
        image(plots, "events.svg", "CPU of one streamed event"),
        streams(run, shown),
        "## Latency that a gateway adds",
        latency(run, shown),
        "## Start and memory",
        memory(run, shown),
        decisions(run),
        instructions(),
        "## What each gateway did",
        told_of(run),
        how(),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def head(run: Run) -> str:
    quick = " --quick" if run.quick else ""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    shared = " Gateway and load shared one core: the figures are too high." if run.cores.shared else ""
    trial = " A quick run: its figures are a trial." if run.quick else ""
    return (
        "# Benchmarks\n\n"
        f"`make bench{' ARGS=' + quick.strip() if quick else ''}` writes this page; it takes {run.plan.rounds} rounds "
        f"({run.rounds} were whole) over all gateways in turn. Each figure is the median of the rounds, with the least "
        f"and the most in brackets.{shared}{trial}\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip() or 'unknown'}, {processor()}, "
        f"{platform.machine()}, Linux {platform.release()}, "
        f"{interpreter()}."
    )


def interpreter() -> str:
    """Which Python, and whether its build says that it was optimised by a profile."""
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return f"Python {platform.python_version()}{'' if optimised else ' (configured without --enable-optimizations)'}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "an unnamed processor"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    right = "---:" if all(len(cell) < 60 for row in rows for cell in row) else "---"  # figures, not texts
    lined = [heads, ["---"] + [right] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lined)


def precise(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def cell(values: Sequence[float], shown: Callable[[float], str]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return shown(values[0])
    return f"{shown(median(values))} ({shown(min(values))}-{shown(max(values))})"


def by_size(run: Run, shown: Sequence[Peer], measure: str, unit: str, written: Callable[[float], str]) -> str:
    rows = [
        [peer.name, *(cell(run.figures.of(peer.name, f"{measure} {size_name(size)}"), written) for size in SIZES)]
        for peer in shown
    ]
    return table([unit, *map(size_name, SIZES)], rows)


def streams(run: Run, shown: Sequence[Peer]) -> str:
    rows: list[list[str]] = []
    for peer in shown:
        told = run.slow.get(peer.name)
        rows.append(
            [
                peer.name,
                cell(run.figures.of(peer.name, "event"), whole),
                f"{told.answered:,} of {run.plan.slow:,}" if told else "-",
                cell(run.figures.of(peer.name, "slow event"), whole),
                cell(run.figures.of(peer.name, "slow memory"), whole),
            ]
        )
    events = run.plan.slow_pace.partition("x")[0]
    return (
        f"CPU of an event in microseconds ({STREAMS} streams of {EVENTS} events at 2 ms); then {run.plan.slow:,} "
        f"streams at once, begun within {BEGUN_IN_S:g} s, of {events} events, one each half second: how many came "
        "whole, CPU of an event with its share of the request, and memory at the end.\n\n"
        + table(["", "us an event", "slow streams whole", "us an event then", "MB then"], rows)
    )


def latency(run: Run, shown: Sequence[Peer]) -> str:
    def added(name: str, measure: str) -> list[float]:
        pairs = zip(run.figures.of(name, measure), run.figures.of(DIRECT, measure), strict=False)
        return [ours - direct for ours, direct in pairs]

    measures = ("p50", "p99", "first p50", "first p99")
    rows = [[DIRECT, *(cell(run.figures.of(DIRECT, measure), precise) for measure in measures)]]
    rows += [
        [f"{peer.name} adds", *(cell(added(peer.name, measure), precise) for measure in measures)] for peer in shown
    ]
    return (
        f"Milliseconds at {run.plan.rate:g} requests of 1 KB a second, over the same asked of the provider in the same "
        "round; the first byte is of a stream.\n\n"
        + table(["ms", "whole answer p50", "p99", "first byte p50", "p99"], rows)
    )


def memory(run: Run, shown: Sequence[Peer]) -> str:
    rows = [
        [
            peer.name,
            cell(run.figures.of(peer.name, "start"), precise),
            cell(run.figures.of(peer.name, "memory idle"), whole),
            cell(run.figures.of(peer.name, "memory after"), whole),
        ]
        for peer in shown
    ]
    return table(["", "s to the first 200", "MB then", "MB after all rounds"], rows)


def decisions(run: Run) -> str:
    if not run.decisions:
        return ""
    rows = [
        [
            f"{length / 1e3:.0f} KB",
            whole(us["conversation"] + us["decide"]),
            whole(us["decode"] + us["estimate"]),
        ]
        for length, us in run.decisions.items()
    ]
    return (
        "## The decision alone\n\n"
        "Microseconds of CPU with twelve deployments in the midst of a session (`python bench/decision.py`): finding "
        "the conversation and deciding; beside them decoding and estimating tokens, which every request needs.\n\n"
        + table(["body", "decision", "decode and estimate"], rows)
    )


def instructions() -> str:
    if not INSTRUCTIONS.exists():
        return ""
    told = msgspec.json.decode(INSTRUCTIONS.read_bytes())["instructions"]
    rows = [[part, whole(count["loop"]), whole(count["others"])] for part, count in told.items()]
    return (
        "## Instructions\n\n"
        "Of Turnout in user space, held to within 5 % (`python bench/instructions.py`): the first request of a "
        "conversation, each that follows, and one event of a stream.\n\n"
        + table(["", "event loop", "other threads"], rows)
    )


def told_of(run: Run) -> str:
    rows: list[list[str]] = []
    for peer in run.peers:
        home = run.homes.get(peer.name)
        notes = "; ".join(run.figures.notes.get(peer.name, ()))
        state = f"not measured: {run.absent[peer.name]}" if peer.name in run.absent else notes
        rows.append([peer.name, peer.made_in, home.version if home else "-", peer.does, state.replace("|", "/")])
    rows += [[name, "-", "-", "-", f"not measured: {why}"] for name, why in NOT_SERVERS.items()]
    return table(["", "made in", "version", "what it does beside forwarding", "what went wrong"], rows)


def how() -> str:
    at_once = ", ".join(f"{count} at {size_name(size)}" for size, count in CONNECTIONS.items())
    return (
        "## How\n\n"
        "Every request is a step of an agent's conversation, which is sent whole and grows by some 300 bytes a step; "
        "after 20 steps (two at 1 KB) the next conversation begins. A provider and a load generator in C "
        "(`bench/gateways/*.c`) have one core, the gateway has the other; gateways that are not measured are stopped "
        "(SIGSTOP) meanwhile. CPU is user and system time of all of a gateway's processes, from /proc, in steps of "
        f"10 ms, with {SETTLE_S} s after each load counted in. Connections: {at_once}. Memory is resident.\n\n"
        "- nginx does nothing but forward: it is the floor, not a peer.\n"
        "- Turnout books, routes and limits every request; most others here do less (see above).\n"
        "- A gateway that needs more than its core has for the streams reads several events at once, and so looks "
        "cheaper by the event than it is.\n"
        "- Rates of requests are what one core gave with the load generator and provider on the other; where a gateway "
        "is as cheap as they are, they are the limit."
    )


def image(plots: Mapping[str, str], name: str, words: str) -> str:
    return f"![{words}]({plots[name]})" if name in plots else ""


def plotted(run: Run) -> dict[str, str]:
    """The plots that there are figures for."""
    figures, found = run.figures, dict[str, str]()
    series: list[Line] = []
    for peer in run.peers:
        by = [(float(size), figures.of(peer.name, f"cpu {size_name(size)}")) for size in SIZES]
        points = tuple((size, median(got), min(got), max(got)) for size, got in by if got and median(got) > 0)
        if len(points) > 1:
            series.append(Line(peer.name, points))
    if series:
        ticks = [(float(size), size_name(size)) for size in SIZES]
        found["cpu.svg"] = lines("CPU of a request, ms, by size of its body", ticks, series)
    rows = [
        Bar(peer.name, median(got), min(got), max(got), f"{median(got):,.0f}")
        for peer in run.peers
        if (got := [value for value in figures.of(peer.name, "event") if value > 0])
    ]
    if rows:
        found["events.svg"] = bars("CPU of a streamed event, microseconds", rows)
    return found
