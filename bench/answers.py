"""What the response cache costs a request: naming it, by size, and a hit in memory.

python bench/answers.py
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from turnout.answers import Kept, cacheable, form_of, key_of
from turnout.dialects import DIALECTS
from turnout.stores.answers import MemoryAnswers

SIZES_KB = (1, 40, 400)
WORDS = 'def f(x):\n    return "a value" + x\n'


def best(work: Callable[[], object], rounds: int = 7, times: int = 50) -> float:
    """Microseconds of one call, in the fastest of some rounds: others use this machine too."""
    found: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - begun) / times)
    return min(found) * 1e6


def request_of(kilobytes: int) -> bytes:
    """An agent's conversation of about so many kilobytes."""
    text = WORDS * (2 if kilobytes == 1 else 50)
    messages: list[dict[str, str]] = []
    while len(json.dumps(messages)) < kilobytes * 1_000:
        messages.append({"role": ("user", "assistant")[len(messages) % 2], "content": text})
    return json.dumps({"model": "auto", "messages": messages, "temperature": 0}).encode()


def main() -> None:
    dialect = DIALECTS["openai-chat"]
    for kilobytes in SIZES_KB:
        told = dialect.outline(request_of(kilobytes))
        size = sum(len(bytes(raw)) for raw in told.fields.values())
        name = best(lambda told=told: key_of(told, dialect.name, form_of(told), ("key", "a")))
        may = best(lambda told=told: cacheable(told, dialect.name, any_temperature=False))
        print(f"{size / 1000:6.1f} KB: key {name:7.1f} us, eligibility {may:5.1f} us")
    store, kept = (
        MemoryAnswers(),
        Kept(body=b"x" * 1000, form="whole", deployment="d", request_id="r", made_s=0, expires_s=9),
    )

    async def hits() -> float:
        await store.keep(b"k", kept, max_bytes=10_000)
        begun = time.perf_counter()
        for _ in range(10_000):
            await store.find(b"k", now_s=1)
        return (time.perf_counter() - begun) / 10_000 * 1e6

    print(f"a look-up in memory: {asyncio.run(hits()):.2f} us")


if __name__ == "__main__":
    main()
