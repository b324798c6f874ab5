"""What sharing sessions adds to a request: python bench/session_sharing.py [--steps 2000] [--only valkey]

Recorded sessions, step by step, over gateways that share an engine. CPU of this process alone (not Valkey's), in
microseconds a step; `added`: more than the same steps, just before, by gateways that share nothing. `stays`: each
session at one gateway, and asked for once; `moves`: each step at a gateway drawn anew, one question each. One at once:
a step is told before the next comes, so each is told alone, which is the dearest way. More at once: an agent thinks
for 75 to 150 ms between its steps, and what a gateway tells goes together. What is told in the background is counted
in the CPU. `median ms`, `p99 ms`: wall time of the questions.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import secrets
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import msgspec
import uvloop

from support.fleets import deployment
from support.members import CHAT, Clock, Member
from support.valkey import shared_valkey
from turnout.chat import RequestOutline
from turnout.lab.sessions import packaged_sessions, packaged_tools, requests_of
from turnout.peers import TOGETHER_S
from turnout.routing.identity import Hints
from turnout.shared_state import SharedState
from turnout.stores.shared.memory import MemoryEngine, MemoryShared
from turnout.stores.shared.sqlite import SqliteShared
from turnout.stores.shared.valkey import ValkeyShared

THINKS_S = 0.075, 0.150
PLAYS = [(moves, at_once) for at_once in (1, 32, 128) for moves in (False, True)]

SERVED = deployment("openai/nano", "small", 1)

Steps = list[tuple[str, RequestOutline]]


def recorded(most: int) -> Steps:
    """Steps of the packaged sessions, over and over, each round sessions of their own, in turns."""
    tools, steps, rounds = packaged_tools(), Steps(), 0
    while len(steps) < most:
        live = [(f"{session.id}-{rounds}", requests_of(session, tools)) for session in packaged_sessions()]
        while live:
            for name, requests in list(live):
                found = next(requests, None)
                if found is None:
                    live = [one for one in live if one[0] != name]
                    continue
                more = {"tools": found.tools} if found.tools else {}
                body = {"model": "auto", "messages": found.messages, **more}
                steps.append((name, CHAT.outline(msgspec.json.encode(body))))
        rounds += 1
    return list(islice(steps, most))


def engines(folder: str) -> dict[str, Callable[[str], SharedState]]:
    engine, prefix = MemoryEngine(), secrets.token_hex(6)
    return {
        "memory": lambda name: MemoryShared(name, engine),
        "sqlite": lambda name: SqliteShared(f"{folder}/shared.db", name, recently=False),
        "valkey": lambda name: ValkeyShared(shared_valkey(), name, recently=False, prefix=prefix),
    }


class Play:
    """Steps over gateways, `at_once` sessions at a time."""

    def __init__(self, members: list[Member], steps: Steps, *, moves: bool, at_once: int) -> None:
        self.members = members
        self.asking: list[float] = []
        self._mark = secrets.token_hex(4)
        self._moves = moves
        self._at_once = at_once
        self._steps = steps
        self._draw = Random(1)  # noqa: S311 (seeded on purpose)

    async def cpu_us(self) -> float:
        """CPU microseconds a step."""
        hands: list[Steps] = [[] for _ in range(self._at_once)]
        for name, outline in self._steps:
            hands[zlib.crc32(name.encode()) % self._at_once].append((name, outline))
        gc.collect()
        begun = time.process_time()
        await asyncio.gather(*map(self._hand, hands))
        return (time.process_time() - begun) / len(self._steps) * 1e6

    async def _hand(self, steps: Steps) -> None:
        for name, outline in steps:
            home = zlib.crc32(name.encode()) // self._at_once % len(self.members)
            member = self.members[self._draw.randrange(len(self.members)) if self._moves else home]
            hints = Hints(session=f"{self._mark}{name}", session_source="x-session-id")
            asked, at = asked_of([member]), time.perf_counter()
            view = await member.meet(outline, hints, tokens=1_000)
            if self._at_once == 1 and asked_of([member]) > asked:
                self.asking.append((time.perf_counter() - at) * 1000)
            member.runs.begin("", view.id, view.thread, now_s=member.clock())
            member.settle(view, outline, SERVED, tokens=1_000, cost=1_000)
            if self._at_once > 1:
                await asyncio.sleep(self._draw.uniform(*THINKS_S))
            elif member.peers is not None:
                await member.peers.quiet()


def asked_of(members: list[Member]) -> int:
    return sum(one.peers.counts.asked for one in members if one.peers is not None)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--only")
    told = parser.parse_args()
    steps, clock = recorded(told.steps), Clock()
    await Play([Member(clock)], steps, moves=False, at_once=1).cpu_us()
    print(
        f"{'engine':8} {'':6} {'at once':>7} {'us a step':>9} {'added':>7} {'asked':>6} {'found':>6} {'median ms':>9} "
        f"{'p99 ms':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for engine, opened in engines(folder).items():
            if told.only not in {None, engine}:
                continue
            for moves, at_once in PLAYS:
                lonely = [Member(clock) for _ in range(told.gateways)]
                alone = await Play(lonely, steps, moves=moves, at_once=at_once).cpu_us()
                names = [f"{engine}{moves}{at_once}{n}" for n in range(told.gateways)]
                members = [await Member(clock).share(opened(name), together_s=TOGETHER_S) for name in names]
                play = Play(members, steps, moves=moves, at_once=at_once)
                cpu, asking = await play.cpu_us(), play.asking
                middle, high = (median(asking), quantiles(asking, n=100)[98]) if len(asking) > 1 else (0.0, 0.0)
                kind, asked = "moves" if moves else "stays", asked_of(members)
                found = sum(one.peers.counts.found for one in members if one.peers is not None)
                print(
                    f"{engine:8} {kind:6} {at_once:7} {cpu:9.1f} {cpu - alone:7.1f} {asked:6} {found:6} {middle:9.2f} "
                    f"{high:7.2f}"
                )
                for one in members:
                    await one.close()


if __name__ == "__main__":
    uvloop.run(main())
