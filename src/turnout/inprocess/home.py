"""An event loop in a thread of its own, for callers that have none, or several."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import uvloop

from turnout.errors import NoCapacity

__all__ = ["Home"]

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, object]]

CLOSE_S = 10.0
"""How long the thread may take to end once all that ran on its loop was told to."""


class Home:
    """Runs coroutines for any number of threads, notebooks' and other loops' among them. `last` is what its loop does
    before it ends: with `close`, when nobody has this any more, or when the program ends."""

    def __init__(self, last: Work) -> None:
        self._loop = uvloop.new_event_loop()
        self._born_in = os.getpid()
        # Not a method of ours: the thread must not keep alive what ends it.
        self._thread = threading.Thread(target=_live, args=(self._loop,), name="turnout", daemon=True)
        self._thread.start()
        self._closer = weakref.finalize(self, _close, self._loop, self._thread, self._born_in, last)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives; blocks. A KeyboardInterrupt meanwhile cancels it. Raises whatever `work` raises, and
        NoCapacity where the loop ended before."""
        future: Future[T] | None = None
        try:
            self._check()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            return future.result()
        except CancelledError:
            raise NoCapacity("the gateway was closed before it had answered; make another") from None
        finally:
            if future is None:
                work.close()
            else:
                future.cancel()

    def when_forgotten(self, holder: object, work: Work) -> None:
        """Run `work` some time after nobody has `holder` any more."""
        weakref.finalize(holder, _soon, self._loop, self._born_in, work).atexit = False

    def close(self) -> None:
        """Do what comes last, and end the loop and its thread. May be called twice."""
        self._closer()

    def _check(self) -> None:
        if self._born_in != os.getpid():
            raise RuntimeError("this gateway was made before a fork and lives in the parent; make one in each process")
        if threading.current_thread() is self._thread:
            raise RuntimeError("a gateway cannot wait for itself: its own thread asks it (use AsyncGateway there)")
        if not self._closer.alive:
            raise NoCapacity("the gateway is closed; make another")


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def _soon(loop: asyncio.AbstractEventLoop, born_in: int, work: Work) -> None:
    if not loop.is_closed() and born_in == os.getpid():
        asyncio.run_coroutine_threadsafe(work(), loop)


def _close(loop: asyncio.AbstractEventLoop, thread: threading.Thread, born_in: int, last: Work) -> None:
    if born_in != os.getpid():  # a fork has the objects, and not the thread
        return
    ending = asyncio.run_coroutine_threadsafe(_end(loop, last), loop)
    if threading.current_thread() is not thread:  # a garbage collector may run anywhere
        try:
            ending.result()
        finally:
            thread.join(CLOSE_S)


async def _end(loop: asyncio.AbstractEventLoop, last: Work) -> None:
    try:
        await last()
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        loop.call_soon(loop.stop)
