"""What requests teach: it remembers what was answered, sees what became of it, and tells the store and the predictor.

One event loop owns a Learner: no locks. Bounded memory; scores, hashes and counts, no text unless prompts are kept.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct, field

from turnout.chat import Message
from turnout.context import CACHE_HIT, MARK, RequestContext, SessionView
from turnout.learning_rules import LearningRules
from turnout.routing.drift import Alarm, Drift
from turnout.routing.explore import draw
from turnout.routing.features import Texts
from turnout.routing.implicit import Shown, malformed, rephrased, shingles, spoken, tells
from turnout.routing.outcomes import TRUST, Outcome, Source

__all__ = ["POOR", "RECALLED", "Answered", "Asked", "Learner", "Learns", "NoOutcomes", "OutcomeArchive", "OutcomeStore"]

log = logging.getLogger("turnout")

CAPACITY = 10_000
"""Answers remembered, those given last; about half a kB each, up to 2 kB more where a person spoke, and what the
predictor's features take."""

RECALLED = 2_000
"""Outcomes, the newest, that the drift windows are filled with and a new predictor is taught at the start."""

SAMPLED = 1 / 8
"""Of the later steps of a session: looking at a request takes longer than routing it to where its session is."""

MOST_TEXT_BYTES = 1024 * 1024
"""A request or an answer beyond that is no example to tune a small model with."""

POOR = 0.5
"""A score below says that the answer was no good."""


class Learns(Protocol):
    """Whoever predicts from outcomes."""

    def observe(self, outcome: Outcome) -> None:
        """One more. Pure memory, some tenths of a millisecond."""
        ...

    def catch_up(self) -> None:
        """Nobody waits now: what was put off may be done."""
        ...


class Answered(Struct, kw_only=True):
    """An answer that something may yet be said of. `messages`: how many its request had; `turn`: shingles of the user's
    newest turn in it; `told`: who has spoken already."""

    request_id: str
    owner: str
    session: str = ""
    thread: str = ""
    model: str
    mode: str | None = None
    predicted: float | None = None
    features: bytes = b""
    messages: int = 0
    turn: array[int] = field(default_factory=lambda: array("q"))
    told: tuple[Source, ...] = ()  # a set is four times as large, and thousands are remembered

    @property
    def view(self) -> SessionView:
        """The conversation it belongs to, as far as `SessionTable` needs it to hold something against it."""
        return SessionView(id=self.session, thread=self.thread, agent="", step=0, source="")


class Asked(Struct, frozen=True, kw_only=True):
    """A request as it is kept on disk with the model that answered it: what was predicted, and from what. `request` and
    `answer` are the bytes of the caller's own format (`dialect`; `streamed`: the answer is a stream of events), None
    unless prompts are kept."""

    request_id: str
    model: str
    at: datetime
    owner: str = ""
    session: str = ""
    thread: str = ""
    step: int = 0
    tier: str | None = None
    reason: str | None = None
    mode: str | None = None
    predicted: float | None = None
    features: bytes = b""
    dialect: str = ""
    streamed: bool = False
    request: bytes | None = None
    answer: bytes | None = None


class OutcomeStore(Protocol):
    """Where outcomes are kept. Writing is taken into memory at once and never raises; a store that fails says so in the
    log and keeps nothing. Reading blocks and raises Internal."""

    def add(self, outcome: Outcome) -> None:
        """In place of what the same source said of the same answer before."""
        ...

    def keep(self, asked: Asked) -> None: ...

    def keep_for(self, days: int) -> None:
        """How long what is added stays."""
        ...

    def recent(self, limit: int, model: str | None = None) -> list[Outcome]:
        """The newest, newest first."""
        ...

    def find(self, request_id: str) -> Asked | None:
        """What is kept of a request and the model that answered it first."""
        ...


class OutcomeArchive(OutcomeStore, Protocol):
    """A store whose whole past can be read: for whoever learns from it or hands it out."""

    def since(self, at: datetime) -> list[Outcome]:
        """Every outcome since `at`, oldest first. Raises Internal."""
        ...

    def texts_since(self, at: datetime) -> list[Asked]:
        """Every request since `at` whose text is kept, oldest first; without the text: `text` has that. Raises
        Internal."""
        ...

    def text(self, request_id: str, model: str) -> Asked | None:
        """One of those, whole. Raises Internal."""
        ...


class NoOutcomes:
    """A store that keeps nothing."""

    def add(self, outcome: Outcome) -> None:
        """Nobody asks for it later."""

    def keep(self, asked: Asked) -> None:
        """Nobody asks for it later."""

    def keep_for(self, days: int) -> None:
        """There is nothing to forget."""

    def recent(self, limit: int, model: str | None = None) -> list[Outcome]:  # noqa: ARG002 - an OutcomeStore
        return []

    def find(self, request_id: str) -> Asked | None:  # noqa: ARG002 - an OutcomeStore
        return None


