"""What cache marks cost, and what they let a cache read: python bench/marks.py [TRACES.jsonl ...]

Times are medians of 300 runs on one core. Read: of the tokens that the previous step of a session had sent (where that
was above the least that is kept), the share that the simulated cache of Anthropic's documented rule gives back, each
session by itself and within the lifetime. Without files: the packaged sessions.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from turnout.catalog.cache_rules import CacheRule, cache_rule_of
from turnout.chat import Json
from turnout.dialects import DIALECTS
from turnout.dialects.fields import join_fields
from turnout.dialects.marks import Ends, Marks, marked
from turnout.lab.sessions import (
    Session,
    anthropic_request,
    input_tokens,
    packaged_sessions,
    packaged_tools,
    read_sessions,
    requests_of,
)
from turnout.providers.recorded import PromptCache, chain_of

ANTHROPIC = DIALECTS["anthropic-messages"]
MODEL = "claude-opus-4-8"
RUNS = 300


def long_body(size: int) -> bytes:
    """A request of an agent of about `size` bytes."""
    result = "one line of a file, as agents read them\n" * 40
    messages: list[dict[str, Json]] = []
    while (len(messages) + 1) * len(result) / 2 < size:
        name = f"t{len(messages)}"
        answered = {"type": "tool_result", "tool_use_id": name, "content": result}
        asked = {"type": "tool_use", "id": name, "name": "read", "input": {"path": "a.py"}}
        messages += ({"role": "user", "content": [answered]}, {"role": "assistant", "content": [asked]})
    messages.append({"role": "user", "content": "go on"})
    tool = {"name": "read", "description": "Reads a file. " * 30, "input_schema": {"type": "object"}}
    told = {"model": MODEL, "max_tokens": 9, "system": "Be careful. " * 500, "tools": [tool] * 20}
    return msgspec.json.encode({**told, "messages": messages})


def median_ms(work: Callable[[], object]) -> float:
    took: list[float] = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e3


def put(body: bytes, marks: Marks) -> bytes:
    told = ANTHROPIC.outline(body)
    if ANTHROPIC.marks is None:
        return body
    done = marked(ANTHROPIC.marks, Ends(told.fields, told.messages, told.roles, told.caches is not None), marks)
    return join_fields({**told.fields, **{k: Raw(v) for k, v in done.fields.items()}})


def times() -> None:
    form = ANTHROPIC.marks
    if form is None:
        return
    print(f"{'request':>12} {'outline':>10} {'marks':>10} {'patch':>10}   ms")
    for size in (1_000, 40_000, 400_000):
        body = long_body(size)
        told = ANTHROPIC.outline(body)
        ends = Ends(told.fields, told.messages, told.roles, asked=False)
        marks = Marks(before=max(1, len(told.messages) - 2))
        took = [
            median_ms(lambda body=body: ANTHROPIC.outline(body)),
            median_ms(lambda ends=ends, marks=marks: marked(form, ends, marks)),
            median_ms(lambda told=told: ANTHROPIC.patch_request(told, MODEL)),
        ]
        print(f"{len(body):>10,} B " + " ".join(f"{ms:>10.3f}" for ms in took))


def bodies(session: Session) -> Iterator[tuple[bytes, int, int]]:
    """Each request of a session, its messages and its tokens."""
    for recorded in requests_of(session, packaged_tools()):
        told = anthropic_request(recorded, model=MODEL)
        if told["messages"]:
            yield msgspec.json.encode(told), len(told["messages"]), input_tokens(recorded)


def read_share(session: Session, rule: CacheRule, marks: Marks | None, *, known: bool = True) -> tuple[int, int]:
    """Tokens read, and tokens that the step before had sent. `known`: how many messages those were is remembered."""
    cache = PromptCache(rule, clock=lambda: 0.0)
    read = repeated = last = 0
    sent: int | None = None
    for body, count, tokens in bodies(session):
        after = body if marks is None else put(body, replace(marks, before=sent if known else None))
        read += cache.visit(chain_of(ANTHROPIC.decode_request(after)), tokens).read
        repeated += min(last, tokens) if last >= rule.minimum_tokens else 0
        sent, last = count, tokens
    return read, repeated


def main() -> None:
    times()
    sessions = [s for path in sys.argv[1:] for s in read_sessions(path)] or packaged_sessions()
    rule = cache_rule_of("anthropic", MODEL)
    print(f"\nread of what could be, {len(sessions)} sessions")
    for name, marks, known in (
        ("no marks", None, False),
        ("newest turn alone", Marks(most=1), False),
        ("marks, end of the last step guessed", Marks(), False),
        ("marks", Marks(), True),
    ):
        shares = [read_share(session, rule, marks, known=known) for session in sessions]
        total = sum(repeated for _, repeated in shares)
        print(f"{name:>36} {sum(read for read, _ in shares) / max(1, total):>8.1%} of {total:,} tokens")


if __name__ == "__main__":
    main()
