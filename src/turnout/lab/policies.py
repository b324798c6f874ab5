"""Policies of routing over a recorded session, priced with every model's cache, and the best there could be. Pure.

Each model keeps the longest prefix that it was sent, by its provider's published rule and lifetime. What is assumed, in
all of them: another model would have written as many tokens, and a small model does the routine steps as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from turnout.catalog.cache_rules import CacheRule, cache_rule_of, readable_tokens
from turnout.catalog.models import Deployment, Tier
from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Usage
from turnout.context import Warm
from turnout.lab.beats import Beat, Score
from turnout.routing.economics import unit_prices
from turnout.routing.habits import Habits
from turnout.routing.moves import detour
from turnout.routing.outlook import Known, Outlook, expected_visits, option_of, routine_share

__all__ = ["Bill", "Fleet", "Model", "Policy", "Tally", "oracle", "per_beat", "play", "turnout"]


class Model(Struct, frozen=True, kw_only=True):
    """A model that sessions can be sent to, with its price and its provider's cache rule."""

    deployment: Deployment
    price: Price
    rule: CacheRule

    @classmethod
    def at(cls, provider: str, model: str, tier: Tier, price: Price) -> Model:
        """A model at a provider, by the provider's published cache rule."""
        deployment = Deployment(
            id=f"{provider}/{model}",
            provider=provider,
            upstream_model=model,
            dialect="openai-chat",
            tier=tier,
            price=price,
        )
        return cls(deployment=deployment, price=price, rule=cache_rule_of(provider, model))


Fleet = Mapping[Tier, Model]
"""A model for each tier; `small` and `frontier` are always there."""

FIRST_OUTPUT = 100.0
"""Tokens of an answer, where a session has given none yet."""

Policy = Callable[[Score, Fleet], "list[Tier]"]
"""Which tier answers each beat of a session."""


class Tally(Struct, kw_only=True):
    """Visits of one kind and age: how many, and tokens that could have been read and were."""

    visits: int = 0
    had: int = 0
    read: int = 0


class Bill(Struct, kw_only=True):
    """What a session costs under a policy. `repeated`: tokens that the step before had sent already, to whomever;
    `off` steps that were not routine and not answered by the frontier; `tallies` by kind of visit and age."""

    nano_usd: int = 0
    input: int = 0
    read: int = 0
    written: int = 0
    output: int = 0
    repeated: int = 0
    steps: int = 0
    small: int = 0
    off: int = 0
    switches: int = 0
    tallies: dict[str, Tally] = {}


class _Cache:
    """What one model has of a session: how much, and when it was used last."""

    def __init__(self, model: Model, *, caching: bool, warm: int = 0) -> None:
        self.model = model
        self._caching = caching and model.rule.granularity_tokens > 0
        self.tokens = warm
        self.at_s: float | None = 0.0 if warm else None

    def warm_at(self, at_s: float) -> int:
        if self.at_s is None or at_s - self.at_s >= self.model.rule.ttl_s:
            return 0
        return readable_tokens(self.model.rule, self.tokens)

    def send(self, beat: Beat) -> tuple[int, int, int]:
        """Cost in nano-dollars, tokens read and tokens written."""
        read, write = 0, 0
        if self._caching:
            read = min(self.warm_at(beat.at_s), beat.context)
            kept = beat.context if readable_tokens(self.model.rule, beat.context) else 0
            write = max(0, kept - read) if self.model.rule.max_breakpoints else 0
            if kept:
                self.tokens, self.at_s = kept, beat.at_s
        usage = Usage(input=beat.context, cache_read=read, cache_write=write, output=beat.output)
        return cost_nano_usd(usage, self.model.price), read, write


AGES: tuple[tuple[float, str], ...] = ((60, "under 1 min"), (300, "under 5 min"), (3_600, "under 1 h"))


def _age(gap_s: float) -> str:
    return next((name for limit, name in AGES if gap_s < limit), "1 h or more")


