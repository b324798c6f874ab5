"""What a decision costs with everything that issue 6 asks of it: python bench/decision.py

Microseconds (the fastest of several rounds, CPU time) of each part of a decision for an agent's request of about 1, 40
and 400 KB in the midst of a session with a fleet of twelve deployments: finding its conversation, what is warm where,
ranking with the rest of the session, and the whole (`Pipeline.open` and `Pipeline.decide`) less the partial decode and
the token estimate, which every request pays for anyway. The goal is 300 at 1 KB and 1,500 at 400 KB.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from turnout.call import Call
from turnout.chat import Json
from turnout.config import parse_config
from turnout.dialects import DIALECTS
from turnout.engine import Engine, build_engine
from turnout.providers.operations import ChatOperation
from turnout.routing.identity import Hints

ROUNDS, CALLS = 9, 60

TOML = "\n".join(
    f'[models."{name}"]'
    for name in (
        *("openai/gpt-5.5", "openai/gpt-5-mini", "openai/gpt-5-nano", "openai/gpt-4.1", "openai/gpt-4.1-mini"),
        *("anthropic/claude-opus-5", "anthropic/claude-sonnet-5", "anthropic/claude-haiku-4-5"),
        *("google/gemini-2.5-pro", "google/gemini-2.5-flash", "mistral/mistral-large-latest", "deepseek/deepseek-chat"),
    )
)
PROVIDERS = "\n".join(
    f'[providers.{name}]\napi_key = "sk-x"' for name in ("openai", "anthropic", "google", "mistral", "deepseek")
)


def body(size: int) -> bytes:
    """An agent's request of about that size: results of about 2 KB each."""
    result = "line of a file that an agent reads and reads again\n" * (40 if size > 4_000 else 4)
    messages: list[dict[str, Json]] = [
        {"role": "system", "content": "You mend code. " * (100 if size > 4_000 else 4)},
        {"role": "user", "content": "make the tests pass"},
    ]
    number = 0
    while len(msgspec.json.encode(messages)) < size:
        call = {"id": f"c{number}", "type": "function", "function": {"name": "read", "arguments": '{"path": "a.py"}'}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": f"{number} {result}"},
        ]
        number += 1
    tools = [{"type": "function", "function": {"name": "read", "description": "Reads a file."}}]
    return msgspec.json.encode({"model": "auto", "messages": messages, "tools": tools})


def fastest_us(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(CALLS):
            work()
        best = min(best, (time.process_time() - begun) / CALLS)
    return best * 1e6


def measured(engine: Engine, raw: bytes) -> dict[str, float]:
    pipeline, memory = engine.pipeline, engine.state.memory
    operation = ChatOperation(DIALECTS["openai-chat"])
    call = Call(request_id="r", operation=operation, body=raw, headers={}, started_s=time.monotonic())
    outline = operation.outline(raw)
    ctx = pipeline.open(call)
    memory.sessions.settle("", ctx.session, pinned="openai/gpt-5.5", cost_nano_usd=0, home="openai/gpt-5.5")
    ctx = pipeline.open(call, peek=True)
    tokens = ctx.input_tokens_estimate
    return {
        "conversation": fastest_us(lambda: memory.sessions.locate("", Hints(), outline, tokens=tokens)),
        "decide": fastest_us(lambda: pipeline.decide(ctx, call)),
        "decode": fastest_us(lambda: operation.outline(raw)),
        "estimate": fastest_us(lambda: memory.tokens.estimate(outline)),
    }


async def figures() -> dict[int, dict[str, float]]:
    """Microseconds of each part, by the length of the body."""
    with TemporaryDirectory() as folder:
        config = parse_config(f'store.ledger = "sqlite:///{folder}/ledger.db"\n{PROVIDERS}\n{TOML}\n', {})
        engine = await build_engine(config, {})
        try:
            return {len(raw): measured(engine, raw) for raw in map(body, (1_000, 40_000, 400_000))}
        finally:
            await engine.aclose()


def main() -> None:
    print(f"{'body':>8} {'conversation':>13} {'decide':>8} {'together':>9}   beside: {'decode':>7} {'estimate':>9}")
    for length, us in asyncio.run(figures()).items():
        together = us["conversation"] + us["decide"]
        print(
            f"{length / 1e3:6.0f}KB {us['conversation']:13.0f} {us['decide']:8.0f} {together:9.0f}"
            f"           {us['decode']:7.0f} {us['estimate']:9.0f}"
        )


if __name__ == "__main__":
    main()
