"""A conversation goes on at whichever gateway its next request comes to: what is written of it, and how it is found.

A request names its past: the digests of its prefixes. Where the conversation stood is written under the newest of
them; who does not know it looks there. The table of the gateway itself (`routing.affinity`) stays what answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
import xxhash
from msgspec import Struct
from msgspec.structs import replace

from turnout.routing.affinity import Asked, SessionTable
from turnout.routing.threads import ThreadGlance, ThreadRecord
from turnout.spend.run_records import AgentRecord, RunRecord, agent_of, agent_record, run_record, take_over
from turnout.spend.runs import Runs

__all__ = ["TTL_S", "SessionSharing", "counts_name"]

TTL_S = 6 * 3600.0
"""Records are kept for as long as a table remembers what nobody asks for."""

VERSION = 1
"""Of the records: another version's are passed over, as if there were none."""

MOST_ENDS = 8
"""Earlier requests that a request may go on from, newest first: so many are asked for."""

LOOSE_ENDS = 2
"""Of these, so many are asked for without the system text too."""

FEW_BYTES = 2 * 1024
"""A record of no more is written whole under every name: a shorter one would have to be made first."""

MOST_BYTES = 16 * 1024
"""A longer record is written without what its agent did: that can be read from the conversation again."""

LOOSE_STEPS = 3
"""Steps at which a thread can be found without its system text too, in case that changes from step to step."""

Said = Callable[[int], int]


class ConversationRecord(Struct, frozen=True, kw_only=True, array_like=True):
    """Where a conversation stood at `at` (UTC seconds). `agent` None: left out, with the thread's trajectory. `run`
    is told of sessions that no caller named: others have a record of their own."""

    version: int
    at: float
    thread: ThreadRecord
    agent: AgentRecord | None = None
    run: RunRecord | None = None


class Glance(Struct, frozen=True, array_like=True):
    """How a conversation's record begins."""

    version: int
    at: float
    thread: ThreadGlance


class SessionRecord(Struct, frozen=True, kw_only=True, array_like=True):
    """What a named session has taken, and what was done to it, at `at` (UTC seconds)."""

    version: int
    at: float
    run: RunRecord


_conversations = msgspec.msgpack.Decoder(ConversationRecord)
_glances = msgspec.msgpack.Decoder(Glance)
_sessions = msgspec.msgpack.Decoder(SessionRecord)
_encoder = msgspec.msgpack.Encoder()


