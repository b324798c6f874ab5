"""Work that nobody waits for: so many tasks at once, ended with the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

__all__ = ["Background"]


class Background:
    """At most `at_once` tasks. One event loop owns it."""

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether one more would be too many."""
        return len(self._tasks) >= self._at_once

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Needs a running event loop. Whoever begins has asked whether it is `busy`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ended(self, within_s: float) -> None:
        """Wait for the end of what is under way, so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def aclose(self) -> None:
        """Cancel what is under way, and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