def play(score: Score, fleet: Fleet, tiers: Sequence[Tier], *, caching: bool = True, warm: bool = False) -> Bill:
    """The bill of a session whose beats these tiers answer. `warm`: other sessions of the agent have left its system
    text and tools in every model's cache, as in a fleet that is in use."""
    caches = _caches(score, fleet, caching=caching, warm=warm)
    bill, before, had, seen_at = Bill(tallies={}), None, 0, dict[Tier, float]()
    for beat, wanted in zip(score.beats, tiers, strict=True):
        tier: Tier = wanted if wanted in caches else "frontier"
        cost, read, write = caches[tier].send(beat)
        bill.nano_usd += cost
        bill.input += beat.context
        bill.read += read
        bill.written += write
        bill.output += beat.output
        bill.repeated += min(had, beat.context)
        bill.steps += 1
        bill.small += tier != "frontier"
        bill.off += tier != "frontier" and not beat.routine
        if before is not None:
            bill.switches += tier != before
            kind = "stay" if tier == before else "return" if tier in seen_at else "first visit"
            age = "" if kind == "first visit" else f", {_age(beat.at_s - seen_at[tier])}"
            tally = bill.tallies.setdefault(kind + age, Tally())
            tally.visits += 1
            tally.had += min(had, beat.context)
            tally.read += read
        before, had, seen_at[tier] = tier, beat.context, beat.at_s
    return bill


def _caches(score: Score, fleet: Fleet, *, caching: bool, warm: bool) -> dict[Tier, _Cache]:
    shared = score.beats[0].system if warm and score.beats else 0
    return {tier: _Cache(model, caching=caching, warm=shared) for tier, model in fleet.items()}


def per_beat(score: Score, fleet: Fleet) -> list[Tier]:
    """Every routine step to the small model, whatever is warm: the naive router."""
    del fleet
    return ["small" if beat.routine else "frontier" for beat in score.beats]


def turnout(score: Score, fleet: Fleet, habits: Habits, *, warm: bool = False) -> list[Tier]:
    """What the gateway does with `routing.detours`: the same functions, asked with what can be known at each step.
    `habits` are what the sessions before have taught; the caller tells them of this one."""
    caches = _caches(score, fleet, caching=True, warm=warm)
    tiers: list[Tier] = []
    written = results = 0
    for step, beat in enumerate(score.beats):
        tier: Tier = "frontier"
        if beat.routine:
            output = written / step if step else FIRST_OUTPUT
            gain = (beat.context - score.beats[0].context) / step if step else 0.0
            results += 1
            share = routine_share(step, results)
            outlook = Outlook(
                steps=round(habits.remaining(step)),
                gain=gain,
                visits=expected_visits(habits, step, share),
                share=share,
            )
            going, staying = (
                option_of(
                    Known(c.model.deployment, c.model.rule, unit_prices(c.model.price, c.model.rule, beat.context)),
                    outlook,
                    Warm(tokens=c.warm_at(beat.at_s)),
                    context=beat.context,
                    output=output,
                )
                for c in (caches["small"], caches["frontier"])
            )
            run = outlook.run(beat.context, output)
            move = detour(going, staying, run, visits=outlook.visits, share=outlook.share)
            tier = "small" if move.kind == "down" else "frontier"
        caches[tier].send(beat)
        written += beat.output
        tiers.append(tier)
    return tiers


def oracle(score: Score, fleet: Fleet, *, warm: bool = False) -> list[Tier]:
    """The cheapest tiers there are for a session, its whole course known and under the same assumptions: the frontier
    takes what is not routine. Dynamic programming over who answered last, and when the other one did."""
    two: tuple[Tier, Tier] = ("frontier", "small")
    shared = score.beats[0].system if warm and score.beats else 0
    beats = score.beats

    def cost(tier: Tier, step: int, last: int) -> int:
        cache = _Cache(fleet[tier], caching=True, warm=shared)
        if last >= 0:
            cache.send(beats[last])
        return cache.send(beats[step])[0]

    # (who answered last, when the other answered last) -> (cost so far, tiers so far); -1: never.
    states: dict[tuple[Tier, int], tuple[int, tuple[Tier, ...]]] = {}
    for step, beat in enumerate(beats):
        allowed: tuple[Tier, ...] = two if beat.routine else ("frontier",)
        grown: dict[tuple[Tier, int], tuple[int, tuple[Tier, ...]]] = {}
        before = states or {("frontier", -1): (0, ())}
        for (last, other), (spent, path) in before.items():
            for tier in allowed:
                at = -1 if step == 0 else step - 1 if tier == last else other
                key = tier, (other if tier == last else step - 1 if step else -1)
                total = spent + cost(tier, step, at)
                if key not in grown or total < grown[key][0]:
                    grown[key] = total, (*path, tier)
        states = grown
    return list(min(states.values(), default=(0, ()))[1])
