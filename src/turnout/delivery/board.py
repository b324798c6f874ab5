"""Who is well, who is busy, and whom to ask next: the health of every target, and the choice among them.

One event loop owns a board: no locks. What it holds of a target is `health.py`'s plain state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random

from msgspec import Struct

from turnout.catalog.models import Deployment, Pace, RateLimits, Target
from turnout.delivery.health import (
    WELL,
    Health,
    Standing,
    Told,
    after_failure,
    after_success,
    heard,
    learned,
    limited_until,
    standing,
    told_limits,
    told_of,
)
from turnout.errors import FailureReason

__all__ = ["Board", "Choice", "Flight"]

CAPACITY = 10_000
"""Targets remembered at most: callers may name models that nobody listed."""

REMEMBERED = 64
"""Durations of whole answers kept for each target, for the time after which a call is slow."""

FEW = 20
"""Below so many durations nothing is said of what is slow."""

LIMITS_EVERY_S = 1.0
"""Others are told of a place's rate limits once in so long, for every answer may tell them anew."""

MOST_TOLD = 1_000

UNKNOWN_TTFT_S = 0.5
"""What a target is taken for that has not shown its pace: neither the first nor the last choice."""

_ACCOUNT: frozenset[FailureReason] = frozenset({"auth", "quota", "unreachable"})
"""Failures of the whole account or host, whatever the model."""


class Choice(Struct, frozen=True, kw_only=True):
    """A target, and for how many seconds it should be left alone yet. `why`: the failure that closed it."""

    target: Target
    wait_s: float = 0.0
    why: FailureReason | None = None


class Flight:
    """One call of a target, from its begin to the end of its answer. Ends once: `failed`, `landed` or `dropped`."""

    def __init__(self, board: Board, target: Target, *, probes: bool) -> None:
        self._board = board
        self._probes = probes
        self.target = target
        self.over = False

    def answered(self, limits: RateLimits | None) -> None:
        """The answer has begun: the place is well."""
        self._board.note_success(self.target, limits)
        self._probed()

    def failed(self, reason: FailureReason, retry_after: float | None = None) -> None:
        if self._end():
            self._board.note_failure(self.target, reason, retry_after)

    def landed(self, *, ttft_s: float | None, tokens_per_s: float | None, whole_s: float | None) -> None:
        """The answer is at its end; what it showed of the pace."""
        if self._end():
            self._board.note_pace(self.target, ttft_s, tokens_per_s, whole_s)

    def dropped(self) -> None:
        """Nobody wanted the answer any more: it says nothing of the place."""
        self._end()

    def _end(self) -> bool:
        if self.over:
            return False
        self.over = True
        self._board.release(self.target)
        self._probed()
        return True

    def _probed(self) -> None:
        if self._probes:
            self._probes = False
            self._board.release_probe(self.target)


