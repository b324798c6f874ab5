"""`turnout models probe` as its user reads it, against a gateway on loopback."""

import asyncio
import json

from support.calls import CHAT
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.cli import main


async def told(capsys, tmp_path, *more):
    body = json.loads(json.dumps(CHAT))
    body["choices"][0]["message"]["content"] = "88"
    async with ScriptedUpstream(answer(body)) as up, gateway(lab(up.url), tmp_path) as gw:
        argv = ["models", "probe", "lab/small", "--url", f"{gw.url}/", *more]
        assert await asyncio.to_thread(main, argv) == 0
    return capsys.readouterr().out


async def test_a_run_as_json(capsys, tmp_path):
    story = json.loads(await told(capsys, tmp_path, "--json", "--count", "20"))
    assert story["all"]["asked"] == 20
    assert story["all"]["passed"] == 1
    assert story["all"]["interval"] == [0.0089, 0.2361]
    assert story["all"]["cost_usd"] == 0.0136
    assert [one["probe"] for one in story["answers"] if one["passed"]] == ["arithmetic-1"]
    assert len(story["families"]) == 10
    assert [level["group"] for level in story["levels"]] == ["1", "5"]


async def test_a_run_for_people_says_what_its_figures_do_not(capsys, tmp_path):
    out = await told(capsys, tmp_path, "--max-cost-usd", "0.004")
    assert "arithmetic" in out
    assert "1 of 5" in out
    assert "were not asked: the cost limit is reached" in out


def test_a_gateway_that_is_not_there_and_limits_that_mean_nothing(capsys):
    for argv in (["list"], ["probe", "lab/small"]):
        assert main(["models", *argv, "--url", "http://127.0.0.1:1"]) == 1
        assert "start one with turnout serve" in capsys.readouterr().err
    assert main(["models", "probe", "lab/small", "--count", "0"]) == 1
    assert "--count" in capsys.readouterr().err
