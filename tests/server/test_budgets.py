"""Budgets through the whole gateway: what a caller is told, what a restart knows, what a failing disk stops."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

import turnout
from support.calls import CHAT, post, send
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer, stream
from turnout.catalog.price_records import recost
from turnout.chat import Usage
from turnout.errors import ConfigError

PATH = "/v1/chat/completions"
COST = 600_000 + 40_000 + 40_000
"""Nano-dollars of `CHAT`: 600 tokens read, 400 from the cache, 10 written."""


def ask(**more):
    return json.dumps(
        {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, **more}
    ).encode()


def told(raw):
    return json.loads(raw)["error"]


async def test_a_refusal_names_the_budget_its_end_and_the_way_out(tmp_path):
    toml = '[budgets.team]\namount_usd = 0.00001\ntimezone = "Europe/Berlin"\nperiod = "day"\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        status, headers, raw = await post(gw.url, PATH, ask())
    error = told(raw)
    assert (status, error["code"], headers["x-should-retry"]) == (402, "budget_exhausted", "false")
    for part in ("budget team", "00:00 Europe/Berlin", "budgets.team.amount_usd", "POST /admin/budgets/team/add"):
        assert part in error["message"]
    assert up.requests == []


async def test_soft_budgets_serve_on_and_tell_the_webhook_once(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, ScriptedUpstream(answer({}, 500), answer({})) as hook:
        soft = '[budgets.soft]\namount_usd = 0.001\non_exhausted = "warn"\nalerts = [0.5, 1]\n'
        toml = soft + f'webhook = "{hook.url}/s3cret"\n'
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            gw.engine.state.alerts._waits_s = (0.0, 0.0, 0.0)
            for _ in range(4):
                assert (await post(gw.url, PATH, ask()))[0] == 200
            async with asyncio.timeout(5):
                while len(hook.requests) < 3:  # noqa: ASYNC110 - one of them was answered with 500 and is sent again
                    await asyncio.sleep(0.01)
            assert gw.engine.state.memory.budgets.spent("soft") == 4 * COST
    shares = sorted(request.json()["share"] for request in hook.requests)
    assert shares in ([0.5, 0.5, 1.0], [0.5, 1.0, 1.0])
    assert "budget soft has used" in hook.requests[0].json()["text"]


async def test_a_webhook_that_is_down_harms_nobody_and_its_address_stays_secret(tmp_path, caplog):
    toml = (
        '[budgets.soft]\namount_usd = 0.001\non_exhausted = "warn"\nalerts = [0.5]\n'
        'webhook = "http://127.0.0.1:9/s3cret"\n'
    )
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        gw.engine.state.alerts._waits_s = (0.0, 0.0)
        assert (await post(gw.url, PATH, ask()))[0] == 200
        async with asyncio.timeout(5):
            while gw.engine.state.alerts._background._tasks:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.01)
    assert "the webhook of budget soft could not be reached" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(("on_exhausted", "status"), [("block", 503), ("warn", 200)])
async def test_while_the_ledger_fails_hard_budgets_stop_and_soft_ones_do_not(tmp_path, on_exhausted, status):
    toml = f'[budgets.all]\namount_usd = 1\non_exhausted = "{on_exhausted}"\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        gw.engine.ledger._patience_s = 0.0  # a lock of some seconds is no fault yet
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            assert (await post(gw.url, PATH, ask()))[0] == 200
            async with asyncio.timeout(10):
                while gw.engine.ledger.healthy:  # noqa: ASYNC110 - the writer's thread finds out
                    await asyncio.sleep(0.02)
            got, _, raw = await post(gw.url, PATH, ask())
            assert got == status
            if status == 503:
                assert told(raw)["code"] == "no_capacity"
                assert "budget all cannot be kept" in told(raw)["message"]
                assert "holds a lock" in told(raw)["message"]
            lock.execute("ROLLBACK")
        async with asyncio.timeout(10):
            while not gw.engine.ledger.healthy:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await post(gw.url, PATH, ask()))[0] == 200
        assert {r.outcome for r in await gw.booked(3)} <= {"ok", "error"}


async def test_money_of_an_open_stream_is_booked_in_the_period_it_came_in(tmp_path):
    event = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    last = b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":10}}\n\n'
    script = stream(event, event, last, b"data: [DONE]\n\n", pause_s=0.2)
    toml = '[budgets.day]\namount_usd = 1\nperiod = "day"\n'
    async with ScriptedUpstream(script) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        book = gw.engine.state.memory.budgets
        came = book._clock()
        asking = asyncio.create_task(post(gw.url, PATH, ask(stream=True)))
        await asyncio.sleep(0.2)
        book._clock = lambda: came.replace(year=came.year + 1)
        assert (await asking)[0] == 200
        await gw.booked()
        assert book.spent("day") == 0
        assert [p.spent for (_, start), p in book._purses.items() if start.year == came.year] == [1_040_000]


async def test_a_gateway_that_was_killed_leaves_no_money_uncounted(tmp_path):
    """A child holds the reservation of a call that never ends, and is killed in the midst of it."""
    async with ScriptedUpstream(answer(CHAT, hang=True)) as up:
        config = tmp_path / "turnout.toml"
        toml = "[budgets.all]\namount_usd = 1\n" + lab(up.url)
        config.write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + toml)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0"),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(turnout.__file__).parents[1])},
        )
        line = await asyncio.wait_for(child.stderr.readline(), 20)
        asking = asyncio.create_task(post(line.decode().split()[-1], PATH, ask(max_tokens=1000)))
        async with asyncio.timeout(10):
            while not up.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="another Turnout keeps the budgets"):
            async with gateway(toml, tmp_path):
                pass
        child.kill()
        await child.wait()
        await child.stderr.read()
        await asyncio.gather(asking, return_exceptions=True)
        async with gateway(toml, tmp_path) as gw:
            assert gw.engine.state.memory.budgets.spent("all") >= 4_000_000
            (row,) = gw.rows()
            assert (row.outcome, row.deployment) == ("lost", None)
    assert not (tmp_path / "ledger.db.held").exists()


def test_a_damaged_ledger_stops_the_start_and_says_what_to_do(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"SQLite format 3\0" + b"junk" * 2000)
    config = tmp_path / "turnout.toml"
    config.write_text(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n[budgets.all]\namount_usd = 1\n')
    got = subprocess.run(
        [sys.executable, "-m", "turnout.cli", "serve", "--config", str(config), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(turnout.__file__).parents[1])},
    )
    assert got.returncode == 1
    assert "restore a copy" in got.stderr or "not an SQLite database" in got.stderr
    assert "Traceback" not in got.stderr


async def test_a_cost_can_be_worked_out_again_from_what_was_kept(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        assert (await post(gw.url, PATH, ask()))[0] == 200
        (row,) = await gw.booked()
        usage = Usage(input=row.input_tokens, cache_read=row.cache_read_tokens, output=row.output_tokens)
        assert recost(usage, gw.engine.ledger.price(row.price)) == row.cost_nano_usd == COST


async def test_a_budget_made_or_changed_under_load_counts_every_request_once(tmp_path):
    """The ledger takes its time to say what was spent; requests go on, under the budgets so far."""
    toml = "[budgets.all]\namount_usd = 1000\n"
    made = json.dumps({"name": "team", "amount_usd": 1000, "match": {"tag": "feature=a"}}).encode()
    feature = (("x-turnout-tags", "feature=a"),)
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        ledger, reading, go = gw.engine.ledger, threading.Event(), threading.Event()
        read = ledger._past

        def slowly(questions, since):
            reading.set()
            assert go.wait(10)
            return read(questions, since)

        ledger._past = slowly
        for change in (
            lambda: post(gw.url, "/admin/budgets", made),
            lambda: send(gw.url, "PATCH", "/admin/budgets/team", b'{"match": {"model": "lab/small"}}'),
        ):
            reading.clear()
            go.clear()
            before = [post(gw.url, PATH, ask(), feature) for _ in range(5)]
            changing = asyncio.create_task(change())
            await asyncio.gather(*before)
            assert await asyncio.to_thread(reading.wait, 10)
            assert {
                status for status, _, _ in await asyncio.gather(*(post(gw.url, PATH, ask()) for _ in range(3)))
            } == {200}
            await asyncio.gather(*(post(gw.url, PATH, ask(), feature) for _ in range(5)))
            go.set()
            assert (await changing)[0] == 200
            rows = await gw.booked()
            counted = gw.engine.state.memory.budgets.spent("team")
            wanted = [r for r in rows if r.tags.get("feature") == "a"] if len(rows) < 20 else rows
            assert counted == sum(r.cost_nano_usd for r in wanted) == len(wanted) * COST
        assert gw.engine.state.memory.budgets.spent("all") == 26 * COST


async def test_a_changed_budget_holds_as_it_was_until_its_past_is_read(tmp_path):
    made = b'{"name": "team", "amount_usd": 0.000001}'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        assert (await post(gw.url, "/admin/budgets", made))[0] == 200
        ledger, go = gw.engine.ledger, threading.Event()
        read = ledger._past
        ledger._past = lambda questions, since: go.wait(10) and read(questions, since)
        changing = asyncio.create_task(send(gw.url, "PATCH", "/admin/budgets/team", b'{"period": "day"}'))
        await asyncio.sleep(0.05)
        assert (await post(gw.url, PATH, ask()))[0] == 402
        assert (await send(gw.url, "DELETE", "/admin/budgets/team", b""))[0] == 200  # somebody else is faster
        go.set()
        status, _, raw = await changing
        assert (status, "changed meanwhile" in told(raw)["message"]) == (503, True)
        assert gw.engine.budgets.told == {}
        assert (await post(gw.url, PATH, ask()))[0] == 200
