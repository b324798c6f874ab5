"""Valkey that fails: gone, frozen, wiped, replaced; a gateway refuses at once, comes back by itself, and grants nothing
that another may have."""

import asyncio
import contextlib
import signal
import ssl
import time

import pytest
import trustme

from support.shared import until
from support.valkey import Valkey, binary
from turnout.errors import ConfigError, NoCapacity
from turnout.shared_state import Claim, KeyAdmission

PURSE = "company@2026-11-01"
AMOUNT = 100
LEASE_S = 0.8


@pytest.fixture
def server():
    with Valkey() as started:
        yield started


@pytest.fixture
async def made():
    """Makes gateways and ends them."""
    binary()
    from turnout.stores.shared.valkey import ValkeyShared

    gateways = []

    async def make(url, name="a", **options):
        shared = ValkeyShared(url, name, **{"recently": False, "lease_s": LEASE_S, "deadline_s": 0.25, **options})
        gateways.append(shared)
        await shared.start()
        return shared

    yield make
    for shared in gateways:
        await shared.aclose()


async def lease(shared, spent=0, held=0, want=0, limit=0):
    return (await shared.lease([Claim(purse=PURSE, amount=AMOUNT, spent=spent, held=held, want=want, limit=limit)]))[0]


async def fill(shared, spent=None):
    await lease(shared)
    await shared.fill(PURSE, spent or {})


def answers(shared):
    async def asked():
        try:
            await shared.get(["x"])
        except NoCapacity:
            return False
        return True

    return asked


async def refused(shared) -> str:
    """What it says when it refuses, once it does so at once."""
    with pytest.raises(NoCapacity) as caught:
        for _ in range(1000):
            await shared.get(["x"])
            await asyncio.sleep(0.01)
    return caught.value.message


async def test_an_engine_that_is_not_there_is_said_at_the_start(made):
    with pytest.raises(ConfigError, match=r"Valkey at 127.0.0.1:1 cannot be reached \(.*\); start it"):
        await made("valkey://127.0.0.1:1")


async def test_no_password_is_ever_told(made):
    with Valkey("--requirepass", "open-sesame") as server:
        url = server.url.replace("valkey://", "valkey://:wrong-one@")
        with pytest.raises(ConfigError) as caught:
            await made(url)
        assert "refuses the user or password" in caught.value.message
        assert "wrong-one" not in repr(caught.value)
        with pytest.raises(ConfigError) as caught:
            await made("valkey://:wrong-one@127.0.0.1:x")
        assert "wrong-one" not in repr(caught.value)
        a = await made(server.url.replace("valkey://", "redis://:open-sesame@") + "/3")
        await a.put({"x": b"1"}, ttl_s=60)
        assert await a.get(["x"]) == [b"1"]


async def test_killed_and_started_without_its_memory(server, made):
    a, b = await made(server.url, "a"), await made(server.url, "b")
    await fill(a)
    assert (await lease(a, 0, 10, 30)).limit == 40
    heard = []
    b.hear("keys", heard.append)
    server.kill()
    assert "cannot be reached" in await refused(a)
    assert not a.healthy
    server.start()
    await until(answers(a))
    await until(answers(b))
    assert a.healthy
    # It waits for who has money of it, and believes what it is told.
    told = await lease(b, want=100)
    assert (told.known, told.limit) == (False, 0)
    assert 0 < told.opens_in_s <= LEASE_S
    await b.fill(PURSE, {})
    assert (await lease(b, want=100)).limit == 0
    assert (await lease(a, 5, 10, 30, limit=40)).limit == 40
    assert await b.silent() == []

    async def opened():
        return (await lease(a, 5, 10, 30, limit=40)).limit == 45

    await until(opened)
    assert (await lease(b, want=100)).limit == 55

    async def news():
        await a.tell("keys", b"again")
        return bool(heard)

    await until(news)


async def test_killed_and_started_with_its_memory_it_still_asks_first(made):
    with Valkey("--appendonly", "yes", "--appendfsync", "always") as server:
        a, b = await made(server.url, "a"), await made(server.url, "b")
        await fill(a)
        await lease(a, 0, 10, 30)
        server.kill()
        await refused(a)
        server.start()
        await until(answers(a))
        await until(answers(b))
        told = await lease(b, want=100)
        assert (told.known, told.limit, told.leased) == (False, 0, 40)
        await b.fill(PURSE, {})

        async def opened():
            await lease(a, 0, 10, 30, limit=40)
            return (await lease(b, want=100)).limit > 0

        await until(opened)
        assert (await lease(b, want=100)).limit == 60


