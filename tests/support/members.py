"""Gateways without sockets for tests of what they share: each with tables, brakes and health of its own, served steps
as the pipeline takes them."""

from __future__ import annotations

from functools import partial
from random import Random

from turnout.catalog.models import Target
from turnout.context import RequestContext, SessionView, Visit
from turnout.delivery.board import Board
from turnout.dialects import DIALECTS
from turnout.dialects.ends import newest, said_in, said_of
from turnout.peers import Peers
from turnout.routing.affinity import SessionTable
from turnout.spend.runs import Runs
from turnout.stores.shared.memory import MemoryEngine, MemoryShared

CHAT = DIALECTS["openai-chat"]


class Clock:
    """One true time for all; each gateway's monotonic clock begins elsewhere, its wall clock may be wrong."""

    now = 1_000_000.0

    def monotonic(self, begins: float) -> float:
        return self.now - begins

    def wall(self, wrong_s: float) -> float:
        return self.now + wrong_s


class Member:
    """One gateway; without `engine` there is no other."""

    def __init__(
        self, clock: Clock, engine: MemoryEngine | None = None, *, name: str = "alone", begins=0.0, wrong_s=0.0
    ):
        self.clock = partial(clock.monotonic, begins)
        self.sessions = SessionTable(clock=self.clock)
        self.runs = Runs()
        self.board = Board(clock=self.clock, random=Random(1))
        self.wall = partial(clock.wall, wrong_s)
        self.peers = None
        self.shared = MemoryShared(name, engine) if engine is not None else None

    async def start(self):
        assert self.shared is not None
        return await self.share(self.shared)

    async def share(self, shared, *, together_s=0.0):
        """Join others in what they share; what it tells waits for no more to be told."""
        self.shared = shared
        self.peers = Peers(
            shared,
            sessions=self.sessions,
            runs=self.runs,
            board=self.board,
            clock=self.clock,
            wall=self.wall,
            together_s=together_s,
        )
        await shared.start()
        await self.peers.start()
        return self

    async def close(self):
        await self.peers.aclose()
        await self.shared.aclose()

    async def meet(self, outline, hints, *, owner="", tokens=0) -> SessionView:
        """A request comes in: its session, found as the pipeline finds it."""
        said = partial(said_in, CHAT, outline)
        asked = None
        if self.peers is not None:
            asked = self.sessions.ask(owner, hints, outline)
            await self.peers.meet(asked, said)
        return self.sessions.locate(owner, hints, outline, tokens=tokens, said=said, asked=asked)

    def look(self, view, outline, *, owner=""):
        """What the guard does: the agent of a request, fed with what its conversation has grown by."""
        run, agent = self.runs.begin(owner, view.id, view.thread, now_s=self.clock())
        told = newest(CHAT, outline, agent.unseen(len(outline.messages), view.shared))
        agent.trail.feed(told)
        self.sessions.trajectory(owner, view).feed(told)
        return run, agent

    def settle(self, view, outline, served, *, owner="", tokens=0, cost=0, answer=None):
        """It was served and is booked."""
        visit = Visit(messages=len(outline.messages), tokens=tokens, at_s=self.clock(), ttl_s=300.0)
        self.runs.settle(owner, view.id, tokens=tokens, cost_nano_usd=cost, served=True)
        self.sessions.settle(owner, view, pinned=served.id, cost_nano_usd=cost, home=served.id, visit=visit)
        if view.alike and answer is not None:
            self.sessions.answered(owner, view, said_of(answer))
        if self.peers is not None:
            ctx = RequestContext(
                request_id="r",
                dialect="openai-chat",
                outline=outline,
                body=b"",
                started_s=self.clock(),
                key_id=owner or None,
                session=view,
                served_by=served,
                target=Target.at(served, served.provider),
                cost_nano_usd=cost,
            )
            self.peers.settled(ctx, tokens=tokens)
