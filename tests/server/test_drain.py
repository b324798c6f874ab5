"""A rolling update: a gateway that is told to end says so first, and nothing is lost on the way."""

import asyncio
import signal

import pytest

from support.calls import CHAT, post
from support.rolling import (
    BODY,
    CHUNK,
    END,
    PATH,
    STREAMED,
    Balancer,
    Provider,
    look,
    look_again,
    serving,
    update,
)
from support.upstream import ScriptedUpstream, answer, stream
from turnout.config import parse_config
from turnout.errors import ConfigError


async def drains(port):
    async with asyncio.timeout(5):
        while (await look(port))[0] == 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
async def test_told_to_end_it_first_says_so_and_serves_on(tmp_path, workers):
    server = f"drain_s = 30\nworkers = {workers}"
    script = stream(*[CHUNK] * 8, END, pause_s=0.1)
    async with ScriptedUpstream(script, answer(CHAT)) as up, serving(tmp_path, up.url, server) as gateway:
        kept = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert (await look_again(*kept, "/readyz"))[2] == {"status": "ready", "models": 1, "ledger": True}
        streaming = asyncio.create_task(post(f"x:{gateway.port}", PATH, STREAMED))
        async with asyncio.timeout(5):  # the first at the provider: it answers in the script's order
            while not up.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        gateway.end()
        await drains(gateway.port)
        assert (await look(gateway.port))[2] == {"status": "draining", "models": 1, "ledger": True}
        assert (await look(gateway.port, "/healthz"))[0] == 200
        assert (await post(f"x:{gateway.port}", PATH, BODY))[0] == 200
        # Whoever keeps a connection is bidden good-bye with an answer, not cut off later on.
        await asyncio.sleep(0.2)
        status, head, _ = await look_again(*kept, "/healthz")
        assert status == 200
        assert "connection: close" in head
        assert await kept[0].read() == b""
        kept[1].close()
        gateway.end()  # a second time: no more patience, but the stream ends well all the same
        status, _, raw = await streaming
        assert (status, raw.count(b"word"), b"[DONE]" in raw) == (200, 8, True)
        code, said = await gateway.ended()
        assert code == 0
        assert "told to end" in said
        assert "Traceback" not in said
        assert gateway.outcomes() == ["ok", "ok"]


@pytest.mark.parametrize(
    ("sig", "server"),
    [(signal.SIGINT, "drain_s = 30"), (signal.SIGINT, "drain_s = 30\nworkers = 2"), (signal.SIGTERM, "")],
)
async def test_a_developers_ctrl_c_and_a_gateway_that_stands_alone_do_not_wait(tmp_path, sig, server):
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, up.url, server) as gateway:
        gateway.end(sig)
        assert (await gateway.ended())[0] == 0


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_time_that_means_nothing_is_refused(value):
    with pytest.raises(ConfigError, match=r"server\.drain_s"):
        parse_config(f"server.drain_s = {value}", {})


async def test_a_rolling_update_loses_no_request_and_no_row(tmp_path):
    server = "drain_s = 1.0\nshutdown_grace_s = 10"
    async with (
        Provider() as up,
        serving(tmp_path / "a", up.url, server) as a,
        serving(tmp_path / "b", up.url, server) as b,
        Balancer([a, b]) as balancer,
    ):
        answers = await update([a, b], balancer.port, balancer.is_ready)
    assert set(answers) == {(200, True)}
    assert min(balancer.sent.values()) > 4
    assert a.outcomes() + b.outcomes() == ["ok"] * len(answers)
