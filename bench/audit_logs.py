"""How long `turnout audit` takes over a folder of made Claude Code logs, its memory, and whether its totals are true.

    python bench/audit_logs.py [--mib 1024] [--seed 1] [--keep FOLDER] [--only-make] [--only-read]

The logs are made from a seed, with what real ones have: answers over several lines with usage that grows, results of
tools twice a line, parallel calls, sub-agents, contexts that grow over caches that are kept or lost, compactions,
loops, calls that failed, sessions resumed in another file. What was put in is known to the token. Where others use
the machine too, seconds of CPU over its cores are the least that it would have taken alone. Memory is the sum
over the process and those it has started, looked at twenty times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import Json
from turnout.lab.audit.readers.base import Source
from turnout.lab.audit.readers.claude_code import CLAUDE_CODE
from turnout.lab.audit.records import ReadTally, Step

MODELS = {"claude-opus-4-8": 45, "claude-sonnet-5": 35, "claude-haiku-4-5-20251001": 20}
PROJECTS = ("shop", "billing", "search", "mobile-app", "infra", "docs-site", "data-pipeline")
TOOLS = {"Read": 30, "Bash": 30, "Edit": 18, "Grep": 14, "Glob": 5, "Write": 3}
BEGINNING = 1_780_000_000
DAYS = 21
SYSTEM_TOKENS = 21_000
COMPACTED_AT = 165_000
CHARS_A_TOKEN = 3.6
LOOK_S = 0.05


class Totals(Struct):
    """Tokens as `chat.Usage` counts them."""

    calls: int = 0
    failed: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0


class Made(Struct):
    """What was written: `steps` and `totals` as an audit must find them, each answer once."""

    totals: Totals
    bytes: int = 0
    files: int = 0
    sessions: int = 0


class Told(Struct):
    """One conversation being written: `context` in tokens; `cached` of them are in the cache until `kept_until`."""

    model: str
    session: str
    agent: str
    cwd: str
    long: bool
    at: float
    context: int = SYSTEM_TOKENS
    cached: int = 0
    kept_until: float = 0.0
    last: str | None = None


class Maker:
    """Writes sessions until there are `size` bytes."""

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._folder, self._size = folder, size
        self._text = self._pool(2_000_000)
        self.made = Made(totals=Totals())

    def make(self) -> Made:
        while self.made.bytes < self._size:
            self._session()
        return self.made

    # ---- Whole files --------------------------------------------------------------------------------------------

    def _session(self) -> None:
        dice = self._random
        project = dice.choice(PROJECTS)
        told = Told(
            model=self._weighted(MODELS),
            session=self._uuid(),
            agent="",
            cwd=f"/home/dev/{project}",
            long=dice.random() < 0.5,
            at=BEGINNING + dice.random() * DAYS * 86_400,
        )
        folder = self._folder / "projects" / f"-home-dev-{project}"
        lines = list(self._conversation(told, folder, steps=int(dice.lognormvariate(3.9, 0.7)) + 2))
        self.made.sessions += 1
        self._write(folder / f"{told.session}.jsonl", lines)
        if dice.random() < 0.03 and len(lines) < 200:  # resumed: another file, which begins with a copy
            again = replace(told, session=self._uuid(), at=told.at + 7_200)
            copied = [{**line, "sessionId": again.session} for line in lines if "message" in line]
            self._write(folder / f"{again.session}.jsonl", [*copied, *self._conversation(again, folder, steps=4)])
            self.made.sessions += 1

    def _write(self, path: Path, lines: list[dict[str, Json]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        path.write_bytes(data)
        self.made.bytes += len(data)
        self.made.files += 1

    def _conversation(self, told: Told, folder: Path, steps: int) -> Iterator[dict[str, Json]]:
        dice = self._random
        yield {"type": "file-history-snapshot", "messageId": self._uuid(), "snapshot": {"trackedFileBackups": {}}}
        yield self._asked(told)
        looping: tuple[str, str] | None = None
        for step in range(steps):
            if told.context > COMPACTED_AT:
                yield from self._compaction(told)
            told.at += 5_400 if dice.random() < 0.015 else dice.expovariate(1 / 14)
            if dice.random() < 0.004:
                yield self._refused(told)
            if looping is None and dice.random() < 0.004:
                looping = self._texts(120), self._texts(900)
            elif dice.random() < 0.15:
                looping = None
            last = step == steps - 1
            yield from self._step(told, folder, looping=looping, last=last or dice.random() < 0.06)
            yield self._line(told, "progress", data={"type": "hook_progress", "hookEvent": "PostToolUse"})
            if told.last == "end_turn" and not last:
                told.at += dice.expovariate(1 / 200)
                yield self._asked(told)

    # ---- Lines --------------------------------------------------------------------------------------------------

    def _line(self, told: Told, kind: str, **more: Json) -> dict[str, Json]:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(told.at)) + f".{int(told.at * 1000) % 1000:03d}Z"
        agent = {"agentId": told.agent} if told.agent else {}
        return {
            "parentUuid": self._uuid(),
            "isSidechain": bool(told.agent),
            **agent,
            "type": kind,
            **more,
            "uuid": self._uuid(),
            "timestamp": moment,
            "userType": "external",
            "cwd": told.cwd,
            "sessionId": told.session,
            "version": "2.1.143",
            "gitBranch": "main",
        }

    def _asked(self, told: Told) -> dict[str, Json]:
        text = self._texts(int(self._random.lognormvariate(5.5, 1)))
        told.context += self._tokens(text)
        return self._line(told, "user", message={"role": "user", "content": text})

    def _refused(self, told: Told) -> dict[str, Json]:
        self.made.totals.calls += 1
        self.made.totals.failed += 1
        usage = {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        message = {
            "id": self._uuid(),
            "model": "<synthetic>",
            "role": "assistant",
            "type": "message",
            "usage": usage,
            "content": [{"type": "text", "text": "API Error: 529 Overloaded"}],
        }
        return self._line(told, "assistant", message=message, isApiErrorMessage=True, error="overloaded")

    def _compaction(self, told: Told) -> Iterator[dict[str, Json]]:
        trigger = {"trigger": "auto", "preTokens": told.context}
        yield self._line(told, "system", subtype="compact_boundary", compactMetadata=trigger)
        summary = self._texts(9_000)
        told.context, told.cached = SYSTEM_TOKENS + self._tokens(summary), min(told.cached, SYSTEM_TOKENS)
        message = {"role": "user", "content": summary}
        yield self._line(told, "user", message=message, isCompactSummary=True, isVisibleInTranscriptOnly=True)

    def _step(
        self, told: Told, folder: Path, *, looping: tuple[str, str] | None, last: bool
    ) -> Iterator[dict[str, Json]]:
        dice = self._random
        spawns = not told.agent and looping is None and dice.random() < 0.02
        calls = 0 if last else 1 if looping or spawns or dice.random() < 0.8 else dice.randint(2, 4)
        blocks: list[dict[str, Json]] = []
        if dice.random() < 0.3:
            blocks.append({"type": "thinking", "thinking": self._texts(300), "signature": self._texts(240)})
        if last or dice.random() < 0.4:
            blocks.append({"type": "text", "text": self._texts(1_200 if last else 150)})
        tools = [("Task" if spawns else "Bash" if looping else self._weighted(TOOLS)) for _ in range(calls)]
        blocks += [self._call(tool, looping) for tool in tools]
        written = self._tokens(json.dumps(blocks)) + 5
        lines = self._answered(told, blocks, written)
        told.context += written
        told.last = "end_turn" if last else "tool_use"
        uses = [block for block in blocks if block["type"] == "tool_use"]
        results = [self._result(told, block, looping) for block in uses]
        first = len(lines) - len(uses)
        yield from lines[:first]
        for line, result in zip(lines[first:], results, strict=True):
            yield line  # the results of parallel calls stand among the lines of their answer
            yield result
        if spawns:
            self._spawn(told, folder)

    def _answered(self, told: Told, blocks: list[dict[str, Json]], written: int) -> list[dict[str, Json]]:
        dice, totals = self._random, self.made.totals
        plain = dice.randint(1, 9)
        kept = told.cached if told.at < told.kept_until else 0
        wrote = max(0, told.context - kept)
        told.cached, told.kept_until = told.context, told.at + (3_600 if told.long else 300)
        long = wrote if told.long else 0
        totals.calls += 1
        totals.input += plain + kept + wrote
        totals.cache_read += kept
        totals.cache_write += wrote
        totals.cache_write_1h += long
        totals.output += written
        name, request = f"msg_{self._hex(24)}", f"req_{self._hex(24)}"
        lines: list[dict[str, Json]] = []
        for number, block in enumerate(blocks, 1):
            final = number == len(blocks)
            usage = {
                "input_tokens": plain,
                "cache_creation_input_tokens": wrote,
                "cache_read_input_tokens": kept,
                "cache_creation": {"ephemeral_5m_input_tokens": wrote - long, "ephemeral_1h_input_tokens": long},
                "output_tokens": written if final else min(number, written),
                "service_tier": "standard",
                "inference_geo": "not_available",
            }
            message = {
                "model": told.model,
                "id": name,
                "type": "message",
                "role": "assistant",
                "content": [block],
                "stop_reason": "tool_use" if final else None,
                "stop_sequence": None,
                "usage": usage,
            }
            lines.append(self._line(told, "assistant", message=message, requestId=request))
        return lines

    def _result(self, told: Told, call: dict[str, Json], looping: tuple[str, str] | None) -> dict[str, Json]:
        dice = self._random
        failed = looping is not None or dice.random() < 0.05
        text = looping[1] if looping else self._texts(min(90_000, int(dice.lognormvariate(7.0, 1.5))))
        told.context += self._tokens(text)
        content = [{"tool_use_id": call["id"], "type": "tool_result", "content": text, "is_error": failed}]
        twice: Json = f"Error: {text}" if failed else {"stdout": text, "stderr": "", "interrupted": False}
        if call["name"] in {"Read", "Edit", "Write"} and not failed:
            file = {"filePath": f"{told.cwd}/src/a.py", "content": text, "numLines": 90, "startLine": 1}
            twice = {"type": "text", "file": file}
        return self._line(told, "user", message={"role": "user", "content": content}, toolUseResult=twice)

    def _spawn(self, told: Told, folder: Path) -> None:
        agent = f"a{self._hex(16)}"
        model = told.model if self._random.random() < 0.3 else "claude-haiku-4-5-20251001"
        child = Told(
            model=model, session=told.session, agent=agent, cwd=told.cwd, long=False, at=told.at, context=9_000
        )
        lines = list(self._conversation(child, folder, steps=self._random.randint(3, 25)))
        self._write(folder / told.session / "subagents" / f"agent-{agent}.jsonl", lines[1:])
        told.at = child.at

    # ---- Small things -------------------------------------------------------------------------------------------

    def _call(self, tool: str, looping: tuple[str, str] | None) -> dict[str, Json]:
        return {"type": "tool_use", "id": f"toolu_{self._hex(24)}", "name": tool, "input": self._input(tool, looping)}

    def _input(self, tool: str, looping: tuple[str, str] | None) -> dict[str, Json]:
        if tool == "Bash":
            return {"command": looping[0] if looping else self._texts(90), "description": "Runs it"}
        if tool == "Edit":
            return {"file_path": "src/a.py", "old_string": self._texts(400), "new_string": self._texts(500)}
        return {"file_path" if tool in {"Read", "Write"} else "pattern": self._texts(40)}

    def _pool(self, size: int) -> str:
        words = [
            "def ",
            "return ",
            "import ",
            "self.",
            "error",
            "value",
            "(",
            ")",
            '"text"',
            "\n",
            "\n    ",
            "é",
            "→",
            "= ",
        ]
        words += [self._hex(self._random.randint(2, 9)) + " " for _ in range(400)]
        text = "".join(self._random.choices(words, k=size // 4))
        return text[:size]

    def _texts(self, size: int) -> str:
        size = max(1, size)
        begin = self._random.randrange(max(1, len(self._text) - size))
        return self._text[begin : begin + size]

    def _tokens(self, text: str) -> int:
        return int(len(text) / CHARS_A_TOKEN) + 1

    def _weighted(self, told: dict[str, int]) -> str:
        return self._random.choices(list(told), weights=list(told.values()))[0]

    def _hex(self, length: int) -> str:
        return f"{self._random.getrandbits(4 * length):0{length}x}"

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


# ---- Measuring --------------------------------------------------------------------------------------------------


def tree_kib(root: int) -> int:
    """Memory of a process and of all that it has started, in KiB."""
    parents: dict[int, int] = {}
    held: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            told = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines())
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        pid = int(entry.name)
        parents[pid] = int(told["PPid"])
        held[pid] = int(told.get("VmRSS", "0").split()[0])
    ours = {root}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(held.get(pid, 0) for pid in ours)


def audited(folder: Path) -> tuple[Totals, float, float, int]:
    """The totals that the command tells, the seconds it took, those of all its processes, its peak memory in KiB."""
    begun, peak = time.perf_counter(), 0
    command = [sys.executable, "-m", "turnout.cli", "audit", str(folder), "--json"]
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as process:
        ended = threading.Event()
        while process.poll() is None:
            peak = max(peak, tree_kib(process.pid))
            ended.wait(LOOK_S)
        took = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit(f"turnout audit ended with {process.returncode}")
        out.seek(0)
        told = json.loads(out.read())["totals"]
    names = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
    tokens = {name: told[f"{name}_tokens"] for name in names}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    totals = Totals(calls=told["calls"], failed=told["failed_calls"], **tokens)
    return totals, took, used.ru_utime + used.ru_stime, peak


def read_alone(folder: Path) -> tuple[Totals, float]:
    """The totals that the reader alone gives, and its seconds on one core; answers in two files count once."""
    found, seen, begun = Totals(), set[str](), time.process_time()
    for path in sorted(folder.rglob("*.jsonl")):
        for event in CLAUDE_CODE.read(Source(paths=(path,)), ReadTally()):
            if not isinstance(event, Step) or (event.id and event.id in seen):
                continue
            seen.add(event.id)
            found.calls += 1
            found.failed += event.failed
            if (usage := event.usage) is not None:
                found.input += usage.input or 0
                found.cache_read += usage.cache_read or 0
                found.cache_write += usage.cache_write or 0
                found.cache_write_1h += usage.cache_write_1h or 0
                found.output += usage.output or 0
    return found, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="make the logs here, and leave them")
    parser.add_argument("--only-make", action="store_true", help="print the totals that were put in, and audit nothing")
    parser.add_argument("--only-read", action="store_true", help="time the reader alone, on one core")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        made = Maker(folder, args.mib * 2**20, args.seed).make()
        print(f"{made.bytes / 2**20:.0f} MiB in {made.files:,} files, {made.sessions:,} sessions, seed {args.seed}")
        print(f"put in: {made.totals}")
        if args.only_make:
            return
        if args.only_read:
            found, took = read_alone(folder)
            print(f"reader alone: {took:.1f} s, {made.bytes / 1e6 / took:.1f} MB/s of one core")
        else:
            found, took, used, peak = audited(folder)
            speed = f"{made.bytes / 1e6 / took:.1f} MB/s on {os.cpu_count()} cores"
            print(f"turnout audit: {took:.1f} s ({used:.1f} s of CPU), {speed}, peak {peak / 1024:.0f} MiB")
        print("totals agree" if found == made.totals else f"TOTALS DIFFER: {found}")
        raise SystemExit(found != made.totals)


if __name__ == "__main__":
    main()
