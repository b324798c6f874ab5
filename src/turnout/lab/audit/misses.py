"""Why a request did not read from the cache what the one before had sent, as far as a log can tell. Pure.

What was missed is measured: tokens repeated, less the tokens that the provider says it read. Why is estimated, by the
provider's published rule (`catalog/cache_rules.py`) and by where the reading stopped.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from turnout.catalog.cache_rules import CacheRule
from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Usage

__all__ = ["MENDABLE", "REASONS", "Reason", "Repeat", "loss_nano_usd", "missed", "reason_of"]

Reason = Literal[
    "model switched",
    "kept time expired",
    "not asked for",
    "below the minimum",
    "prefix changed at its beginning",
    "prefix changed in the messages",
    "evicted or not ready",
    "nothing read",
    "only system text and tools read",
    "read in part",
    "no cache published",
]

REASONS: dict[Reason, str] = {
    "model switched": "another model answered the step before, and each has a cache of its own",
    "kept time expired": "more time had passed since the step before than the provider keeps a prefix",
    "not asked for": "the provider keeps only what is marked, and nothing was marked",
    "below the minimum": "the repeated prefix was shorter than what the provider caches at all",
    "prefix changed at its beginning": "system text, tools or the first message were not those of the step before",
    "prefix changed in the messages": "an earlier message was not the one that was sent before",
    "evicted or not ready": "nothing had changed and the time had not passed: the provider did not have it",
    "nothing read": "all should have been warm: system text or tools changed unseen by this log, or it was evicted",
    "only system text and tools read": "the messages after them changed, were not marked, or were evicted",
    "read in part": "reading stopped in the messages: one of them changed or was not marked, or was not kept yet",
    "no cache published": "the provider publishes no rule for this model",
}
"""What each means."""

MENDABLE: frozenset[Reason] = frozenset(
    {
        "kept time expired",
        "not asked for",
        "prefix changed at its beginning",
        "prefix changed in the messages",
        "nothing read",
        "only system text and tools read",
        "read in part",
    }
)
"""What marks, a longer lifetime or a prefix left alone may save."""

SMALL = 0.02
"""Share of what was repeated that is missed by rounding to steps and by the last, unmarked message."""

LEAST_TOKENS = 256

WHOLE = 0.999


class Repeat(Struct, frozen=True, kw_only=True):
    """A step that repeats another: `tokens` could have stood in the cache, `read` were read from it (None: not told),
    `shared` are system text and tools. `kept`: the share of the step before that still stands at the beginning of this
    one; None where the log does not show whole requests. `gap_s`: since that step; None: not known. `same_model`: it
    answered that step too. `marked`: this conversation has written to a cache or read from one; `long`: for an hour."""

    tokens: int
    read: int | None
    kept: float | None
    shared: int
    gap_s: float | None
    same_model: bool
    marked: bool
    long: bool


def missed(told: Repeat) -> int:
    """Tokens that were repeated and not read; 0 where it is no more than rounding, or nobody knows."""
    if told.read is None:
        return 0
    lost = told.tokens - told.read
    return lost if lost > max(LEAST_TOKENS, SMALL * told.tokens) else 0


def reason_of(told: Repeat, rule: CacheRule) -> Reason:
    """The likeliest reason, for a step that missed something."""
    lifetime = rule.long_ttl_s if told.long and rule.long_ttl_s is not None else rule.ttl_s
    if rule.granularity_tokens == 0:
        return "no cache published"
    if not told.same_model:
        return "model switched"
    if told.tokens < rule.minimum_tokens:
        return "below the minimum"
    if told.gap_s is not None and told.gap_s > lifetime:
        return "kept time expired"
    if rule.by_marks and not told.marked and not told.read:
        return "not asked for"
    return _where_it_stopped(told)


def _where_it_stopped(told: Repeat) -> Reason:
    read = told.read or 0
    if told.kept is not None:
        if told.kept >= WHOLE:
            return "evicted or not ready"
        stopped = told.kept * told.tokens
        return "prefix changed at its beginning" if stopped <= 1.1 * told.shared else "prefix changed in the messages"
    if read < max(LEAST_TOKENS, 0.05 * told.tokens):
        return "nothing read"
    return "only system text and tools read" if read <= 1.1 * told.shared else "read in part"


def loss_nano_usd(tokens: int, usage: Usage, price: Price) -> int:
    """What these missed tokens cost beyond a cache read, with what was billed for writing them anew."""
    written = min(tokens, usage.cache_write or 0)
    less = Usage(
        input=usage.input,
        cache_read=(usage.cache_read or 0) + tokens,
        cache_write=(usage.cache_write or 0) - written,
        cache_write_1h=min(usage.cache_write_1h or 0, (usage.cache_write or 0) - written),
        output=usage.output,
        service_tier=usage.service_tier,
    )
    return max(0, cost_nano_usd(usage, price) - cost_nano_usd(less, price))
