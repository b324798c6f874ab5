"""What requests add up to since the start: told once of each, when its books close.

Tokens, dollars and times are kept by model in one object, so that a request costs one look-up and some additions.
"""

from __future__ import annotations

from msgspec import Struct, field

from turnout.chat import Usage
from turnout.context import MARK, RequestContext
from turnout.telemetry.series import NONE, Histogram, Names, Sums

__all__ = ["FIRST_TOKEN_S", "OVERHEAD_S", "WHOLE_S", "Metrics", "ModelSums"]

MOST_NAMES = 100
"""Names of each kind that callers may choose: models that no config lists, features, modes, keys."""

OVERHEAD_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)

FIRST_TOKEN_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)

WHOLE_S = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0)


class ModelSums(Struct):
    """Of one model. The kinds of tokens do not overlap: they add up. Money in nano-dollars; `unpriced` counts requests
    that used tokens and have no cost."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost_nano_usd: int = 0
    unpriced: int = 0
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_S))
    whole: Histogram = field(default_factory=lambda: Histogram(WHOLE_S))


class Metrics:
    """The sums of a gateway since its start. They outlive a change of the config."""

    def __init__(self) -> None:
        self.models = Names(MOST_NAMES)
        self.keys = Names(MOST_NAMES)
        self.features = Names(MOST_NAMES)
        self.modes = Names(MOST_NAMES)
        # Reasons, codes and formats are words of our own; a provider's error codes are not.
        self._words = Names(MOST_NAMES)
        self.by_model: dict[str, ModelSums] = {}
        self.requests = Sums()
        self.decisions = Sums()
        self.attempts = Sums()
        self.errors = Sums()
        self.brakes = Sums()
        self.caches = Sums()
        self.key_cost = Sums()
        self.feature_cost = Sums()
        self.mode_cost = Sums()
        self.overhead = Histogram(OVERHEAD_S)
        # Of requests where all of it is known: what they cost, and what the baseline would have cost.
        self.compared_nano_usd = self.uncached_nano_usd = self.cached_nano_usd = 0

    def settled(self, ctx: RequestContext) -> None:
        """A request's books are closed."""
        served, decision, attempts = ctx.served_by, ctx.decision, ctx.attempts
        asked = served or (attempts[-1].deployment if attempts else None)
        model = self.models[asked.id if asked else None]
        reason = decision.reason if decision is not None else NONE
        if MARK in ctx.tags:  # a request of our own: what it was for
            reason = ctx.tags[MARK]
        self.requests.add((ctx.outcome, model, reason, ctx.dialect))
        if decision is not None and decision.candidates:
            self.decisions.add((reason, decision.candidates[0].deployment.tier or NONE))
        for attempt in attempts:
            result = attempt.reason or attempt.error_code
            called = model if attempt.deployment is asked else self.models[attempt.deployment.id]
            self.attempts.add((called, self._words[result] if result else "ok"))
        self.caches.add((ctx.cache,))
        if ctx.overhead_s is not None:
            self.overhead.observe(ctx.overhead_s)
        if served is not None:
            self._book(ctx, model)

    def _book(self, ctx: RequestContext, model: str) -> None:
        """What was served: its times, tokens and money."""
        sums = self.by_model.get(model)
        if sums is None:
            sums = self.by_model[model] = ModelSums()
        if ctx.ttft_s is not None and ctx.outline.stream:
            sums.first_token.observe(ctx.ttft_s)
        if ctx.duration_s is not None:
            sums.whole.observe(ctx.duration_s)
        if ctx.usage is not None:
            _count(sums, ctx.usage)
            sums.unpriced += ctx.cost_nano_usd is None
        if (cost := ctx.cost_nano_usd) is not None:
            sums.cost_nano_usd += cost
            self._charge(ctx, cost)

    def refused(self, code: str) -> None:
        """A caller was told of an error, before or after its request was opened."""
        self.errors.add((self._words[code],))

    def braked(self, brake: str, action: str) -> None:
        """A brake acted."""
        self.brakes.add((brake, action))

    def _charge(self, ctx: RequestContext, cost: int) -> None:
        """Whose money it was."""
        self.key_cost.add((self.keys[ctx.key_id],), cost)
        self.feature_cost.add((self.features[ctx.tags.get("feature")],), cost)
        decided = ctx.decision.mode if ctx.decision is not None else None
        self.mode_cost.add((self.modes[decided or ctx.mode],), cost)
        if ctx.baseline_nano_usd is not None:
            self.compared_nano_usd += cost
            self.uncached_nano_usd += ctx.baseline_nano_usd[0]
            self.cached_nano_usd += ctx.baseline_nano_usd[1]


def _count(sums: ModelSums, usage: Usage) -> None:
    """Add the tokens of one answer, each once."""
    read, written, thought = usage.cache_read or 0, usage.cache_write or 0, usage.reasoning or 0
    sums.input += max(0, (usage.input or 0) - read - written)
    sums.cache_read += read
    sums.cache_write += written
    sums.output += max(0, (usage.output or 0) - thought)
    sums.reasoning += thought
