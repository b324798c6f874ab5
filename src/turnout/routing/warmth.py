"""What each model has of a conversation in its cache now: predicted from what it was sent, corrected by its reports.

A switch evicts nothing: who comes back within the lifetime finds the cache warm. Never sent there, a conversation may
still find the system text and tools that it shares with others of its agent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from msgspec import Struct

from turnout.catalog.cache_rules import CacheRule, cache_rule_of, readable_tokens
from turnout.catalog.models import Deployment
from turnout.chat import Usage
from turnout.context import Visit, Warm, WarmKind

__all__ = ["AGES", "Figure", "Warmth", "age_name", "kept_by"]

AGES: tuple[tuple[float, str], ...] = ((60, "1m"), (300, "5m"), (1_800, "30m"), (3_600, "1h"), (float("inf"), "more"))
"""Seconds since the cache was used last, up to which, and what to call it."""

PRIOR_REQUESTS = 5
"""How many requests of its own it takes before what a provider does weighs as much as what it promises."""

MOST_PREFIXES = 10_000

COLD = Warm()


class Figure(Struct, kw_only=True):
    """What came of the visits of one kind and age: tokens promised by the rule, and read."""

    requests: int = 0
    promised: int = 0
    read: int = 0

    @property
    def share(self) -> float:
        """Of what was promised, how much came; the promise itself counts as so many requests."""
        if not self.requests:
            return 1.0
        told = min(1.0, self.read / self.promised) if self.promised else 1.0
        return (PRIOR_REQUESTS + self.requests * told) / (PRIOR_REQUESTS + self.requests)


class Warmth:
    """Learned over all sessions: how far each provider keeps its promise, and which agents' system text and tools it
    has. Bounded; one event loop owns it: no locks."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, WarmKind, str], Figure] = {}
        self._prefixes: OrderedDict[tuple[str, str, str], Visit] = OrderedDict()

    def of(
        self,
        deployment: Deployment,
        *,
        visits: Mapping[str, Visit],
        home: str | None,
        agent: tuple[str, str],
        now_s: float,
    ) -> Warm:
        """What is warm at a deployment, at the best of its accounts. `agent`: owner and agent, for what conversations
        share."""
        rule = cache_rule_of(deployment.provider, deployment.upstream_model)
        if rule.granularity_tokens == 0:
            return COLD
        found = [
            self._warm(rule, visit, "stay" if target == home else "return", now_s)
            for target, visit in visits.items()
            if target.partition("@")[0] == deployment.id and visit.at_s + visit.ttl_s > now_s
        ]
        shared = self._prefixes.get((*agent, deployment.id))
        if not found and shared is not None and shared.at_s + shared.ttl_s > now_s:
            found.append(self._warm(rule, shared, "first", now_s))
        return max(found, key=lambda warm: warm.tokens, default=COLD)

    def _warm(self, rule: CacheRule, visit: Visit, kind: WarmKind, now_s: float) -> Warm:
        promised, age_s = readable_tokens(rule, visit.tokens), now_s - visit.at_s
        figure = self.figures.get((rule.name, kind, age_name(age_s)))
        return Warm(
            tokens=promised if figure is None else int(promised * figure.share),
            promised=promised,
            until_s=visit.at_s + visit.ttl_s,
            kind=kind,
            age_s=age_s,
        )

    def served(self, deployment: Deployment, warm: Warm, usage: Usage | None, estimate: int) -> None:
        """Learn from an answer: `warm` was predicted for its deployment, in tokens as `estimate` counts the request."""
        if usage is None or usage.cache_read is None or not usage.input or not warm.promised:
            return
        rule = cache_rule_of(deployment.provider, deployment.upstream_model)
        figure = self.figures.setdefault((rule.name, warm.kind, age_name(warm.age_s)), Figure())
        figure.requests += 1
        figure.promised += warm.promised
        # In our own tokens: providers count otherwise.
        figure.read += min(warm.promised, round(usage.cache_read * estimate / usage.input))

    def keep_prefix(self, deployment: Deployment, agent: tuple[str, str], prefix: Visit) -> None:
        """System text and tools of an agent (owner and agent) were sent to a deployment."""
        key = (*agent, deployment.id)
        self._prefixes[key] = prefix
        self._prefixes.move_to_end(key)
        while len(self._prefixes) > MOST_PREFIXES:
            self._prefixes.popitem(last=False)


def age_name(age_s: float) -> str:
    return next(name for limit, name in AGES if age_s < limit)


def kept_by(
    rule: CacheRule, usage: Usage | None, *, estimate: int, messages: int, at_s: float, long: bool = False
) -> Visit | None:
    """What a target keeps of a request that it has served, in tokens as `estimate` counts the request; None where it
    keeps nothing. Where only marks are kept, it is what the provider says that it read and wrote."""
    if rule.granularity_tokens == 0:
        return None
    tokens = estimate
    if rule.by_marks:
        if usage is None or not usage.input:
            return None
        tokens = round(((usage.cache_read or 0) + (usage.cache_write or 0)) * estimate / usage.input)
    if readable_tokens(rule, tokens) == 0:
        return None
    ttl_s = rule.long_ttl_s if long and rule.long_ttl_s is not None else rule.ttl_s
    return Visit(messages=messages, tokens=tokens, at_s=at_s, ttl_s=ttl_s)
