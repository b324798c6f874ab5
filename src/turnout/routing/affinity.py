"""Sessions as the router remembers them: each conversation's steps, its model, what it cost, and where it is cached.

A thread is one conversation: found by the longest known prefix of its messages, within the session that the caller
named, else among all of the owner's. Bounded memory (least recently used go first, idle ones expire). One event loop
owns a table: no locks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy

import xxhash
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import RequestOutline
from turnout.context import SessionView, Visit
from turnout.ids import Ids
from turnout.routing.identity import Chain, Hints, agent_hash, message_digests
from turnout.routing.moves import Evidence
from turnout.routing.threads import MOST_HEADS, Head, Key, Thread, ThreadRecord
from turnout.routing.trajectory import Trajectory

__all__ = ["Asked", "SessionTable"]

ALIKE_BYTES = 64
"""By how much a system text that holds a time or an id may differ in length from step to step."""

COMPACTED_FROM = 20_000
"""Tokens of a conversation that may have been compacted: shorter ones are not."""

_NOT_SPOKEN = frozenset({"system", "developer"})


class Asked(Struct, frozen=True):
    """A request as it is looked for: its agent, its messages' hashes, and those of what was spoken alone."""

    owner: str
    hints: Hints
    outline: RequestOutline
    agent: str
    chain: Chain
    spoken: Chain
    tools: int


class _Found(Struct, frozen=True, kw_only=True):
    """Where a request belongs: `shared` messages are known of it; `forks` says that the thread has gone on since."""

    thread: Thread
    shared: int = 0
    forks: bool = False
    volatile: bool = False


