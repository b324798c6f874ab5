"""Two whole gateways that share their state: a session, a brake, a pause, a breaker and a key's limits go on at either,
whichever engine they share."""

import asyncio
import json
import secrets
from contextlib import asynccontextmanager

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.members import Clock, Member
from support.shared import KINDS, until
from support.upstream import Script, ScriptedUpstream, answer
from support.valkey import shared_valkey
from turnout.errors import NoCapacity
from turnout.shared_state import KeyAdmission
from turnout.spend.brakes import Verdict
from turnout.stores.shared.memory import MemoryEngine, MemoryShared
from turnout.stores.shared.sqlite import SqliteShared

PATH = "/v1/chat/completions"


@pytest.fixture(params=KINDS)
def shares(request, tmp_path):
    """Opens a gateway's share of one engine, by the gateway's name."""
    if request.param == "memory":
        engine = MemoryEngine()
        return lambda name: MemoryShared(name, engine)
    if request.param == "sqlite":
        return lambda name: SqliteShared(str(tmp_path / "shared.db"), name, recently=False)
    url, prefix = shared_valkey(), secrets.token_hex(6)
    from turnout.stores.shared.valkey import ValkeyShared

    return lambda name: ValkeyShared(url, name, recently=False, prefix=prefix, deadline_s=5.0)


@asynccontextmanager
async def pair(toml, folder, shares):
    """Two gateways of one config, each with a ledger of its own."""
    async with (
        gateway(toml, folder, shared=shares("a"), ledger="a.db") as a,
        gateway(toml, folder, shared=shares("b"), ledger="b.db") as b,
    ):
        yield a, b


async def quiet(*gateways):
    """Everything that gateways had to tell has been told."""
    await until(lambda: not any(gw.engine.state.memory.peers.busy for gw in gateways))


def circling(times, model="lab/small"):
    """An agent's request after it has made the same call so often."""
    messages = [{"role": "user", "content": "fix it"}]
    for n in range(times):
        function = {"name": "open", "arguments": '{"path": "a.py"}'}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": f"c{n}", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": "no such file"},
        ]
    tools = [{"type": "function", "function": {"name": "open", "parameters": {"type": "object"}}}]
    return {"model": model, "max_tokens": 10, "messages": messages, "tools": tools}


def talk(turns, model="lab/small"):
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": f"message {n}"} for n in range(2 * turns + 1)]
    return {"model": model, "max_tokens": 10, "messages": messages}


async def ask(gw, body, session="run 1"):
    named = [("x-turnout-session", session)] if session else []
    return await post(gw.url, PATH, json.dumps(body).encode(), named)


