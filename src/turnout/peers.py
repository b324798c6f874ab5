"""The other gateways, as one of them sees them: what it asks before a request, what it tells them after, and when.

Nothing is waited for on the way of a request but two things, one round trip each: the past of a conversation that this
gateway does not know up to date, and the limits of a key that has some. All else is told in the background, together.
A round trip costs about as much as twenty replies more in one, so a busy gateway tells every `TOGETHER_S` what is new
since; one that has told nothing for as long tells at once. While the engine of the shared state is away a gateway goes
on alone, and says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import msgspec
from msgspec import Struct

from turnout.context import MARK, RequestContext
from turnout.delivery.board import Board
from turnout.delivery.health import Told
from turnout.errors import NoCapacity
from turnout.routing.affinity import Asked, SessionTable
from turnout.session_sharing import TTL_S, SessionSharing, counts_name
from turnout.shared_state import KeyAdmission, SharedState
from turnout.spend.brakes import SessionRun
from turnout.spend.run_records import Hold, counts_of, hear, hold_of, take_counts
from turnout.spend.runs import Runs

__all__ = ["TOGETHER_S", "PeerCounts", "Peers"]

log = logging.getLogger("turnout")

VERSION = 1

RUNS, HEALTH = "runs", "health"
LISTS: tuple[str, ...] = RUNS, HEALTH
"""Topics of news, and the names of the records that a gateway reads which starts or may have missed some."""

HEALTH_TTL_S = 900.0
"""No breaker stays open for longer."""

TOGETHER_S = 0.05
"""Less than any agent takes from an answer to its next request: conversations and counts wait so long at most."""

PAUSE_S = 1.0
"""After a failure the engine is not asked for so long: requests do not wait for it one by one."""

MOST_WAITING = 5_000
"""Of conversations, sessions and departures each that wait to be told; the oldest are given up."""

AT_ONCE = 500
"""Conversations in one round trip."""

MOST_HELD = 1_000
"""Sessions in the list that is read late."""

END_S = 2.0
"""For so long a gateway that ends tries to tell what it has not told yet."""

Session = tuple[str, str]
"""Owner and id."""

K = TypeVar("K")
V = TypeVar("V")


class News(Struct, frozen=True, kw_only=True, array_like=True):
    """What one gateway tells the others, at `at` (UTC seconds): of places by target or account, and of sessions that
    were paused, resumed or limited."""

    version: int
    at: float
    places: list[tuple[str, Told]] = []
    holds: list[Hold] = []


class PeerCounts(Struct):
    """`asked`: conversations that others were asked for; `found`: of these, known there. `told`: records written, news
    and counts; `failed`: those that were not, and questions without an answer."""

    asked: int = 0
    found: int = 0
    told: int = 0
    failed: int = 0


class _Waiting(Struct):
    """What is to be told: conversations with their session, sessions with what to add to their counts, sessions that
    something was done to, places, and requests that left a key's gate."""

    threads: dict[tuple[str, str], str] = {}
    named: dict[Session, None] = {}
    counts: dict[Session, dict[str, int]] = {}
    holds: dict[Session, None] = {}
    places: dict[str, Told] = {}
    left: list[tuple[KeyAdmission, int]] = []

    @property
    def some(self) -> bool:
        return bool(self.threads or self.named or self.counts or self.holds or self.places or self.left)


_news = msgspec.msgpack.Decoder(News)
_encoder = msgspec.msgpack.Encoder()


