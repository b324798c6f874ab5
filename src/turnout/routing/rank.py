"""The decision: which deployments to try for a request, in order, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.fleet import Fleet
from turnout.catalog.models import TIERS, Deployment, Pace, Tier
from turnout.chat import RequestOutline
from turnout.context import Candidate, Decision, SessionView
from turnout.errors import BudgetExhausted, ModelNotAllowed, ModeNotAllowed, NoCapacity, TurnoutError
from turnout.keys import Key
from turnout.routing.choosing import Chooser, Question, chosen
from turnout.routing.economics import rest_cost
from turnout.routing.features import Features
from turnout.routing.moves import Evidence, Move, detour, next_move, routine
from turnout.routing.names import Names, Selection
from turnout.routing.needs import Needs, needs_of, why_not, worst_cost
from turnout.routing.outlook import Known, Outlook, Scales, Weight, assumed_success
from turnout.routing.predictor import Predictor
from turnout.routing.verdict import Odds, Verdict, verdict_of

__all__ = ["Ask", "Router", "placed"]

_FALLBACK_ORDER: dict[Tier, tuple[Tier | None, ...]] = {
    "small": ("small", "mid", "frontier", None),
    "mid": ("mid", "frontier", "small", None),
    "frontier": ("frontier", "mid", "small", None),
}
MOST_SIMPLE_TOKENS = 3_200
"""Of a plain question that does not go to the frontier at once."""

QUALITY = 0.95
"""Where nothing says what quality must be kept."""

MID_KEEPS = 0.9
"""Where a small model keeps so much, the middle tier is held to keep what was asked for. Assumed."""

_EXPLORED = frozenset({"medium", "hard"})
"""Reasons for which plain questions begin above the small models."""

_MOVES = frozenset({"escalated", "returned"})

MOST_TOLD = 4
"""Candidates whose chance is told, and the cost of the rest of the session: those that may be tried."""

T = TypeVar("T")

_COST = attrgetter("expected_cost_nano_usd")


class Ask(Struct, frozen=True, kw_only=True):
    """One request as the router sees it. `quality` 0..1 as in the `x-turnout-quality` header;
    `second_nano_usd` is what a second of waiting is worth here (0: nothing), `thrift` what a dollar is worth beside it
    (1: a dollar; more where a budget would not last); `smaller` how many tiers lower a new session begins;
    `evidence` is how the agent fares, `signed` that only the author of its newest thinking can go on from it, `outlook`
    what is expected of the rest of the session;
    `small_only` names the exhausted budget that leaves only small models; `kept_at` the provider that keeps the
    conversation, and alone can go on with it; `key` leaves out what it does not open. `look` tells what the predictor
    sees of the request; it is asked at most once, where a session begins. `explores`: a failure is
    cheap, and a smaller model may be tried."""

    outline: RequestOutline
    input_tokens: int
    session: SessionView
    mode: str | None = None
    quality: float | None = None
    max_cost_nano_usd: int | None = None
    second_nano_usd: int = 0
    thrift: float = 1.0
    smaller: int = 0
    evidence: Evidence = Evidence()
    signed: bool = False
    outlook: Outlook = Outlook()
    small_only: str | None = None
    kept_at: str | None = None
    key: Key | None = None
    look: Callable[[], Features] | None = None
    explores: bool = False


class Router:
    """Ranks the fleet for a request. `quality` holds where the request says nothing; `pace` tells how fast a deployment
    has been. `detours`: routine steps of a session may go to a small model where that pays. `predictor`: what is known
    of who succeeds at what. `short_prompt_tokens`: a question so short is simple, whatever the predictor thinks."""

    def __init__(
        self,
        fleet: Fleet,
        names: Names,
        *,
        short_prompt_tokens: int | None = None,
        predictor: Predictor | None = None,
        quality: float | None = None,
        pace: Callable[[Deployment], Pace] = lambda _: Pace(),
        detours: bool = False,
    ) -> None:
        self._detours = detours
        self._units: dict[str, Known] = {}
        self._pace = pace
        self._fleet = fleet
        self._quality = QUALITY if quality is None else quality
        self._names = names
        self._short = short_prompt_tokens
        self.chooser: Chooser | None = None  # a plug-in, with the last word on `auto`
        self._predictor = predictor

    def prepare(self) -> None:
        """Make now what the first `auto` would wait for (`Predictor.prepare`)."""
        if self._predictor is not None:
            self._predictor.prepare()

    def decide(self, ask: Ask) -> Decision:
        """The decision for one request.

        Raises NotFound (unknown name), NoCapacity (nobody can take it) or BudgetExhausted (only dearer
        models than allowed could).
        """
        selection = self._names.resolve(ask.outline.model, ask.mode)
        if ask.key is not None and ask.key.modes and selection.mode and selection.mode not in ask.key.modes:
            raise ModeNotAllowed(
                f"key {ask.key.name} does not open mode {selection.mode}; it opens {', '.join(ask.key.modes)}"
            )
        needs = needs_of(ask.outline, ask.input_tokens)
        scales = Scales(ask.outlook, needs, self._pace, self._units)
        # Where a session begins: later its model is chosen, and looking takes longer than routing it there.
        begins = selection.kind == "auto" and ask.session.pinned is None
        odds = self._odds(ask) if begins else None
        ranked, reason, explanation = self._rank(selection, needs, ask, scales, odds)
        able: list[Deployment] = []
        rejected: list[Candidate] = []
        for deployment in ranked:
            if (why := self._why_not(deployment, needs, ask)) is None:
                able.append(deployment)
            else:
                rejected.append(_weighed(deployment, scales.of(deployment), rejected=why))
        if not able:
            raise self._nobody(selection, rejected, ask.key)
        if reason in _MOVES and not self._moves(able[0], reason, ask):
            reason, explanation = "pinned", f"{explanation}; but nobody there can take it"
            able.sort(key=lambda d: d.id != ask.session.pinned)
        candidates = [_weighed(d, scales.of(d), place=place, odds=odds) for place, d in enumerate(able)]
        rest = partial(scales.rest, candidates[:MOST_TOLD])
        if self.chooser is not None and selection.kind == "auto":
            candidates, reason, explanation = self._chosen(self.chooser, ask, candidates, rest, (reason, explanation))
        if reason == "pinned" and self._detours and (away := self._detour(candidates, ask, scales)) is not None:
            candidates, reason, explanation = away
        return Decision(
            candidates=placed(candidates, selection),
            rejected=tuple(rejected),
            reason=reason,
            explanation=explanation,
            mode=selection.mode,
            effort=selection.effort,
            # A detour is a step away from home, and home stays where it is.
            pins=selection.kind != "model" and reason != "detour",
            rest=rest,
        )

    def _chosen(
        self,
        chooser: Chooser,
        ask: Ask,
        able: list[Candidate],
        rest: Callable[[], Mapping[str, int]],
        ours: tuple[str, str],
    ) -> tuple[list[Candidate], str, str]:
        reason, explanation = ours
        ranked, reason, explanation = chosen(
            chooser,
            Question(
                outline=ask.outline,
                input_tokens=ask.input_tokens,
                session=ask.session,
                candidates=tuple(able),
                rest=rest,
                reason=reason,
                explanation=explanation,
            ),
        )
        return list(ranked), reason, explanation

    def _moves(self, first: Deployment, reason: str, ask: Ask) -> bool:
        """Whether the best that is able is where the session was to go."""
        if reason == "returned":
            return first.id == ask.session.rose_from
        home = self._fleet.get(ask.session.pinned)
        if home is None or home.tier is None:
            return True
        return first.tier is not None and TIERS.index(first.tier) > TIERS.index(home.tier)

    def _detour(self, able: list[Candidate], ask: Ask, scales: Scales) -> tuple[list[Candidate], str, str] | None:
        """The candidates with a small model first, where this step is routine and that pays; None where not."""
        if not routine(tool_result_last=ask.outline.tool_result_last, evidence=ask.evidence, signed=ask.signed):
            return None
        home, *others = able
        small = [c for c in others if c.deployment.tier == "small" and c.expected_cost_nano_usd is not None]
        if not small:
            return None
        there = min(small, key=_COST)
        going, staying = scales.of(there.deployment).option, scales.of(home.deployment).option
        if going is None or staying is None:
            return None
        move = detour(going, staying, scales.run, visits=ask.outlook.visits, share=ask.outlook.share)
        if move.kind != "down":
            return None
        return _first(there, able), "detour", f"{move.why}; then back to {home.deployment.id}"

    def _why_not(self, deployment: Deployment, needs: Needs, ask: Ask) -> str | None:
        """Why a deployment cannot or may not serve the request; None where it may."""
        if ask.key is not None and not ask.key.opens(deployment):
            return f"key {ask.key.name} does not open it"
        if (why := why_not(deployment, needs)) is not None:
            return why
        if ask.kept_at is not None and ask.kept_at != deployment.provider:
            return f"the conversation is kept at {ask.kept_at}: only its models can go on"
        if ask.small_only is not None and deployment.tier != "small":
            return f"budget {ask.small_only} is used up: small models only"
        if ask.max_cost_nano_usd is not None:
            worst = worst_cost(deployment, needs)
            if worst is None or worst > ask.max_cost_nano_usd:
                return "may cost more than x-turnout-max-cost-usd allows"
        return None

    def _rank(
        self, selection: Selection, needs: Needs, ask: Ask, scales: Scales, odds: Odds | None
    ) -> tuple[list[Deployment], str, str]:
        """All deployments that may serve, best first, whether able or not; the reason and its sentence."""
        if selection.kind != "auto":
            return self._named(selection, ask, scales)
        verdict = None if odds is None else self._verdict(odds, needs, ask, scales)
        if verdict is not None:
            ranked = self._by_tier(verdict.first.tier or "frontier", ask, scales)
            return _first(verdict.first, ranked), "predicted", verdict.why
        home, below = self._fleet.get(ask.session.pinned), self._fleet.get(ask.session.rose_from)
        tier, rule, why = self._begun_tier(needs, ask, odds)
        now = home.tier if home is not None and home.tier is not None else tier
        move = self._move(ask, now, below)
        if move.kind == "up":
            tier = TIERS[min(TIERS.index(now) + 1, len(TIERS) - 1)]
            return self._by_tier(tier, ask, scales), "escalated", f"{move.why}: one tier up, {tier}"
        ranked = self._by_tier(tier, ask, scales)
        if move.kind == "back" and below is not None and self._may_stay(below, needs, ask):
            return _first(below, ranked), "returned", f"{move.why}: back to {below.id}"
        if home is not None and self._may_stay(home, needs, ask):
            warm = ": its cache is warm there" if scales.of(home).warm.tokens else ""
            evidence = f" ({move.why})" if move.why else ""
            told = f"step {ask.session.step} of a session that {home.id} serves{warm}{evidence}"
            return _first(home, ranked), "pinned", told
        return ranked, rule, why

    def _named(self, selection: Selection, ask: Ask, scales: Scales) -> tuple[list[Deployment], str, str]:
        """The deployments that a caller's name or mode means; within a tier the one that has the session's cache
        first."""
        source = f"mode {selection.mode}" if selection.mode else f"the request names {selection.name}"
        reason = "mode" if selection.mode else "explicit"
        tier = selection.tier
        if tier is None:
            return list(selection.deployments), reason, f"{source}: {selection.deployments[0].id}"
        ranked, home = self._by_tier(tier, ask, scales), self._fleet.get(ask.session.pinned)
        if home is not None and home.tier == tier:
            ranked = _first(home, ranked)
        return ranked, reason, f"{source}: cheapest able {tier} model"

    def _odds(self, ask: Ask) -> Odds | None:
        if self._predictor is None or ask.look is None:
            return None
        return Odds(self._predictor, self._predictor.see(ask.look()))

    def _verdict(self, odds: Odds, needs: Needs, ask: Ask, scales: Scales) -> Verdict | None:
        """What the predictor says of a session that begins; nothing where full quality is asked for, or a budget asks
        for smaller models."""
        quality = self._quality_of(ask)
        if quality >= 1 or ask.smaller or ask.small_only is not None:
            return None
        if sum(odds.knows(d.id) for d in self._fleet.all) < 2:  # as while little is learned
            return None
        able = [d for d in self._fleet.all if why_not(d, needs) is None and (ask.key is None or ask.key.opens(d))]

        def cost(deployment: Deployment) -> float | None:
            told = self._cost(deployment, ask, scales)
            return None if told[0] else told[1]

        return verdict_of(odds, able, quality, cost)

    def _begun_tier(self, needs: Needs, ask: Ask, odds: Odds | None) -> tuple[Tier, str, str]:
        """The tier that a session begins in: lower than wanted while a budget asks for that."""
        tier, rule, why = self._wanted_tier(needs, ask, odds)
        if ask.explores and rule in _EXPLORED:
            lower = TIERS[TIERS.index(tier) - 1]
            return lower, "explored", f"{why}; {lower} this once, to learn how it fares"
        if not ask.smaller or ask.session.pinned is not None or rule == "quality" or tier == TIERS[0]:
            return tier, rule, why
        lower = TIERS[max(0, TIERS.index(tier) - ask.smaller)]
        return lower, "thrift", f"{why}, but a budget is being used up too fast: {lower} for new sessions"

    def _move(self, ask: Ask, tier: Tier, below: Deployment | None) -> Move:
        """Whether the session leaves the model that serves it, or would begin with. `below`: where it rose from."""
        warm = 0 if below is None else ask.outlook.warm(below).tokens
        return next_move(
            ask.evidence,
            tier=tier,
            rose=below is not None,
            warm_share_below=warm / max(1, ask.input_tokens),
            signed=ask.signed,
        )

    def _may_stay(self, deployment: Deployment, needs: Needs, ask: Ask) -> bool:
        """Whether the session's model can go on; asking for full quality leaves a smaller one."""
        full = self._quality_of(ask) >= 1 and deployment.tier != "frontier"
        return not full and why_not(deployment, needs) is None

    def _quality_of(self, ask: Ask) -> float:
        return self._quality if ask.quality is None else ask.quality

    def _by_tier(self, tier: Tier, ask: Ask, scales: Scales) -> list[Deployment]:
        """Every deployment: `tier` first, then the tiers that may stand in. Within one, known prices first, those first
        with which the rest of the session is expected to cost least, the caller's waiting counted in; order of the
        config among equals. A pace that is not known counts as no waiting: that is how it comes to be known."""
        order: list[Deployment] = []
        for t in _FALLBACK_ORDER[tier]:
            alike = self._fleet.tier(t)
            order += alike if len(alike) < 2 else sorted(alike, key=lambda d: self._cost(d, ask, scales))
        return order

    def _cost(self, deployment: Deployment, ask: Ask, scales: Scales) -> tuple[bool, float]:
        """Whether it is unpriced, and what it costs."""
        weight = scales.of(deployment)
        money = 0.0 if weight.option is None else rest_cost(weight.option, scales.run)
        waiting = weight.seconds or 0.0 if ask.second_nano_usd else 0.0
        return weight.option is None, money * ask.thrift + waiting * ask.second_nano_usd * scales.run.steps

    def _wanted_tier(self, needs: Needs, ask: Ask, odds: Odds | None) -> tuple[Tier, str, str]:
        """Where a session begins while too little is known of the models: by the request's structure.

        A small model for what it has kept the wanted quality of, on public outcomes of other models
        (`tools/fit_predictor.py` fits the threshold); agents with tools get the frontier model until there is evidence
        that less will do, because a failed session costs more than it saves.
        """
        outline = ask.outline
        tokens, quality = needs.input_tokens, self._quality_of(ask)
        if quality >= 1:
            return "frontier", "quality", "full quality was asked for"
        if needs.tools:
            return (
                "frontier",
                "agent",
                f"an agent step with {outline.tools} tools: frontier until evidence says less will do",
            )
        if outline.reasoning:
            return "frontier", "reasoning", "the caller asked for reasoning"
        if tokens > MOST_SIMPLE_TOKENS:
            return "frontier", "long", f"about {tokens:,} tokens of context"
        turns = sum(role == "user" for role in outline.roles)
        plain = turns == 1 and not (needs.vision or needs.files or needs.audio)
        if plain and self._simple(tokens, odds, quality):
            return "small", "short", f"one plain question of about {tokens} tokens without tools"
        if self._simple(tokens, odds, min(quality, MID_KEEPS), factor=8):
            return "mid", "medium", f"about {tokens} tokens, no tools"
        return "frontier", "hard", f"about {tokens} tokens, and nothing says that less would do"

    def _simple(self, tokens: int, odds: Odds | None, quality: float, *, factor: int = 1) -> bool:
        """Whether a small model keeps that quality, as far as is known."""
        if self._short is not None:
            return tokens <= factor * self._short
        return odds is not None and odds.simple(quality)

    def _nobody(self, selection: Selection, rejected: list[Candidate], key: Key | None) -> TurnoutError:
        reasons = "; ".join(f"{c.deployment.id}: {c.rejected}" for c in rejected[:4])
        if not rejected:
            return NoCapacity(
                f"no model is configured for {selection.name!r}; add one under [models] or set a provider's key"
            )
        if key is not None and not any(key.opens(c.deployment) for c in rejected):
            return ModelNotAllowed(
                f"key {key.name} does not open {selection.name!r}; it opens {', '.join(key.models)}", param="model"
            )
        money = [
            c for c in rejected if c.rejected and ("x-turnout-max-cost-usd" in c.rejected or "budget" in c.rejected)
        ]
        if money:
            return BudgetExhausted(f"no model within the limit can take this request ({reasons}); raise the limit")
        return NoCapacity(f"no configured model can take this request ({reasons})")