async def test_frozen_it_is_given_up_in_time_and_then_refused_at_once(server, made):
    a = await made(server.url)
    await fill(a)
    server.signal(signal.SIGSTOP)
    asked = [asyncio.create_task(a.get([str(n)])) for n in range(50)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(each) for each in done} == {NoCapacity}
    assert "did not answer within 0.25 s" in done[0].message
    began = time.thread_time()
    for _ in range(1000):
        with pytest.raises(NoCapacity):
            await lease(a)
    assert time.thread_time() - began < 5  # CPU, not the clock: a thousand deadlines would be four minutes
    server.signal(signal.SIGCONT)
    await until(answers(a))
    assert (await lease(a, want=5)).limit == 5  # it was never lost: nothing waits


async def test_an_event_loop_that_is_late_itself_does_not_blame_the_engine(server, made):
    a = await made(server.url)
    await a.get(["x"])
    asked = [asyncio.create_task(a.get(["x"])) for _ in range(3)]
    for _ in range(3):  # they wait to be sent; they are sent; others wait behind them
        await asyncio.sleep(0)
        asked.append(asyncio.create_task(a.get(["x"])))
        time.sleep(0.4)  # noqa: ASYNC251 - nothing else gets a turn for longer than the deadline
    assert await asyncio.gather(*asked) == [[None]] * 6
    assert a.healthy


async def test_paused_for_clients(server, made):
    a, b = await made(server.url), await made(server.url, "b", deadline_s=5)
    await b._wire.ask([("CLIENT", "PAUSE", 600, "ALL")])
    assert "did not answer" in await refused(a)
    await until(answers(a))


async def test_wiped_while_it_runs(server, made):
    a, b = await made(server.url, "a"), await made(server.url, "b")
    await fill(a)
    assert (await lease(a, 0, 0, 50)).limit == 50
    await b._wire.ask([("FLUSHALL",), ("SCRIPT", "FLUSH")])
    told = await lease(b, want=100)
    assert (told.known, told.limit) == (False, 0)
    assert told.opens_in_s > 0
    await b.fill(PURSE, {})
    assert (await lease(a, 0, 0, 50, limit=50)).limit == 50
    assert (await lease(b, want=100)).limit == 0


async def test_a_purse_that_was_thrown_out_for_lack_of_memory(server, made):
    a, b = await made(server.url, "a"), await made(server.url, "b")
    await fill(a)
    await lease(a, 0, 0, 50)
    await b._wire.ask([("DEL", b._keys.get(PURSE, a._keys[PURSE])[2])])
    told = await lease(b, want=100)
    assert (told.known, told.limit) == (False, 0)
    assert told.opens_in_s > 0


async def test_out_of_memory_is_said_and_nothing_is_half_done(server, made):
    a = await made(server.url)
    await fill(a)
    await lease(a, 0, 0, 50)
    await a._wire.ask([("CONFIG", "SET", "maxmemory", "1")])
    with pytest.raises(NoCapacity, match="has no memory left; raise its maxmemory"):
        await lease(a, 10, 0, 0)
    assert not a.healthy
    await a._wire.ask([("CONFIG", "SET", "maxmemory", "0")])
    assert (await lease(a, 10, 0, 0)).spent == 10


async def test_sentinels_name_another_primary(made):
    with Valkey() as primary, Valkey("--replicaof", "127.0.0.1", str(primary.port)) as replica:
        watch = f"sentinel monitor main 127.0.0.1 {primary.port} 1\nsentinel down-after-milliseconds main 300\n"
        with Valkey(config=watch) as sentinel:
            a = await made(f"valkey+sentinel://127.0.0.1:{sentinel.port}/main/0")
            await fill(a)
            assert (await lease(a, 0, 10, 30)).limit == 40
            await until(lambda: "connected" in replica.says("ROLE"))
            await until(lambda: str(replica.port) in sentinel.says("SENTINEL", "REPLICAS", "main"), within_s=30)
            primary.kill()
            assert "main of Sentinels" in await refused(a)
            await until(answers(a), within_s=60)
            told = await lease(a, 0, 10, 30, limit=40)
            assert (told.limit, told.known) == (40, False)  # what the replica had not heard of may be missing
            assert told.opens_in_s > 0


