"""`turnout serve --workers N`: N processes that accept from one socket; one that dies is started again.

The parent does nothing but watch: no threads, no event loop, so that a child can be forked from it at any time. All
accept from the same listening socket, so a connection that waits is nobody's until somebody takes it: a worker that is
killed takes none of them along.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

from msgspec import Struct
from msgspec.structs import replace

from turnout.config import Config
from turnout.errors import ConfigError
from turnout.server.listener import address_of
from turnout.server.siblings import Slots
from turnout.store_rules import ALONE
from turnout.stores.opening import beside
from turnout.stores.schema import MEMORY

__all__ = ["Place", "for_workers", "watched"]

MOST_WORKERS = 256

AGAIN_S, LONGEST_AGAIN_S = 0.2, 10.0
"""A worker that died is started again after this, twice as long each time it lives shorter than `WELL_S`."""

WELL_S = 30.0

TICK_S = 0.2

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Place(Struct, frozen=True, kw_only=True):
    """A worker's place among them: the socket to accept from, whom to tell that it does, what can be read once the
    parent is gone, and its slot of what they tell one another; one that is started again has its forerunner's."""

    socket: socket.socket
    ready: Callable[[], None]
    orphaned: int
    board: Slots
    slot: int


Work = Callable[[Place], int]
"""What a worker does until it is told to end; its exit status."""


def for_workers(config: Config, count: int) -> Config:
    """`config` for so many processes: what one alone keeps in memory several share in a file beside the ledger. Raises
    ConfigError."""
    if not 1 <= count <= MOST_WORKERS:
        raise ConfigError(f"server.workers = {count}: must lie between 1 and {MOST_WORKERS}", param="server.workers")
    store = config.store
    if count > 1 and store.shared == ALONE:
        if store.ledger.endswith(MEMORY):
            raise ConfigError(
                f"server.workers = {count}: each would have a ledger of its own in memory; name a file or a database",
                param="store.ledger",
            )
        store = replace(store, shared=f"sqlite:///{beside(store, 'shared')}")
    return replace(config, server=replace(config.server, workers=count), store=store)


def watched(count: int, made: socket.socket, work: Work) -> int:
    """Run `count` workers until a signal ends them; 0 where all ended well. Where the first of them cannot begin at all
    (a config that cannot be served) its exit status is ours."""
    return _Watch(count, made, work).run()


class _Watch:
    """The parent's side: who lives, who is to be started again and when."""

    def __init__(self, count: int, made: socket.socket, work: Work) -> None:
        self._count = count
        self._socket = made
        self._work = work
        self._board = Slots(count)
        self._born_s: dict[int, float] = {}
        self._slots: dict[int, int] = {}
        self._again_s: list[float] = []
        self._wait_s = AGAIN_S
        self._ready_read, self._ready_write = os.pipe()
        # Nobody writes to it: it ends with the parent.
        self._alive_read, self._alive_write = os.pipe()
        self._begun = 0
        self._ending = False
        self._status = 0

    def run(self) -> int:
        before = {sig: signal.signal(sig, self._pass_on if sig == signal.SIGHUP else self._end) for sig in HEARD}
        try:
            self._fork()  # the others when it serves: a config that cannot be served is said once
            while self._born_s or (self._again_s and not self._ending):
                self._look()
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)
            self._socket.close()
        return self._status

    def _look(self) -> None:
        """Who became ready, who died, who is due again."""
        if select.select([self._ready_read], [], [], TICK_S)[0]:
            before, self._begun = self._begun, self._begun + len(os.read(self._ready_read, 64))
            if not before:
                for _ in range(self._count - 1):
                    self._fork()
            if before < self._count <= self._begun:
                told = f"{address_of(self._socket)}, {self._count} workers"
                print(f"turnout: listening on {told}", file=sys.stderr, flush=True)
        while self._born_s:
            died, status = os.waitpid(-1, os.WNOHANG)
            if not died:
                break
            self._buried(died, os.waitstatus_to_exitcode(status))
        now_s = time.monotonic()
        for due_s in [due_s for due_s in self._again_s if due_s <= now_s]:
            self._again_s.remove(due_s)
            self._fork()

    def _buried(self, died: int, status: int) -> None:
        lived_s = time.monotonic() - self._born_s.pop(died)
        del self._slots[died]
        if self._ending:
            self._status = self._status or max(0, status)
            return
        if self._begun < self._count and status > 0:  # it said why
            self._status = status
            self._end(signal.SIGTERM, None)
            return
        self._wait_s = AGAIN_S if lived_s > WELL_S else min(2 * self._wait_s, LONGEST_AGAIN_S)
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        print(
            f"turnout: worker {died} ended {how}; another begins in {self._wait_s:.1f} s", file=sys.stderr, flush=True
        )
        self._again_s.append(time.monotonic() + self._wait_s)

    def _fork(self) -> None:
        """One worker more, unless all are to end. Signals wait until it is known whose they are."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        try:
            if self._ending:
                return
            slot = next(n for n in range(self._count) if n not in self._slots.values())
            if child := os.fork():
                self._born_s[child], self._slots[child] = time.monotonic(), slot
                return
            for sig in HEARD:
                signal.signal(sig, signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._be(slot)

    def _be(self, slot: int) -> None:
        """A worker's life; does not return."""
        status = 1
        try:
            os.setpgid(0, 0)  # a terminal's Ctrl-C is the parent's to pass on
            os.close(self._ready_read)
            os.close(self._alive_write)
            place = Place(
                socket=self._socket, ready=self._ready, orphaned=self._alive_read, board=self._board, slot=slot
            )
            status = self._work(place)
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _ready(self) -> None:
        os.write(self._ready_write, b".")

    def _end(self, sig: int, _: FrameType | None) -> None:
        self._ending = True
        self._tell(signal.Signals(sig))  # SIGTERM drains (server.drain_s), a developer's Ctrl-C does not

    def _pass_on(self, sig: int, _: FrameType | None) -> None:
        self._tell(signal.Signals(sig))

    def _tell(self, sig: signal.Signals) -> None:
        for child in self._born_s:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, sig)
