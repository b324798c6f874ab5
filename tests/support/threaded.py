"""A scripted provider on an event loop in a thread of its own: for callers that block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from support.upstream import Script, ScriptedUpstream


class Threaded:
    """What a ScriptedUpstream was sent, for a test that runs on no loop."""

    def __init__(self, upstream: ScriptedUpstream, loop: asyncio.AbstractEventLoop) -> None:
        self.upstream = upstream
        self.url = upstream.url
        self._loop = loop

    @property
    def requests(self):
        return self.upstream.requests

    def wait_asked(self, timeout_s: float = 20.0) -> None:
        """Until somebody has asked it something."""
        until = time.monotonic() + timeout_s
        while not self.requests:
            assert time.monotonic() < until, "nobody asked"
            time.sleep(0.01)

    def wait_gone(self, timeout_s: float = 5.0) -> None:
        """Until somebody hung up on it before it was done."""
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(self.upstream.gone.wait(), timeout_s), self._loop).result()


@contextmanager
def upstream_in_thread(*scripts: Script, upstream: ScriptedUpstream | None = None) -> Generator[Threaded]:
    """A provider that says these scripts, or this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    upstream = upstream or ScriptedUpstream(*scripts)
    asyncio.run_coroutine_threadsafe(upstream.__aenter__(), loop).result()
    try:
        yield Threaded(upstream, loop)
    finally:
        asyncio.run_coroutine_threadsafe(upstream.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