def _weighed(
    deployment: Deployment, weight: Weight, *, place: int = 0, odds: Odds | None = None, rejected: str | None = None
) -> Candidate:
    """A deployment as a candidate. Those that may be tried have a chance: their tier's where `odds` say nothing."""
    success, bounds = None, None
    if rejected is None and place < MOST_TOLD:
        told = None if odds is None else odds.of(deployment.id)
        success = assumed_success(deployment) if told is None else told.success
        bounds = None if told is None else (told.low, told.high)
    return Candidate(
        deployment=deployment,
        expected_cost_nano_usd=None if weight.step is None else round(weight.step),
        warm=weight.warm,
        success=success,
        bounds=bounds,
        expected_s=weight.seconds,
        place=place,
        rejected=rejected,
    )


def _first(first: T, others: Iterable[T]) -> list[T]:
    """`first`, then the others in their order."""
    return [first, *[other for other in others if other is not first]]


def placed(candidates: list[Candidate], selection: Selection) -> tuple[Candidate, ...]:
    """The candidates with their places: one model at one price in several houses has one place, and any of them will
    do. A model that the caller named by its house comes before its fallbacks, whatever they are."""
    told: list[Candidate] = []
    for index, candidate in enumerate(candidates):
        place = index
        if told and _alike(told[-1], candidate) and (selection.kind != "model" or index < selection.meant):
            place = told[-1].place
        told.append(candidate if candidate.place == place else replace(candidate, place=place))
    return tuple(told)


def _alike(one: Candidate, other: Candidate) -> bool:
    return (
        one.deployment.upstream_model == other.deployment.upstream_model
        and one.deployment.tier == other.deployment.tier
        and one.expected_cost_nano_usd == other.expected_cost_nano_usd
    )
