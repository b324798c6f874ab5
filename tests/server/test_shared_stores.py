"""Gateways and commands on one store, in SQLite and in PostgreSQL: what one is told, all know."""

import asyncio
import json

import pytest

from server.test_console import Browser
from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.stores import KINDS, house
from support.upstream import ScriptedUpstream, answer
from turnout.cli import main
from turnout.server.following import following

ASK = json.dumps({"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}).encode()


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    (tmp_path / "store").mkdir()
    with house(request.param, tmp_path / "store") as made:
        yield made.config.ledger


async def called(gw, key="none"):
    return (await post(gw.url, "/v1/chat/completions", ASK, [("authorization", f"Bearer {key}")]))[0]


async def asked(gw, method, path, value=None):
    status, _, body = await Browser(gw.url).ask(method, path, value)
    assert status == 200, body
    return json.loads(body)


async def test_a_budget_made_at_one_gateway_holds_at_the_other(store, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with (
        ScriptedUpstream(answer(CHAT)) as up,
        gateway(lab(up.url), folders[0], ledger=store) as one,
        gateway(lab(up.url), folders[1], ledger=store) as two,
        following(two.engine.budgets.look),
    ):
        assert await called(two) == 200
        await asked(one, "POST", "/admin/budgets", {"name": "soft", "amount_usd": 1, "on_exhausted": "warn"})
        async with asyncio.timeout(10):
            while not two.engine.budgets.rules:  # noqa: ASYNC110 - no event reaches out of a store
                await asyncio.sleep(0.02)
        (soft,) = (await asked(two, "GET", "/admin/budgets"))["data"]
        assert (soft["name"], soft["amount_usd"], soft["spent_usd"] > 0) == ("soft", 1, True)
        await asked(two, "DELETE", "/admin/budgets/soft")
        await one.engine.budgets.look()
        async with asyncio.timeout(10):
            while one.engine.budgets.rules:
                await one.engine.budgets.look()
                await asyncio.sleep(0.02)


async def test_commands_make_keys_and_show_what_gateways_wrote(store, tmp_path, capsys):
    file = tmp_path / "turnout.toml"
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path, ledger=store) as gw:
        file.write_text(f'store.ledger = "{store}"\n{lab(up.url)}[budgets.all]\namount_usd = 5\n')

        async def command(*words):
            # In a thread of its own, as in a process of its own: some commands run an event loop.
            assert await asyncio.to_thread(main, [*words, "--config", str(file)]) == 0
            return capsys.readouterr().out

        assert await called(gw) == 200
        await gw.booked()
        key = (await command("keys", "create", "ci")).strip()
        async with asyncio.timeout(10):
            while await called(gw) != 401:  # noqa: ASYNC110 - no event reaches out of a store
                await asyncio.sleep(0.05)
        assert await called(gw, key) == 200
        await gw.booked(2)
        assert [told["name"] for told in json.loads(await command("keys", "list", "--json"))["data"]] == ["ci"]
        (budget,) = json.loads(await command("budgets", "--json"))["data"]
        assert budget["spent_usd"] > 0
        usage = json.loads(await command("usage", "--json", "--by", "key"))
        assert {told["group"] for told in usage["data"]} >= {"ci"}
        await command("keys", "revoke", "ci")
        async with asyncio.timeout(10):
            while await called(gw, key) != 401:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
