"""Money on lease: what each gateway has of a purse, and what may still be granted. Pure; nano-dollars.

The rule, at every moment: what each living gateway has (`Part.taken`: its limit, or what it says it spent and holds
where that is more), what those that are gone spent, and what nobody has add up to the amount and what was added.
`lua/lease.lua` is the same arithmetic for Valkey, and `tests/stores/shared/` holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct

from turnout.shared_state import Claim, Lease, Lost
from turnout.spend.purses import STEPS

__all__ = ["DEADLINE_S", "LEASE_S", "OPEN_S", "PURSE_TTL_S", "Moment", "Part", "Purse", "step_us"]

DEADLINE_S = 1.0
"""How long an answer is waited for. A busy gateway reads answers late, so less would be its own lateness more often
than the engine's."""

LEASE_S = 5.0
"""How long a gateway may be silent before its money is somebody else's: ten of its usual claims."""

OPEN_S = 1_860.0
"""`SharedState.open_s` where nobody said how long an answer may take: as long as by default, and a minute."""

PURSE_TTL_S = 40 * 86_400.0
"""A purse that nobody claims of is kept this long: a month's is needed until its last request has settled."""


def step_us(window: timedelta | None) -> int:
    """Microseconds of a piece of a rolling window; 0 for no window."""
    return 0 if window is None else (window / STEPS) // timedelta(microseconds=1)


class Moment(Struct, frozen=True, kw_only=True):
    """The engine at one moment. `now_s`: its own clock, `wall_us`: its time of day. `epoch` is new whenever it may have
    lost something; until `opens_s` it then grants nothing."""

    now_s: float
    wall_us: int
    lease_s: float
    epoch: str
    opens_s: float


class Part(Struct, array_like=True):
    """What a living gateway has of a purse. `sequence`: of its newest claim; an older one that arrives later says
    nothing. `until_s`: when its lease runs out."""

    spent: int = 0
    held: int = 0
    limit: int = 0
    sequence: int = 0
    until_s: float = 0.0

    @property
    def taken(self) -> int:
        return max(self.limit, self.spent + self.held)


class Purse(Struct, array_like=True):
    """One purse. `filled`: the epoch in which the ledger was asked. `past`: what gateways that are gone spent (`gone`),
    less what a rolling window has forgotten of anyone. `added` by entry. `pieces`: what was spent by piece of time."""

    filled: str = ""
    past: int = 0
    added: dict[str, int] = {}
    living: dict[str, Part] = {}
    gone: dict[str, int] = {}
    step_us: int = 0
    swept: int = -1
    pieces: dict[int, int] = {}

    def lease(self, gateway: str, sequence: int, claim: Claim, engine: Moment) -> Lease:
        """Take a claim in and answer it."""
        self.step_us = step_us(claim.window)
        self._sweep(engine)
        part = self.living.get(gateway)
        if part is None or sequence > part.sequence:
            part = self._enter(gateway)
            new = claim.spent - part.spent
            if new > 0:
                self._book(new, claim.pieces if not part.spent else None, engine)
                part.spent = claim.spent
            part.held, part.sequence = claim.held, sequence
            part.limit = self._limit(part, claim, engine)
            part.until_s = engine.now_s + engine.lease_s
        return self._answer(part, claim, engine)

    def fill(
        self,
        spent: Mapping[str, int],
        added: Mapping[str, int],
        pieces: Mapping[str, Mapping[int, int]],
        engine: Moment,
    ) -> None:
        """Take over what the ledger says."""
        self.filled = engine.epoch
        for gateway, total in spent.items():
            part = self.living.get(gateway)
            known = part.spent if part is not None else self.gone.get(gateway, 0)
            if total <= known:
                continue
            self._book(total - known, pieces.get(gateway) if not known else None, engine)
            if part is not None:
                part.spent = total
            else:
                self.gone[gateway] = total
                self.past += total - known
        for entry, amount in added.items():
            self.added.setdefault(entry, amount)

    def lost(self, purse: str, engine: Moment) -> list[Lost]:
        """Whose lease has run out. Those that had nothing are gone at once."""
        silent: list[Lost] = []
        for gateway, part in list(self.living.items()):
            if max(part.until_s, engine.opens_s) > engine.now_s:
                continue
            if part.taken == part.spent:
                self._bury(gateway)
            else:
                silent.append(_lost(purse, gateway, part))
        return silent

    def bury(self, lost: Lost, counted: int, engine: Moment) -> None:
        """End a lease that has run out, if it still stands as it was found."""
        part = self.living.get(lost.gateway)
        if part is None or part.until_s > engine.now_s or _lost(lost.purse, lost.gateway, part) != lost:
            return
        self._bury(lost.gateway)
        self._book(counted, None, engine)
        self.gone[""] = self.gone.get("", 0) + counted
        self.past += counted

    def resign(self, gateway: str) -> None:
        """A gateway that ends gives back what it does not hold."""
        part = self.living.get(gateway)
        if part is None:
            return
        part.limit = part.spent + part.held
        if not part.held:
            self._bury(gateway)

    def _enter(self, gateway: str) -> Part:
        part = self.living.get(gateway)
        if part is None:
            part = self.living[gateway] = Part(spent=self.gone.pop(gateway, 0))
            self.past -= part.spent
        return part

    def _bury(self, gateway: str) -> None:
        part = self.living.pop(gateway)
        self.gone[gateway] = part.spent
        self.past += part.spent

    def _limit(self, part: Part, claim: Claim, engine: Moment) -> int:
        base = part.spent + part.held
        if self.filled != engine.epoch or engine.now_s < engine.opens_s:
            return max(base, min(claim.limit, base + claim.want))
        # What it has and still wants stays its own whatever the others did: it may be using it already.
        kept = min(part.limit, base + claim.want)
        others = sum(other.taken for other in self.living.values() if other is not part)
        room = claim.amount + sum(self.added.values()) - self.past - others - base
        return max(kept, base + max(0, min(claim.want, room)))

    def _answer(self, part: Part, claim: Claim, engine: Moment) -> Lease:
        added = sum(self.added.values())
        spent = self.past + sum(each.spent for each in self.living.values())
        leased = sum(each.taken - each.spent for each in self.living.values())
        return Lease(
            purse=claim.purse,
            limit=part.limit,
            spent=spent,
            leased=leased,
            added=added,
            rest=claim.amount + added - spent - leased,
            known=self.filled == engine.epoch,
            opens_in_s=max(0.0, engine.opens_s - engine.now_s),
        )

    def _book(self, amount: int, told: Mapping[int, int] | None, engine: Moment) -> None:
        """Note when `amount` was spent: as it is told, where that makes sense, else now."""
        if not self.step_us:
            return
        now = engine.wall_us // self.step_us
        total = sum(told.values()) if told else 0
        if not told or total > amount or min(told.values()) < 0:
            told, total = {now: amount}, amount
        for piece, part in told.items():
            at = min(piece, now)
            self.pieces[at] = self.pieces.get(at, 0) + part
        self.past -= amount - total  # what is in no piece is too old to have one
        self.swept = -1
        self._sweep(engine)

    def _sweep(self, engine: Moment) -> None:
        """Forget what is a whole window and a piece old."""
        if not self.step_us:
            return
        now = engine.wall_us // self.step_us
        if now != self.swept:
            self.swept = now
            for old in [piece for piece in self.pieces if piece < now - STEPS]:
                self.past -= self.pieces.pop(old)


def _lost(purse: str, gateway: str, part: Part) -> Lost:
    return Lost(gateway=gateway, purse=purse, amount=part.taken - part.spent, held=part.held)
