"""A conversation that moves between gateways looks, step by step, as if one had served all of it."""

import asyncio
from random import Random

import msgspec
import pytest

from support.fleets import deployment, outline
from support.members import CHAT, Clock, Member
from turnout.lab.sessions import packaged_sessions, packaged_tools, requests_of
from turnout.routing.identity import Hints
from turnout.stores.shared.memory import MemoryEngine

SERVERS = [deployment("openai/nano", "small", 1), deployment("anthropic/opus", "frontier", 15)]
NONE = Hints()


async def told():
    """What gateways tell in the background has been told."""
    for _ in range(8):
        await asyncio.sleep(0)


class Recorded:
    """Every request of the packaged recordings, in turns drawn at random, the same at every reading."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        tools = packaged_tools()
        self.live = [(session.id, requests_of(session, tools)) for session in packaged_sessions()]

    def __iter__(self):
        while self.live:
            running = self.draw.choice(self.live)
            recorded = next(running[1], None)
            if recorded is None:
                self.live.remove(running)
                continue
            tools = {"tools": recorded.tools} if recorded.tools else {}
            body = {"model": "auto", "messages": recorded.messages, **tools}
            answer = msgspec.json.encode({"model": "m", "messages": [recorded.out]})
            yield running[0], CHAT.outline(msgspec.json.encode(body)), CHAT.decode_request(answer).messages[0].parts


def comparable(view, now_s):
    """A view without what differs by nature: names drawn at random, and times of another clock."""
    told = msgspec.structs.asdict(view)
    names = told.pop("id"), told.pop("thread")
    parent, idle_s = told.pop("parent"), told.pop("idle_s")
    visits = {name: (v.messages, v.tokens, v.ttl_s) for name, v in told.pop("visits").items()}
    ages = {name: now_s - v.at_s for name, v in view.visits.items()} | {"idle": idle_s}
    return names, {**told, "visits": visits, "branch": parent is not None}, ages


@pytest.mark.parametrize("named", [False, True], ids=["by prefix", "by name"])
@pytest.mark.parametrize("wrong_s", [0.0, 3.0], ids=["clocks agree", "clocks differ"])
async def test_three_gateways_see_what_one_would(named, wrong_s):
    clock, engine, draw = Clock(), MemoryEngine(), Random(7)
    alone = Member(clock)
    three = [
        await Member(clock, engine, name=f"gw{n}", begins=1_000.0 * n, wrong_s=wrong_s * (n - 1)).start()
        for n in range(3)
    ]
    paired: dict[tuple[str, str], tuple[str, str]] = {}
    steps = 0
    for name, request, answer in Recorded(3):
        hints = Hints(session=name, session_source="x-session-id") if named else NONE
        tokens, served = request.messages_bytes // 4, draw.choice(SERVERS)
        clock.now += draw.uniform(0.5, 20)
        where = draw.choice(three)
        expected = await alone.meet(request, hints, tokens=tokens)
        view = await where.meet(request, hints, tokens=tokens)
        names, told, ages = comparable(view, where.clock())
        names_alone, told_alone, ages_alone = comparable(expected, alone.clock())
        assert told == told_alone
        assert paired.setdefault(names, names_alone) == names_alone
        assert ages == pytest.approx(ages_alone, abs=2 * wrong_s + 1e-3)
        run, agent = where.look(view, request)
        run_alone, agent_alone = alone.look(expected, request)
        assert (run.steps, run.tokens, run.cost_nano_usd) == (
            run_alone.steps,
            run_alone.tokens,
            run_alone.cost_nano_usd,
        )
        assert where.sessions.trajectory("", view).signs == alone.sessions.trajectory("", expected).signs
        for what in ("repeated", "cycle", "errors", "steps_without_news"):
            assert getattr(agent.trail, what) == getattr(agent_alone.trail, what)
        for member, seen in ((where, view), (alone, expected)):
            member.settle(seen, request, served, tokens=tokens, cost=tokens * 7, answer=answer)
        await told_all()
        steps += 1
    assert steps > 100
    asked = sum(member.peers.counts.asked for member in three)
    assert asked < steps, "who served the step before asks nobody"


async def told_all():
    await told()
