"""What conversations of logs would have cost otherwise, by the same code as `turnout replay`. Pure.

Per conversation, at the list prices of its day: without a cache, with its cache kept by the provider's rule, with
routine steps on a small model of the same provider where that pays, with the default brake, and all of it together.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.known import default_models, tier_of
from turnout.catalog.models import Tier
from turnout.lab.audit.pricing import Pricer
from turnout.lab.audit.thread import Track
from turnout.lab.beats import Beat, Score
from turnout.lab.policies import Fleet, Model, play, turnout
from turnout.routing.habits import Habits

__all__ = ["NUMBERS", "Otherwise", "otherwise", "small_beside"]

NUMBERS = 5
"""Numbers of a step in `Track.numbers`."""


class Otherwise(Struct, kw_only=True):
    """Sums over conversations, in nano-dollars. `paid` at list price; `routed`, `braked` and `together` begin from
    `cached`, `paid` and all of it. `moved`: steps that went to a small model, of `steps`."""

    conversations: int = 0
    steps: int = 0
    moved: int = 0
    paid: int = 0
    uncached: int = 0
    cached: int = 0
    routed: int = 0
    braked: int = 0
    together: int = 0

    def add(self, other: Otherwise) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def otherwise(tracks: Sequence[Track]) -> Otherwise:
    """All of `tracks` in order; how long sessions go on is learned from those before."""
    total, habits, pricer = Otherwise(), Habits(), Pricer()
    for track in tracks:
        fleet = _fleet(track, pricer)
        if fleet is not None:
            total.add(_one(track, fleet, habits))
    return total


def small_beside(provider: str, model: str) -> str | None:
    """The small model of the same provider that could take routine steps; None where there is none, or it is one."""
    if tier_of(model) in {"small", None}:
        return None
    return next((name for name in default_models(provider) if tier_of(name) == "small"), None)


def _one(track: Track, fleet: Fleet, habits: Habits) -> Otherwise:
    paid = array("q", track.paid_nano_usd)
    whole = _score(track)
    until = len(paid) if track.loop_at is None else track.loop_at
    spent, braked = sum(paid), sum(paid[:until])
    uncached = play(whole, fleet, _frontier(whole), caching=False).nano_usd
    cached, routed, moved = _routed(whole, fleet, habits, spent)
    together = routed
    if until < len(paid):
        cut = replace(whole, beats=whole.beats[:until])
        together = _routed(cut, fleet, habits, braked)[1]
    habits.ended(len(paid))
    return Otherwise(
        conversations=1,
        steps=len(paid),
        moved=moved,
        paid=spent,
        uncached=uncached,
        cached=cached,
        routed=routed,
        braked=braked,
        together=together,
    )


def _routed(score: Score, fleet: Fleet, habits: Habits, paid: int) -> tuple[int, int, int]:
    """With its cache kept, and with routine steps routed beside; and how many steps those are. Where the log shows more
    cache reads than one conversation alone could have (others had the same beginning), what was paid stands."""
    if not score.beats:
        return 0, 0, 0
    kept = play(score, fleet, _frontier(score)).nano_usd
    cached = min(paid, kept)
    if "small" not in fleet or kept <= 0:
        return cached, cached, 0
    bill = play(score, fleet, turnout(score, fleet, habits))
    return cached, round(cached * bill.nano_usd / kept), bill.small


def _frontier(score: Score) -> list[Tier]:
    return ["frontier"] * len(score.beats)


def _fleet(track: Track, pricer: Pricer) -> Fleet | None:
    own = _model(track.provider, track.model, "frontier", pricer, track.at)
    if own is None:
        return None
    name = small_beside(track.provider, track.model)
    small = _model(track.provider, name, "small", pricer, track.at) if name else None
    return {"frontier": own} if small is None else {"frontier": own, "small": small, "mid": small}


def _model(provider: str, model: str, tier: Tier, pricer: Pricer, at: float | None) -> Model | None:
    price = pricer.price(provider, model, at)
    return None if price is None else Model.at(provider, model, tier, price)


def _score(track: Track) -> Score:
    numbers = array("q", track.numbers)
    beats = tuple(
        Beat(
            context=numbers[i],
            output=numbers[i + 1],
            at_s=numbers[i + 2] / 1_000,
            system=numbers[i + 3],
            routine=bool(numbers[i + 4]),
        )
        for i in range(0, len(numbers), NUMBERS)
    )
    return Score(
        id=track.session,
        kind=track.project,
        task="",
        model=track.model,
        outcome=None,
        opening="",
        beats=beats,
        estimated=track.estimated,
    )
