"""A router of somebody else's: it may put one of the models first that can take a request. The rest stays ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from turnout.chat import RequestOutline
from turnout.context import Candidate, SessionView

__all__ = ["CHOSEN", "Choice", "Chooser", "Question", "chosen"]

log = logging.getLogger("turnout")

CHOSEN = "plugin"
"""The reason of such a decision."""


class Question(Struct, frozen=True, kw_only=True):
    """A request to `auto`. `candidates`: who can take it and may, our choice first, with what each is expected to cost;
    `rest()`: what the rest of the session costs with them, as in `Decision`; `reason` and `explanation` are of our
    choice. `session.pinned` is who has served the conversation so far: going elsewhere leaves its provider's cache
    behind."""

    outline: RequestOutline
    input_tokens: int
    session: SessionView
    candidates: tuple[Candidate, ...]
    rest: Callable[[], Mapping[str, int]] = dict
    reason: str
    explanation: str


class Choice(Struct, frozen=True, kw_only=True):
    """`model`: the id of a candidate's deployment. `why`: one sentence for the record."""

    model: str
    why: str


class Chooser(Protocol):
    """Decides in the path of every request to `auto`: at once, without asking anybody. None: our choice stands."""

    def __call__(self, question: Question, /) -> Choice | None: ...


def chosen(chooser: Chooser, question: Question) -> tuple[Sequence[Candidate], str, str]:
    """The candidates with the chosen one first, the reason and its sentence. A chooser that fails or chooses who cannot
    take the request leaves ours, and the log says so: no request falls with it."""
    ours = question.candidates, question.reason, question.explanation
    try:
        choice = chooser(question)
    except Exception:
        log.exception("the router plug-in failed; the request goes where it would go without it")
        return ours
    if choice is None:
        return ours
    first = next((c for c in question.candidates if c.deployment.id == choice.model), None)
    if first is None:
        log.warning("the router plug-in chose %s, which cannot take the request; ours stands", choice.model)
        return ours
    return [first, *(c for c in question.candidates if c is not first)], CHOSEN, choice.why
