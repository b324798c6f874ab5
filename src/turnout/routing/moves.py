"""Whether a session stays with its model: it rises on evidence, comes back on recovery, and goes down for a while only
where that pays. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from turnout.catalog.models import TIERS, Tier
from turnout.routing.economics import Option, Run, detour_gain
from turnout.routing.trajectory import Signs, struggling

__all__ = ["Evidence", "Move", "detour", "next_move", "routine"]

LEAST_RATIO = 5.0
"""Input prices of two models, from which reading a context anew is weighed at all (the founders' rule): Opus to Haiku
is 5."""

MARGIN = 0.1
"""Of what a step costs at home, the least that going must win: the figures are expectations."""

WARM_ENOUGH = 0.5
"""Share of the context that must still be warm where a session comes back to."""


class Evidence(Struct, frozen=True, kw_only=True):
    """What is known of how an agent fares. `blamed`: what its last answers were (`refusal`, `invalid output`, `poor
    feedback`); `looping`: a brake's sign; `compacted`: its conversation was cut and begun anew."""

    signs: Signs = Signs()
    blamed: str | None = None
    looping: bool = False
    compacted: bool = False

    @property
    def why_up(self) -> str | None:
        """Why a stronger model should go on, in a phrase."""
        if self.looping:
            return "it repeats itself"
        if self.compacted and self.signs.severity >= 1:
            return "failures, and its conversation was cut short: nothing is lost by a change now"
        return struggling(self.signs) or self.blamed


class Move(Struct, frozen=True, kw_only=True):
    """`up`: one tier higher; `back`: to the model it rose from; `down`: this step alone to a small model; `stay`."""

    kind: Literal["stay", "up", "back", "down"]
    why: str = ""


STAY = Move(kind="stay")


def next_move(evidence: Evidence, *, tier: Tier | None, rose: bool, warm_share_below: float, signed: bool) -> Move:
    """What a session does that `tier` serves. `rose`: it was taken up before; `warm_share_below`: how much of its
    context is warm at the model that it rose from. `signed`: its newest turn holds thinking that only its author can
    read, so it stays until that turn is over. A session rises as often as there is evidence, and comes back once."""
    why = evidence.why_up
    if why is not None and tier in TIERS[:-1]:
        if signed:
            return Move(kind="stay", why=f"{why}, but only its author can go on from its thinking: after this turn")
        return Move(kind="up", why=why)
    recovered = evidence.signs.recovered and not evidence.signs.severity >= 1
    if rose and recovered and not signed and warm_share_below >= WARM_ENOUGH:
        return Move(kind="back", why=f"it recovered, and {warm_share_below:.0%} of its context is warm there")
    return STAY


def routine(*, tool_result_last: bool, evidence: Evidence, signed: bool) -> bool:
    """Whether a step is one that may go to a small model: it reads a tool's result, nothing failed, nothing is bound to
    its author."""
    return tool_result_last and not signed and evidence.signs.severity == 0 and evidence.why_up is None


def detour(there: Option, home: Option, run: Run, *, visits: int, share: float) -> Move:
    """Whether this step goes to a cheaper model for a while. Where it is cheaper at once, nothing is risked. Where it
    must first read much anew, only at a price ratio of `LEAST_RATIO`, and if the `visits` that are expected, of which
    `share` of all steps are, win that back. Either way by a margin, so that a session does not go to and fro."""
    step = (
        run.context * (home.unit.read if home.keeps(run.context) else home.unit.fresh) + run.output * home.unit.output
    )
    least = MARGIN * step
    if detour_gain(there, home, run, 1, share=share) > least:
        return Move(kind="down", why="a routine step, cheaper there at once")
    if home.unit.fresh < LEAST_RATIO * there.unit.fresh or detour_gain(there, home, run, visits, share=share) <= least:
        return STAY
    anew = max(0.0, run.context - there.warm)
    return Move(kind="down", why=f"a routine step; {visits} such win back {anew:,.0f} tokens read anew")
