"""What all that takes rows for a ledger has in common: who follows what is taken, and what is said of rows lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from turnout.spend.ledger import LedgerRow
from turnout.spend.spent import BudgetEntry

__all__ = ["Followers", "Losses"]

Taken = LedgerRow | BudgetEntry


class Followers:
    """Who wants to know what is taken from some moment on. To be used where rows are taken."""

    def __init__(self) -> None:
        self._lists: tuple[list[Taken], ...] = ()

    def tell(self, what: Taken) -> None:
        """This is taken."""
        for one in self._lists:
            one.append(what)

    def follow(self) -> Callable[[], list[Taken]]:
        """What, called once, ends it and tells all that was taken since."""
        later: list[Taken] = []

        def heard() -> list[Taken]:
            self._lists = tuple(one for one in self._lists if one is not later)
            return later

        self._lists = (*self._lists, later)
        return heard


class Losses:
    """What is wrong with the ledger at `place`, and how many rows were lost for it since the start. May be used by any
    thread."""

    def __init__(self, place: str, logger: logging.Logger) -> None:
        self._place = place
        self._logger = logger
        self._lock = threading.Lock()
        self._cause: str | None = None
        self._lost: str | None = None
        self.rows = 0

    @property
    def last_error(self) -> str | None:
        """What made rows wait, and that some were lost for it: that is not unsaid by the next try that fails."""
        return " ".join(filter(None, (self._cause, self._lost))) or None

    def say(self, said: str, *, again: bool = False) -> None:
        """Tell a cause and the next step; in the log too, where it was not said `again`."""
        self._cause = said
        if not again:
            self._logger.error("%s", said)

    def drop(self, rows: int, why: str) -> None:
        """So many rows are lost."""
        with self._lock:
            first = self.rows == 0
            self.rows += rows
        if first:
            self._lost = f"Rows of the ledger are lost: {why}."
            self._logger.error("rows of the ledger %s are lost: %s", self._place, why)
