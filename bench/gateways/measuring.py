"""One gateway after the other, round after round, so that what the machine does meanwhile falls on all of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from gateways.bodies import SIZES, conversation, size_name
from gateways.peers import DIRECT, Peer
from gateways.processes import Cores, Running, alone

__all__ = [
    "BEGUN_IN_S",
    "CONNECTIONS",
    "EVENTS",
    "SETTLE_S",
    "STREAMS",
    "Bodies",
    "Figures",
    "Plan",
    "Told",
    "Tools",
    "build",
    "measure",
    "slow_streams",
]

SETTLE_S = 0.3
"""After a load: what a gateway puts off, as rows of a ledger, is its CPU too."""

PATIENCE_S = 75.0
EVENTS, PACE = 200, "200x2000"
SHORT_EVENTS, SHORT_PACE = 20, "20x1000"

BEGUN_IN_S = 2.0
"""Slow streams begin within this: no agents all ask in the same instant."""

CONNECTIONS = {1_000: 32, 40_000: 32, 400_000: 8, 4_000_000: 4}
STREAMS = 16


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured; `until_s` is when the last of it must begin, on the monotonic clock."""

    rounds: int
    seconds: float
    rate: float
    slow: int
    slow_pace: str
    slow_s: float
    until_s: float


class Told(Struct, frozen=True, kw_only=True):
    """What the load generator prints."""

    answered: int
    errors: int
    cut: int
    lost: int
    seconds: float
    events: int
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float

    @property
    def failed(self) -> int:
        return self.errors + self.cut + self.lost

    @property
    def told(self) -> str:
        """How many did not succeed, and how."""
        return f"{self.errors} refused, {self.cut} streams cut short, {self.lost} without an end, {self.answered} well"


class Tools(Struct, frozen=True, kw_only=True):
    """The two programs in C, and where the provider listens."""

    load: Path
    upstream: int
    cores: Cores


class Figures:
    """Every value that was measured, by gateway and measure, one a round; and what went wrong."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}
        self.notes: dict[str, list[str]] = {}

    def add(self, name: str, measure: str, value: float) -> None:
        self.values.setdefault(name, {}).setdefault(measure, []).append(value)

    def note(self, name: str, text: str) -> None:
        told = self.notes.setdefault(name, [])
        if text not in told:
            told.append(text)

    def of(self, name: str, measure: str) -> list[float]:
        return self.values.get(name, {}).get(measure, [])


class Bodies:
    """Files of conversations for the load generator, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._conversations = 0

    def file(self, model: str, size: int, paced: str = "") -> Path:
        path = self._folder / f"{model}-{size}-{paced}"
        if not path.exists():
            path.write_bytes(conversation(model, size, stream=bool(paced), paced=paced).file())
        return path

    def first(self) -> int:
        """The number of a conversation after which there are none yet."""
        self._conversations += 1_000_000
        return self._conversations % 100_000_000


