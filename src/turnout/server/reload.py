"""A changed config takes over while requests go on: on SIGHUP, and when the file changes. A bad one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from turnout.errors import TurnoutError

__all__ = ["watching"]

log = logging.getLogger("turnout")

LOOK_S = 1.0


@contextlib.asynccontextmanager
async def watching(file: Path | None, reload: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """While entered, `reload` is called on SIGHUP and whenever `file` has changed; one at a time."""
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(
        NotImplementedError, ValueError, RuntimeError
    ):  # no such signal here, or not the main thread
        loop.add_signal_handler(signal.SIGHUP, wanted.set)
    tasks = [asyncio.create_task(_reload_when(wanted, reload))]
    if file is not None:
        tasks.append(asyncio.create_task(_look(file, wanted)))
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _reload_when(wanted: asyncio.Event, reload: Callable[[], Awaitable[None]]) -> None:
    while True:
        await wanted.wait()
        wanted.clear()
        try:
            await reload()
        except TurnoutError as error:
            log.warning("the config was not reloaded, the one before goes on: %s", error.message)
        else:
            log.warning("the config was reloaded")


async def _look(file: Path, wanted: asyncio.Event) -> None:
    seen = _stamp(file)
    while True:
        await asyncio.sleep(LOOK_S)
        if (now := _stamp(file)) != seen:
            seen = now
            if now is not None:
                wanted.set()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from another; None while there is none (editors replace files)."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
