"""Requests shaped like an agent's, of any size: a conversation that grows by a tool's result at each step.

An agent sends the whole conversation again with every step, so a benchmark that repeats one request, or sends a new
conversation each time, measures what hardly happens. Everything is drawn from one seed: the same bytes on each machine.
"""

from __future__ import annotations

import json
from random import Random

from msgspec import Struct

__all__ = ["MARK", "SIZES", "STEPS", "Conversation", "conversation", "size_name"]

MARK = "00000000"
"""Where the number of a conversation stands in its first question: as wide, so that lengths stay the same."""

SIZES = (1_000, 40_000, 400_000, 4_000_000)
STEPS = 20
"""Steps of a conversation after which the next begins; a small one has SHORT, or it would not stay small."""

SHORT = 2

TEXT = (
    "the file index value server test error line call count read write part name path config body time first last "
    "answer question class import return assert token cache prompt model agent tool result reason step limit budget"
)
WORDS = TEXT.split()


class Conversation(Struct, frozen=True, kw_only=True):
    """Pieces that make the body of each step: head, the first `n` of steps, tail."""

    head: bytes
    steps: tuple[bytes, ...]
    tail: bytes

    def file(self) -> bytes:
        """As `load.c` reads it."""
        at = self.head.index(MARK.encode())
        lengths = (at, len(self.head), len(self.tail), len(self.steps), *map(len, self.steps))
        return b" ".join(b"%d" % length for length in lengths) + b"\n" + self.head + b"".join(self.steps) + self.tail

    def body(self, number: int, step: int) -> bytes:
        """Step `step` (from 0) of conversation `number`."""
        head = self.head.replace(MARK.encode(), b"%08d" % number, 1)
        return head + b"".join(self.steps[:step]) + self.tail


def conversation(model: str, size: int, *, stream: bool = False, paced: str = "") -> Conversation:
    """One whose first request has about `size` bytes; each step adds some 300. `paced`: what the answer's stream is
    to have, as `EVENTSxMICROSECONDS`, told to the provider in the question."""
    random = Random(7)  # noqa: S311 - the same bytes each time, not secrets
    large = size >= 4_000
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "You mend code. " + prose(random, 400 if large else 60)},
        {"role": "user", "content": f"Task {MARK}{f' @{paced}@' if paced else ''}: {prose(random, 120)}"},
    ]
    tools = [tool(random, number) for number in range(12 if large else 1)]
    settings: dict[str, object] = {"model": model, "tools": tools, "max_tokens": 1024}
    if stream:
        settings |= {"stream": True, "stream_options": {"include_usage": True}}
    written = len(compact({**settings, "messages": messages}))
    number = 0
    while large and written < size - 300:
        added = turn(random, number, min(3_000, max(200, size - written - 300)))
        messages += added
        written += len(compact(added))
        number += 1
    if (missing := size - written) > 60:
        messages.append({"role": "user", "content": prose(random, missing - 30)})
    told = compact(settings)[:-1]
    grown = tuple(
        b"," + compact(turn(random, number + n, 150 if large else 20))[1:-1] for n in range(STEPS if large else SHORT)
    )
    return Conversation(head=told + b',"messages":' + compact(messages)[:-1], steps=grown, tail=b"]}")


def size_name(size: int) -> str:
    return f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size // 1_000} KB"


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def prose(random: Random, length: int) -> str:
    words: list[str] = []
    while sum(map(len, words[-8:])) + 9 * len(words) < length + 60:
        words.append(random.choice(WORDS))
    return " ".join(words)[:length]


def tool(random: Random, number: int) -> dict[str, object]:
    parameters = {"type": "object", "properties": {"path": {"type": "string", "description": prose(random, 40)}}}
    function = {"name": f"tool_{number}", "description": prose(random, 120), "parameters": parameters}
    return {"type": "function", "function": function}


def turn(random: Random, number: int, length: int) -> list[dict[str, object]]:
    """A call of a tool and its result of `length` characters."""
    arguments = json.dumps({"path": f"src/{random.choice(WORDS)}_{number}.py"})
    call = {"id": f"call_{number:08d}", "type": "function", "function": {"name": "tool_0", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{number:08d}", "content": prose(random, length)},
    ]
