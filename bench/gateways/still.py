"""`turnout serve` whose clocks of its own hardly tick, for counting what requests alone take: python still.py CONFIG

Under valgrind a request takes fifty times as long, and on a busy machine longer still; what the gateway does ten times
a second would be in each request's count, now more and now less of it. What a request itself waits for is shorter.
"""

from __future__ import annotations

import asyncio
import sys

SHORT_S = 0.05
FACTOR = 1_000.0

_sleep = asyncio.sleep


async def sleep(delay: float, result: object = None) -> object:
    """As asyncio's, and a thousand times longer where somebody looks every now and then."""
    return await _sleep(delay * FACTOR if delay >= SHORT_S else delay, result)


if __name__ == "__main__":
    asyncio.sleep = sleep  # type: ignore[assignment]
    from turnout.cli import main

    sys.exit(main(["serve", "--config", sys.argv[1], "--port", "0"]))
