"""Budgets made while a gateway runs: kept in the store, held at once, beside those of the config."""

import json

import pytest

from server.test_console import Browser
from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.budget_book import book_rules
from turnout.config import parse_config
from turnout.errors import InvalidRequest
from turnout.stores.budgets import SqliteBudgets

CONFIG = '[budgets.company]\namount_usd = 500\nwebhook = "http://127.0.0.1:9/hook"\n'
ASK = json.dumps({"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}).encode()


async def called(gw):
    return (await post(gw.url, "/v1/chat/completions", ASK))[0]


async def asked(gw, method, path, value=None):
    status, _, body = await Browser(gw.url).ask(method, path, value)
    return status, json.loads(body)


async def test_a_budget_that_is_made_knows_what_was_spent_before_and_holds_at_once(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + CONFIG, tmp_path) as gw:
        assert await called(gw) == 200
        (row,) = await gw.booked()
        status, told = await asked(
            gw, "POST", "/admin/budgets", {"name": "small", "amount_usd": 0.0007, "period": "day"}
        )
        assert (status, told["source"]) == (200, "store")
        assert told["spent_usd"] == pytest.approx(row.cost_nano_usd / 1e9)
        assert await called(gw) == 402
        status, told = await asked(gw, "PATCH", "/admin/budgets/small", {"amount_usd": 1})
        assert (status, told["period"], told["amount_usd"]) == (200, "day", 1)
        assert await called(gw) == 200
        _, listed = await asked(gw, "GET", "/admin/budgets")
        assert [(b["name"], b["source"]) for b in listed["data"]] == [("company", "config"), ("small", "store")]
    # A restart knows it.
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + CONFIG, tmp_path) as gw:
        assert gw.engine.state.memory.budgets.state("small").amount_nano_usd == 1_000_000_000
        assert (await asked(gw, "DELETE", "/admin/budgets/small"))[0] == 200
        assert [rule.name for rule in gw.engine.state.memory.budgets.rules] == ["company"]
        assert (await asked(gw, "DELETE", "/admin/budgets/small"))[0] == 404


async def test_a_configs_budget_changes_in_the_config_alone(tmp_path):
    async with gateway(lab("http://127.0.0.1:9") + CONFIG, tmp_path) as gw:
        for method, path in (("PATCH", "/admin/budgets/company"), ("DELETE", "/admin/budgets/company")):
            status, told = await asked(gw, method, path, {"amount_usd": 1})
            assert (status, told["error"]["message"]) == (400, "budget company stands in the config: change it there")
        status, told = await asked(gw, "POST", "/admin/budgets", {"name": "company", "amount_usd": 1})
        assert status == 400


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"amount_usd": -1}, "must lie between"),
        ({"amount_usd": "much"}, "is not as it should be"),
        ({"amount_usd": 1, "period": "fortnight"}, "use day, week, month"),
        ({"amount_usd": 1, "timezone": "Mars/Base"}, "no such time zone"),
        ({"amount_usd": 1, "webhook": "http://x"}, "a webhook stands in the config alone"),
        ({"amount_usd": 1, "colour": "red"}, "is no field of a budget"),
        ({}, "is not as it should be"),
    ],
)
async def test_what_is_no_budget_is_refused_and_changes_nothing(tmp_path, told, why):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        status, said = await asked(gw, "POST", "/admin/budgets", {"name": "new", **told})
        assert status == 400
        assert why in said["error"]["message"]
        assert not gw.engine.budgets.rules
        with pytest.raises(InvalidRequest):
            await gw.engine.budgets.create("no name", b'{"amount_usd": 1}')


async def test_the_command_sees_them_too(tmp_path):
    async with gateway(lab("http://127.0.0.1:9"), tmp_path) as gw:
        await gw.engine.budgets.create("made", b'{"amount_usd": 2.5, "match": {"team": "core"}}')
    store = SqliteBudgets(f"{tmp_path}/ledger.db")
    (rule,) = book_rules(parse_config("", {}), store)
    store.close()
    assert (rule.name, rule.amount_nano_usd, rule.match.team) == ("made", 2_500_000_000, "core")


async def test_pace_and_forecast(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + CONFIG, tmp_path) as gw:
        await called(gw)
        await gw.booked()
        _, listed = await asked(gw, "GET", "/admin/budgets")
        (company,) = listed["data"]
        assert 0 < company["pace_usd"] <= 500
        assert company["rung"] == "none"
        forecast = company["forecast_usd"]
        assert forecast is None or forecast >= company["spent_usd"]
