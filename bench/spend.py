"""Budgets under load and under `kill -9`, over real sockets: python bench/spend.py [--kills 20] [--callers 500]

The provider here bills as providers do: input by the request's size, output up to what was allowed, by its own seeded
dice; what it billed is the truth that the gateway's books are held against.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.calls import CHAT, post
from support.gateway import gateway
from support.upstream import Received, Script, ScriptedUpstream, answer

PATH = "/v1/chat/completions"
INPUT, OUTPUT = 5_000, 25_000
"""Nano-dollars a token: the prices in `config`."""


class Billing(ScriptedUpstream):
    """Answers each request after some milliseconds, and adds up what it bills."""

    def __init__(self, seed: int) -> None:
        super().__init__(answer(CHAT))
        self._dice = random.Random(seed)  # noqa: S311 (dice)
        self.billed = 0
        self.answered = 0

    async def _answer(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        del script  # every answer is its own
        asked: Received = self.requests[-1]
        told: dict[str, Any] = asked.json()
        usage = {
            "prompt_tokens": len(asked.body) // 5 + 8,
            "completion_tokens": self._dice.randint(1, told["max_tokens"]),
        }
        # Billed from here on, whether or not anybody is there to hear it.
        self.billed += usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT
        self.answered += 1
        await asyncio.sleep(self._dice.uniform(0.001, 0.03))
        return await super()._answer(answer({**CHAT, "usage": usage}), reader, writer)


def config(url: str, usd: float) -> str:
    return (
        f'[providers.up]\ndialect = "openai-chat"\nbase_url = "{url}/v1"\napi_key = "k"\n'
        f'[models."up/m"]\ntier = "small"\nprice = {{ input = 5, output = 25 }}\n'
        f'[budgets.company]\namount_usd = {usd}\npacing = "off"\n'
    )


def asks(dice: random.Random) -> bytes:
    words = " ".join(dice.choices(["the", "gateway", "counts", "every", "token", "twice"], k=dice.randint(20, 200)))
    said = {"model": "up/m", "max_tokens": dice.randint(50, 400), "messages": [{"role": "user", "content": words}]}
    return json.dumps(said).encode()


async def crowd(callers: int, usd: float) -> None:
    """All at once against a nearly empty budget."""
    dice = random.Random(1)  # noqa: S311 (dice)
    async with Billing(2) as up:
        with tempfile.TemporaryDirectory() as folder:
            async with gateway(config(up.url, usd), Path(folder)) as gw:
                book = gw.engine.state.memory.budgets
                worst = 0

                async def watch() -> None:
                    nonlocal worst
                    while True:
                        state = book.state("company")
                        worst = max(worst, state.spent_nano_usd + state.held_nano_usd - state.amount_nano_usd)
                        await asyncio.sleep(0)

                watching = asyncio.create_task(watch())
                got = await asyncio.gather(*(post(gw.url, PATH, asks(dice)) for _ in range(callers)))
                watching.cancel()
                rows = sum(r.cost_nano_usd or 0 for r in gw.rows())
                spent, held = book.spent("company"), book.held("company")
    statuses = Counter(status for status, _, _ in got)
    print(f"{callers} requests at once, budget ${usd}: {dict(statuses)}")
    print(
        f"  billed by the provider ${up.billed / 1e9:.6f}, in the ledger ${rows / 1e9:.6f}, budget ${spent / 1e9:.6f}"
    )
    print(f"  worst (spent + held - amount) at any moment ${worst / 1e9:.6f}; still held ${held / 1e9:.6f}")
    assert up.billed == rows == spent <= usd * 1e9


async def started(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "turnout.cli", "serve", "--config", str(folder / "turnout.toml"), "--port", "0"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ,
        cwd=folder,
    )
    assert child.stderr is not None
    said = b""
    async with asyncio.timeout(20):
        while line := await child.stderr.readline():
            if found := re.search(rb"http://[\d.]+:\d+", line):
                return child, found[0].decode()
            said += line
    raise RuntimeError(said.decode())


async def murders(kills: int) -> None:
    """A gateway under load, killed at random moments, started again each time."""
    dice = random.Random(3)  # noqa: S311 (dice)
    async with Billing(4) as up:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            told = f'store.ledger = "sqlite:///{folder}/ledger.db"\n' + config(up.url, 1_000_000)
            (folder / "turnout.toml").write_text(told)
            sent = 0
            for kill in range(kills + 1):
                child, url = await started(folder)
                calls = [asyncio.create_task(post(url, PATH, asks(dice))) for _ in range(100 if kill < kills else 1)]
                sent += len(calls)
                if kill < kills:
                    await asyncio.sleep(dice.uniform(0.02, 0.3))
                    child.send_signal(signal.SIGKILL)
                await asyncio.gather(*calls, return_exceptions=True)
                if kill == kills:
                    child.terminate()
                await child.wait()
            books(folder / "ledger.db", up, kills, sent)


def books(file: Path, up: Billing, kills: int, sent: int) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        rows, spent = db.execute("SELECT count(*), sum(cost_nano_usd) FROM requests WHERE outcome = 'ok'").fetchone()
        lost, counted = db.execute("SELECT count(*), ifnull(sum(amount_nano_usd), 0) FROM budget_entries").fetchone()
    forgotten = max(0, up.billed - spent - counted)
    print(f"{kills} kills -9 of a gateway under load: {sent} requests sent, {up.answered} billed by the provider")
    print(f"  settled rows {rows}; open or unflushed when killed {lost}, all counted at their worst")
    print(f"  billed ${up.billed / 1e9:.6f}; budget counts ${(spent + counted) / 1e9:.6f}; ", end="")
    print(f"forgotten ${forgotten / 1e9:.6f}")
    assert forgotten == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--callers", type=int, default=500)
    args = parser.parse_args()
    asyncio.run(crowd(args.callers, 0.05))
    asyncio.run(murders(args.kills))


if __name__ == "__main__":
    main()