class Learner:
    """Turns what happens into outcomes, each once. `predictor`: who learns from them at once; None: nobody.

    A request is `saw`n when its messages are read, may be told of (`tell`), and is `settled`.
    """

    def __init__(
        self,
        store: OutcomeStore | None = None,
        *,
        capacity: int = CAPACITY,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store: OutcomeStore = store or NoOutcomes()
        self.predictor: Learns | None = None
        self.drift = Drift()
        self.rules = LearningRules()
        self.texts = Texts()
        self._clock = clock
        self._capacity = capacity
        # By owner and thread: what was answered there last. By request: the same, for feedback.
        self._last: OrderedDict[tuple[str, str], Answered] = OrderedDict()
        self._known: OrderedDict[str, Answered] = OrderedDict()
        # The user's turn of requests that are open.
        self._turns: dict[str, array[int]] = {}

    def follow(self, rules: LearningRules) -> None:
        """Learn by `rules` from now on."""
        self.rules = rules
        self.store.keep_for(rules.keep_days)

    def recall(self) -> None:
        """Fill the windows of drift with what was kept before the start. Blocks; alarms of then are not told again."""
        for outcome in reversed(self.store.recent(RECALLED)):
            self.drift.note(outcome)

    def hears(self, ctx: RequestContext) -> bool:
        """Whether this request may be learned from."""
        return self.rules.enabled and MARK not in ctx.tags and (ctx.key is None or ctx.key.learning)

    def samples(self, ctx: RequestContext) -> bool:
        """Whether what the predictor sees of this request is kept with its outcomes: of every session's beginning, and
        of some later steps."""
        return self.hears(ctx) and (ctx.session.step == 0 or draw(ctx.request_id, "sample") < SAMPLED)

    def keeps_prompt(self, ctx: RequestContext) -> bool:
        """Whether the text of this request may be kept."""
        return self.rules.keep_prompts and self.hears(ctx)

    def saw(
        self, ctx: RequestContext, new: Sequence[Message], severities: Sequence[float], *, start: int, recovered: bool
    ) -> None:
        """A request's messages from the wire's `start`-th on are `new`, and hold results of these severities;
        `recovered`: a call that had failed went well in them. What they show of the answer before is recorded."""
        if not self.hears(ctx):
            return
        self._turns[ctx.request_id] = turn = shingles(spoken(new))
        count, owner, session = len(ctx.outline.messages), ctx.key_id or "", ctx.session
        if (last := self._last.get((owner, session.thread))) is not None:
            again = count == last.messages and session.shared >= count
            if again:  # there is nothing new in it
                self._turns[ctx.request_id] = last.turn
            goes_on = last.messages <= start < count
            shown = Shown(
                severities=severities if goes_on else (),
                malformed=goes_on and malformed(new),
                recovered=goes_on and recovered,
                again=again,
                rephrased=goes_on and rephrased(last.turn, turn),
            )
        # A turn that was edited and sent anew branches off from where the first stood.
        elif (
            session.parent is not None
            and (last := self._last.get((owner, session.parent))) is not None
            and count == last.messages
        ):
            shown = Shown(rephrased=rephrased(last.turn, turn))
        else:
            return
        for source, score in tells(shown):
            self._say(last, source, score)

    def tell(self, ctx: RequestContext, source: Source, score: float) -> None:
        """Something shows at once how good the answer to `ctx` is."""
        if self._taught(ctx) and (answered := _answered(ctx)) is not None:
            self.record(_outcome(answered, source, score, self._clock()))

    def settled(self, ctx: RequestContext, answer: bytes | None) -> None:
        """A request is over; `answer` as its caller got it, None where that is not known whole."""
        if self.predictor is not None:
            self.predictor.catch_up()
        turn = self._turns.pop(ctx.request_id, None)
        place = ctx.key_id or "", ctx.session.thread
        if not self._taught(ctx):
            if ctx.outcome != "error":  # what comes next says nothing of the answer before
                self._last.pop(place, None)
            return
        left, answered = self._last.get(place), _answered(ctx)
        if turn is None or answered is None:  # an embedding, or nobody could read it
            return
        escalated = ctx.decision is not None and ctx.decision.reason == "escalated"
        if escalated and left is not None and left.model != answered.model:
            self._say(left, "escalation", 0.0)
        answered.messages, answered.turn = len(ctx.outline.messages), turn
        self._last[place] = self._known[ctx.request_id] = answered
        self._last.move_to_end(place)
        self._forget()
        now = self._clock()
        for alarm in self.drift.asked(answered.model, _dense(ctx), now):
            _warn(alarm)
        texts = self.keeps_prompt(ctx)
        if answered.features or texts:
            self.store.keep(_asked(ctx, answered, answer if texts else None, texts=texts, at=now))

    def known(self, request_id: str) -> Answered | None:
        """An answer that is remembered, by its request."""
        return self._known.get(request_id)

    def fed_back(self, answered: Answered, score: float, label: str | None) -> None:
        """The caller says how good an answer was. Said again, it replaces what is kept, and teaches no second time."""
        outcome = _outcome(answered, "feedback", score, self._clock(), label)
        if "feedback" in answered.told:
            self.store.add(outcome)
            return
        answered.told += ("feedback",)
        if answered.request_id not in self._known:
            self._known[answered.request_id] = answered
            self._forget()
        self.record(outcome)

    def ended(self, owner: str, session: str, score: float, label: str | None) -> list[Answered]:
        """The caller says how a whole session went: that is held for the first answer of each of its conversations that
        is remembered, where the model was chosen. Those answers; none where the session is not known."""
        firsts: dict[str, Answered] = {}
        for answered in self._known.values():
            if (answered.owner, answered.session) == (owner, session) and answered.model:
                firsts.setdefault(answered.thread, answered)
        for answered in firsts.values():
            outcome = _outcome(answered, "session", score, self._clock(), label)
            if "session" in answered.told:
                self.store.add(outcome)
            else:
                answered.told += ("session",)
                self.record(outcome)
        return list(firsts.values())

    def record(self, outcome: Outcome) -> None:
        """Keep an outcome, learn from it, and look whether what was learned still holds."""
        self.store.add(outcome)
        if self.predictor is not None:
            self.predictor.observe(outcome)
        for alarm in self.drift.note(outcome):
            _warn(alarm)

    def _forget(self) -> None:
        while len(self._last) > self._capacity:
            self._last.popitem(last=False)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def _taught(self, ctx: RequestContext) -> bool:
        """Whether a model answered `ctx` itself, and to the end."""
        cached = ctx.decision is not None and ctx.decision.reason == CACHE_HIT
        return ctx.outcome == "ok" and not cached and self.hears(ctx)

    def _say(self, answered: Answered, source: Source, score: float) -> None:
        if source not in answered.told:
            answered.told += (source,)
            self.record(_outcome(answered, source, score, self._clock()))


def _answered(ctx: RequestContext) -> Answered | None:
    """What is remembered of a request that a model answered; None where none did."""
    if ctx.served_by is None:
        return None
    model, decision = ctx.served_by.id, ctx.decision
    return Answered(
        request_id=ctx.request_id,
        owner=ctx.key_id or "",
        session=ctx.session.id,
        thread=ctx.session.thread,
        model=model,
        mode=(decision.mode if decision else None) or ctx.mode,
        predicted=ctx.predicted(model),
        features=ctx.features,
    )


def _outcome(answered: Answered, source: Source, score: float, at: datetime, label: str | None = None) -> Outcome:
    return Outcome(
        request_id=answered.request_id,
        model=answered.model,
        score=score,
        source=source,
        weight=TRUST[source],
        at=at,
        owner=answered.owner,
        mode=answered.mode,
        label=label,
        predicted=answered.predicted,
        features=answered.features,
    )


def _asked(ctx: RequestContext, answered: Answered, answer: bytes | None, *, texts: bool, at: datetime) -> Asked:
    whole = texts and answer is not None and max(len(ctx.body), len(answer)) <= MOST_TEXT_BYTES
    return Asked(
        request_id=answered.request_id,
        model=answered.model,
        at=at,
        owner=answered.owner,
        session=answered.session,
        thread=answered.thread,
        step=ctx.session.step,
        tier=ctx.served_by.tier if ctx.served_by else None,
        reason=ctx.decision.reason if ctx.decision else None,
        mode=answered.mode,
        predicted=answered.predicted,
        features=answered.features,
        dialect=ctx.dialect,
        streamed=ctx.outline.stream,
        request=ctx.body if whole else None,
        answer=answer if whole else None,
    )


def _dense(ctx: RequestContext) -> tuple[float, ...]:
    """A request in few numbers, for drift: its size, its messages, tools, system text, and the session's step."""
    outline = ctx.outline
    return (
        math.log2(1 + ctx.input_tokens_estimate),
        math.log2(1 + len(outline.messages)),
        float(outline.tools),
        math.log2(1 + outline.system_bytes),
        float(ctx.session.step),
    )


def _warn(alarm: Alarm) -> None:
    log.warning("drift of %s: %s", alarm.model, alarm.why)
