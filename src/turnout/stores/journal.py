"""Money that is held for open requests, on disk before any of it is spent: a killed process leaves it to be counted.

One line a reservation, appended by the request itself: a few microseconds, and with the kernel at once (`pages.py`),
so it outlives the process (not the machine's power, as the ledger's newest rows do not either). A line goes when
the request's row is in the ledger. At the start what stands here and is in no ledger was open when the process
died: how much of it was spent nobody knows, so budgets count all of it (`BudgetEntry`, kind `lost`).
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import msgspec

from turnout.context import Reservation
from turnout.errors import ConfigError, NoCapacity
from turnout.spend.ledger import BudgetEntry, Ledger, LedgerRow, iso_utc
from turnout.stores.pages import Pages

__all__ = ["FileJournal"]

log = logging.getLogger("turnout")

COMPACT_BYTES = 1 << 20
"""A file of this size is written anew, with what is still held and as much room again."""

SETTLED_S = 30.0
"""How long a start waits, without any of them coming, for rows that one that died had settled, where nobody else would
ask again."""


def _nobody(_: str) -> int:
    return 0


class FileJournal:
    """The journal beside the ledger at `path`, and the claim to be the one process that keeps its budgets.

    `gateway`: the name of one of several that keep them together. Each has a file of its own, locked for as long as it
    lives; whoever can lock another's knows that it died, and takes it over. The system's locks tell, no clock.
    `unsettled`: in how many places rows of one that died, by its name, may still be on their way to the ledger.
    """

    def __init__(self, path: str, gateway: str | None = None, unsettled: Callable[[str], int] = _nobody) -> None:
        self._path = Path(f"{path}.held" if gateway is None else f"{path}.held.{gateway}")
        self._base = Path(f"{path}.held")
        self._claim_path = Path(f"{path}.lock")
        self._alone = gateway is None
        self._unsettled = unsettled
        self._claim: int | None = None
        self._pages: Pages | None = None
        self._adopted: list[str] = []
        # What is held or not in the ledger yet; the ledger's thread takes lines out.
        self._lines: dict[str, bytes] = {}

    @property
    def claimed(self) -> bool:
        return self._pages is not None

    def claim(self, ledger: Ledger) -> None:
        """Become a keeper of the ledger's budgets, and enter what processes that died left held. Raises ConfigError
        where another process is the only one, or the files cannot be written."""
        if self.claimed:
            return
        try:
            self._claim = self._locked()
            self._adopted = self._adopt(ledger)
            self._rewrite(b"")
        except OSError as error:
            self._let_go()
            raise ConfigError(
                f"store.ledger: {self._path}: {error.strerror}; budgets need to write here before money is spent",
                param="store.ledger",
            ) from error
        except BaseException:
            self._let_go()
            raise

    def adopt(self, ledger: Ledger) -> list[str]:
        """Enter what processes that died left held; their names, where they were some of several, those that `claim`
        found among them. Blocks. Raises ConfigError where a file or the ledger does not let it: then it stays."""
        if self.claimed:
            try:
                self._adopted += self._adopt(ledger)
            except OSError as error:
                raise ConfigError(
                    f"store.ledger: {error.filename}: {error.strerror}; what a gateway held that died is there",
                    param="store.ledger",
                ) from error
        names, self._adopted = self._adopted, []
        return names

    def _adopt(self, ledger: Ledger) -> list[str]:
        names: list[str] = []
        for path in sorted(self._base.parent.glob(f"{glob.escape(self._base.name)}*")):
            if path == self._path and self.claimed:
                continue
            name = path.name.removeprefix(self._base.name).removeprefix(".")
            if self._unsettled(name) and not (self._alone and self._await(name)):
                continue
            with contextlib.suppress(FileNotFoundError), _locked_if_dead(path) as left:
                if left is not None:
                    self._recover(left, ledger)
                    path.unlink()
                    names += [name] if name else []
        return names

    def hold(self, reservation: Reservation) -> None:
        """Write down what is held. Raises NoCapacity when the disk does not take it: then nothing may be spent."""
        if self._pages is None or not reservation.held:
            return
        line = msgspec.json.encode(reservation) + b"\n"
        try:
            if self._pages.size > COMPACT_BYTES:
                self._compact(self._pages)
            self._pages.append(line)
        except OSError as error:
            raise NoCapacity(
                f"the budgets' journal cannot be written ({error.strerror}), and without it a budget could be "
                "overrun: make room on the disk of store.ledger",
                retry_after=5,
            ) from error
        self._lines[reservation.request_id] = line

    def forget(self, request_ids: Iterable[str]) -> None:
        """These are in the ledger now. Called by the ledger's thread."""
        for request_id in request_ids:
            self._lines.pop(request_id, None)

    def close(self) -> None:
        """After the ledger: what it has not taken stays for the next start."""
        if self._pages is not None and not self._lines:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._let_go()

    def _compact(self, pages: Pages) -> None:
        """Keep only what is still held, in a new file that takes the old one's place."""
        whole = b"".join(list(self._lines.values()))  # a copy: the ledger's thread takes lines out
        if 2 * len(whole) <= pages.size:
            self._rewrite(whole)

    def _rewrite(self, whole: bytes) -> None:
        """Put a new file in the own one's place: locked before anybody can find it."""
        new = self._path.with_name(f"new-{self._path.name}")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        pages = Pages(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pages.append(whole or b"\n")  # room for the first lines is there before the first request
            new.replace(self._path)
        except OSError:
            pages.close()
            raise
        self._let_go_of_file()
        self._pages = pages

    def _await(self, name: str) -> bool:
        """Nobody else will ask again: wait until the ledger has what was settled, as long as it becomes less. Raises
        ConfigError."""
        least, until_s = self._unsettled(name), time.monotonic() + SETTLED_S
        while left := self._unsettled(name):
            if left < least:
                least, until_s = left, time.monotonic() + SETTLED_S
            if time.monotonic() > until_s:
                raise ConfigError(
                    f"store.ledger: rows of a process that died still wait in the spool beside {self._base}; see why "
                    "the ledger does not take them, and start again",
                    param="store.ledger",
                )
            time.sleep(0.05)
        return True

    def _locked(self) -> int:
        file = os.open(self._claim_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise ConfigError(
                f"store.ledger: another Turnout keeps the budgets of {self._claim_path.with_suffix('')}: "
                "two would each spend the whole amount; end that process, name another file, or let both share "
                "their state (store.shared)",
                param="store.ledger",
            ) from None
        return file

    def _recover(self, left: bytes, ledger: Ledger) -> None:
        """Enter what was held when the last keeper died, then a row that says so; only then may the file go."""
        lost = 0
        for text in left.rstrip(b"\0").splitlines():
            try:
                line = msgspec.json.decode(text, type=Reservation)
            except msgspec.DecodeError:
                continue  # cut off while it was written: nothing was sent yet
            if ledger.get(line.request_id) is not None:
                continue
            lost += 1
            for budget, _, amount in line.held:
                ledger.enter(
                    BudgetEntry(id=line.request_id, budget=budget, at=line.at, kind="lost", amount_nano_usd=amount)
                )
            ledger.append(_lost_row(line))
        if lost and not ledger.flush():
            raise ConfigError(
                f"store.ledger: {ledger.last_error or 'it takes too long to write'}; {lost} reservations of a process "
                "that died wait to be entered",
                param="store.ledger",
            )
        if lost:
            log.warning(
                "%d requests were open when the last process died: their budgets count the most they may have cost",
                lost,
            )

    def _let_go(self) -> None:
        self._let_go_of_file()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _let_go_of_file(self) -> None:
        if self._pages is not None:
            self._pages.close()
            self._pages = None


@contextlib.contextmanager
def _locked_if_dead(path: Path) -> Generator[bytes | None]:
    """A journal's content, locked; None where its process lives, or another has taken it over."""
    file = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        same = path.exists() and path.stat().st_ino == os.fstat(file).st_ino
        yield path.read_bytes() if same else None
    finally:
        os.close(file)


def _lost_row(line: Reservation) -> LedgerRow:
    spender = line.spender
    return LedgerRow(
        request_id=line.request_id,
        received_at=iso_utc(line.at),
        key_id=spender.key,
        team=spender.team,
        session_id=spender.session,
        mode=spender.mode,
        tags=dict(spender.tags),
        outcome="lost",
        warnings=("the gateway died while this was open: its budgets count the most it may have cost",),
    )
