"""What is expected of the rest of a session, and what each model would cost for it: caches, habits, failures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.cache_rules import CacheRule, cache_rule_of
from turnout.catalog.models import Deployment, Pace
from turnout.context import Candidate, RequestContext, Visit, Warm
from turnout.routing.economics import (
    TIER_SUCCESS,
    Option,
    Run,
    Unit,
    done_over,
    per_solved,
    rest_cost,
    step_cost,
    unit_prices,
    with_escalation,
)
from turnout.routing.habits import Habits
from turnout.routing.needs import Needs, expected_output
from turnout.routing.warmth import Warmth, kept_by

__all__ = [
    "Foresight",
    "Known",
    "Outlook",
    "Scales",
    "Weight",
    "assumed_success",
    "expected_visits",
    "known_of",
    "option_of",
    "routine_share",
]

HALF = 0.5
"""A detour counts on the steps that half of the sessions still take; of these, on as many routine ones as this session
has had so far, a half of them counted in beforehand (45 to 60 % of the recorded steps read a tool's result)."""

GAIN = 700.0
"""Tokens that a context gains with a step, what is written among them, where the session has not shown it yet."""


def _cold(_: Deployment) -> Warm:
    return Warm()


def _assumed(_: Deployment, tokens: float) -> float:
    return tokens


class Outlook(Struct, frozen=True, kw_only=True):
    """`warm`: what a deployment has of the request in its cache. `steps` to come, this one among them; `gain`: tokens
    that the context grows by with each, what is written among them. `output(deployment, assumed)`: tokens that it
    writes an answer. `visits`: steps that a detour is expected to last, of which `share` of all steps may be. `marks`:
    where a provider keeps only what is marked, it is."""

    warm: Callable[[Deployment], Warm] = _cold
    output: Callable[[Deployment, float], float] = _assumed
    steps: int = 1
    gain: float = 0.0
    visits: int = 1
    share: float = 0.5
    marks: bool = True

    def run(self, context: int, output: float) -> Run:
        return Run(context=context, growth=max(0.0, self.gain - output), output=output, steps=max(1, self.steps))


def routine_share(step: int, results: int) -> float:
    """Of a session's steps, how many read a tool's result: `results` of those until this one have."""
    return (results + 1) / (step + 3)


def expected_visits(habits: Habits, step: int, share: float) -> int:
    """Routine steps that are expected of a session at that step, this one among them."""
    return max(1, int(habits.at_least(step, HALF) * share))


class Foresight:
    """What is learned of caches and habits, asked before a request is decided and told after it is served."""

    def __init__(self, warmth: Warmth, habits: Habits) -> None:
        self.warmth = warmth
        self.habits = habits

    def outlook(self, ctx: RequestContext, now_s: float, *, marks: bool = True) -> Outlook:
        """What is expected of the session that a request belongs to. `marks`: where a provider keeps only what is
        marked, we mark it."""
        session = ctx.session
        agent = bool(ctx.outline.tools)
        share = routine_share(session.step, session.results)
        return Outlook(
            warm=partial(
                self.warmth.of,
                visits=session.visits,
                home=session.home,
                agent=(ctx.key_id or "", session.agent),
                now_s=now_s,
            ),
            output=self.habits.output,
            steps=round(self.habits.remaining(session.step)) if agent else 1,
            gain=GAIN if session.growth is None else session.growth,
            visits=expected_visits(self.habits, session.step, share) if agent else 1,
            share=share,
            marks=marks or ctx.outline.caches is not None,
        )

    def learn(self, ctx: RequestContext) -> Visit | None:
        """What came of a request that was served; what its target keeps of it from now on."""
        served, usage = ctx.served_by, ctx.usage
        # An answer of our own cache was sent to nobody.
        if served is None or ctx.target is None or ctx.outcome == "error":
            return None
        if usage is not None and usage.output and not ctx.usage_estimated:
            self.habits.wrote(served, usage.output)
        rule = cache_rule_of(served.provider, served.upstream_model)
        if rule.granularity_tokens == 0:
            return None
        candidates = ctx.decision.candidates if ctx.decision else ()
        warm = next((c.warm for c in candidates if c.deployment.id == served.id), Warm())
        if not ctx.usage_estimated:
            self.warmth.served(served, warm, usage, ctx.input_tokens_estimate)
        visit = kept_by(
            rule,
            usage,
            estimate=ctx.input_tokens_estimate,
            messages=len(ctx.outline.messages),
            at_s=ctx.started_s,  # a lifetime runs from the request's start (Anthropic)
            long=ctx.outline.caches == "1h",
        )
        if visit is not None and ctx.parts is not None:
            shared = min(visit.tokens, ctx.parts.system + ctx.parts.tools)
            agent = ctx.key_id or "", ctx.session.agent
            self.warmth.keep_prefix(served, agent, replace(visit, messages=0, tokens=shared))
        return visit


class Weight(Struct, frozen=True, kw_only=True):
    """A deployment weighed for a request: what is `warm` there, the `seconds` that an answer takes (None: not known),
    the way to go on (None: unpriced), and nano-dollars for this step."""

    warm: Warm
    seconds: float | None = None
    option: Option | None = None
    step: float | None = None


class Known(Struct, frozen=True):
    """A deployment's prices, which are the same for every request, and its provider's rule."""

    deployment: Deployment
    rule: CacheRule
    unit: Unit


class Scales:
    """Weighs deployments for one request, each once. `units` remembers from request to request what deployments cost
    whose price is one for all requests."""

    def __init__(
        self, outlook: Outlook, needs: Needs, pace: Callable[[Deployment], Pace], units: dict[str, Known]
    ) -> None:
        self._units = units
        self._outlook = outlook
        self._output = expected_output(needs)
        self._service = needs.service_tier
        self._context = needs.input_tokens
        self._pace = pace
        self._weights: dict[str, Weight] = {}
        self.run = outlook.run(needs.input_tokens, self._output)

    def of(self, deployment: Deployment) -> Weight:
        """It as a way to go on with this request."""
        name, context, output = deployment.id, self._context, self._output
        if (found := self._weights.get(name)) is not None:
            return found
        warm, seconds = self._outlook.warm(deployment), self._pace(deployment).seconds(output)
        known = self._units.get(name)
        if known is None or known.deployment is not deployment:
            known = self._remembered(deployment)
        option = None if known is None else option_of(known, self._outlook, warm, context=context, output=output)
        step = None if option is None else step_cost(option, context, output)
        weight = self._weights[name] = Weight(warm=warm, seconds=seconds, option=option, step=step)
        return weight

    def _remembered(self, deployment: Deployment) -> Known | None:
        known = known_of(deployment, self._context, self._service)
        price = deployment.price
        if known is not None and price is not None and not price.tiers and not price.service:
            self._units[deployment.id] = known
        return known

    def rest(self, candidates: Sequence[Candidate]) -> dict[str, int]:
        """What the rest of the session costs with each of them, in nano-dollars for every task that is solved, by
        deployment's id; the unpriced are left out. What a model fails at is done over by the one that most likely
        succeeds, from what of the context is warm there now."""
        run, ways = self.run, dict[str, tuple[Option, float]]()
        for candidate in candidates:
            option = self.of(candidate.deployment).option
            if option is not None and candidate.success is not None:
                option = replace(option, success=candidate.success)
                ways[candidate.deployment.id] = option, rest_cost(option, run)
        if not ways:
            return {}
        best = max(ways.values(), key=lambda way: (way[0].success, -way[1]))[0]
        over, told = done_over(best, run), dict[str, int]()
        for name, (option, alone) in ways.items():
            cost, solved = alone, option.success
            if solved < best.success:
                cost = with_escalation(option, run, alone=alone, over=over)
                solved += (1 - solved) * best.success
            if solved > 0:
                told[name] = round(per_solved(cost, solved))
        return told


def assumed_success(deployment: Deployment) -> float:
    """The chance that is taken for a model's where nobody predicts it: its tier's."""
    return TIER_SUCCESS[deployment.tier or "mid"]


def known_of(deployment: Deployment, context: int, service: str | None = None) -> Known | None:
    """What a deployment costs a request of that size in the service tier asked for; None: unpriced."""
    if deployment.price is None:
        return None
    rule = cache_rule_of(deployment.provider, deployment.upstream_model)
    return Known(deployment, rule, unit_prices(deployment.price, rule, context, service=service))


def option_of(known: Known, outlook: Outlook, warm: Warm, *, context: int, output: float) -> Option:
    """A deployment as a way to go on, where others write `output` tokens an answer."""
    deployment, rule = known.deployment, known.rule
    return Option(
        unit=known.unit,
        warm=min(warm.tokens, context),
        minimum=rule.minimum_tokens,
        verbosity=outlook.output(deployment, output) / output if output > 0 else 1.0,
        success=assumed_success(deployment),
        caches=rule.granularity_tokens > 0 and (outlook.marks or not rule.by_marks),
    )
