"""What budgets ask of a ledger: what was spent since a moment, no further apart than their rules look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from turnout.context import Spender
from turnout.errors import TurnoutError
from turnout.spend.budgets import BudgetRule

__all__ = ["Asked", "BudgetEntry", "Past", "Question", "Spent", "answer", "minute_of", "questions_of"]


class Spent(Struct, frozen=True, kw_only=True):
    """What one spender paid for one deployment from `at` on (UTC): in that minute, or up to the question's next cut;
    through one gateway; only what has a cost. What the question did not ask for is None, or empty."""

    at: datetime
    spender: Spender
    deployment: str
    provider: str
    cost_nano_usd: int
    gateway: str | None = None


class BudgetEntry(Struct, frozen=True, kw_only=True):
    """What a budget must know and no request's row says, in nano-dollars: money held for a request that a crash ended
    (`lost`: nobody knows what of it was spent), or money added for one period. `id` is the request's, or its own."""

    id: str
    budget: str
    at: datetime
    kind: Literal["lost", "added"]
    amount_nano_usd: int


class Question(Struct, frozen=True, kw_only=True):
    """What was spent since `since`, told apart as far as this says; a ledger may tell it further apart. `cuts`: the
    moments that must be told apart, the earliest being `since`; None: each minute. `tags`: those to be told; None: all.
    `sessions`: of these alone, each told; None: of all, and not told apart."""

    since: datetime
    cuts: tuple[datetime, ...] | None = None
    key: bool = True
    team: bool = True
    mode: bool = True
    model: bool = True
    tags: tuple[str, ...] | None = None
    sessions: tuple[str, ...] | None = None


class Past(Struct, frozen=True, kw_only=True):
    """The answers to questions, in their order, and what was entered since the earliest."""

    spent: tuple[list[Spent], ...]
    entries: list[BudgetEntry]


class Asked(Struct, frozen=True, kw_only=True):
    """Questions that a ledger answers as of the moment they were put: `told` has what was appended before it, `later`
    what was appended since, to be asked once: that ends the listening. So nothing is missed or counted twice, however
    long the answer takes."""

    told: Future[Past]
    later: Callable[[], Past]


def answer(told: Future[Past], read: Callable[[], Past]) -> None:
    """Let `told` have what `read` says. Nothing is read for somebody who no longer waits, and no fault of the question
    is the answering thread's."""
    if not told.set_running_or_notify_cancel():
        return
    try:
        told.set_result(read())
    except (TurnoutError, msgspec.MsgspecError) as error:
        told.set_exception(error)


def questions_of(rules: Iterable[BudgetRule], now: datetime) -> list[tuple[Question, list[BudgetRule]]]:
    """The questions whose answers fill these rules' periods at `now`, each with the rules that it is for: those of
    sessions, of rolling windows, and of the calendar, whose periods begin at few moments."""
    named: list[BudgetRule] = []
    rolling: list[BudgetRule] = []
    calendar: list[BudgetRule] = []
    for rule in rules:
        kind = named if rule.match.session else rolling if rule.period.kind == "rolling" else calendar
        kind.append(rule)
    asked: list[tuple[Question, list[BudgetRule]]] = []
    if named:
        sessions = tuple(sorted({rule.match.session for rule in named if rule.match.session}))
        asked.append((Question(since=_earliest(named, now), sessions=sessions), named))
    if rolling:
        asked.append((_question(rolling, _earliest(rolling, now), None), rolling))
    if calendar:
        cuts = tuple(sorted({rule.period.since(now) for rule in calendar}))
        whole = all(cut == minute_of(cut) for cut in cuts)
        asked.append((_question(calendar, cuts[0], cuts if whole else None), calendar))
    return asked


def minute_of(at: datetime) -> datetime:
    """When the minute of a moment began."""
    return at.replace(second=0, microsecond=0)


def _question(rules: Sequence[BudgetRule], since: datetime, cuts: tuple[datetime, ...] | None) -> Question:
    matches = [rule.match for rule in rules]
    tags = {match.tag.partition("=")[0] for match in matches if match.tag}
    return Question(
        since=since,
        cuts=cuts,
        key=any(match.key is not None for match in matches),
        team=any(match.team is not None for match in matches),
        mode=any(match.mode is not None for match in matches),
        model=any(match.model is not None or match.provider is not None for match in matches),
        tags=tuple(sorted(tags)),
    )


def _earliest(rules: Iterable[BudgetRule], now: datetime) -> datetime:
    return min(rule.period.since(now) for rule in rules)
