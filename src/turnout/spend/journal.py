"""Where money that open requests hold is written down: what any journal must do, and one for a ledger in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from turnout.context import Reservation
from turnout.spend.ledger import Ledger

__all__ = ["Journal", "MemoryJournal"]


class Journal(Protocol):
    """Where money that is held is written down before it is spent."""

    def claim(self, ledger: Ledger) -> None:
        """Become the one keeper of the ledger's budgets, and enter what one that died left held. Raises ConfigError."""
        ...

    def adopt(self, ledger: Ledger) -> list[str]:
        """Enter what other keepers held that have died since; their names. Blocks. Raises TurnoutError."""
        ...

    def hold(self, reservation: Reservation) -> None:
        """Write it down, so that it outlives this process. Raises NoCapacity; then nothing may be spent."""
        ...

    def forget(self, request_ids: Iterable[str]) -> None:
        """These are in the ledger now. May be called from any thread."""
        ...

    def close(self) -> None:
        """To be called when the ledger is closed: what it has not taken stays written down."""
        ...


class MemoryJournal:
    """For a ledger in memory: nothing outlives the process, and so nothing is written."""

    def claim(self, ledger: Ledger) -> None:
        """Nobody else can have it."""

    def adopt(self, ledger: Ledger) -> list[str]:  # noqa: ARG002
        """Nobody else can have held anything."""
        return []

    def hold(self, reservation: Reservation) -> None:
        """The budgets themselves hold it."""

    def forget(self, request_ids: Iterable[str]) -> None:
        """There is nothing to forget."""

    def close(self) -> None:
        """There is nothing to let go."""