def build(folder: Path, source: Path) -> str:
    """Compile the provider and the load generator into `folder`; why not, or nothing."""
    for name in ("provider", "load"):
        try:
            done = subprocess.run(
                ["cc", "-O2", "-o", str(folder / name), str(source / f"{name}.c")],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            return "no C compiler: install gcc (the load generator must cost less than what it measures)"
        if done.returncode:
            return done.stderr
    return ""


class Load(Struct, frozen=True, kw_only=True):
    """One load on one gateway. `rate` 0: as fast as it answers."""

    file: Path
    connections: int
    seconds: float
    requests: int = 1_000_000
    rate: float = 0
    events: int = 0


def ask(tools: Tools, target: Running | None, load: Load, first: int) -> Told | str:
    """Let the load generator ask a gateway, or the provider itself; or why there is no figure."""
    port, path = (target.port, target.peer.path) if target else (tools.upstream, "/v1/chat/completions")
    command = [
        *("taskset", "-c", str(tools.cores.rest), str(tools.load), str(port), path, str(load.file)),
        *(str(load.connections), str(load.seconds), str(load.requests), str(load.rate), str(load.events), str(first)),
        *(target.headers if target else ()),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=load.seconds + PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return "no answer in time"
    if done.returncode:
        return f"the load generator ended: {done.stderr.strip()[:200]}"
    told = msgspec.json.decode(done.stdout, type=Told)
    if not told.answered:
        return f"none of {told.failed} succeeded: {said_in(done.stderr)}"
    return told


def said_in(refused: str) -> str:
    """Status and body of the first answer that the load generator shows of those that were no 200."""
    head, _, body = refused.partition("\n\n") if "\n\n" in refused else refused.partition("\r\n\r\n")
    return f"{head.partition(chr(10))[0].strip()} {body.strip().partition(chr(10))[0]}"[:160]


class Round:
    """One gateway's part of one round."""

    def __init__(self, plan: Plan, tools: Tools, bodies: Bodies, figures: Figures) -> None:
        self._plan, self._tools, self._bodies, self._figures = plan, tools, bodies, figures

    def go(self, running: Running, others: list[Running]) -> None:
        with alone(running, others):
            for size in SIZES:
                self.sizes(running, size)
            self.events(running)
            self.latency(running.peer, running)

    def direct(self, peer: Peer, others: list[Running]) -> None:
        """What the latencies of this round are compared with."""
        with alone(None, others):
            self.latency(msgspec.structs.replace(peer, name=DIRECT), None)

    def sizes(self, running: Running, size: int) -> None:
        """CPU of a request, and how many a second, of one size."""
        file = self._bodies.file(running.peer.model, size)
        load = Load(file=file, connections=CONNECTIONS[size], seconds=self._plan.seconds)
        self.warm(running, load)
        cost = self.cost(running, load, size_name(size))
        if cost is not None:
            told, cpu_s = cost
            self._figures.add(running.peer.name, f"cpu {size_name(size)}", cpu_s / told.answered * 1e3)
            self._figures.add(running.peer.name, f"rate {size_name(size)}", told.answered / told.seconds)

    def events(self, running: Running) -> None:
        """CPU of one event of a stream, less what a request costs that streams nothing."""
        file = self._bodies.file(running.peer.model, 1_000, PACE)
        seconds = max(self._plan.seconds, 1.0)
        load = Load(file=file, connections=STREAMS, seconds=seconds, events=EVENTS)
        cost, plain = self.cost(running, load, "streams"), self._figures.of(running.peer.name, "cpu 1 KB")
        if cost is not None and plain:
            told, cpu_s = cost
            each = (cpu_s / told.answered - plain[-1] / 1e3) / EVENTS
            self._figures.add(running.peer.name, "event", each * 1e6)

    def latency(self, peer: Peer, running: Running | None) -> None:
        """How long answers and first bytes take where hardly anything is asked."""
        if time.monotonic() > self._plan.until_s:
            return
        plain = self._bodies.file(peer.model, 1_000)
        stream = self._bodies.file(peer.model, 1_000, SHORT_PACE)
        seconds, rate = 2 * self._plan.seconds, self._plan.rate
        whole = ask(
            self._tools,
            running,
            Load(file=plain, connections=4, seconds=seconds, rate=rate),
            self._bodies.first(),
        )
        first = ask(
            self._tools,
            running,
            Load(file=stream, connections=16, seconds=seconds, rate=rate / 2, events=SHORT_EVENTS),
            self._bodies.first(),
        )
        if isinstance(whole, str) or isinstance(first, str):
            self._figures.note(peer.name, f"latency: {whole if isinstance(whole, str) else first}")
            return
        self._figures.add(peer.name, "p50", whole.p50_ms)
        self._figures.add(peer.name, "p99", whole.p99_ms)
        self._figures.add(peer.name, "first p50", first.first_p50_ms)
        self._figures.add(peer.name, "first p99", first.first_p99_ms)

    def warm(self, running: Running, load: Load) -> None:
        short = msgspec.structs.replace(load, seconds=self._plan.seconds / 5, requests=2_000)
        ask(self._tools, running, short, self._bodies.first())

    def cost(self, running: Running, load: Load, what: str) -> tuple[Told, float] | None:
        """What came back, and the CPU seconds of the gateway's processes; None, with a note, where nothing did."""
        if time.monotonic() > self._plan.until_s:
            self._figures.note(running.peer.name, "no time was left for all of a round")
            return None
        before = running.cpu_s()
        told = ask(self._tools, running, load, self._bodies.first())
        time.sleep(SETTLE_S)
        if isinstance(told, str):
            self._figures.note(running.peer.name, f"{what}: {told}")
            return None
        if told.failed:
            self._figures.note(running.peer.name, f"{what}: {told.told}")
        return told, running.cpu_s() - before


def measure(plan: Plan, tools: Tools, bodies: Bodies, running: Sequence[Running], figures: Figures) -> int:
    """All rounds, as far as time allows; how many were whole."""
    part, everybody = Round(plan, tools, bodies, figures), list(running)
    longest = 0.0
    for number in range(plan.rounds):
        for one in everybody:
            if number and time.monotonic() + longest > plan.until_s:
                return number
            print(f"round {number + 1} of {plan.rounds}: {one.peer.name}", file=sys.stderr, flush=True)
            began = time.monotonic()
            if one is everybody[0]:
                part.direct(one.peer, everybody)
            part.go(one, everybody)
            longest = max(longest, time.monotonic() - began)
    return plan.rounds


def slow_streams(
    plan: Plan, tools: Tools, bodies: Bodies, running: Sequence[Running], figures: Figures
) -> Mapping[str, Told]:
    """A thousand streams at once that each hardly say anything: which were whole."""
    found: dict[str, Told] = {}
    events = int(plan.slow_pace.partition("x")[0])
    for one in running:
        if time.monotonic() + plan.slow_s > plan.until_s:
            figures.note(one.peer.name, "slow streams: no time was left")
            continue
        print(f"{plan.slow} slow streams: {one.peer.name}", file=sys.stderr, flush=True)
        file = bodies.file(one.peer.model, 1_000, plan.slow_pace)
        load = Load(
            file=file,
            connections=plan.slow,
            seconds=plan.slow_s,
            requests=plan.slow,
            rate=plan.slow / BEGUN_IN_S,
            events=events,
        )
        with alone(one, list(running)):
            before = one.cpu_s()
            told = ask(tools, one, load, bodies.first())
            figures.add(one.peer.name, "slow memory", one.memory_mb())
            if isinstance(told, str):
                figures.note(one.peer.name, f"slow streams: {told}")
                continue
            if told.failed:
                figures.note(one.peer.name, f"slow streams: {told.told}")
            figures.add(one.peer.name, "slow event", (one.cpu_s() - before) / (plan.slow * (events + 1)) * 1e6)
        found[one.peer.name] = told
    return found
