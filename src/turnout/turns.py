"""Letting other requests come to the same point before one goes on."""

from __future__ import annotations

import asyncio

__all__ = ["next_turn"]


async def next_turn() -> None:
    """Stands between two phases of a request, where whole phases of others may come in between.

    A request runs more code, and touches more objects, than fit in a core's own cache; a phase of it does not. Where
    many wait, each phase then runs for all of them one after the other, and only the first waits for memory."""
    await asyncio.sleep(0)
