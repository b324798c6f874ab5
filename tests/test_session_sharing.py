"""A conversation that moves between gateways looks, step by step, as if one had served all of it."""

import asyncio
from random import Random

import msgspec
import pytest

from support.fleets import deployment
from support.members import CHAT, Clock, Member
from turnout.lab.sessions import packaged_sessions, packaged_tools, requests_of
from turnout.routing.identity import Hints
from turnout.stores.shared.memory import MemoryEngine

SERVERS = [deployment("openai/nano", "small", 1), deployment("anthropic/opus", "frontier", 15)]
NONE = Hints()


async def all_told():
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
        await all_told()
        steps += 1
    asked, found = (sum(getattr(m.peers.counts, what) for m in three) for what in ("asked", "found"))
    moved = steps * 2 // 3
    assert moved * 0.6 < found <= asked < steps, "who served the step before asks nobody"


async def two(clock=None):
    clock, engine = clock or Clock(), MemoryEngine()
    return clock, engine, [await Member(clock, engine, name=name).start() for name in ("a", "b")]


def talk(*texts, system="You help."):
    roles = ("user", "assistant")
    spoken = [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]
    messages = [{"role": "system", "content": system}, *spoken]
    return CHAT.outline(msgspec.json.encode({"model": "auto", "messages": messages}))


async def serve(member, request, hints=NONE, *, answer=None, tokens=100, cost=0):
    view = await member.meet(request, hints, tokens=tokens)
    member.look(view, request)
    member.settle(view, request, SERVERS[0], tokens=tokens, cost=cost, answer=answer)
    await all_told()
    return view


async def test_a_first_request_asks_nobody_and_a_named_one_once():
    _, _, (a, _) = await two()
    await serve(a, talk("hello"))
    assert a.peers.counts.asked == 0
    named = Hints(session="s", session_source="x-session-id")
    await serve(a, talk("hello"), named)
    await serve(a, talk("hello", "hi", "go on"), named)
    assert a.peers.counts.asked == 1


async def test_a_branch_is_a_branch_wherever_it_begins():
    _, _, (a, b) = await two()
    for texts in (("a",), ("a", "b", "c")):
        trunk = await serve(a, talk(*texts))
    again = await serve(b, talk("a", "b", "another way"))
    assert (again.parent, again.step, again.pinned) == (trunk.thread, 0, "openai/nano")
    assert again.visits["openai/nano"].messages == 2, "what both share"
    assert (await serve(b, talk("a", "b", "c", "d", "e"))).thread == trunk.thread


async def test_two_conversations_that_begin_alike_are_told_apart_by_their_answers():
    _, _, (a, b) = await two()
    said = {text: CHAT.decode_request(spoken(text)).messages[0].parts for text in ("one", "two")}
    first, second = [await serve(m, talk("hello"), answer=said[t]) for m, t in ((a, "one"), (b, "two"))]
    assert first.id != second.id
    # Each goes on at the other gateway.
    assert (await serve(b, talk("hello", "one", "and?"))).id == first.id
    assert (await serve(a, talk("hello", "two", "and?"))).id == second.id


def spoken(text):
    return msgspec.json.encode({"model": "m", "messages": [{"role": "assistant", "content": text}]})


async def test_an_agent_whose_system_text_holds_the_time_is_found():
    _, _, (a, b) = await two()
    first = await serve(a, talk("a", "b", "c", system="It is 10:00."))
    moved = await serve(b, talk("a", "b", "c", "d", "e", system="It is 10:07."))
    assert (moved.id, moved.volatile, moved.step) == (first.id, True, 1)


async def test_a_compacted_conversation_is_known_as_its_agents():
    _, _, (a, b) = await two()
    named = Hints(session="s", session_source="x-session-id")
    long = await serve(a, talk("a", "b", "c"), named, tokens=50_000, cost=70)
    short = await serve(b, talk("summary"), named, tokens=2_000)
    assert (short.compacted, short.parent, short.pinned, short.cost_nano_usd) == (True, long.thread, "openai/nano", 70)


async def test_owners_never_share():
    _, _, (a, b) = await two()
    view = await a.meet(talk("a"), NONE, owner="ann")
    a.settle(view, talk("a"), SERVERS[0], owner="ann")
    await all_told()
    assert (await b.meet(talk("a", "b", "c"), NONE, owner="bob")).step == 0
    assert (await b.meet(talk("a", "b", "c"), NONE, owner="ann")).step == 1


async def test_no_cache_is_warm_for_ever_where_a_clock_is_ahead():
    clock, engine = Clock(), MemoryEngine()
    ahead = await Member(clock, engine, name="ahead", wrong_s=1e6).start()
    right = await Member(clock, engine, name="right").start()
    await serve(ahead, talk("a"))
    view = await right.meet(talk("a", "b", "c"), NONE)
    visit = view.visits["openai/nano"]
    assert (view.step, visit.at_s <= right.clock(), visit.ttl_s) == (1, True, 300)
    clock.now += 301
    later = await right.meet(talk("a", "b", "c", "d", "e"), NONE)
    assert later.visits["openai/nano"].at_s + 300 < right.clock()


async def test_records_hold_no_text_and_are_bounded():
    _, engine, (a, _) = await two()
    secret = "nobody may read this"
    calls = [
        message
        for n in range(400)
        for message in (
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": f"c{n}",
                        "type": "function",
                        "function": {"name": f"tool{n % 3}", "arguments": f'{{"n": {n}, "s": "{secret}"}}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"error: {secret} {n}"},
        )
    ]
    body = {"model": "auto", "messages": [{"role": "user", "content": secret}, *calls]}
    await serve(a, CHAT.outline(msgspec.json.encode(body)), Hints(session="s", session_source="x-session-id"))
    records = [record for _, (record, _) in engine.records._things.items()]
    assert len(records) >= 3
    assert not any(secret.encode() in record for record in records)
    assert max(map(len, records)) <= 16 * 1024


async def test_what_another_version_wrote_is_passed_over():
    _, engine, (a, b) = await two()
    await serve(a, talk("a"))
    for name in [name for name, _ in engine.records.items()]:
        engine.records.put(name, msgspec.msgpack.encode([2, "something else"]), engine.now_s(), 60)
    assert (await b.meet(talk("a", "b", "c"), NONE)).step == 0


async def test_a_gateway_goes_on_alone_while_the_engine_is_away(caplog):
    clock, engine, (a, b) = await two()
    await serve(a, talk("a"))
    engine.away = True
    assert (await serve(b, talk("a", "b", "c"))).step == 0
    assert (await serve(b, talk("x", "b", "c"))).step == 0
    assert (b.peers.healthy, b.peers.counts.asked) == (False, 1), "it is not asked again at once"
    assert [r.getMessage().partition(",")[0] for r in caplog.records] == ["the shared state is away"]
    engine.away, clock.now = False, clock.now + 2
    assert (await serve(b, talk("a", "b", "other"))).step == 1
    assert b.peers.healthy
