"""Money on lease: whatever is lost, late or sent twice, gateways may never spend more than there is."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.shared_state import Claim
from turnout.stores.shared.purses import Moment, Purse

PURSE = "company@2026-11-01"
AMOUNT = 100
LEASE_S = 5.0


@dataclass
class Sent:
    """A claim on its way: by whom, which of its claims, when."""

    gateway: "Gateway"
    sequence: int
    at_s: float
    claim: Claim


@dataclass
class Gateway:
    """Keeps the promises that `shared_state` asks of a gateway."""

    name: str
    spent: int = 0
    held: int = 0
    limit: int = 0
    until_s: float = 0.0
    sequence: int = 0
    met: int = 0  # the engine's life in which it last had an answer
    alive: bool = True
    asleep: bool = False

    @property
    def awake(self) -> bool:
        return self.alive and not self.asleep

    def claim(self, want: int, now_s: float) -> Sent:
        self.limit = min(self.may(now_s), self.spent + self.held + want)
        self.sequence += 1
        told = Claim(purse=PURSE, amount=AMOUNT, spent=self.spent, held=self.held, want=want, limit=self.may(now_s))
        return Sent(self, self.sequence, now_s, told)

    def may(self, now_s: float) -> int:
        return self.limit if now_s < self.until_s else 0

    def has(self, now_s: float) -> int:
        return max(self.may(now_s), self.spent + self.held)


@dataclass
class Play:
    """Gateways and one purse, with a network between them that loses, delays and repeats."""

    gateways: list[Gateway] = field(default_factory=lambda: [Gateway(name) for name in "abc"])
    purse: Purse = field(default_factory=Purse)
    now_s: float = 0.0
    life: int = 0
    opens_s: float = 0.0
    added: int = 0
    entries: int = 0
    late: list[Sent] = field(default_factory=list)

    @property
    def engine(self) -> Moment:
        return Moment(
            now_s=self.now_s,
            wall_us=int(self.now_s * 1e6),
            lease_s=LEASE_S,
            epoch=str(self.life),
            opens_s=self.opens_s,
        )

    def arrive(self, sent: Sent, *, answered: bool) -> None:
        lease = self.purse.lease(sent.gateway.name, sent.sequence, sent.claim, self.engine)
        if answered and sent.gateway.alive and sent.sequence == sent.gateway.sequence:
            sent.gateway.limit, sent.gateway.until_s = lease.limit, sent.at_s + LEASE_S
            sent.gateway.met = self.life

    def claim(self, gateway: Gateway, number: int, how: str) -> None:
        sent = gateway.claim(number, self.now_s)
        if how != "late":
            self.arrive(sent, answered=how == "answered")
        if how in {"late", "twice"}:
            self.late.append(sent)

    def spend(self, gateway: Gateway, number: int) -> None:
        free = gateway.may(self.now_s) - gateway.spent - gateway.held
        gateway.held += max(0, min(number, free))

    def settle(self, gateway: Gateway, number: int) -> None:
        part = min(number, gateway.held)
        gateway.held -= part
        gateway.spent += part // 2

    def fill(self, number: int) -> None:
        """The ledger lags behind for those that live, and knows all of those that do not."""
        known = {g.name: g.spent * (number % 3) // 2 if g.alive else g.spent + g.held for g in self.gateways}
        self.purse.fill({n: min(s, self._true(n)) for n, s in known.items()}, {}, {}, self.engine)
        for entry in range(self.entries):
            self.purse.added.setdefault(str(entry), 10)

    def add(self) -> None:
        self.purse.added.setdefault(str(self.entries), 10)
        self.entries += 1

    def _true(self, name: str) -> int:
        return next(g.spent + (0 if g.alive else g.held) for g in self.gateways if g.name == name)

    def wipe(self) -> None:
        """Not while somebody sleeps: an engine that is lost with a gateway that cannot say so is not promised."""
        if not any(gateway.asleep for gateway in self.gateways):
            self.life += 1
            self.purse, self.opens_s = Purse(), self.now_s + LEASE_S

    def pause(self, seconds: float) -> None:
        """Time goes on; who is awake claims every second."""
        for _ in range(int(seconds)):
            self.now_s += 1
            for gateway in self.gateways:
                if gateway.awake:
                    self.claim(gateway, 10, "answered")

    def sleep(self, gateway: Gateway) -> None:
        """It says nothing for a while, or never again, in the midst of what it does."""
        if gateway.met == self.life and gateway.name in self.purse.living:
            gateway.asleep = not gateway.asleep

    def die(self, gateway: Gateway) -> None:
        if gateway.met == self.life and gateway.name in self.purse.living and not gateway.asleep:
            gateway.alive = False

    def bury(self) -> None:
        for lost in self.purse.lost(PURSE, self.engine):
            gateway = next(g for g in self.gateways if g.name == lost.gateway)
            told = self.purse.living[lost.gateway].spent
            assert gateway.spent + gateway.held - told <= lost.amount
            self.purse.bury(lost, max(0, gateway.spent + gateway.held - told), self.engine)

    def check(self) -> None:
        living = sum(g.has(self.now_s) for g in self.gateways if g.alive)
        gone = sum(g.spent + g.held for g in self.gateways if not g.alive)
        assert living + gone <= AMOUNT + 10 * self.entries


STEPS = (
    "claim claim claim lost late late twice arrive arrive spend spend settle fill add "
    "wipe pause pause sleep die bury bury"
)
STEP = st.tuples(st.sampled_from(STEPS.split()), st.integers(0, 2), st.sampled_from([0, 1, 10, 30, 60, 100]))


def take(play: Play, step: str, which: int, number: int) -> None:
    """One step, where it makes sense now."""
    gateway = play.gateways[which]
    ways = {"claim": "answered", "lost": "lost", "late": "late", "twice": "twice"}
    if step in ways and gateway.awake:
        play.claim(gateway, number, ways[step])
    elif step in {"spend", "settle"} and gateway.awake:
        getattr(play, step)(gateway, number)
    elif step == "arrive" and play.late:
        play.arrive(play.late.pop(number % len(play.late)), answered=False)
    elif step in {"die", "sleep"} and number <= 1:
        getattr(play, step)(gateway)
    elif step == "wipe" and number <= 1:
        play.wipe()
    else:
        REST.get(step, lambda *_: None)(play, number)


REST = {
    "fill": Play.fill,
    "add": lambda play, _: play.add(),
    "pause": lambda play, number: play.pause(number / 15),
    "bury": lambda play, _: play.bury(),
}


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=60, max_size=120))
def test_what_gateways_may_spend_never_exceeds_what_there_is(steps):
    play = Play()
    for gateway in play.gateways:
        play.claim(gateway, 0, "answered")
    play.fill(0)
    for step, which, number in steps:
        take(play, step, which, number)
        play.check()
