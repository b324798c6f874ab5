"""What is done again and again while a gateway serves: looking for what others changed in the store, and the like."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["following"]

log = logging.getLogger("turnout")

LOOK_S = 0.5


@contextlib.asynccontextmanager
async def following(look: Callable[[], Awaitable[None]], every_s: float = LOOK_S) -> AsyncGenerator[None]:
    """While entered, `look` is called again and again, so many seconds apart."""
    task = asyncio.create_task(_again_and_again(look, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _again_and_again(look: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await look()
        except Exception:  # one look that fails must not be the last
            log.exception("a look at what others changed failed; it is tried again")