class Peers:
    """One gateway among several. One event loop owns it; `start` once that runs, `aclose` before the shared state's
    own. `wall`: UTC seconds, for what is read much later. `together_s`: from one time of telling to the next."""

    def __init__(
        self,
        shared: SharedState,
        *,
        sessions: SessionTable,
        runs: Runs,
        board: Board,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        together_s: float = TOGETHER_S,
    ) -> None:
        self._together_s = together_s
        self._shared = shared
        self._sessions = sessions
        self._runs = runs
        self._board = board
        self._clock = clock
        self._wall = wall
        self._sharing = SessionSharing(sessions, runs, gateway=shared.gateway, clock=clock, wall=wall)
        self._waiting = _Waiting()
        self._telling: asyncio.Task[bool] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._missed_count = self._caught_up = 0  # how often news may have been missed, and for how many it is made up
        self._later: asyncio.TimerHandle | None = None
        self._told_s = float("-inf")  # by the loop's clock, when telling last began
        self._hurry = False
        self._rests_until_s = float("-inf")
        self._away = False
        self._closed = False
        self.counts = PeerCounts()
        board.tell = self._place_changed
        shared.hear(RUNS, self._heard, missed=self._missed)
        shared.hear(HEALTH, self._heard)

    @property
    def healthy(self) -> bool:
        """Whether others were reached when last tried."""
        return not self._away and self._shared.healthy

    @property
    def busy(self) -> bool:
        """Whether something is still to be told."""
        return self._telling is not None or self._waiting.some

    async def quiet(self) -> None:
        """Tell at once what waits to be told, and wait until that is done or has failed."""
        self._begin(now=True)
        while (telling := self._telling) is not None:
            await asyncio.wait([telling])
            await asyncio.sleep(0)
            self._begin(now=True)

    async def start(self) -> None:
        """Learn which breakers are open and which sessions held. Never fails: who hears nothing begins with nothing,
        and asks again until the engine is there."""
        try:
            await self._learn()
        except NoCapacity as error:
            self._failed(error)

    async def _learn(self) -> None:
        """Read what a gateway reads that starts. Raises NoCapacity."""
        missed = self._missed_count
        found = dict(zip(LISTS, await self._shared.get(LISTS), strict=True))
        for told in found.values():
            if told is not None:
                self._take_news(told, late=True)
        if missed > self._caught_up:
            self._caught_up = missed
            self._write_again(found)

    @property
    def _behind(self) -> bool:
        """Whether something may have been missed since the others' lists were read."""
        return self._caught_up < self._missed_count

    def _write_again(self, found: Mapping[str, bytes | None]) -> None:
        """An engine that lost its memory is told again what it should have, for others missed it as well."""
        if found[RUNS] is None:
            self._waiting.holds |= {(owner, name): None for owner, name, _ in islice(self._held(), MOST_HELD)}
        if found[HEALTH] is None:
            self._waiting.places = {**self._board.unwell(), **self._waiting.places}
        self._begin()

    def _missed(self) -> None:
        """News may have been missed: read what others did as soon as the engine answers."""
        self._missed_count += 1
        self._begin_catching_up()

    def _begin_catching_up(self) -> None:
        if self._catching_up is None and not self._closed:
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())
            self._catching_up.add_done_callback(self._catching_up_ended)

    async def _catch_up(self) -> None:
        while self._behind:
            if self._resting:
                await asyncio.sleep(PAUSE_S)
            try:
                await self._learn()
            except NoCapacity as error:
                self._rest(error)
        self._well()

    def _catching_up_ended(self, task: asyncio.Task[None]) -> None:
        self._catching_up = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("what other gateways did was not read again", exc_info=fault)
        elif self._behind:
            self._begin_catching_up()

    async def aclose(self) -> None:
        """Tell what is left to tell, for a short while at most."""
        self._closed = True
        self._board.tell = None
        if (catching_up := self._catching_up) is not None:
            catching_up.cancel()
            await asyncio.gather(catching_up, return_exceptions=True)
        if self._later is not None:
            self._later.cancel()
        last = asyncio.create_task(self._tell_last())
        await asyncio.wait([last], timeout=END_S)
        last.cancel()
        if (telling := self._telling) is not None:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        await asyncio.gather(last, return_exceptions=True)

    # ---- Before a request ------------------------------------------------------------------------------------------

    async def meet(self, asked: Asked, said: Callable[[int], int] | None) -> None:
        """Have the past of a request in this gateway's own table before it is located there; where that is so already
        (`SessionTable.knows`), nobody is asked. Never fails: an unknown past is none."""
        if self._sessions.knows(asked, said) or self._resting:
            return
        names = self._sharing.names(asked, said)
        if not names:
            return
        self.counts.asked += 1
        try:
            found = await self._shared.get(names)
        except NoCapacity as error:
            self._failed(error)
            return
        self._well()
        self.counts.found += self._sharing.take(asked, dict(zip(names, found, strict=True)))

    async def admit(self, admission: KeyAdmission) -> float | None:
        """Seconds that a key's request has to wait, over all gateways; 0: it is in, and must leave (`left`). None: the
        engine is away, nobody knows. A request that is cancelled meanwhile leaves by itself."""
        if self._resting:
            return None
        asking = asyncio.ensure_future(self._shared.admit(admission))
        try:
            wait_s = await asyncio.shield(asking)
        except NoCapacity as error:
            self._failed(error)
            self._unheard(admission)
            return None
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._nobody_entered, admission))
            raise
        self._well()
        return wait_s

    def _nobody_entered(self, admission: KeyAdmission, asked: asyncio.Future[float]) -> None:
        if asked.cancelled():
            return
        if isinstance(asked.exception(), NoCapacity):
            self._unheard(admission)
        elif asked.exception() is None and asked.result() <= 0:
            self.left(admission, used=0)

    def _unheard(self, admission: KeyAdmission) -> None:
        """A request that may have been let in, and the word of it lost: its place at least is free again."""
        if admission.at_once is not None:
            self.left(admission, used=admission.tokens)

    # ---- After it --------------------------------------------------------------------------------------------------

    def settled(self, ctx: RequestContext, *, tokens: int) -> None:
        """A request's books are closed: where its conversation stands, and what its session has taken."""
        if MARK in ctx.tags:  # one of our own belongs to none
            return
        owner, session = ctx.key_id or "", ctx.session.id
        run = self._runs.find(owner, session)
        self._mark(owner, session, ctx.session.thread)
        if ctx.session.source != "prefix":
            _bounded(self._waiting.named)[owner, session] = None
        if run is not None:
            by = counts_of(
                run.epoch,
                steps=int(ctx.served_by is not None),
                tokens=tokens,
                cost_nano_usd=ctx.cost_nano_usd or 0,
            )
            self._count((owner, session), by)
        self._begin()

    def left(self, admission: KeyAdmission, *, used: int) -> None:
        """A request that was let in has ended and took so many tokens."""
        self._waiting.left.append((admission, used))
        del self._waiting.left[:-MOST_WAITING]
        self._begin(now=admission.at_once is not None)  # somebody may wait for the room it leaves

    def held(self, owner: str, session: str) -> None:
        """Something was done to a session here: it was paused, resumed or limited."""
        _bounded(self._waiting.holds)[owner, session] = None
        _bounded(self._waiting.named)[owner, session] = None
        self._mark_all(owner, session)
        self._begin(now=True)

    def _place_changed(self, place: str, told: Told) -> None:
        _bounded(self._waiting.places)[place] = told
        self._begin(now=True)

    def _mark(self, owner: str, session: str, thread: str) -> None:
        waiting = _bounded(self._waiting.threads)
        waiting.pop((owner, thread), None)
        waiting[owner, thread] = session

    def _mark_all(self, owner: str, session: str) -> None:
        """A session that nobody named has no record but its conversations'."""
        for thread in self._sessions.threads(owner, session):
            self._mark(owner, session, thread)

    def _count(self, session: Session, by: dict[str, int]) -> None:
        counts = _bounded(self._waiting.counts)
        known = counts.setdefault(session, {})
        for name, more in by.items():
            known[name] = known.get(name, 0) + more

    # ---- Telling ---------------------------------------------------------------------------------------------------

    def _begin(self, *, now: bool = False) -> None:
        """Tell what waits, when it is time or `now`; after a failure only when the engine has had its rest."""
        self._hurry = self._hurry or now
        if self._telling is not None or self._closed or (self._later is not None and (self._resting or not now)):
            return
        if not self._waiting.some:
            return
        loop = asyncio.get_running_loop()
        wait_s = PAUSE_S if self._resting else 0.0 if self._hurry else self._told_s + self._together_s - loop.time()
        if wait_s > 0:
            self._later = loop.call_later(wait_s, self._begin_again)
            return
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._told_s = loop.time()
        self._telling = loop.create_task(self._tell())
        self._telling.add_done_callback(self._told)

    def _begin_again(self) -> None:
        self._later = None
        self._begin()

    def _told(self, task: asyncio.Task[bool]) -> None:
        self._telling = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("telling the other gateways failed", exc_info=fault)
        self._begin()

    async def _tell_last(self) -> None:
        if (telling := self._telling) is not None:
            await asyncio.wait([telling])
        while self._waiting.some and await self._tell():
            pass

    async def _tell(self) -> bool:
        """All that waits, in one round trip; whether it went well."""
        if self._behind and (self._waiting.holds or self._waiting.places):
            try:
                await self._learn()  # a list without what others did meanwhile would take the place of theirs
            except NoCapacity as error:
                self._failed(error)
                return False
        work, self._waiting, self._hurry = self._waiting, _Waiting(), False
        errands = self._errands(work)
        came = await asyncio.gather(*errands, return_exceptions=True)
        faults = [fault for fault in came if isinstance(fault, BaseException)]
        self.counts.told += len(came) - len(faults)
        for fault in faults:
            if not isinstance(fault, NoCapacity):
                raise fault
        if faults:
            self.counts.failed += len(faults) - 1
            self._failed(faults[0])
            return False
        self._well()
        return True

    def _errands(self, work: _Waiting) -> list[Coroutine[None, None, None]]:
        """What to ask of the shared state for all that is to be told, begun in one tick. Conversations beyond one
        round trip's wait for the next."""
        threads = list(work.threads.items())
        for (owner, thread), session in threads[AT_ONCE:]:
            self._mark(owner, session, thread)
            self._hurry = True
        records: dict[str, bytes] = {}
        for owner, session in work.named:
            records |= self._sharing.session_written(owner, session)
        for (owner, thread), session in threads[:AT_ONCE]:
            records |= self._sharing.written(owner, session, thread)
        errands: list[Coroutine[None, None, None]] = []
        if records:
            errands.append(self._put(records))
        if work.counts:
            errands.append(self._add(work.counts))
        errands += [self._leave(admission, used) for admission, used in work.left]
        if work.places:
            errands.append(self._tell_places(work.places))
        if work.holds:
            errands.append(self._tell_holds(work.holds))
        return errands

    async def _put(self, records: dict[str, bytes]) -> None:
        await self._shared.put(records, ttl_s=TTL_S)

    async def _add(self, counts: dict[Session, dict[str, int]]) -> None:
        names = {session: counts_name(*session) for session in counts}
        try:
            totals = await self._shared.count({names[session]: by for session, by in counts.items()}, ttl_s=TTL_S)
        except NoCapacity:
            for session, by in counts.items():
                self._count(session, by)  # a limit rather holds too early than too late
            raise
        for session, name in names.items():
            run = self._runs.find(*session)
            if run is not None:
                take_counts(run, totals[name])
                self._sessions.spent(*session, run.total_nano_usd)

    async def _leave(self, admission: KeyAdmission, used: int) -> None:
        try:
            await self._shared.leave(admission, used=used)
        except NoCapacity:
            # Perhaps only the answer was lost: freeing a place is safe twice, correcting tokens is not.
            if admission.at_once is not None:
                self._waiting.left.append((admission, admission.tokens))
            raise

    async def _tell_places(self, places: dict[str, Told]) -> None:
        news = News(version=VERSION, at=self._wall(), places=list(places.items()))
        unwell = News(version=VERSION, at=self._wall(), places=list(self._board.unwell().items()))
        try:
            await asyncio.gather(
                self._shared.tell(HEALTH, _encoder.encode(news)),
                self._shared.put({HEALTH: _encoder.encode(unwell)}, ttl_s=HEALTH_TTL_S),
            )
        except NoCapacity:
            self._waiting.places = {**places, **self._waiting.places}
            raise

    async def _tell_holds(self, sessions: dict[Session, None]) -> None:
        runs = [(owner, name, run) for owner, name in sessions if (run := self._runs.find(owner, name)) is not None]
        try:
            await asyncio.gather(
                self._shared.tell(RUNS, self._holds_news(runs)),
                self._shared.put({RUNS: self._holds_news(islice(self._held(), MOST_HELD))}, ttl_s=TTL_S),
            )
        except NoCapacity:
            self._waiting.holds = {**sessions, **self._waiting.holds}
            raise

    def _held(self) -> Iterator[tuple[str, str, SessionRun]]:
        """Sessions of which others must know: those that are held, then those that go on again, lest who missed that
        holds them still."""
        held = [one for one in self._runs if one[2].paused is not None or one[2].limits]
        resumed = (one for one in self._runs if one[2].epoch and one[2].paused is None and not one[2].limits)
        return chain(held, resumed)

    def _holds_news(self, runs: Iterable[tuple[str, str, SessionRun]]) -> bytes:
        holds = [hold_of(owner, session, run) for owner, session, run in runs]
        return _encoder.encode(News(version=VERSION, at=self._wall(), holds=holds))

    # ---- Hearing ---------------------------------------------------------------------------------------------------

    def _heard(self, message: bytes) -> None:
        self._take_news(message)

    def _take_news(self, message: bytes, *, late: bool = False) -> None:
        """What another gateway tells, now or (`late`) before this one listened. Nobody is told of it again."""
        try:
            news = _news.decode(message)
        except msgspec.MsgspecError:
            return  # of a gateway of another version
        if news.version != VERSION:
            return
        elapsed_s = max(0.0, self._wall() - news.at) if late else 0.0
        for place, told in news.places:
            self._board.heard(place, told, elapsed_s=elapsed_s)
        for hold in news.holds:
            if self._runs.find(hold.owner, hold.session) is None and hold.paused is None and not hold.limits:
                continue
            if hear(self._runs.meet(hold.owner, hold.session), hold):
                self._mark_unnamed(hold)

    def _mark_unnamed(self, hold: Hold) -> None:
        """Whoever has a conversation of a session that nobody named writes it again, with what was done to it."""
        if hold.session.startswith("prefix-") and self._sessions.threads(hold.owner, hold.session):
            self._mark_all(hold.owner, hold.session)
            self._begin()

    # ---- Whether the engine is there -------------------------------------------------------------------------------

    @property
    def _resting(self) -> bool:
        return self._away and self._clock() < self._rests_until_s

    def _failed(self, error: BaseException) -> None:
        self.counts.failed += 1
        self._rest(error)

    def _rest(self, error: BaseException) -> None:
        self._rests_until_s = self._clock() + PAUSE_S
        if not self._away:
            self._away = True
            log.warning(
                "the shared state is away, so this gateway goes on alone: conversations that come from others begin "
                "anew here, and keys' limits are counted here alone; %s",
                error,
            )
            self._missed()

    def _well(self) -> None:
        if self._away:
            self._away = False
            log.warning("the shared state is back")


def _bounded(waiting: dict[K, V]) -> dict[K, V]:
    """It with room for one more."""
    while len(waiting) >= MOST_WAITING:
        del waiting[next(iter(waiting))]
    return waiting
