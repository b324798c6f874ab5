"""What several gateways share while they run: money on lease, keys' limits, records, counts and news. The protocol.

The durable past is the ledger's (`spend.ledger`); this is the present, and may be lost: money is then worked out again
from the ledger and from what each gateway says of itself. A gateway is one process under a name of its own, which no
later process has again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from msgspec import Struct

__all__ = ["Claim", "KeyAdmission", "Lease", "Lost", "SharedState"]


class Claim(Struct, frozen=True, kw_only=True):
    """What a gateway tells of a purse (one budget in one period) and asks of it; nano-dollars.

    `amount`: what the config gives the purse. `spent`: what this gateway has settled in it since its process began,
    `held`: what its open requests hold; `want`: how much it would like to have free beyond both. Figures are absolute,
    so that a claim may be sent twice.

    `limit`: what its last lease lets it grow to, 0 where that has run out. A gateway that wants less than it has lowers
    its own limit to `spent + held + want` before it claims, for the rest may be another's by the time of the answer.
    An engine that lost its memory believes this figure, so that who has money goes on spending it.

    `window` of a rolling budget: what is older is forgotten; `pieces` are then what this gateway spent by piece of time
    (`spend.purses.STEPS` to a window), absolute as well. They are needed where the engine does not know this gateway
    yet; of one it knows, what is new counts from when it was told.
    """

    purse: str
    amount: int
    spent: int
    held: int
    want: int
    limit: int = 0
    window: timedelta | None = None
    pieces: Mapping[int, int] = {}


class Lease(Struct, frozen=True, kw_only=True):
    """What a purse answers; nano-dollars. `limit`: this gateway's `spent + held` may grow to it, and what it may is
    nobody else's. `spent`: by all gateways, as far as told. `leased`: what all of them may spend beyond that. `added`:
    beside the amount. `rest`: what is left that nobody has, below 0 where more was spent than there was. `known` False:
    the purse has to be filled from the ledger first (`fill`), and `limit` grants nothing new. `opens_in_s`: for so long
    nothing is granted, for the purse was lost and gateways that have money of it are still to say so.

    It holds for `SharedState.lease_s` from when the claim was sent, by the gateway's own monotonic clock; then its
    limit is 0 until the next answer. Open requests settle all the same."""

    purse: str
    limit: int
    spent: int = 0
    leased: int = 0
    added: int = 0
    rest: int = 0
    known: bool = True
    opens_in_s: float = 0.0


class Lost(Struct, frozen=True, kw_only=True):
    """A gateway that was not heard of for longer than its lease, and what it had of a purse beyond what it told that it
    spent: `amount`, of which `held` stood for open requests when it last spoke. Nano-dollars."""

    gateway: str
    purse: str
    amount: int
    held: int


class KeyAdmission(Struct, frozen=True, kw_only=True):
    """A request at the gate of a key. None: no such limit. Rates are the generic cell rate algorithm's
    (`spend.rates`), bursts up to a whole minute's amount."""

    key: str
    request_id: str
    tokens: int
    rpm: int | None = None
    tpm: int | None = None
    at_once: int | None = None


class SharedState(Protocol):
    """The engine that gateways share. Everything is bounded in time (`deadline_s` of the implementation) and raises
    NoCapacity, with the cause and the next step, where the engine does not answer: callers decide what that means.
    One event loop owns it.

    `open_s`: a request that was let in at a key's gate and never left counts as open for so long. It has to be more
    than an answer may take, for what counts no longer may still run."""

    open_s: float

    @property
    def gateway(self) -> str:
        """This process's name among them."""
        ...

    @property
    def lease_s(self) -> float:
        """How long a lease holds, in seconds."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether the engine answered when last asked."""
        ...

    # Money. A purse is named `BUDGET@START`; what gateways may spend of it together never exceeds amount + added.

    async def lease(self, claims: Sequence[Claim]) -> list[Lease]:
        """Tell and ask of several purses in one round trip, in their order. Also says that this gateway lives."""
        ...

    async def fill(
        self,
        purse: str,
        spent: Mapping[str, int],
        *,
        added: Mapping[str, int] | None = None,
        pieces: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        """Make a purse known with what the ledger says: nano-dollars by gateway (an empty name for rows of none, and
        for what was counted of gateways that were buried); `added` by the id of the entry. Of two figures for one
        gateway the larger counts and an entry counts once, so it may be done twice and by several.

        `pieces` of a rolling budget: what each gateway spent by piece of time. Of a gateway without, all counts as
        spent now."""
        ...

    async def add(self, purse: str, nano_usd: int, *, entry: str) -> None:
        """More (or less) money for this period alone; once for an `entry`, the id under which the ledger has it."""
        ...

    async def silent(self) -> list[Lost]:
        """Gateways whose leases have run out, for their money to be entered in the ledger, then `buried`. None while
        an engine that was lost waits for gateways to say what they have."""
        ...

    async def bury(self, lost: Lost, *, counted: int) -> None:
        """Their lease ends: `counted` of it is spent for good, the rest is everyone's again. A second time nothing
        happens, nor where the gateway has spoken since.

        One that was only paused and speaks later tells its true figures: they count in full, beside what was
        `counted`. Some may then count twice until the period ends, and never too little."""
        ...

    # Limits of keys.

    async def admit(self, admission: KeyAdmission) -> float:
        """0: let in, and counted; else seconds to wait, and nothing is used. What a gateway that died let in is
        forgotten with time."""
        ...

    async def leave(self, admission: KeyAdmission, *, used: int) -> None:
        """A request has ended that took `used` tokens in place of `admission.tokens`."""
        ...

    # Records, counts, news.

    async def get(self, names: Sequence[str]) -> list[bytes | None]:
        """What was last put under these names, in one round trip."""
        ...

    async def put(self, records: Mapping[str, bytes], *, ttl_s: float) -> None:
        """Keep records for so long, in the place of those of the same names; one round trip."""
        ...

    async def count(self, by: Mapping[str, Mapping[str, int]], *, ttl_s: float) -> dict[str, dict[str, int]]:
        """Add to the named counters of records of counts, by the records' names; what each is now, all of a record's.
        One round trip. Each is kept for so long after it was last added to."""
        ...

    async def first(self, name: str, *, ttl_s: float) -> bool:
        """Whether this is the first that was asked for `name` within `ttl_s`: of several gateways one acts."""
        ...

    async def tell(self, topic: str, message: bytes) -> None:
        """Let every other gateway that hears `topic` know; who is away misses it."""
        ...

    def hear(self, topic: str, heard: Callable[[bytes], None], *, missed: Callable[[], None] | None = None) -> None:
        """Call `heard` on the event loop with whatever others tell; once `start` has run. `missed` is called there when
        something may have been missed, once what is told from then on is heard."""
        ...

    async def start(self) -> None:
        """Connect. Raises ConfigError where there is no such engine at the address, or it is too old."""
        ...

    async def aclose(self) -> None:
        """Give back all leases and let go of the engine. Never raises for an engine that is away. What this gateway
        spent counts as it last told: it claims once more, with want 0, before."""
        ...