class SessionSharing:
    """Writes and reads records of what a gateway remembers. `clock`: its monotonic one; `wall`: UTC seconds."""

    def __init__(
        self,
        sessions: SessionTable,
        runs: Runs,
        *,
        gateway: str,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._runs = runs
        self._gateway = gateway
        self._clock = clock
        self._wall = wall

    def names(self, asked: Asked, said: Said | None) -> list[str]:
        """Where a request's past may be written, the likeliest first."""
        names, roles = list[str](), asked.outline.roles
        # Other conversations begin with the same words: a first request is told apart by its answer.
        first = roles.index("assistant") if "assistant" in roles else 0
        for end in ends(roles):
            digest = asked.chain[end - 1].hex()
            if said is not None and end == first:
                names.append(f"h:{digest}:{said(end):x}")
            names.append(f"h:{digest}")
        names += [f"w:{digest.hex()}" for digest in loose_ends(asked)]
        if (session := asked.hints.session) is not None:
            names += [agent_name(asked.owner, session, asked.agent), session_name(asked.owner, session)]
        return names

    def take(self, asked: Asked, found: Mapping[str, bytes | None]) -> bool:
        """Take over what was found under the `names`, in their order, before the request is located; whether there was
        anything."""
        session = asked.hints.session
        newest: ConversationRecord | None = None
        for name, told in found.items():
            seen = glance(name, told)
            if seen is None or told is None or seen.owner != asked.owner or session not in {None, seen.session}:
                continue
            # The same thread may be told of twice: under what it answered, and as it went on from there.
            if newest is None or (seen.thread == newest.thread.thread and seen.step > newest.thread.step):
                newest = read(name, told) or newest
        if newest is not None:
            self._take(newest)
        if session is None:
            return newest is not None
        told = found.get(session_name(asked.owner, session))
        record = _session(told) if told is not None else None
        if record is None or (record.run.hold.owner, record.run.hold.session) != (asked.owner, session):
            return newest is not None
        self._take_run(record.run, record.at, begins=True)
        return True

    def written(self, owner: str, session: str, thread: str) -> dict[str, bytes]:
        """A conversation's records by name; none where it is not known any more."""
        told = self._sessions.record(owner, thread)
        if told is None or not told.heads:
            return {}
        at, run = self._wall(), self._runs.find(owner, session)
        agent = run.agents.get(thread) if run is not None else None
        whole = _encoder.encode(
            ConversationRecord(
                version=VERSION,
                at=at,
                thread=told if agent is not None else replace(told, trajectory=None),
                agent=agent_record(agent, run.epoch) if agent is not None and run is not None else None,
                run=run_record(owner, session, run, self._gateway, self._clock()) if run and not told.named else None,
            )
        )
        brief = whole
        if len(whole) > FEW_BYTES:
            brief = _encoder.encode(ConversationRecord(version=VERSION, at=at, thread=replace(told, trajectory=None)))
        if len(whole) > MOST_BYTES:
            whole = brief
        return {name: whole if full else brief for name, full in places(told)}

    def session_written(self, owner: str, session: str) -> dict[str, bytes]:
        """A session's own record by name; none where it is not known any more."""
        run = self._runs.find(owner, session)
        if run is None:
            return {}
        told = run_record(owner, session, run, self._gateway, self._clock())
        record = SessionRecord(version=VERSION, at=self._wall(), run=told)
        return {session_name(owner, session): _encoder.encode(record)}

    def _take(self, record: ConversationRecord) -> None:
        told = record.thread
        newer = self._sessions.take_over(told, elapsed_s=self._wall() - record.at)
        if record.run is not None:
            self._take_run(record.run, record.at)
        if newer and record.agent is not None:
            run = self._runs.meet(told.owner, told.session)
            run.agents[told.thread] = agent_of(record.agent, run.epoch)

    def _take_run(self, told: RunRecord, at: float, *, begins: bool = False) -> None:
        owner, session = told.hold.owner, told.hold.session
        run = self._runs.meet(owner, session)
        now_s, elapsed_s = self._clock(), self._wall() - at
        take_over(run, told, gateway=self._gateway, now_s=now_s, elapsed_s=elapsed_s)
        self._sessions.spent(owner, session, run.total_nano_usd, begins=begins)


def ends(roles: Sequence[str]) -> Iterator[int]:
    """How many messages the requests before this one may have had, the newest first: an answer followed each of them.
    The first is the request itself, for it may be asked again."""
    left = MOST_ENDS
    if roles:
        yield len(roles)
    for end in range(len(roles) - 1, 0, -1):
        if not left:
            return
        if roles[end] == "assistant" != roles[end - 1]:
            left -= 1
            yield end


def loose_ends(asked: Asked) -> list[bytes]:
    """The digests of what was spoken alone, where the two newest of these requests ended."""
    roles, found = asked.outline.roles, list[bytes]()
    for end in islice(ends(roles), 1, LOOSE_ENDS + 1):
        before = roles[:end]
        spoken = end - before.count("system") - before.count("developer")
        if spoken > 1:
            found.append(asked.spoken[spoken - 1])
    return found


def places(told: ThreadRecord) -> Iterator[tuple[str, bool]]:
    """Under which names a conversation is written, and whether with all that is known of it: under its newest request;
    briefly under the one before (for who branches off there), and as the newest of its agent in a named session."""
    head = told.heads[-1].digest.hex()
    yield f"h:{head}", True
    if told.answer is not None:
        yield f"h:{head}:{told.answer:x}", True
    if told.loose is not None and (told.volatile or told.step <= LOOSE_STEPS):
        yield f"w:{told.loose.hex()}", True
    if len(told.heads) > 1:
        yield f"h:{told.heads[-2].digest.hex()}", False
    if told.named:
        yield agent_name(told.owner, told.session, told.agent), False


def glance(name: str, told: bytes | None) -> ThreadGlance | None:
    """How a conversation's record begins; None for what is none. Of many that were found one or two are wanted, and a
    glance costs a fifth of reading it."""
    if told is None or name.startswith("s:"):
        return None
    try:
        seen = _glances.decode(told)
    except msgspec.MsgspecError:
        return None
    return seen.thread if seen.version == VERSION else None


def read(name: str, told: bytes) -> ConversationRecord | None:
    """A conversation's record; None for what is none, or not of a request that it is named after."""
    if name.startswith("s:"):
        return None
    record = _conversation(told)
    if record is None or name.startswith("a:"):
        return record
    digest = bytes.fromhex(name.split(":")[1])
    known = digest == record.thread.loose or any(head.digest == digest for head in record.thread.heads)
    return record if known else None


def _conversation(told: bytes) -> ConversationRecord | None:
    try:
        record = _conversations.decode(told)
    except msgspec.MsgspecError:
        return None  # of a gateway of another version
    return record if record.version == VERSION else None


def _session(told: bytes) -> SessionRecord | None:
    try:
        record = _sessions.decode(told)
    except msgspec.MsgspecError:
        return None
    return record if record.version == VERSION else None


def session_name(owner: str, session: str) -> str:
    return f"s:{_digest(owner, session)}"


def counts_name(owner: str, session: str) -> str:
    """Where the counts of a session are kept."""
    return f"c:{_digest(owner, session)}"


def agent_name(owner: str, session: str, agent: str) -> str:
    return f"a:{_digest(owner, session, agent)}"


def _digest(*parts: str) -> str:
    return xxhash.xxh3_128_hexdigest("\0".join(parts).encode("utf-8", "surrogatepass"))
