"""Every fault of the hostile provider, and what a caller gets: python bench/faults.py

A Markdown table: with a healthy fallback and without, for a whole answer and for a stream, and what was booked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.calls import post
from support.gateway import gateway, host
from support.hostile import FAULTS, MIDWAY, HostileUpstream

PATIENCE = "first_byte_timeout_s = 0.4\nidle_timeout_s = 0.3\n"


def config(bad: str, good: str | None) -> str:
    def named(url: str, name: str) -> str:
        told = host(url, "openai-chat", "m").replace("providers.up", f"providers.{name}").replace("up/m", f"{name}/m")
        return told.replace('api_key = "sk-up"\n', PATIENCE)

    fallback = '[fallbacks]\n"bad/m" = ["good/m"]\n' if good else ""
    return named(bad, "bad") + (named(good, "good") if good else "") + fallback


async def seen(fault: str, *, streaming: bool, fallback: bool) -> str:
    """What one caller got, in short, and the ledger's word for it."""
    said = {"model": "bad/m", "stream": streaming, "messages": [{"role": "user", "content": "hi"}]}
    async with HostileUpstream("openai-chat", fault) as bad, HostileUpstream("openai-chat") as good:
        with tempfile.TemporaryDirectory() as folder:
            async with gateway(config(bad.url, good.url if fallback else None), Path(folder)) as gw:
                status, headers, raw = await post(gw.url, "/v1/chat/completions", json.dumps(said).encode())
                (row,) = await gw.booked()
    cost = f"{(row.cost_nano_usd or 0) / 1e9:.6f}"
    if status != 200:
        return f"{status} `{json.loads(raw)['error']['code']}` ({row.attempts}x)"
    ending = ", then the error event" if b'"error"' in raw else ""
    return f"answer by {headers['x-turnout-model'].partition('/')[0]}{ending}; {row.outcome}, ${cost}"


async def main() -> None:
    print("| fault | whole, with a fallback | stream, with a fallback | whole, alone | stream, alone |")
    print("| --- | --- | --- | --- | --- |")
    for fault in FAULTS:
        cells = [
            "-" if fault in MIDWAY and not streaming else await seen(fault, streaming=streaming, fallback=fallback)
            for fallback in (True, False)
            for streaming in (False, True)
        ]
        print(f"| {fault} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
