"""Makes the packaged selection of recorded sessions, and measures what is claimed of them.

    python tools/pick_sessions.py pick TRACES         write src/turnout/lab/data/sessions.jsonl and tools.json
    python tools/pick_sessions.py calibrate TRACES    error of the token estimate on recorded usage
    python tools/pick_sessions.py cache-share         simulated against recorded cache reads, packaged sessions

TRACES is a folder with `tools.json` and `given/*.jsonl`. Same traces, same bytes: no chance in it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec

from turnout.catalog.cache_rules import cache_rule_of
from turnout.dialects import DIALECTS
from turnout.dialects.base import Dialect
from turnout.lab.sessions import (
    Session,
    estimate_tokens,
    offered_model,
    output_tokens,
    packaged_sessions,
    packaged_tools,
    read_sessions,
    read_tools,
    requests_of,
    turns_of,
)
from turnout.providers.recorded import PromptCache, RecordedTransport, chain_of
from turnout.providers.transport import UpstreamRequest

DATA = Path(__file__).parent.parent / "src" / "turnout" / "lab" / "data"
STRONG, SMALL = "gpt-4.1", "gpt-4.1-mini"


def by_hash(name: str) -> str:
    """An order that nobody chose."""
    return hashlib.sha256(name.encode()).hexdigest()


def is_middling(session: Session) -> bool:
    """6 to 14 steps: long enough to repeat its context, short enough to read."""
    return 6 <= len(session.steps) <= 14


def solved(session: Session) -> bool:
    return session.outcome == 1


def first_tasks(sessions: Iterable[Session], count: int) -> list[Session]:
    """The first `count` sessions by hash of their id, no two of one task."""
    chosen: dict[str, Session] = {}
    for session in sorted(sessions, key=lambda s: by_hash(s.id)):
        chosen.setdefault(session.task, session)
    return list(chosen.values())[:count]


def choose(sessions: list[Session]) -> list[Session]:
    """The selection: judged tasks that the strong model solved (one that nobody solves shows nothing of what
    routing keeps or loses). Whether the small model solved them is not looked at."""
    retail = [s for s in sessions if s.bench == "tau2-retail" and s.model in {STRONG, SMALL} and is_middling(s)]
    tasks = {
        task: {s.model: s for s in group}
        for task, group in groupby(sorted(retail, key=lambda s: s.task), key=lambda s: s.task)
    }
    both = sorted((t for t, models in tasks.items() if len(models) == 2 and solved(models[STRONG])), key=by_hash)[:3]
    chosen = [tasks[task][model] for task in both for model in (STRONG, SMALL)]
    chosen += first_tasks((s for s in sessions if s.bench == "tau1-airline" and is_middling(s) and solved(s)), 2)
    chosen += first_tasks((s for s in sessions if s.bench == "tau2-airline" and is_middling(s) and solved(s)), 1)
    # Repairs of code only: the others are capture-the-flag exercises.
    repairs = (s for s in sessions if s.bench == "swe-agent-demos" and "/ctf/" not in s.id)
    return chosen + first_tasks(repairs, 3)


def pick(traces: Path) -> None:
    """Write the selection as it was recorded (mending happens at reading) with the tools it names."""
    chosen = choose(list(read_sessions(traces / "given", strict=True)))
    lines: dict[str, bytes] = {}
    for source in sorted((traces / "given").glob("*.jsonl")):
        for line in source.read_bytes().splitlines():
            lines[msgspec.json.decode(line, type=dict[str, Any])["id"]] = line
    body = b"".join(msgspec.json.encode(msgspec.json.decode(lines[s.id])) + b"\n" for s in chosen)
    (DATA / "sessions.jsonl").write_bytes(body)
    table = read_tools(traces / "tools.json")
    used = {name: table[name] for name in sorted({s.tools for s in chosen if s.tools})}
    (DATA / "tools.json").write_bytes(msgspec.json.format(msgspec.json.encode(used), indent=1) + b"\n")
    print("| session | model | steps | outcome |\n|---|---|---|---|")
    for session in chosen:
        print(f"| `{session.id}` | {session.model} | {len(session.steps)} | {session.outcome} |")
    print(f"{len(body)} bytes", file=sys.stderr)


# ---- Calibration -------------------------------------------------------------------------------------------


def size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def recorded_sizes(session: Session, tools_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """(recorded input, estimated input, recorded visible output, estimated output) of each step."""
    so_far = 0
    for step in session.steps:
        so_far += sum(size(message) for message in step.add)
        if step.usage is not None:
            visible = step.usage.output - step.usage.reasoning
            yield step.usage.input, estimate_tokens(so_far, tools_bytes), visible, output_tokens(step.out)
        so_far += size(step.out)


def errors(pairs: Iterable[tuple[int, int]]) -> tuple[float, float, float]:
    """Mean absolute, 95th percentile and mean signed relative error of estimates."""
    relative = [(estimated - recorded) / max(recorded, 1) for recorded, estimated in pairs]
    ordered = sorted(abs(e) for e in relative)
    return mean(ordered), ordered[math.ceil(0.95 * len(ordered)) - 1], mean(relative)


def calibrate(traces: Path) -> None:
    """Print the error of `estimate_tokens` for each model with recorded usage in tau2-retail."""
    tools_bytes = size(read_tools(traces / "tools.json")["retail"])
    rows: dict[str, list[tuple[int, int, int, int]]] = {}
    for session in read_sessions(traces / "given" / "tau2-retail.jsonl", strict=True):
        rows.setdefault(session.model, []).extend(recorded_sizes(session, tools_bytes))
    rows["all GPT"] = [row for model, found in rows.items() if model.startswith("gpt") for row in found]
    print("| model | steps | input: mean | p95 | bias | output: mean |\n|---|---|---|---|---|---|")
    for model, found in sorted(rows.items()):
        if found:
            average, p95, bias = errors((r[0], r[1]) for r in found)
            output = errors((r[2], r[3]) for r in found)[0]
            print(f"| {model} | {len(found)} | {average:.1%} | {p95:.1%} | {bias:+.1%} | {output:.1%} |")


# ---- Cache share -------------------------------------------------------------------------------------------


async def simulated_reads(session: Session, transport: RecordedTransport, dialect: Dialect) -> list[int]:
    """Cache reads of each step when the session is replayed to `transport`."""
    reads: list[int] = []
    for recorded in requests_of(session):
        body = {"model": offered_model(session), "messages": recorded.messages, "tools": recorded.tools}
        request = UpstreamRequest(method="POST", url="recorded:", headers=[], body=msgspec.json.encode(body))
        response = await transport.send(request)
        usage = dialect.decode_response(await response.read(1 << 20)).usage
        reads.append((usage.cache_read if usage else None) or 0)
    return reads


def reads_at_recorded_times(session: Session, dialect: Dialect) -> Iterator[int]:
    """The same with the clock of the recording, a session alone: lifetimes run out as they did."""
    now = [0.0]
    cache = PromptCache(cache_rule_of("openai", session.model), lambda: now[0])
    for step, recorded in zip(session.steps, requests_of(session), strict=True):
        if step.usage is not None and step.ts is not None:
            now[0] = datetime.fromisoformat(step.ts).timestamp()
            body = {"model": session.model, "messages": recorded.messages, "tools": recorded.tools}
            chain = chain_of(dialect.decode_request(msgspec.json.encode(body)))
            yield cache.visit(chain, step.usage.input).read


async def cache_share() -> None:
    """Print cache reads over input: as recorded, simulated in one replay, and each session alone."""
    dialect = DIALECTS["openai-chat"]
    sessions = [s for s in packaged_sessions() if all(step.usage for step in s.steps)]
    transport = RecordedTransport(turns_of(sessions, dialect, packaged_tools()), dialect)
    total = [0, 0, 0, 0]
    print("| session | input | recorded | simulated, one replay | alone, cold, recorded times |")
    print("|---|---|---|---|---|")
    for session in sessions:
        row = [
            sum(step.usage.input for step in session.steps if step.usage),
            sum(step.usage.cached for step in session.steps if step.usage),
            sum(await simulated_reads(session, transport, dialect)),
            sum(reads_at_recorded_times(session, dialect)),
        ]
        total = [a + b for a, b in zip(total, row, strict=True)]
        print(table_row(session.id, row))
    print(table_row("all", total))


def table_row(name: str, row: list[int]) -> str:
    shares = " | ".join(f"{part / row[0]:.1%}" for part in row[1:])
    return f"| {name} | {row[0]} | {shares} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    work: dict[str, Callable[[Path], None]] = {"pick": pick, "calibrate": calibrate}
    for verb in work:
        verbs.add_parser(verb).add_argument("traces", type=Path)
    verbs.add_parser("cache-share")
    asked = parser.parse_args()
    if asked.verb == "cache-share":
        asyncio.run(cache_share())
    else:
        work[asked.verb](asked.traces)
    return 0


if __name__ == "__main__":
    sys.exit(main())
