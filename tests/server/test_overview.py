"""What an admin sees at a glance, from real requests through the gateway: the page's numbers are the ledger's."""

import pytest

from server.test_usage import get, ran
from support.calls import CHAT
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer

PRICED = """
[models."lab/large"]
tier = "frontier"
price = { input = 10, output = 40, cache_read = 1 }
"""


@pytest.fixture
async def gw(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + PRICED, tmp_path) as gw:
        await ran(gw, up)
        await ran(gw, up, 1, "chat")
        yield gw


async def test_the_overview_adds_up(gw):
    status, told = await get(gw, "/admin/overview?since=2d")
    assert status == 200
    total = told["totals"]
    rows = gw.engine.ledger.recent(10)
    assert total["requests"] == len(rows) == 5
    assert total["input_tokens"] == sum(row.input_tokens for row in rows)
    assert total["cost_usd"] == pytest.approx(sum(row.cost_nano_usd for row in rows) / 1e9)
    assert told["step"] == "hour"
    for name in ("series", "series_by_model", "by_model", "by_reason", "by_feature", "by_tier"):
        assert sum(entry["requests"] for entry in told[name]) == 5, name
    assert {entry["feature"] for entry in told["by_feature"]} == {"search", "chat"}


async def test_savings_stand_beside_two_baselines(gw):
    _, told = await get(gw, "/admin/overview?since=2d")
    saved = told["baselines"]
    assert saved["model"] == "lab/large"
    assert saved["compared_requests"] == 5
    rows = gw.engine.ledger.recent(10)
    assert saved["uncached_usd"] == pytest.approx(sum(r.input_tokens * 10 + r.output_tokens * 40 for r in rows) / 1e6)
    assert saved["saved_uncached_usd"] == pytest.approx(saved["uncached_usd"] - saved["paid_usd"])
    assert saved["cached_usd"] <= saved["uncached_usd"]


async def test_a_long_span_goes_by_days(gw):
    _, told = await get(gw, "/admin/overview?since=30d")
    assert told["step"] == "day"
    assert len(told["series"]) == 1


async def test_the_snowball_by_feature(gw):
    _, told = await get(gw, "/admin/snowball?since=2d")
    search = [point for point in told["data"] if point["feature"] == "search"]
    assert [point["step"] for point in search] == [0, 1, 2, 3]
    assert [point["input_tokens"] for point in search] == [1_000, 1_500, 2_000, 2_500]
    assert sum(search[-1]["parts"].values()) == pytest.approx(2_500, abs=5)


async def test_volume_says_what_usage_says(gw):
    _, exact = await get(gw, "/admin/usage?by=feature&since=2d")
    _, told = await get(gw, "/admin/volume?by=feature&since=2d")
    assert told["data"] == exact["data"]
    assert told["advice"] == exact["advice"]


async def test_sessions_that_are_over_are_in_the_history(gw):
    _, told = await get(gw, "/admin/history?since=2d")
    assert [(run["id"], run["requests"], run["last_context"]) for run in told["data"]] == [
        ("chat", 1, 1_000),
        ("search", 4, 2_500),
    ]
    _, alone = await get(gw, "/admin/history?since=2d&session=search")
    assert [run["id"] for run in alone["data"]] == ["search"]


@pytest.mark.parametrize("query", ["since=never", "until=30d&since=1d", "limit=0", "limit=" + "9" * 5_000])
async def test_a_query_that_is_none_is_refused(gw, query):
    status, told = await get(gw, f"/admin/history?{query}")
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")
