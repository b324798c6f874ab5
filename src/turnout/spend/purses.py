"""One budget in one period, as far as this process knows: a purse of its own, or a lease of one that several share.

Money in nano-dollars. `told` is the largest share of the amount that was told of. Of a rolling window spending is
remembered by pieces of time, which are forgotten one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from turnout.shared_state import Claim, Lease
from turnout.spend.periods import Period

__all__ = ["STEPS", "LeasedPurse", "OwnPurse", "Purse"]

STEPS = 500
"""Into how many pieces a rolling window is cut: what was spent in a piece is forgotten when all of it is too old."""


class Purse(Protocol):
    """What budgets ask of either."""

    held: int
    told: float
    added: int

    @property
    def spent(self) -> int:
        """Settled, by everyone."""
        ...

    def free(self, amount: int) -> int:
        """What may be held now, of `amount` and what was added."""
        ...

    def left(self, amount: int) -> int:
        """What nobody has spent or holds, as far as known: at least what is free."""
        ...

    def book(self, amount: int, piece: int | None) -> None:
        """Settle `amount`, in a piece of a rolling window."""
        ...

    def sweep(self, piece: int) -> None:
        """Forget what is a whole window and a piece old."""
        ...

    def clear(self) -> None:
        """Forget everything but what open requests hold."""
        ...


class OwnPurse(Struct):
    """A purse that nobody else spends from."""

    spent: int = 0
    held: int = 0
    added: int = 0
    told: float = 0.0
    swept: int = -1
    pieces: dict[int, int] = {}

    def free(self, amount: int) -> int:
        return amount + self.added - self.spent - self.held

    def left(self, amount: int) -> int:
        return self.free(amount)

    def book(self, amount: int, piece: int | None) -> None:
        self.spent += amount
        if piece is not None:
            self.pieces[piece] = self.pieces.get(piece, 0) + amount

    def sweep(self, piece: int) -> None:
        if piece != self.swept:
            self.swept = piece
            for old in [n for n in self.pieces if n < piece - STEPS]:
                self.spent -= self.pieces.pop(old)

    def clear(self) -> None:
        self.spent, self.added, self.told = 0, 0, 0.0
        self.pieces.clear()


class LeasedPurse(Struct):
    """This gateway's lease of a purse. `mine` is what it has settled since its process began, and never falls; what all
    others have spent, and what nobody has, is as the engine told it last (`lease`). `drawn`: what was held since the
    last claim, from which the next is guessed; `claimed`: what the last claim told of `mine`."""

    held: int = 0
    told: float = 0.0
    added: int = 0
    mine: int = 0
    limit: int = 0
    lease: Lease | None = None
    claimed: int = 0
    drawn: int = 0
    pieces: dict[int, int] = {}

    @property
    def spent(self) -> int:
        return self.mine if self.lease is None else self.lease.spent + self.mine - self.claimed

    def free(self, amount: int) -> int:  # noqa: ARG002 - the engine has seen to the amount
        return self.limit - self.mine - self.held

    def left(self, amount: int) -> int:
        """Nothing was told yet: as if nobody had spent."""
        if self.lease is None:
            return amount - self.mine - self.held
        return self.lease.rest + max(0, self.free(amount))

    def book(self, amount: int, piece: int | None) -> None:
        self.mine += amount
        if piece is not None:
            self.pieces[piece] = self.pieces.get(piece, 0) + amount

    def sweep(self, piece: int) -> None:
        """The engine forgets what is too old, by its own clock; an engine that lost all must hear of the rest again."""
        for old in [n for n in self.pieces if n < piece - STEPS - 1]:
            del self.pieces[old]

    def clear(self) -> None:
        self.mine = self.claimed = self.limit = self.added = self.drawn = 0
        self.told, self.lease = 0.0, None
        self.pieces.clear()

    @property
    def elsewhere(self) -> int:
        """What others had leased and not spent when the engine spoke last."""
        return 0 if self.lease is None else max(0, self.lease.leased - (self.lease.limit - self.claimed))

    @property
    def idle(self) -> bool:
        """Whether there is nothing of it to tell."""
        return self.lease is not None and not self.held and self.mine == self.claimed and self.limit <= self.mine

    def claim(self, name: str, amount: int, want: int, period: Period) -> Claim:
        """What to tell and ask of it. From here on no more is used of the lease than the claim says, for the engine may
        give the rest to others before its answer is here."""
        self.limit = min(self.limit, self.mine + self.held + want)
        return Claim(
            purse=name,
            amount=amount,
            spent=self.mine,
            held=self.held,
            want=want,
            limit=self.limit,
            window=period.window if period.kind == "rolling" else None,
            pieces=dict(self.pieces),
        )

    def take(self, claim: Claim, lease: Lease) -> None:
        """What the engine answered to a claim."""
        self.limit = lease.limit
        if lease.known:
            self.lease, self.added = lease, lease.added
            self.claimed, self.drawn = claim.spent, 0

    def base(self, spent: int, pieces: Mapping[int, int]) -> None:
        """What this gateway had spent here before the purse was its: what is settled since counts beside it."""
        self.mine += spent
        for piece, amount in pieces.items():
            self.pieces[piece] = self.pieces.get(piece, 0) + amount