async def admin(gw, method, path, body=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    raw = await reader.read()
    writer.close()
    return int(raw.split()[1]), json.loads(raw.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("session", ["run 1", None], ids=["named", "by prefix"])
async def test_a_session_that_alternates_is_one_session(tmp_path, shares, session):
    async with ScriptedUpstream(answer(CHAT)) as up, pair(lab(up.url), tmp_path, shares) as (a, b):
        for turn in range(6):
            assert (await ask((a, b)[turn % 2], talk(turn), session))[0] == 200
            await quiet(a, b)
        rows = sorted([*await a.booked(3), *await b.booked(3)], key=lambda row: row.received_at)
        assert [row.step for row in rows] == list(range(6))
        assert len({row.session_id for row in rows}) == 1
        (run,) = [run for _, name, run in b.engine.state.memory.runs if name == rows[0].session_id]
        assert (run.steps, run.total_nano_usd) == (6, sum(row.cost_nano_usd for row in rows))


async def test_a_session_keeps_its_model_at_another_gateway(tmp_path, shares):
    toml = "[routing]\nshort_prompt_tokens = 0\n"
    async with ScriptedUpstream(answer(CHAT)) as up, pair(toml + lab(up.url), tmp_path, shares) as (a, b):
        assert (await ask(a, talk(0, "auto")))[0] == 200
        await quiet(a)
        status, headers, _ = await ask(b, talk(1, "auto"))
        assert (status, headers["x-turnout-model"]) == (200, "lab/small")
        assert (await b.booked())[0].reason == "pinned"


async def test_a_loop_whose_calls_alternate_is_noticed(tmp_path, shares):
    async with ScriptedUpstream(answer(CHAT)) as up, pair(lab(up.url), tmp_path, shares) as (a, b):
        assert (await ask(a, circling(1)))[0] == 200
        await quiet(a)
        assert (await ask(b, circling(2)))[0] == 200
        await quiet(b)
        assert (await ask(a, circling(3)))[0] == 403
        await quiet(a)
        await until(lambda: b.engine.state.memory.runs.find("", "run 1").paused is not None)
        assert (await ask(b, circling(1)))[0] == 403, "it is paused everywhere"
        # Any gateway lets it go on, for all.
        assert (await admin(b, "POST", "/admin/sessions/run%201/resume"))[0] == 200
        await until(lambda: a.engine.state.memory.runs.find("", "run 1").paused is None)
        assert (await ask(a, circling(3)))[0] == 200


async def test_a_limit_holds_over_all_gateways(tmp_path, shares):
    toml = "[brakes]\nmax_session_steps = 4\n"
    async with ScriptedUpstream(answer(CHAT)) as up, pair(toml + lab(up.url), tmp_path, shares) as (a, b):
        statuses = []
        for turn in range(6):
            statuses.append((await ask((a, b)[turn % 2], talk(turn)))[0])
            await quiet(a, b)
    assert statuses == [200, 200, 200, 200, 403, 403]


async def test_a_pause_by_hand_holds_elsewhere_also_where_nobody_knew_the_session(tmp_path, shares):
    async with ScriptedUpstream(answer(CHAT)) as up, pair(lab(up.url), tmp_path, shares) as (a, b):
        assert (await ask(a, talk(0)))[0] == 200
        status, _ = await admin(a, "POST", "/admin/sessions/run%201/pause", b'{"by": "ann", "why": "too dear"}')
        assert status == 200
        await until(lambda: b.engine.state.memory.runs.find("", "run 1") is not None)
        status, _, raw = await ask(b, talk(1))
        assert (status, json.loads(raw)["error"]["code"]) == (403, "run_paused")
        assert "paused by ann: too dear" in raw.decode()
        _, told = await admin(b, "GET", "/admin/sessions?held=1")
        assert [(s["id"], s["state"]) for s in told["data"]] == [("run 1", "paused")]
        # A gateway that starts later knows.
        async with gateway(lab(up.url), tmp_path, shared=shares("c"), ledger="c.db") as c:
            assert (await ask(c, talk(1)))[0] == 403


async def test_a_breaker_that_opens_at_one_is_open_at_the_other(tmp_path, shares):
    refused = answer({"error": {"message": "no quota", "type": "insufficient_quota"}}, status=401)
    async with ScriptedUpstream(refused) as up, pair(lab(up.url), tmp_path, shares) as (a, b):
        assert (await ask(a, talk(0)))[0] != 200
        boards = [gw.engine.state.board for gw in (a, b)]
        await until(lambda: boards[1].standings().get("lab") == "open")
        assert boards[0].standings() == boards[1].standings()
        await quiet(a)
        async with gateway(lab(up.url), tmp_path, shared=shares("c"), ledger="c.db") as c:
            assert c.engine.state.board.standings()["lab"] == "open"


async def test_a_probe_that_succeeds_closes_it_everywhere(tmp_path, shares):
    refused = answer({"error": {"message": "no"}}, status=401)
    async with ScriptedUpstream(refused, answer(CHAT)) as up, pair(lab(up.url), tmp_path, shares) as (a, b):
        assert (await ask(a, talk(0)))[0] != 200
        boards = [gw.engine.state.board for gw in (a, b)]
        await until(lambda: boards[1].standings().get("lab") == "open")
        assert (await ask(b, talk(0), "run 2"))[0] == 200, "there is no other place, so it is asked all the same"
        await until(lambda: boards[0].standings().get("lab") == "closed")


KEYED = '[keys.team]\nkey = "sk-turnout-0123456789abcdef"\n'


async def keyed(gw, n=0):
    headers = [("authorization", "Bearer sk-turnout-0123456789abcdef")]
    return await post(gw.url, PATH, json.dumps(talk(0)).encode(), headers)


async def begun(gw):
    """A request whose caller may hang up."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    body = json.dumps(talk(0)).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-turnout-0123456789abcdef\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return writer


async def test_ten_a_minute_are_ten_over_two_gateways(tmp_path, shares):
    toml = KEYED + "rpm = 10\n"
    async with ScriptedUpstream(answer(CHAT)) as up, pair(toml + lab(up.url), tmp_path, shares) as (a, b):
        came = await asyncio.gather(*(keyed((a, b)[n % 2]) for n in range(40)))
    statuses = [status for status, _, _ in came]
    assert (statuses.count(200), statuses.count(429)) == (10, 30)
    refused = next(c for c in came if c[0] == 429)
    assert int(refused[1]["retry-after"]) >= 1
    assert "over all gateways" in refused[2].decode()


async def test_each_leaves_once_also_when_it_is_cancelled_or_refused(tmp_path, shares):
    toml = KEYED + "max_concurrency = 2\n"
    slow = Script(hang=True)
    async with ScriptedUpstream(slow, slow, answer(CHAT)) as up, pair(toml + lab(up.url), tmp_path, shares) as (a, b):
        hanging = [await begun(gw) for gw in (a, b)]
        await until(lambda: len(up.requests) == 2)
        assert (await keyed(a))[0] == (await keyed(b))[0] == 429
        for writer in hanging:
            writer.close()
        await until(lambda: not any(gw.app.admission.in_flight for gw in (a, b)))
        await quiet(a, b)
        for _ in range(3):  # those that end, and those that are refused after they were let in
            assert (await keyed(a))[0] == 200
            await quiet(a, b)
            bad = json.dumps({**talk(0), "model": "nobody/knows"}).encode()
            headers = [("authorization", "Bearer sk-turnout-0123456789abcdef")]
            assert (await post(b.url, PATH, bad, headers))[0] == 404
            await quiet(a, b)


async def test_a_request_counts_as_open_for_as_long_as_its_answer_may_take(tmp_path):
    engine = MemoryEngine()
    toml = "delivery.timeout_s = 3000\n" + KEYED + "max_concurrency = 1\n"
    async with (
        ScriptedUpstream(Script(hang=True)) as up,
        gateway(toml + lab(up.url), tmp_path, shared=MemoryShared("a", engine)) as gw,
    ):
        hanging = await begun(gw)
        await until(lambda: len(up.requests) == 1)
        (until_s,) = engine.gates.get("team", engine.now_s()).open.values()
        assert until_s > engine.now_s() + 3000
        hanging.close()


class Late(MemoryShared):
    """Lets in, and the word of it is lost, at once or after `answering`."""

    answering = None

    async def admit(self, admission):
        await super().admit(admission)
        if self.answering is not None:
            await self.answering.wait()
        raise NoCapacity("it took too long")


async def test_who_was_let_in_without_knowing_it_leaves_too(tmp_path):
    engine = MemoryEngine()
    toml = KEYED + "max_concurrency = 1\n"
    async with (
        ScriptedUpstream(answer(CHAT)) as up,
        gateway(toml + lab(up.url), tmp_path, shared=Late("a", engine)) as gw,
    ):
        assert (await keyed(gw))[0] == 200
        await until(lambda: not any(gate.open for _, gate in engine.gates.items()))


async def test_who_hung_up_before_the_word_was_lost_leaves_too():
    engine = MemoryEngine()
    shared = Late("a", engine)
    shared.answering = asyncio.Event()
    member = await Member(Clock()).share(shared)
    asking = asyncio.create_task(member.peers.admit(KeyAdmission(key="team", request_id="r", tokens=1, at_once=1)))
    await until(lambda: any(gate.open for _, gate in engine.gates.items()))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    shared.answering.set()
    await asyncio.sleep(0)
    Clock.now += 2  # the engine had its rest
    await until(lambda: not any(gate.open for _, gate in engine.gates.items()))
    await member.close()


class Forgetful(MemoryShared):
    """Who leaves has left, and the first time the word of it is lost."""

    lost = 1

    async def leave(self, admission, *, used):
        await super().leave(admission, used=used)
        if self.lost:
            self.lost -= 1
            raise NoCapacity("it took too long")


@pytest.mark.parametrize("at_once", [None, 3])
async def test_tokens_are_corrected_once_though_the_word_of_it_was_lost(at_once):
    now = 1_000.0
    engine = MemoryEngine(now_s=lambda: now)
    member = await Member(Clock()).share(Forgetful("a", engine))
    admission = KeyAdmission(key="team", request_id="r", tokens=600, tpm=600, at_once=at_once)
    assert await member.peers.admit(admission) == 0
    member.peers.left(admission, used=300)
    await member.peers.quiet()
    Clock.now += 2
    await member.peers.quiet()
    gate = engine.gates.get("team", now)
    assert (gate.open, gate.tpm) == ({}, (600, now + 30)), "half of a minute's tokens were used"
    await member.close()


class Deaf(MemoryShared):
    """Hears nothing, until it is told that it has missed something."""

    def hear(self, topic, heard, *, missed=None):
        self.missed = missed or self.missed
        super().hear(topic, heard)

    async def start(self):
        pass


async def test_what_was_told_while_nobody_listened_is_caught_up():
    engine = MemoryEngine()
    a, b = [await Member(Clock()).share(Deaf(name, engine)) for name in "ab"]
    a.runs.hold("", "run 1", Verdict(brake="by_hand", action="pause", why="paused by ann"))
    a.peers.held("", "run 1")
    await a.peers.quiet()
    assert b.runs.find("", "run 1") is None
    b.shared.missed()
    await until(lambda: b.runs.find("", "run 1") is not None and b.runs.find("", "run 1").paused is not None)
    b.runs.resume("run 1")
    b.peers.held("", "run 1")
    await b.peers.quiet()
    a.shared.missed()
    await until(lambda: a.runs.find("", "run 1").paused is None)
    for member in (a, b):
        await member.close()


async def test_what_an_engine_forgot_is_told_again():
    engine = MemoryEngine()
    a, b = [await Member(Clock()).share(Deaf(name, engine)) for name in "ab"]
    a.runs.hold("", "run 1", Verdict(brake="by_hand", action="pause", why="paused by ann"))
    a.peers.held("", "run 1")
    await a.peers.quiet()
    engine.forget_everything(5.0)
    for member in (a, b):  # as after a restart: whoever comes first
        member.shared.missed()
    await until(lambda: engine.records.get("runs", engine.now_s()) is not None)
    b.shared.missed()
    await until(lambda: b.runs.find("", "run 1") is not None)
    for member in (a, b):
        await member.close()


async def test_who_was_cut_off_reads_before_it_writes():
    engine = MemoryEngine()
    a, b = [await Member(Clock()).share(Deaf(name, engine)) for name in "ab"]
    verdict = Verdict(brake="by_hand", action="pause", why="paused by ann")
    for member, name in ((a, "run 1"), (b, "run 2")):
        member.peers._missed_count += 1  # it may have missed something, and has not looked yet
        member.runs.hold("", name, verdict)
        member.peers.held("", name)
        await member.peers.quiet()
    c = await Member(Clock()).share(Deaf("c", engine))
    assert sorted(name for _, name, _ in c.runs) == ["run 1", "run 2"]
    for member in (a, b, c):
        await member.close()


async def test_an_engine_that_comes_back_is_noticed_without_a_request(caplog):
    engine = MemoryEngine()
    member = Member(Clock())
    engine.away = True
    await member.share(MemoryShared("a", engine))
    assert not member.peers.healthy
    engine.away = False
    await until(lambda: member.peers.healthy)
    assert "the shared state is back" in caplog.text
    await member.close()


async def test_without_the_engine_each_counts_alone(tmp_path, caplog):
    engine = MemoryEngine()
    toml = KEYED + "rpm = 2\n"
    async with (
        ScriptedUpstream(answer(CHAT)) as up,
        pair(toml + lab(up.url), tmp_path, lambda name: MemoryShared(name, engine)) as (a, b),
    ):
        engine.away = True
        statuses = [(await keyed(gw))[0] for gw in (a, b) for _ in range(3)]
        assert statuses == [200, 200, 429] * 2
        engine.away = False
    assert sum("keys' limits are counted here alone" in r.getMessage() for r in caplog.records) == 2, "once each"


async def test_metrics_say_whether_the_others_are_there(tmp_path):
    engine = MemoryEngine()
    async with (
        ScriptedUpstream(answer(CHAT)) as up,
        pair(lab(up.url), tmp_path, lambda name: MemoryShared(name, engine)) as (a, b),
    ):
        await ask(a, talk(0))
        await quiet(a)
        await ask(b, talk(1))
        await quiet(b)
        page = b.app.scrapes.page("GET", {})[0].decode()
        assert "turnout_shared_state_healthy 1.0" in page
        assert 'turnout_peers_total{result="found"} 1.0' in page
    async with gateway(lab("http://127.0.0.1:1"), tmp_path) as alone:
        assert "\nturnout_shared_state_healthy" not in alone.app.scrapes.page("GET", {})[0].decode()
