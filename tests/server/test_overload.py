"""Too many, too slow, too large: what a gateway does to protect itself; and how it ends and changes while in use."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import Script, ScriptedUpstream, answer, stream
from turnout.cli.serve import reload
from turnout.config import parse_config
from turnout.errors import ConfigError
from turnout.server.connection import Connection

ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}]}
BODY = json.dumps(ASK).encode()
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


async def connect(gw, sent=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    writer.write(sent)
    return reader, writer


async def test_more_than_it_can_serve_are_told_to_come_again(tmp_path):
    toml = "[server]\nmax_concurrency = 2\nqueue_s = 0.05\nshutdown_grace_s = 1\n"
    async with ScriptedUpstream(Script(hang=True)) as up, gateway(lab(up.url) + toml, tmp_path) as gw:
        waiting = [asyncio.create_task(post(gw.url, "/v1/chat/completions", BODY)) for _ in range(2)]
        async with asyncio.timeout(5):
            while len(up.requests) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        status, headers, raw = await post(gw.url, "/v1/chat/completions", BODY)
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(raw)["error"]["code"] == "no_capacity"
        assert (await post(gw.url, "/v1/chat/completions", BODY))[0] == 503
    # The end of the gateway is told to those who still wait.
    assert [status for status, _, _ in await asyncio.gather(*waiting)] == [503, 503]


@pytest.mark.parametrize(
    ("sent", "status"), [(b"", b""), (b"POST /v1/chat/completions HTTP/1.1\r\nx-slow: ", b"HTTP/1.1 408 ")]
)
async def test_headers_that_do_not_come_are_not_waited_for(tmp_path, monkeypatch, sent, status):
    monkeypatch.setattr(Connection, "head_s", 0.2)
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        reader, writer = await connect(gw, sent)
        got = await asyncio.wait_for(reader.read(), 3)
        writer.close()
    assert got[: len(b"HTTP/1.1 408 ")] == status  # who has said nothing is told nothing


async def test_a_second_request_s_headers_are_not_waited_for_either(tmp_path, monkeypatch):
    monkeypatch.setattr(Connection, "head_s", 0.2)
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        reader, writer = await connect(gw, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b'ok"}')
        await asyncio.sleep(0.4)  # an idle connection may be kept
        writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
        got = await asyncio.wait_for(reader.read(), 3)
        writer.close()
    assert got.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "head", [b"x-large: " + b"y" * 2_000_000, b"".join(b"x-%d: y\r\n" % n for n in range(200_000))]
)
async def test_headers_have_a_size(tmp_path, head):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        reader, writer = await connect(gw, b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + head)
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert got.startswith(b"HTTP/1.1 431 ")


async def test_a_body_that_drips_is_not_waited_for(tmp_path):
    async with gateway(lab("http://127.0.0.1:9") + "[server]\nbody_timeout_s = 0.3\n", tmp_path) as gw:
        reader, writer = await connect(
            gw, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        )
        for _ in range(3):
            writer.write(b"{")
            await asyncio.sleep(0.05)
        got = await asyncio.wait_for(reader.readuntil(b"}}"), 3)
        writer.close()
    assert b"408 Request Timeout" in got
    assert b"request_timeout" in got


# ---- the end ---------------------------------------------------------------------------------------------------


async def serving(folder, url, grace_s):
    """`turnout serve` as a process, its config in `folder`; the process and its port."""
    file = folder / "turnout.toml"
    file.write_text(f'store.ledger = "sqlite:///{folder}/t.db"\nserver.shutdown_grace_s = {grace_s}\n' + lab(url))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "turnout.cli", "serve", "--config", str(file), "--port", "0",
        stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    line = (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
    return process, int(line.rpartition(":")[2])


async def streaming_from(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({**ASK, "stream": True}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await reader.readuntil(b"word ")
    return reader, writer


@pytest.mark.parametrize("in_time", [True, False])
async def test_told_to_end_it_lets_streams_finish_within_the_grace_and_writes_its_books(tmp_path, in_time):
    script = stream(*[CHUNK] * (10 if in_time else 600), END, pause_s=0.1)
    async with ScriptedUpstream(script) as up:
        process, port = await serving(tmp_path, up.url, 5 if in_time else 1)
        reader, writer = await streaming_from(port)
        process.send_signal(signal.SIGTERM)
        rest = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        told = (await process.stderr.read()).decode()
    assert ("[DONE]" in rest.decode()) == in_time
    assert ("no_capacity" in rest.decode()) == (not in_time)
    assert "Traceback" not in told
    with closing(sqlite3.connect(tmp_path / "t.db")) as books:
        outcomes = [row[0] for row in books.execute("select outcome from requests")]
    assert outcomes == ["ok" if in_time else "cancelled"]


# ---- a changed config ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [b"zz\r\n", b"7d0\r\n" + b"x" * 2000], ids=["no body", "too large"])
async def test_a_caller_who_is_refused_in_the_midst_of_its_body_does_not_hold_up_the_end(tmp_path, piece):
    server = "[server]\nmax_body_bytes = 1000\nshutdown_grace_s = 20\n"
    async with gateway(server + lab("http://127.0.0.1:9"), tmp_path) as gw:
        reader, writer = await connect(
            gw, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.2, writer.write, piece)
        ends_s = time.monotonic()
    assert time.monotonic() - ends_s < 10
    assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()


def config(folder, *parts):
    return parse_config(f'store.ledger = "sqlite:///{folder}/ledger.db"\n' + "".join(parts), {})


async def test_a_new_config_takes_over_while_a_stream_goes_on(tmp_path):
    budget = "[budgets.all]\namount_usd = 1\n"
    script = stream(*[CHUNK] * 10, END, pause_s=0.05)
    async with ScriptedUpstream(script) as up, gateway(lab(up.url) + budget, tmp_path) as gw:
        _, _, raw = await post(gw.url, "/v1/chat/completions", json.dumps({**ASK, "stream": True}).encode())
        spent = gw.engine.state.memory.budgets.spent("all")
        asking = asyncio.create_task(post(gw.url, "/v1/chat/completions", json.dumps({**ASK, "stream": True}).encode()))
        await asyncio.sleep(0.2)
        running = config(tmp_path, lab(up.url), budget)
        await reload(gw.app, running, config(tmp_path, '[aliases]\nquick = "lab/small"\n', lab(up.url), budget), None)
        assert gw.engine.state.memory.budgets.held("all") > 0
        asked = json.dumps({**ASK, "model": "quick"}).encode()
        status, _, _ = await post(gw.url, "/v1/route", asked)
        assert status == 200
        _, _, other = await asking
        assert raw.count(b"word") == other.count(b"word") == 10
        await gw.booked(2)
        assert gw.engine.state.memory.budgets.spent("all") == 2 * spent > 0
        assert gw.engine.state.memory.budgets.held("all") == 0


async def test_a_changed_budget_knows_what_was_spent(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        await post(gw.url, "/v1/chat/completions", BODY)
        (row,) = await gw.booked()
        budget = "[budgets.new]\namount_usd = 0.0000001\n"
        await reload(gw.app, config(tmp_path, lab(up.url)), config(tmp_path, lab(up.url), budget), None)
        assert gw.engine.state.memory.budgets.spent("new") == row.cost_nano_usd
        assert (await post(gw.url, "/v1/chat/completions", BODY))[0] == 402


@pytest.mark.parametrize(
    "bad",
    ['[models."nowhere/x"]\n', "[providers.unknown]\n", 'store.ledger = "sqlite:///o"\n'],
)
async def test_a_bad_config_changes_nothing(tmp_path, bad):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        before = gw.app.engine
        with pytest.raises(ConfigError):
            new = parse_config(bad, {}) if "store" in bad else config(tmp_path, bad)
            await reload(gw.app, config(tmp_path, lab("http://127.0.0.1:9")), new, None)
        assert gw.app.engine is before


async def test_the_command_reloads_on_sighup_and_when_its_file_changes(tmp_path):
    process, port = await serving(tmp_path, "http://127.0.0.1:9", 1)
    file = tmp_path / "turnout.toml"

    async def listed(name):
        async with asyncio.timeout(5):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                known = name.encode() in await reader.read()
                writer.close()
                if known:
                    return
                await asyncio.sleep(0.05)

    try:
        first = file.read_text()
        file.write_text(first + '[aliases]\nseen = "lab/small"\n')
        await listed("seen")
        file.write_text(first + "[aliases\n")
        told = ""
        while "not reloaded" not in told:
            told = (await asyncio.wait_for(process.stderr.readline(), 5)).decode()
        await listed("seen")
        file.write_text(first + '[aliases]\nasked = "lab/small"\n')
        process.send_signal(signal.SIGHUP)
        await listed("asked")
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)