async def test_a_primary_that_becomes_a_replica_is_left(server, made):
    a = await made(server.url)
    await fill(a)
    with Valkey() as other:
        await a._wire.ask([("REPLICAOF", "127.0.0.1", other.port)])
        with pytest.raises(NoCapacity, match="is a replica and takes no writes"):
            await lease(a, want=5)
        b = await made(other.url, "b")
        await fill(b)  # the new primary works, and the old one is still refused
        with pytest.raises(NoCapacity, match="is a replica"):
            await lease(a, want=5)
        server.says("REPLICAOF", "NO", "ONE")

        async def works():
            try:
                await lease(a)
            except NoCapacity:
                return False
            return True

        await until(works)


async def test_a_connection_that_is_cut_costs_an_idempotent_question_nothing(server, made):
    a, b = await made(server.url), await made(server.url, "b")
    await fill(a)
    await b._wire.ask([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")])
    assert (await lease(a, want=5)).limit == 5
    await b._wire.ask([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")])
    with pytest.raises(NoCapacity, match="cannot be reached"):
        await a.admit(KeyAdmission(key="k", request_id="r", tokens=1, rpm=5))
    assert await a.admit(KeyAdmission(key="k", request_id="r", tokens=1, rpm=5)) == 0


async def test_who_did_not_listen_for_a_while_is_told(server, made):
    a, b = await made(server.url), await made(server.url, "b")
    missed, heard = [], []
    b.hear("runs", heard.append, missed=lambda: missed.append(1))

    async def news():
        await a.tell("runs", b"x")
        return bool(heard)

    await until(news)
    assert not missed
    heard.clear()
    await a._wire.ask([("CLIENT", "KILL", "TYPE", "pubsub")])
    await until(lambda: bool(missed))
    await a.tell("runs", b"y")  # what is told from then on is heard
    await until(lambda: b"y" in heard)


async def test_whether_anybody_is_silent_is_one_question(server, made):
    a = await made(server.url)
    await a.lease([Claim(purse=f"{name}@2026-11-01", amount=9, spent=0, held=1, want=0) for name in "abcdef"])
    await a._wire.ask([("CONFIG", "RESETSTAT")])
    assert await a.silent() == []
    stats = (await a._wire.ask([("INFO", "commandstats")]))[0].decode()
    assert "cmdstat_evalsha:calls=1," in stats


async def test_a_clock_that_is_an_hour_wrong_changes_nothing(server, made):
    from datetime import timedelta

    a, b = await made(server.url, "a"), await made(server.url, "b")
    window = timedelta(hours=1)
    step_s = window.total_seconds() / 500
    rolling = "rolling@1970-01-01"

    async def asked(shared, spent, pieces, want=0):
        told = Claim(purse=rolling, amount=AMOUNT, spent=spent, held=0, want=want, window=window, pieces=pieces)
        return (await shared.lease([told]))[0]

    await asked(b, 0, {})
    await b.fill(rolling, {})
    wrong_s = time.time() - 3600 - 100
    a._wall_s = lambda: wrong_s
    now = int(wrong_s / step_s)
    await asked(a, 30, {now - 490: 10, now - 1: 20})
    assert (await asked(b, 0, {}, 100)).limit == 70
    assert await a.admit(KeyAdmission(key="k", request_id="1", tokens=1, rpm=1)) == 0
    assert 59 < await b.admit(KeyAdmission(key="k", request_id="2", tokens=1, rpm=1)) <= 60


async def test_over_tls_with_the_engines_certificate_checked(server, made, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def carry(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def joined(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    # The wheel's server was built without TLS: the standard library's stands before it.
    async with await asyncio.start_server(joined, "localhost", 0, ssl=context) as front:
        port = front.sockets[0].getsockname()[1]
        a = await made(f"valkeys://localhost:{port}/0?ssl_ca_certs={tmp_path}/ca.pem")
        await a.put({"x": b"1"}, ttl_s=60)
        assert await a.get(["x"]) == [b"1"]
        with pytest.raises(ConfigError, match="cannot be reached"):
            await made(f"valkeys://localhost:{port}/0")
        await a.aclose()


async def test_what_is_asked_in_one_tick_goes_in_one_batch(server, made):
    a = await made(server.url, deadline_s=5)

    async def reads():
        info = (await a._wire.ask([("INFO", "stats")]))[0].decode()
        return int(next(line for line in info.splitlines() if "total_reads_processed" in line).partition(":")[2])

    before = await reads()
    await asyncio.gather(*(a.first(str(n), ttl_s=60) for n in range(200)))
    assert await reads() - before <= 4
