"""Gateways side by side in one run, into docs/benchmarks.md: python bench/gateways [--quick] [--only NAME ...]

A provider and a load generator in C stand on one core, the gateway that is measured on the other; the others are held
still meanwhile. Loopback only, bounded in time (`--minutes`), ends by itself; what cannot be installed is told with its
reason. Installing comes first and does not count: some minutes once, into `.peers/`.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent.parent))

from decision import figures as decisions

from gateways.bodies import conversation
from gateways.installing import Home, installed
from gateways.measuring import Bodies, Figures, Plan, Tools, build, measure, slow_streams
from gateways.peers import PEERS, TURNOUT, Peer
from gateways.processes import Cores, Running, start
from gateways.report import Run, write

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says."""

    quick: bool
    minutes: float
    only: tuple[str, ...]
    out: Path


def options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="bench/gateways", description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one round, three minutes at most")
    parser.add_argument("--minutes", type=float, help="for all of it; else 18, or 3 with --quick")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these gateways, beside Turnout")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the page that is written")
    told = parser.parse_args(arguments)
    if unknown := set(told.only) - {peer.name for peer in PEERS}:
        parser.error(f"no such gateway: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PEERS)}")
    minutes = told.minutes or (3.0 if told.quick else 18.0)
    return Options(quick=told.quick, minutes=minutes, only=tuple(told.only), out=told.out)


def planned(told: Options) -> Plan:
    until_s = time.monotonic() + 60 * told.minutes
    if told.quick:
        return Plan(rounds=1, seconds=0.4, rate=50, slow=1_000, slow_pace="8x500000", slow_s=6, until_s=until_s)
    return Plan(rounds=5, seconds=1.5, rate=50, slow=1_000, slow_pace="20x500000", slow_s=12, until_s=until_s)


def main(arguments: Sequence[str] | None = None) -> int:
    told = options(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    homes: dict[str, Home] = {TURNOUT.name: Home(folder=ROOT, binary="", version="this source")}
    absent: dict[str, str] = {}
    peers = [TURNOUT, *(peer for peer in PEERS if not told.only or peer.name in told.only)]
    for peer in peers[1:]:
        home = installed(peer, ROOT / ".peers")
        if isinstance(home, str):
            absent[peer.name] = home
        else:
            homes[peer.name] = home
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if why := build(folder, HERE):
            print(f"bench/gateways: {why}", file=sys.stderr)
            return 2
        cores = Cores()
        provider = subprocess.Popen(
            ["taskset", "-c", str(cores.rest), str(folder / "provider"), "0"], stdout=subprocess.PIPE
        )
        try:
            assert provider.stdout is not None
            tools = Tools(load=folder / "load", upstream=int(provider.stdout.readline()), cores=cores)
            run = measured(told, tools, folder, peers, homes)
        finally:
            provider.terminate()
            provider.wait(10)
    run.absent.update(absent)
    print("the decision alone", file=sys.stderr, flush=True)
    run.decisions = asyncio.run(decisions())
    write(run, told.out)
    return 0


def measured(told: Options, tools: Tools, folder: Path, peers: list[Peer], homes: dict[str, Home]) -> Run:
    """All figures of one run. Every gateway that was started is ended."""
    plan, figures, bodies = planned(told), Figures(), Bodies(folder)
    run = Run(plan=plan, figures=figures, peers=peers, homes=homes, quick=told.quick, cores=tools.cores)
    running: list[Running] = []
    try:
        for peer in peers:
            if peer.name not in homes:
                continue
            one = started(peer, homes[peer.name], folder, tools, plan=plan, figures=figures)
            if isinstance(one, str):
                run.absent[peer.name] = one
                continue
            running.append(one)
            one.hold()
        early = replace(plan, until_s=plan.until_s - plan.slow_s * len(running))
        run.rounds = measure(early, tools, bodies, running, figures)
        for one in running:
            figures.add(one.peer.name, "memory after", one.memory_mb())
        run.slow = dict(slow_streams(plan, tools, bodies, running, figures))
    finally:
        for one in running:
            one.end()
    return run


def started(peer: Peer, home: Home, folder: Path, tools: Tools, *, plan: Plan, figures: Figures) -> Running | str:
    """A gateway that answers; its start was timed as often as there are rounds, three times at most."""
    body = conversation(peer.model, 1_000).body(1, 0)
    one: Running | str = "never started"
    for number in range(min(3, plan.rounds)):
        if isinstance(one, Running):
            one.end()
        print(f"starting {peer.name}", file=sys.stderr, flush=True)
        place = folder / f"{peer.name}-{number}"
        one = start(peer, home, place, upstream=tools.upstream, cores=tools.cores, body=body)
        if isinstance(one, str):
            return one
        figures.add(peer.name, "start", one.start_s)
        figures.add(peer.name, "memory idle", one.memory_mb())
    return one


if __name__ == "__main__":
    sys.exit(main())