class Board:
    """`clock` in seconds; `random` decides among equals. `accounts`: the names of each provider's accounts or regions,
    whoever is not there has one of its own name."""

    def __init__(
        self, *, clock: Callable[[], float], random: Random, accounts: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._accounts: Mapping[str, tuple[str, ...]] = accounts or {}
        self._clock = clock
        self._random = random
        self._states: dict[str, Health] = {}
        self._in_flight: dict[str, int] = {}
        self._probing: set[str] = set()
        self._durations: dict[str, deque[float]] = {}
        self._limits_told: dict[str, float] = {}
        # Of targets and accounts, those that are not to be asked blindly: their breakers opened, or limits are known.
        self._guarded: set[str] = set()
        # As they were made last: the same for every request until the config changes.
        self._targets: dict[str, tuple[Deployment, tuple[Target, ...]]] = {}
        self.tell: Callable[[str, Told], None] | None = None
        """Who is told when a breaker opens or closes, or a place's limits are known: a target or account, and what."""

    @property
    def accounts(self) -> Mapping[str, tuple[str, ...]]:
        """The names of each provider's accounts or regions."""
        return self._accounts

    @accounts.setter
    def accounts(self, accounts: Mapping[str, tuple[str, ...]]) -> None:
        self._accounts = accounts
        self._targets.clear()

    def targets(self, deployment: Deployment) -> tuple[Target, ...]:
        """Every place where `deployment` can be asked."""
        known = self._targets.get(deployment.id)
        if known is not None and known[0] is deployment:
            return known[1]
        accounts = self._accounts.get(deployment.provider) or (deployment.provider,)
        targets = tuple(Target.at(deployment, account) for account in accounts)
        if len(self._targets) >= CAPACITY:
            self._targets.clear()
        self._targets[deployment.id] = deployment, targets
        return targets

    def health(self, target_id: str) -> Health:
        return self._states.get(target_id, WELL)

    def standings(self) -> dict[str, Standing]:
        """The breaker of every target and account (by its provider's name) that was ever told of."""
        now = self._clock()
        return {key.removeprefix("="): standing(health, now) for key, health in self._states.items()}

    def in_flight(self, target: Target) -> int:
        return self._in_flight.get(target.id, 0)

    @property
    def well(self) -> bool:
        """Whether nothing is known against any place: each may be asked."""
        return not self._guarded

    def unhealthy(self, deployment: Deployment, tokens: int) -> str | None:
        """Why no place of `deployment` should be asked now; None where one is ready."""
        closed: list[Choice] = []
        for target in self.targets(deployment):
            look = self._look(target, tokens)
            if look.wait_s <= 0:
                return None
            closed.append(look)
        soonest = min(closed, key=lambda c: c.wait_s)
        return f"{soonest.why or 'rate_limited'}: closed for {soonest.wait_s:.1f} s more"

    def pace(self, deployment: Deployment) -> Pace:
        """The best that a place of `deployment` has shown."""
        targets = self.targets(deployment)
        if len(targets) == 1:
            return self._states.get(targets[0].id, WELL).pace
        paces = [self.health(t.id).pace for t in targets]
        return min(paces, key=lambda p: (p.ttft_s is None, p.ttft_s or 0.0))

    def story(self, deployment: Deployment) -> list[dict[str, object]]:
        """How each place of `deployment` stands, for people: the breaker of its account or its own, whichever is less
        well, and for how many seconds it is closed yet."""
        now, told = self._clock(), []
        for target in self.targets(deployment):
            worst = max((self.health(key) for key in _keys(target)), key=lambda h: (h.trips > 0, h.open_until))
            own = self.health(target.id)
            told.append(
                {
                    "place": target.id,
                    "breaker": standing(worst, now),
                    "closed_for_s": round(max(0.0, worst.open_until - now), 1),
                    "why": worst.why,
                    "error_rate": round(own.error_rate, 4),
                    "in_flight": self.in_flight(target),
                    "ttft_s": own.pace.ttft_s,
                    "tokens_per_s": own.pace.tokens_per_s,
                }
            )
        return told

    def slow_after_s(self, target: Target) -> float | None:
        """The 95th percentile of the seconds that whole answers took there; None while too few are known."""
        known = self._durations.get(target.id)
        if known is None or len(known) < FEW:
            return None
        return sorted(known)[int(len(known) * 0.95)]

    def choose(self, places: Sequence[tuple[int, Target]], *, home: str | None, tokens: int) -> Choice | None:
        """Whom to ask next: the first place that is ready, in the order given; of several that share a place the one
        that has the session's cache (`home`), else the less busy of two. Where none is ready: one that may be asked all
        the same, else the one that is ready the soonest. None where `places` is empty."""
        best, ready, closed = 0, list[Choice](), list[Choice]()
        for place, target in places:
            if ready and place > best:
                continue
            look = self._look(target, tokens)
            if look.wait_s > 0:
                closed.append(look)
            elif ready and place == best:
                ready.append(look)
            else:
                best, ready = place, [look]
        if ready:
            return self._among(ready, home)
        for look in closed:
            if self._may_insist(look):
                return Choice(target=look.target, why=look.why)
        return min(closed, key=lambda look: look.wait_s, default=None)

    def begin(self, target: Target) -> Flight:
        """A call begins. Where the breaker is half-open it is the probe: others wait for its outcome."""
        self._in_flight[target.id] = self._in_flight.get(target.id, 0) + 1
        guards = self._guards(target)
        probes = bool(guards) and any(self._states[key].trips for key in guards)
        if probes:
            self._probing.add(target.id)
        return Flight(self, target, probes=probes)

    def release(self, target: Target) -> None:
        left = self._in_flight.get(target.id, 0) - 1
        if left > 0:
            self._in_flight[target.id] = left
        else:
            self._in_flight.pop(target.id, None)

    def release_probe(self, target: Target) -> None:
        self._probing.discard(target.id)

    def note_success(self, target: Target, limits: RateLimits | None) -> None:
        account = f"={target.provider}"
        if account in self._states:
            self._change(account, after_success(self.health(account)))
        old = self.health(target.id)
        new = after_success(old)
        if limits is not None:
            new = told_limits(new, limits, self._clock())
        if new is not old:
            self._change(target.id, new)

    def note_failure(self, target: Target, reason: FailureReason, retry_after: float | None) -> None:
        key = f"={target.provider}" if reason in _ACCOUNT else target.id
        self._change(key, after_failure(self.health(key), reason, self._clock(), retry_after))

    def note_pace(
        self, target: Target, ttft_s: float | None, tokens_per_s: float | None, whole_s: float | None
    ) -> None:
        self._put(target.id, learned(self.health(target.id), ttft_s=ttft_s, tokens_per_s=tokens_per_s))
        if whole_s is not None:
            self._durations.setdefault(target.id, deque(maxlen=REMEMBERED)).append(whole_s)

    def heard(self, key: str, told: Told, *, elapsed_s: float = 0.0) -> None:
        """What another gateway tells of a target or account, seconds ago. Nobody is told of it again."""
        old = self.health(key)
        new = heard(old, told, self._clock(), elapsed_s)
        if new != old:
            self._put(key, new)

    def unwell(self) -> dict[str, Told]:
        """What a gateway that starts should know: every breaker that is not closed, by target or account."""
        now = self._clock()
        told = {key: told_of(health, now) for key, health in self._states.items() if health.trips}
        return dict(list(told.items())[-MOST_TOLD:])

    def _change(self, key: str, new: Health) -> None:
        """Something happened here: others are told where it matters to them."""
        old, now = self.health(key), self._clock()
        self._put(key, new)
        if self.tell is None:
            return
        limited = new.limits is not None and new.limits is not old.limits
        if limited and now - self._limits_told.get(key, -LIMITS_EVERY_S) >= LIMITS_EVERY_S:
            self._limits_told[key] = now
        else:
            limited = False
        if limited or new.trips > old.trips or (old.trips and not new.trips):
            self.tell(key, told_of(new, now, closes=old.trips if not new.trips else 0))

    def _look(self, target: Target, tokens: int) -> Choice:
        """For how long a target should be left alone, and why."""
        guards = self._guards(target)
        if not guards:
            return Choice(target=target)
        now = self._clock()
        wait, why = 0.0, None
        for key in guards:
            health = self._states[key]
            breaker = standing(health, now)
            if breaker == "open" and health.open_until - now > wait:
                wait, why = health.open_until - now, health.why
            elif breaker == "half_open" and target.id in self._probing and wait <= 0:
                wait, why = 0.1, health.why  # until the probe is back
            if health.limits is not None:
                until = limited_until(health, now, tokens=tokens, in_flight=self.in_flight(target))
                if until is not None and until - now > wait:
                    wait, why = until - now, "rate_limited"
        return Choice(target=target, wait_s=wait, why=why)

    def _may_insist(self, look: Choice) -> bool:
        """Whether a place that is closed is asked all the same when there is no other: the caller then sees what is
        wrong now. Not where the provider said when to come again, and not twice at once where calls hang."""
        if look.why == "rate_limited":
            return False
        return look.why != "timeout" or look.target.id not in self._probing

    def _among(self, equals: list[Choice], home: str | None) -> Choice:
        """The session's own place, else the better of two drawn at random: seconds to the first token times the calls
        it is busy with (power of two choices: Mitzenmacher 2001)."""
        if len(equals) == 1:
            return equals[0]
        for choice in equals:
            if choice.target.id == home:
                return choice
        pair = equals if len(equals) == 2 else self._random.sample(equals, 2)
        if self._load(pair[0]) == self._load(pair[1]):
            return self._random.choice(pair)
        return min(pair, key=self._load)

    def _load(self, choice: Choice) -> float:
        ttft = self.health(choice.target.id).pace.ttft_s
        return (UNKNOWN_TTFT_S if ttft is None else ttft) * (self.in_flight(choice.target) + 1)

    def _guards(self, target: Target) -> Sequence[str]:
        """What of a target's keys must be looked at before it is asked."""
        return [key for key in _keys(target) if key in self._guarded] if self._guarded else ()

    def _put(self, key: str, health: Health) -> None:
        self._states[key] = health
        if health.trips or health.limits is not None:
            self._guarded.add(key)
        else:
            self._guarded.discard(key)
        if len(self._states) > CAPACITY:
            oldest = next(iter(self._states))
            del self._states[oldest]
            self._guarded.discard(oldest)
            self._durations.pop(oldest, None)
            self._limits_told.pop(oldest, None)


def _keys(target: Target) -> tuple[str, str]:
    """Whose states speak of a target: its account's and its own."""
    return f"={target.provider}", target.id
