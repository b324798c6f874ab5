"""`turnout serve --workers N` as it is run: processes on loopback that answer at one address."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from server.test_metrics import series
from support.calls import CHAT, post
from support.gateway import lab
from support.upstream import ScriptedUpstream, answer
from turnout.cli import workers

ROOT = Path(__file__).parents[2]
PATH = "/v1/chat/completions"
ASK = json.dumps({"model": "lab/small", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}).encode()


def start(folder, toml, workers=2, port=0):
    file = folder / "turnout.toml"
    file.write_text(f'store.ledger = "sqlite:///{folder}/ledger.db"\n{toml}')
    command = [sys.executable, "-m", "turnout.cli", "serve", "--config", str(file), "--port", str(port)]
    return subprocess.Popen(
        [*command, "--workers", str(workers)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        start_new_session=True,
    )


class Served:
    def __init__(self, parent, url, folder):
        self.parent, self.url, self.folder = parent, url, folder

    def children(self):
        told = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text()
        return [int(pid) for pid in told.split()]

    async def call(self):
        try:
            return (await post(self.url, PATH, ASK))[0]
        except (OSError, IndexError):
            return None  # cut off

    def rows(self):
        with contextlib.closing(sqlite3.connect(self.folder / "ledger.db")) as ledger:
            return ledger.execute("SELECT outcome, cost_nano_usd FROM requests").fetchall()


@contextlib.asynccontextmanager
async def serving(folder, toml, workers=2):
    parent = start(folder, toml, workers)
    try:
        said = []
        while "listening on" not in (line := await asyncio.to_thread(parent.stderr.readline)):
            said.append(line)
            assert line, said
        yield Served(parent, line.split("listening on ")[1].split(",")[0].strip(), folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            parent.send_signal(signal.SIGTERM)
        await asyncio.to_thread(parent.communicate)


async def until(true):
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - no event reaches out of a process
            await asyncio.sleep(0.05)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_hard_budget_is_never_exceeded_and_each_answer_has_a_row(tmp_path):
    # 400 cached of 1000 tokens in, 10 out: 680,000 nano-dollars a request.
    budget = "[budgets.all]\namount_usd = 0.0136\n"
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, lab(up.url) + budget, 3) as gw:
        answers = await asyncio.gather(*(gw.call() for _ in range(60)))
        gw.parent.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gw.parent.wait) == 0
        served = [cost for outcome, cost in gw.rows() if outcome == "ok"]
    assert set(answers) <= {200, 402, 429, 503}
    assert len(served) == answers.count(200) > 0
    assert sum(served) <= 13_600_000


async def test_a_killed_worker_is_started_again_and_no_count_falls(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, lab(up.url), 3) as gw:
        assert [await gw.call() for _ in range(12)] == [200] * 12
        for _ in range(4):  # whichever worker answers
            assert (await series(gw.url))["turnout_requests_total"] <= 12
        before = (await series(gw.url))["turnout_requests_total"]
        killed = gw.children()[0]
        os.kill(killed, signal.SIGKILL)
        answers = [await gw.call() for _ in range(12)]
        await until(lambda: len(gw.children()) == 3 and killed not in gw.children())
        assert answers == [200] * 12
        assert [(await series(gw.url))["turnout_requests_total"] >= before for _ in range(6)] == [True] * 6


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_all_of_them_with_every_row_written(tmp_path, sig):
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, lab(up.url)) as gw:
        assert await asyncio.gather(*(gw.call() for _ in range(10))) == [200] * 10
        children = gw.children()
        os.killpg(gw.parent.pid, sig)
        assert await asyncio.to_thread(gw.parent.wait) == 0
        assert not any(alive(child) for child in children)
        assert len(gw.rows()) == 10


async def test_workers_whose_parent_was_killed_end_by_themselves(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, lab(up.url)) as gw:
        assert await gw.call() == 200
        children = gw.children()
        gw.parent.kill()
        await until(lambda: not any(alive(child) for child in children))
        assert len(gw.rows()) == 1


def test_a_signal_in_the_midst_of_forking_ends_those_that_were_born(monkeypatch):
    """A worker that is forked after the word to end would never hear it."""
    born = []

    def fork():
        born.append(len(born) + 1000)
        if len(born) == 2:
            signal.raise_signal(signal.SIGTERM)
        return born[-1]

    told = []
    monkeypatch.setattr(workers.os, "fork", fork)
    monkeypatch.setattr(workers.os, "kill", lambda pid, _: told.append(pid))
    watch = workers._Watch(4, socket.socket(), lambda place: 0)
    before = signal.signal(signal.SIGTERM, watch._end)
    try:
        for _ in range(4):
            watch._fork()
    finally:
        signal.signal(signal.SIGTERM, before)
        watch._socket.close()
    assert (born, told) == ([1000, 1001], [1000, 1001])


async def test_all_are_ready_and_a_changed_config_reaches_all(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, serving(tmp_path, lab(up.url)) as gw:

        def models():
            with urllib.request.urlopen(f"{gw.url}/v1/models", timeout=10) as told:  # noqa: S310 - our own
                return {model["id"] for model in json.load(told)["data"]}

        file = tmp_path / "turnout.toml"
        file.write_text(file.read_text() + '[models."lab/new"]\ntier = "small"\n')
        gw.parent.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while not all(["lab/new" in await asyncio.to_thread(models) for _ in range(12)]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def test_a_config_that_cannot_be_served_is_one_sentence(tmp_path):
    parent = start(tmp_path, '[routing]\ndefault = "lab/none"\n')
    _, said = parent.communicate(timeout=60)
    assert (parent.returncode, len(said.splitlines())) == (1, 1), said


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        parent = start(tmp_path, lab("http://127.0.0.1:9"), port=taken.getsockname()[1])
        _, said = parent.communicate(timeout=60)
    assert (parent.returncode, len(said.splitlines())) == (1, 1), said
    assert "cannot listen" in said
