"""What other gateways change in the store, looked for while this one serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["following"]

LOOK_S = 0.5


@contextlib.asynccontextmanager
async def following(look: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """While entered, `look` is called again and again."""
    task = asyncio.create_task(_again_and_again(look))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _again_and_again(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        await look()
