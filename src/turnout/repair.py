"""Whether a request gets something put in for a provider's prompt cache, and what: by rule, by model, by key."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from turnout.catalog.affinity_hints import affinity_hint_of, opaque_session
from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.models import Deployment
from turnout.context import RequestContext
from turnout.dialects.marks import End, Marks
from turnout.providers.repair import Repair, Session

__all__ = ["RepairRules", "repair_of"]

MARGIN = 1.5
"""How far a request may be above its estimate. A mark too early costs nothing, a mark left out costs the cache."""

ENDS: tuple[End, ...] = ("tools", "system", "newest")


class RepairRules(Struct, frozen=True, kw_only=True):
    """What the config says: whether caches are repaired at all, for how long marked text is kept, and the models (by
    id) that are left alone."""

    on: bool = True
    ttl: Literal["5m", "1h"] = "5m"
    without: frozenset[str] = frozenset()

    def writes(self, ctx: RequestContext) -> Literal["5m", "1h"] | None:
        """The lifetime of cache writes that a request may be made to pay for; None where nothing is put in."""
        return self.ttl if self.on and (ctx.key is None or ctx.key.cache_repair) else None


def repair_of(rules: RepairRules, ctx: RequestContext, deployment: Deployment) -> Repair | None:
    """What to put into `ctx`'s request for `deployment`; None for nothing."""
    if rules.writes(ctx) is None or deployment.id in rules.without:
        return None
    provider, model = deployment.provider, deployment.upstream_model
    rule, hint = cache_rule_of(provider, model), affinity_hint_of(provider, model)
    marks = None
    if rule.by_marks and ctx.input_tokens_estimate * MARGIN >= rule.minimum_tokens:
        ends: tuple[End, ...] = tuple(end for end in _ends(ctx) if end not in hint.unmarked)
        long = rules.ttl == "1h" and rule.long_ttl_s is not None
        if ends:
            marks = Marks(
                ends=ends,
                most=rule.max_breakpoints,
                ttl="1h" if long else None,
                before=ctx.session.sent,
            )
    # Requests that stand alone share no more than their first lines: a name for each would keep them apart.
    named = (hint.keys or hint.header) and _talks(ctx)
    session = Session(hint=hint, value=opaque_session(ctx.key_id or "", ctx.session.id)) if named else None
    return Repair(marks=marks, session=session) if marks or session else None


def _ends(ctx: RequestContext) -> tuple[End, ...]:
    """The ends that a next request will have again: none behind what changes at every request."""
    if ctx.volatile_part is not None:
        return ENDS[: ENDS.index(ctx.volatile_part)]
    return ENDS if _talks(ctx) else ENDS[:-1]


def _talks(ctx: RequestContext) -> bool:
    """Whether a next request will have all of this one: an agent's with tools, or one that has an answer in it. What
    is asked once and not gone on with would pay for writing (a quarter more) and never be read."""
    return ctx.outline.tools > 0 or "assistant" in ctx.outline.roles
