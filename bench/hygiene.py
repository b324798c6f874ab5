"""What looking at contexts costs a request, and the memory of a conversation: python bench/hygiene.py [FILE.jsonl ...]

A coding agent that reads 4 KB of the standard library a step: the model's words, its call, the result. Recorded ones:
session traces, one session a line. Times are of `ContextTrail.step` alone: the messages are decoded anyway.
"""

from __future__ import annotations

import argparse
import doctest
import inspect
import sys
import tarfile
import time
import tracemalloc
import typing
import zipfile
from collections.abc import Sequence
from pathlib import Path

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.prices import Price
from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.contexts import tokens_of
from turnout.lab.hygiene import decoded
from turnout.lab.sessions import read_sessions
from turnout.routing.tokens import approximate
from turnout.spend.hygiene import ContextTrail
from turnout.spend.trimming import Billing

GPT = Billing(price=Price(input=2_000_000, output=0, cache_read=500_000), rule=cache_rule_of("openai", "gpt-4.1"))
STEPS, STEP_CHARS = 200, 4_096


def sources() -> str:
    """Code as an agent reads it: the standard library's own."""
    return "".join(inspect.getsource(module) for module in (argparse, inspect, typing, tarfile, doctest, zipfile))


def read_file(step: int, code: str) -> list[Message]:
    code = code[step * STEP_CHARS % len(code) :][:STEP_CHARS]
    call = ToolCall(id=f"c{step}", name="read", arguments=f'{{"path": "src/module_{step}.py"}}')
    result = ToolResult(call_id=f"c{step}", parts=(Text(text=code),))
    said = Text(text=f"Let me look at {code[400:450]!r} first, then go on with the next file.")
    return [Message(role="assistant", parts=(said, call)), Message(role="tool", parts=(result,))]


def dense(step: int) -> list[Message]:
    """Nothing but words that are new."""
    text = " ".join(f"name_{step * 400 + n}" for n in range(400))
    return [Message(role="tool", parts=(ToolResult(call_id=f"c{step}", parts=(Text(text=text),)),))]


def texts_of(messages: Sequence[Message]) -> list[str]:
    parts = [part for message in messages for part in message.parts]
    inner = [p for part in parts for p in (part.parts if isinstance(part, ToolResult) else (part,))]
    return [part.text for part in inner if isinstance(part, Text)]


def fed(steps: Sequence[Sequence[Message]]) -> tuple[ContextTrail, list[float]]:
    """A trail, and the seconds of each step."""
    trail, spent = ContextTrail(tokens_of), list[float]()
    for messages in steps:
        begun = time.process_time()
        trail.step(messages)
        spent.append(time.process_time() - begun)
    return trail, spent


def told(name: str, spent: list[float]) -> None:
    ordered = sorted(spent)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name}: a step {middle * 1e6:.0f} us, p99 {high * 1e6:.0f} us ({len(spent):,} steps)")


def main() -> None:
    code = sources()
    steps = [read_file(step, code) for step in range(STEPS)]
    told("4 KB a step", fed(steps)[1])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    trail = fed(steps)[0]
    print(f"memory of it: {(tracemalloc.get_traced_memory()[0] - before) / 1024:.0f} KB, {trail.size:,} hashes")
    long = fed([dense(step) for step in range(5 * STEPS)])[0]
    print(f"at its bounds (1,000 steps): {(tracemalloc.get_traced_memory()[0] - before) / 1024:.0f} KB for both")
    tracemalloc.stop()
    begun = time.process_time()
    long.report(GPT)
    print(f"a report of 1,000 steps: {(time.process_time() - begun) * 1e3:.0f} ms")
    for name, text in (("dashes", "-" * 500_000), ("one word", "a" * 500_000), ("a-a-a", "a-" * 250_000)):
        result = ToolResult(call_id="c", parts=(Text(text=text),))
        print(f"500 KB of {name}: {fed([[Message(role='tool', parts=(result,))]])[1][0] * 1e3:.1f} ms")
    for file in map(Path, sys.argv[1:]):
        texts = [text for session in read_sessions(file) for ms in decoded(session) for text in texts_of(ms)]
        off = sum(map(tokens_of, texts)) / max(1.0, sum(map(approximate, texts))) - 1
        print(f"{file.stem}: sampled tokens are {off:+.2%} off those of whole texts")
        spent = [s for session in read_sessions(file) for s in fed(list(decoded(session)))[1]]
        told(file.stem, spent)


if __name__ == "__main__":
    main()