class SessionTable:
    """`capacity` threads at most; one unseen for `ttl_s` seconds is forgotten. `on_end` is told how many steps a
    forgotten one took."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        capacity: int = 20_000,
        ttl_s: float = 6 * 3600,
        on_end: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._on_end = on_end
        self._clock = clock
        self._ids = Ids()
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._threads: OrderedDict[Key, Thread] = OrderedDict()
        # What each session has spent, over all its threads, and how many threads it has.
        self._costs: dict[tuple[str, str], int] = {}
        self._members: dict[tuple[str, str], list[Key]] = {}
        # The newest prefix of threads -> those threads, oldest first; and their earlier ones.
        self._heads: dict[bytes, list[Key]] = {}
        self._earlier: dict[bytes, Key] = {}
        # The newest prefix without system text, for agents that change that at every step.
        self._loose: dict[bytes, Key] = {}

    def __len__(self) -> int:
        return len(self._threads)

    def locate(
        self,
        owner: str,
        hints: Hints,
        outline: RequestOutline,
        *,
        tokens: int = 0,
        said: Callable[[int], int] | None = None,
        asked: Asked | None = None,
    ) -> SessionView:
        """The session of a request, as it stood before it; a new one where nothing matches. Counts the step.

        `owner` scopes sessions (a virtual key's id): two callers never share one. `tokens`: the request's size.
        `said(n)` names what message n says, as `answered` does: asked where two conversations are alike but for that.
        `asked`: what `ask` has made of the three already.
        """
        self._expire()
        asked = asked or self.ask(owner, hints, outline)
        found = self._find(asked, said)
        thread = found.thread
        if found.forks:
            thread = self._child(asked, found)
        view = self._view(thread, found, asked, tokens)
        thread.answer = None
        thread.results += outline.tool_result_last
        if view.compacted and thread.parent is not None:
            thread.trajectory = deepcopy(self._threads[owner, thread.parent].trajectory)
        if found.volatile:  # what was kept is of another prefix
            thread.visits.clear()
            thread.volatile = True
        if thread.key in self._threads:
            self._threads.move_to_end(thread.key)
        else:
            self._threads[thread.key] = thread
            self._members.setdefault((owner, thread.session), []).append(thread.key)
        thread.step += 1
        thread.seen_s = self._clock()
        thread.tools, thread.system_bytes = asked.tools, outline.system_bytes
        self._move_head(thread, asked, tokens)
        while len(self._threads) > self._capacity:
            self._forget(next(iter(self._threads)))
        return replace(view, alike=True) if thread.twin or not view.step else view

    @staticmethod
    def ask(owner: str, hints: Hints, outline: RequestOutline, digests: Sequence[bytes] | None = None) -> Asked:
        """A request as it is looked for; what it costs is hashing every message, unless that was done (`digests`)."""
        agent, digests = agent_hash(outline), message_digests(outline, digests)
        scope = f"{owner}\0{hints.session or ''}\0"
        words = _spoken(digests, outline.roles)
        tools = outline.fields.get("tools")
        return Asked(
            owner,
            hints,
            outline,
            agent,
            Chain(scope + agent, digests),
            Chain(scope, words),
            xxhash.xxh3_64_intdigest(memoryview(tools)) if tools is not None else 0,
        )

    def peek(self, owner: str, hints: Hints, outline: RequestOutline, *, tokens: int = 0) -> SessionView:
        """As `locate`, but nothing is counted or remembered."""
        self._expire()
        asked = self.ask(owner, hints, outline)
        found = self._find(asked, None)
        return self._view(found.thread, found, asked, tokens)

    def settle(
        self,
        owner: str,
        session: SessionView,
        *,
        pinned: str | None,
        cost_nano_usd: int,
        home: str | None = None,
        visit: Visit | None = None,
    ) -> None:
        """Book what a request cost, which deployment its thread stays with, which target served it (None: no change),
        and what that keeps of it in its cache."""
        thread = self._threads.get((owner, session.thread))
        if thread is None:
            return
        self._costs[owner, session.id] = self._costs.get((owner, session.id), 0) + cost_nano_usd
        if pinned is not None:
            thread.pinned = pinned
        if home is not None:
            thread.home, thread.served_s = home, self._clock()
            if visit is not None:
                thread.visits[home] = visit

    def answered(self, owner: str, session: SessionView, said: int) -> None:
        """What the answer to a thread's newest request says: tells conversations apart that were alike so far."""
        thread = self._threads.get((owner, session.thread))
        if thread is not None:
            thread.answer = said

    def trajectory(self, owner: str, session: SessionView) -> Trajectory:
        """How the agent of a conversation has fared, to be fed and asked; a fresh one where it is not known."""
        thread = self._threads.get((owner, session.thread))
        return thread.trajectory if thread is not None else Trajectory()

    def evidence(self, owner: str, session: SessionView) -> Evidence:
        """What is known of how the agent of a conversation fares."""
        thread = self._threads.get((owner, session.thread))
        if thread is None:
            return Evidence(compacted=session.compacted)
        return Evidence(
            signs=thread.trajectory.signs, blamed=thread.blamed, looping=thread.looping, compacted=session.compacted
        )

    def blame(self, owner: str, session: SessionView, what: str | None) -> None:
        """What is held against its last answer; None: nothing."""
        if (thread := self._threads.get((owner, session.thread))) is not None:
            thread.blamed = what

    def loops(self, owner: str, session: SessionView) -> None:
        """A brake says that it repeats itself: known until somebody acts on it."""
        if (thread := self._threads.get((owner, session.thread))) is not None:
            thread.looping = True

    def moved(self, owner: str, session: SessionView, *, up: bool) -> None:
        """The thread was taken up on evidence, or came back: what was seen so far is acted on. It comes back once."""
        thread = self._threads.get((owner, session.thread))
        if thread is None:
            return
        thread.rose_from = session.pinned if up and not thread.came_back else None
        thread.came_back = thread.came_back or not up
        thread.blamed, thread.looping = None, False
        thread.trajectory.settled()

    # ---- Between gateways ------------------------------------------------------------------------------------------

    def knows(self, asked: Asked, said: Callable[[int], int] | None = None) -> bool:
        """Whether nobody else can have served its conversation since we did: an answer at most stands behind what is
        known here. An answer that we did not give is another conversation's, which begins alike.

        A first request has no past, but that of a session that the caller named."""
        self._expire()
        found = self._by_prefix(asked, said) or self._by_words(asked)
        if found is None:
            return asked.hints.session is None and "assistant" not in asked.outline.roles
        answer = found.thread.answer
        follows = answer is not None and not found.forks and found.shared < len(asked.chain)
        if follows and said is not None and said(found.shared) != answer:
            return False
        return turns_after(asked.outline.roles, found.shared) <= 1

    def take_over(self, told: ThreadRecord, *, elapsed_s: float) -> bool:
        """Go on from what another gateway wrote of a conversation `elapsed_s` ago; whether that is newer than what is
        known here: nothing ever takes steps back."""
        key = told.owner, told.thread
        known = self._threads.get(key)
        if known is not None and known.step >= told.step:
            return False
        if known is not None:
            self._unlink(known)
        thread = told.restored(self._clock(), elapsed_s)
        if told.trajectory is None and known is not None:
            thread.trajectory = known.trajectory
        self._threads[key] = thread
        self._threads.move_to_end(key)
        members = self._members.setdefault((thread.owner, thread.session), [])
        if key not in members:
            members.append(key)
        for head in list(thread.heads)[:-1]:
            self._earlier[head.digest] = key
        if thread.heads:
            here = self._heads.setdefault(thread.heads[-1].digest, [])
            here.append(key)
            thread.twin = len(here) > 1
        if thread.loose is not None:
            self._loose[thread.loose] = key
        return True

    def record(self, owner: str, thread: str) -> ThreadRecord | None:
        """What another gateway needs to go on from here; None where the conversation is not known any more."""
        known = self._threads.get((owner, thread))
        return None if known is None else known.record(self._clock())

    def threads(self, owner: str, session: str) -> list[str]:
        """The conversations of a session that are known here."""
        return [thread for _, thread in self._members.get((owner, session), ())]

    def spent(self, owner: str, session: str, nano_usd: int, *, begins: bool = False) -> None:
        """What all gateways have spent on a session, as far as told: it never becomes less. `begins`: the session's
        first request here is about to be located."""
        if begins or (owner, session) in self._members:
            self._costs[owner, session] = max(self._costs.get((owner, session), 0), nano_usd)

    # ---- Finding ---------------------------------------------------------------------------------------------------

    def _find(self, asked: Asked, said: Callable[[int], int] | None) -> _Found:
        return self._by_prefix(asked, said) or self._by_words(asked) or _Found(thread=self._fresh(asked))

    def _by_prefix(self, asked: Asked, said: Callable[[int], int] | None) -> _Found | None:
        """The thread with the longest prefix of this request that is known.

        One whose newest request that is goes on. The very same messages once more are a repeated call of a thread
        with a history; a first request that equals another's is a new session with the same opening. A prefix that a
        thread has long left behind begins a fork, unless another thread still stands there.
        """
        chain = asked.chain
        if not chain:  # a request without a message: some APIs allow it
            return None
        same = self._heads.get(chain[-1])
        if same and ((thread := self._threads[same[-1]]).step > 1 or asked.hints.session is not None):
            return _Found(thread=thread, shared=len(chain))
        for index in range(len(chain) - 2, -1, -1):
            digest = chain[index]
            if waiting := self._heads.get(digest):
                return _Found(thread=self._speaker(waiting, index + 1, said), shared=index + 1)
            if (key := self._earlier.get(digest)) is not None:
                return _Found(thread=self._threads[key], shared=index + 1, forks=True)
        return None

    def _speaker(self, waiting: Sequence[Key], after: int, said: Callable[[int], int] | None) -> Thread:
        """Which of several threads with the same history goes on here: the one whose answer stands in the request."""
        if said is None or len(waiting) == 1:
            return self._threads[waiting[0]]
        threads = [self._threads[key] for key in waiting]
        if all(thread.answer is None for thread in threads):
            return threads[0]
        heard = said(after)
        return next((t for wanted in (heard, None) for t in threads if t.answer == wanted), threads[0])

    def _by_words(self, asked: Asked) -> _Found | None:
        """The thread that said the same under almost the same system text: one that holds a time or an id."""
        for index in range(len(asked.spoken) - 2, 0, -1):
            key = self._loose.get(asked.spoken[index])
            thread = self._threads.get(key) if key is not None else None
            if thread is None or thread.tools != asked.tools:
                continue
            if abs(thread.system_bytes - asked.outline.system_bytes) <= ALIKE_BYTES:
                return _Found(thread=thread, shared=thread.heads[-1].messages, volatile=True)
        return None

    def _fresh(self, asked: Asked) -> Thread:
        """A conversation that nobody knows; in a session that the caller named, its agent's model stays."""
        name = self._ids.hex(8)
        session = asked.hints.session
        thread = Thread(
            owner=asked.owner,
            session=session if session is not None else f"prefix-{name}",
            thread=name,
            agent=asked.agent,
            source=asked.hints.session_source,
            named=session is not None,
        )
        before = self._latest(asked) if session is not None else None
        if before is not None:
            thread.pinned, thread.parent = before.pinned, before.thread
        return thread

    def _latest(self, asked: Asked) -> Thread | None:
        """The thread that the same agent of a named session spoke in last."""
        keys = self._members.get((asked.owner, asked.hints.session or ""), ())
        alike = [t for key in keys if (t := self._threads.get(key)) is not None and t.agent == asked.agent]
        return max(alike, key=lambda t: t.seen_s, default=None)

    def _child(self, asked: Asked, found: _Found) -> Thread:
        """A branch of a conversation: it knows what its parent had cached up to where they part."""
        parent, fresh = found.thread, self._fresh(asked)
        fresh.parent = parent.thread
        fresh.pinned, fresh.home, fresh.served_s = parent.pinned, parent.home, parent.served_s
        tokens = next((h.tokens for h in parent.heads if h.messages == found.shared), 0)
        fresh.visits = {name: _clipped(visit, found.shared, tokens) for name, visit in parent.visits.items()}
        return fresh

    def _view(self, thread: Thread, found: _Found, asked: Asked, tokens: int) -> SessionView:
        before = thread.heads[-1] if thread.heads else None
        return SessionView(
            id=thread.session,
            thread=thread.thread,
            agent=thread.agent,
            step=thread.step,
            source=thread.source,
            parent=thread.parent,
            pinned=thread.pinned,
            home=thread.home,
            idle_s=None if thread.served_s is None else self._clock() - thread.served_s,
            cost_nano_usd=self._costs.get((thread.owner, thread.session), 0),
            sent=before.messages if before is not None and found.shared >= before.messages else None,
            shared=found.shared,
            growth=_growth(thread, tokens) if found.shared else None,
            results=thread.results + asked.outline.tool_result_last,
            visits=dict(thread.visits) if not found.volatile else {},
            compacted=not thread.step and not found.forks and self._compacted(thread, tokens),
            volatile=found.volatile,
            rose_from=thread.rose_from,
        )

    def _compacted(self, thread: Thread, tokens: int) -> bool:
        """Whether a conversation that begins goes on from its parent's, much shorter."""
        parent = self._threads.get((thread.owner, thread.parent)) if thread.parent else None
        # A cache key may be one for all users of an application: what another conversation did says nothing.
        if parent is None or not parent.heads or not thread.named or thread.source == "prompt_cache_key":
            return False
        cut = parent.heads[-1].tokens
        return cut > COMPACTED_FROM and tokens < cut // 2

    # ---- Remembering -----------------------------------------------------------------------------------------------

    def _move_head(self, thread: Thread, asked: Asked, tokens: int) -> None:
        newest = asked.chain[-1] if asked.chain else None
        if newest is not None and thread.heads and thread.heads[-1].digest == newest:
            return  # the same request again
        self._leave_head(thread, keep=True)
        if newest is not None:
            thread.heads.append(Head(newest, len(asked.chain), tokens))
            here = self._heads.setdefault(newest, [])
            here.append(thread.key)
            thread.twin = len(here) > 1
        if len(thread.heads) > MOST_HEADS:
            self._drop_earlier(thread.heads.pop(0), thread.key)
        if thread.loose is not None and self._loose.get(thread.loose) == thread.key:
            del self._loose[thread.loose]
        thread.loose = asked.spoken[-1] if len(asked.spoken) > 1 else None
        if thread.loose is not None:
            self._loose[thread.loose] = thread.key

    def _leave_head(self, thread: Thread, *, keep: bool) -> None:
        """The thread goes on from where its newest request ended; `keep`: a fork may still begin there."""
        if not thread.heads:
            return
        digest = thread.heads[-1].digest
        waiting = self._heads.get(digest, [])
        if thread.key in waiting:
            waiting.remove(thread.key)
        if not waiting:
            self._heads.pop(digest, None)
        if keep:
            self._earlier[digest] = thread.key

    def _drop_earlier(self, head: Head, key: Key) -> None:
        if self._earlier.get(head.digest) == key:
            del self._earlier[head.digest]

    def _forget(self, key: Key) -> None:
        thread = self._threads.pop(key)
        if thread.tools:  # an agent's
            self._on_end(thread.step)
        self._unlink(thread)
        members = self._members.get((thread.owner, thread.session), [])
        if key in members:
            members.remove(key)
        if not members:
            self._members.pop((thread.owner, thread.session), None)
            self._costs.pop((thread.owner, thread.session), None)

    def _unlink(self, thread: Thread) -> None:
        """Nothing leads to it any more."""
        self._leave_head(thread, keep=False)
        for head in thread.heads:
            self._drop_earlier(head, thread.key)
        if thread.loose is not None and self._loose.get(thread.loose) == thread.key:
            del self._loose[thread.loose]

    def _expire(self) -> None:
        oldest_allowed = self._clock() - self._ttl_s
        while self._threads:
            key, thread = next(iter(self._threads.items()))
            if thread.seen_s >= oldest_allowed:
                return
            self._forget(key)


def _spoken(digests: Sequence[bytes], roles: Sequence[str]) -> Sequence[bytes]:
    """The hashes of those messages that are no system text, which mostly stands before all others."""
    begin = sum(map(roles.count, _NOT_SPOKEN))
    if _NOT_SPOKEN.issuperset(roles[:begin]):
        return digests[begin:]
    return [d for d, role in zip(digests, roles, strict=False) if role not in _NOT_SPOKEN]


def turns_after(roles: Sequence[str], start: int) -> int:
    """How often an assistant speaks from message `start` on; what it says in one go may be several messages."""
    turns, before = 0, ""
    for role in roles[start:]:
        turns += role == "assistant" != before
        before = role
    return turns


def _growth(thread: Thread, tokens: int) -> float | None:
    """Tokens a step that the thread has gained, over the steps that are remembered."""
    if not thread.heads:
        return None
    return max(0.0, (tokens - thread.heads[0].tokens) / len(thread.heads))


def _clipped(visit: Visit, messages: int, tokens: int) -> Visit:
    """What is left of a visit for a conversation that shares only so much with it."""
    return visit if visit.messages <= messages else replace(visit, messages=messages, tokens=min(visit.tokens, tokens))
