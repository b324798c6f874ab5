"""The balancer of the compose file, HAProxy itself where it is installed: a rolling update loses nothing."""

import asyncio
import csv
import io
import re
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.rolling import Provider, serving, update
from turnout.config import load_config

COMPOSE = Path(__file__).parents[2] / "deploy/compose"
ENV = dict.fromkeys(("TURNOUT_ADMIN_KEY", "TURNOUT_KEY", "OPENAI_API_KEY"), "sk-1") | {
    "TURNOUT_LEDGER_URL": "sqlite:///t.db",
    "TURNOUT_SHARED_URL": "memory:",
}

HAPROXY = shutil.which("haproxy") or ""

needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="HAProxy is not here: apt-get install haproxy")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def shipped(port, asked_at, *gateways):
    """The shipped file with the addresses of this test in the place of the compose network's."""
    told = (COMPOSE / "haproxy.cfg").read_text()
    told, n = re.subn(r"bind :8787", f"bind 127.0.0.1:{port}", told)
    assert n == 1
    for i, gateway in enumerate(gateways, 1):
        told, n = re.subn(rf"gateway-{i}:8787", f"127.0.0.1:{gateway}", told)
        assert n == 1
    # Without Docker's name server; and with its statistics, to see what it thinks of the gateways.
    told = told.replace(" resolvers docker init-addr last,libc,none", "")
    told = re.sub(r"resolvers docker\n(    .*\n)+", "", told)
    return told + f"\nfrontend asked\n    bind 127.0.0.1:{asked_at}\n    stats enable\n    stats uri /stats\n"


@asynccontextmanager
async def haproxy(folder, *gateways):
    """HAProxy before these gateways; its port and what tells whether it holds one for ready."""
    port, asked_at = free_port(), free_port()
    file = folder / "haproxy.cfg"
    file.write_text(shipped(port, asked_at, *(gateway.port for gateway in gateways)))
    process = await asyncio.create_subprocess_exec(
        HAPROXY, "-db", "-f", str(file), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )

    async def is_ready(gateway):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", asked_at)
        except ConnectionRefusedError:
            return False
        writer.write(b"GET /stats;csv HTTP/1.0\r\n\r\n")
        told = (await reader.read()).decode().partition("\r\n# ")[2]
        writer.close()
        name = f"gateway-{gateways.index(gateway) + 1}"
        return any(row["svname"] == name and row["status"] == "UP" for row in csv.DictReader(io.StringIO(told)))

    try:
        yield port, is_ready
    finally:
        process.terminate()
        await process.wait()


def test_the_gateways_drain_for_longer_than_the_balancer_takes_to_see_it():
    told = (COMPOSE / "haproxy.cfg").read_text()
    every, fall = re.search(r"check inter (\d+)s fall (\d+)", told).groups()
    server = load_config(COMPOSE / "turnout.toml", ENV).server
    assert server.drain_s >= 2 * int(every) * int(fall)
    hard_stop = int(re.search(r"hard-stop-after (\d+)s", told)[1])
    assert hard_stop > server.shutdown_grace_s


@needs_haproxy
def test_haproxy_takes_the_shipped_file():
    done = subprocess.run(
        [HAPROXY, "-c", "-f", COMPOSE / "haproxy.cfg"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    wrong = [line for line in done.stderr.splitlines() if "[ALERT]" in line]
    wrong += [line for line in done.stderr.splitlines() if "[WARNING]" in line and "could not resolve" not in line]
    assert wrong == []


@needs_haproxy
async def test_a_rolling_update_behind_haproxy_loses_no_request_and_no_row(tmp_path):
    server = "drain_s = 5.0\nshutdown_grace_s = 10"
    async with (
        Provider() as up,
        serving(tmp_path / "a", up.url, server) as a,
        serving(tmp_path / "b", up.url, server) as b,
        haproxy(tmp_path, a, b) as (port, is_ready),
    ):
        answers = await update([a, b], port, is_ready)
    assert set(answers) == {(200, True)}
    assert a.outcomes() + b.outcomes() == ["ok"] * len(answers)
