"""Which conversation each request of a flat log goes on with: by the longest prefix that is known, in bounded memory.

As the gateway tells them (`routing.affinity`), with less state: only where each conversation ended last and where it
began, for logs interleave thousands of sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import xxhash
from msgspec import Struct

from turnout.chat import Message, RequestOutline
from turnout.lab.audit.readers.plain import print_of
from turnout.routing.identity import Chain, agent_hash, message_digests

__all__ = ["Asked", "Conversations", "Place", "asked_by", "asked_with"]

MOST_OPEN = 20_000
"""Conversations held; the one that was quiet longest is let go, and would begin anew."""

MOST_AGENTS = 200
"""Conversations of one session that are told apart by name; more share the last."""

_NOT_SPOKEN = frozenset({"system", "developer"})


class Asked(Struct, frozen=True, kw_only=True):
    """What is known of a request. `session` "": it names none. `trace`: a name that may be one request's alone (tools
    make up a trace where the caller names none): it joins what prefixes do not, and parts nothing. `agent`: a hash of
    its system text and tools, `tools` of its tools alone (0: none). `words`: what was spoken, one hash a message."""

    session: str = ""
    trace: str = ""
    agent: str = ""
    tools: int = 0
    words: tuple[bytes, ...] = ()


class Place(Struct, frozen=True, kw_only=True):
    """The conversation that a request is of. `fresh`: it is the first of it."""

    session: str
    agent: str
    fresh: bool


class _Thread(Struct, kw_only=True, eq=False):
    number: int
    asked: Asked
    session: str
    agent: str
    tip: bytes = b""
    origin: bytes = b""


class Conversations:
    """Feed it with requests in the order in which they were made."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._count = 0
        self._threads: OrderedDict[int, _Thread] = OrderedDict()
        self._tips: dict[bytes, list[_Thread]] = {}
        self._origins: dict[bytes, _Thread] = {}
        self._named: OrderedDict[str, int] = OrderedDict()
        self._traces: OrderedDict[str, str] = OrderedDict()

    def place(self, asked: Asked) -> Place:
        """The conversation that `asked` goes on with, or a new one."""
        # System text that holds a time or a number changes with every request: what was spoken tells conversations.
        chain = Chain(asked.session, asked.words)
        thread = self._going_on(asked, chain)
        fresh = thread is None
        if thread is None:
            thread = self._begin(asked, chain)
        self._move(thread, asked, chain)
        return Place(session=thread.session, agent=thread.agent, fresh=fresh)

    def _going_on(self, asked: Asked, chain: Chain) -> _Thread | None:
        for length in range(len(chain), 0, -1):
            known = self._tips.get(chain[length - 1])
            if known is None:
                continue
            if length == 1 == len(chain):
                break  # the same first words again: a run of its own, not a second try
            return next((t for t in reversed(known) if t.asked.agent == asked.agent), known[-1])
        if len(chain) < 2:
            return None
        # Cut short or rewritten behind its first words.
        thread = self._origins.get(chain[0])
        alike = thread is not None and (
            thread.asked.agent == asked.agent or (asked.tools and thread.asked.tools == asked.tools)
        )
        return thread if alike else None

    def _begin(self, asked: Asked, chain: Chain) -> _Thread:
        self._count += 1
        session = asked.session or self._traces.get(asked.trace, asked.trace)
        name = session or "prefix-" + (chain[0] if chain else asked.agent.encode()).hex()[:16]
        seen = self._named.pop(name, 0)
        self._named[name] = seen + 1
        if len(self._named) > self._most:
            self._named.popitem(last=False)
        if not session:
            session, agent = (f"{name}~{seen + 1}" if seen else name), ""
        else:
            agent = f"{asked.agent[:8]}~{min(seen, MOST_AGENTS)}" if seen else ""
        thread = _Thread(number=self._count, asked=asked, session=session, agent=agent)
        self._threads[thread.number] = thread
        if len(self._threads) > self._most:
            self._forget(self._threads.popitem(last=False)[1])
        return thread

    def _move(self, thread: _Thread, asked: Asked, chain: Chain) -> None:
        self._threads.move_to_end(thread.number)
        if asked.trace and not asked.session:
            self._traces[asked.trace] = thread.session
            self._traces.move_to_end(asked.trace)
            if len(self._traces) > self._most:
                self._traces.popitem(last=False)
        thread.asked = Asked(agent=asked.agent, tools=asked.tools)
        if not chain:
            return
        self._untip(thread)
        thread.tip = chain[-1]
        self._tips.setdefault(thread.tip, []).append(thread)
        if not thread.origin:
            thread.origin = chain[0]
        self._origins[thread.origin] = thread

    def _untip(self, thread: _Thread) -> None:
        known = self._tips.get(thread.tip, [])
        if thread in known:
            known.remove(thread)
            if not known:
                del self._tips[thread.tip]

    def _forget(self, thread: _Thread) -> None:
        self._untip(thread)
        if self._origins.get(thread.origin) is thread:
            del self._origins[thread.origin]


def asked_by(outline: RequestOutline, session: str, trace: str = "") -> Asked:
    """Of a request in its wire format."""
    tools = outline.fields.get("tools")
    spoken = zip(message_digests(outline), outline.roles, strict=False)
    return Asked(
        session=session,
        trace=trace,
        agent=agent_hash(outline),
        tools=xxhash.xxh3_64_intdigest(memoryview(tools)) if tools is not None else 0,
        words=tuple(digest for digest, role in spoken if role not in _NOT_SPOKEN),
    )


def asked_with(messages: Sequence[Message], session: str, trace: str = "") -> Asked:
    """Of messages that were retold."""
    system = xxhash.xxh3_64()
    words: list[bytes] = []
    for message in messages:
        if message.role in _NOT_SPOKEN:
            system.update(print_of(message))
        else:
            words.append(print_of(message))
    return Asked(session=session, trace=trace, agent=system.hexdigest(), words=tuple(words))
