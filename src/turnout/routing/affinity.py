"""Sessions as the router remembers them: which deployment serves each agent, its steps and its cost.

Bounded memory (least recently used go first, idle ones expire). One event loop owns a table: no locks.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from turnout.chat import RequestOutline
from turnout.context import SessionView
from turnout.routing.identity import Hints, agent_hash, chain_hashes

__all__ = ["SessionTable"]


class _Agent(Struct, kw_only=True):
    session: str
    agent: str
    source: str
    step: int = 0
    pinned: str | None = None
    home: str | None = None
    served_s: float | None = None
    head: bytes | None = None
    seen_s: float = 0.0


class SessionTable:
    """`capacity` agents at most; an agent unseen for `ttl_s` seconds is forgotten."""

    def __init__(self, *, clock: Callable[[], float], capacity: int = 50_000, ttl_s: float = 6 * 3600) -> None:
        self._clock = clock
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._agents: OrderedDict[tuple[str, str, str], _Agent] = OrderedDict()
        # What each session has spent, over all its agents.
        self._costs: dict[tuple[str, str], int] = {}
        # The newest prefix of each session found by prefix -> those sessions, oldest first.
        self._heads: dict[bytes, list[tuple[str, str, str]]] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def locate(self, owner: str, hints: Hints, outline: RequestOutline) -> SessionView:
        """The session of a request, as it stood before it; a new one where nothing matches. Counts the step.

        `owner` scopes sessions (a virtual key's id): two callers never share one.
        """
        self._expire()
        key, entry, chain = self._find(owner, hints, outline)
        view = self._view(key, entry)
        self._agents[key] = entry
        self._agents.move_to_end(key)
        entry.step += 1
        entry.seen_s = self._clock()
        if chain:
            self._move_head(key, entry, chain[-1])
        while len(self._agents) > self._capacity:
            self._forget(next(iter(self._agents)))
        return view

    def peek(self, owner: str, hints: Hints, outline: RequestOutline) -> SessionView:
        """As `locate`, but nothing is counted or remembered."""
        self._expire()
        key, entry, _ = self._find(owner, hints, outline)
        return self._view(key, entry)

    def _find(
        self, owner: str, hints: Hints, outline: RequestOutline
    ) -> tuple[tuple[str, str, str], _Agent, list[bytes]]:
        """The key and entry of a request's agent, a fresh entry where there is none, and its prefix hashes
        (empty where the caller named the session)."""
        agent = agent_hash(outline)
        chain: list[bytes] = []
        if hints.session is not None:
            key = (owner, hints.session, agent)
        else:
            chain = chain_hashes(owner + agent, outline.messages)
            key = self._by_prefix(chain) or (owner, f"prefix-{secrets.token_hex(8)}", agent)
        entry = self._agents.get(key) or _Agent(session=key[1], agent=agent, source=hints.session_source)
        return key, entry, chain

    def settle(
        self, owner: str, session: SessionView, *, pinned: str | None, cost_nano_usd: int, home: str | None = None
    ) -> None:
        """Book what a request cost, which deployment its agent stays with and which target served it (None: no
        change)."""
        entry = self._agents.get((owner, session.id, session.agent))
        if entry is None:
            return
        self._costs[owner, session.id] = self._costs.get((owner, session.id), 0) + cost_nano_usd
        if pinned is not None:
            entry.pinned = pinned
        if home is not None:
            entry.home, entry.served_s = home, self._clock()

    def _view(self, key: tuple[str, str, str], entry: _Agent) -> SessionView:
        return SessionView(
            id=entry.session,
            agent=entry.agent,
            step=entry.step,
            source=entry.source,
            pinned=entry.pinned,
            home=entry.home,
            idle_s=None if entry.served_s is None else self._clock() - entry.served_s,
            cost_nano_usd=self._costs.get(key[:2], 0),
        )

    def _by_prefix(self, chain: list[bytes]) -> tuple[str, str, str] | None:
        """The session whose newest request is the longest proper prefix of this one.

        A session with the very same messages is a repeated call, and the same session, once it has a
        history; a first request that equals another's is a new session with the same opening.
        """
        if not chain:  # a request without a message: some APIs allow it
            return None
        same = self._heads.get(chain[-1])
        if same and len(chain) > 2 and self._agents[same[-1]].step > 1:
            return same[-1]
        for prefix in reversed(chain[:-1]):
            if waiting := self._heads.get(prefix):
                return waiting[0]
        return None

    def _move_head(self, key: tuple[str, str, str], entry: _Agent, head: bytes) -> None:
        self._drop_head(key, entry)
        entry.head = head
        self._heads.setdefault(head, []).append(key)

    def _drop_head(self, key: tuple[str, str, str], entry: _Agent) -> None:
        if entry.head is None:
            return
        waiting = self._heads.get(entry.head, [])
        if key in waiting:
            waiting.remove(key)
        if not waiting:
            self._heads.pop(entry.head, None)

    def _forget(self, key: tuple[str, str, str]) -> None:
        self._drop_head(key, self._agents.pop(key))
        self._costs.pop(key[:2], None)

    def _expire(self) -> None:
        oldest_allowed = self._clock() - self._ttl_s
        while self._agents:
            key, entry = next(iter(self._agents.items()))
            if entry.seen_s >= oldest_allowed:
                return
            self._forget(key)
