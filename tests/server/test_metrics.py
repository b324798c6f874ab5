"""`GET /metrics` of a running gateway: what was asked is on the page, once; who may read it; it survives a reload."""

import asyncio
import http.client
import json
from urllib.parse import urlsplit

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.cli.serve import reload
from turnout.config import parse_config

PATH = "/v1/chat/completions"
ASK = json.dumps({"model": "lab/small", "messages": [{"role": "user", "content": "Where is the Louvre?"}]}).encode()


def scrape(url: str, **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("GET", "/metrics", headers={name.replace("_", "-"): told for name, told in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers["content-type"], response.read().decode()
    finally:
        connection.close()


async def series(url: str, **headers: str) -> dict[str, float]:
    """Sums over the labels of every series, from a scrape as Prometheus makes it."""
    status, kind, text = await asyncio.to_thread(scrape, url, accept="application/openmetrics-text", **headers)
    assert status == 200, text
    assert "openmetrics-text" in kind
    told: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            told[sample.name] = told.get(sample.name, 0) + sample.value
    return told


async def test_requests_and_refusals_are_on_the_page_once_each(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        assert (await post(gw.url, PATH, ASK))[0] == 200
        assert (await post(gw.url, PATH, ASK))[0] == 200
        assert (await post(gw.url, PATH, b"{"))[0] == 400
        told = await series(gw.url)
        rows = await gw.booked(2)
    assert told["turnout_requests_total"] == len(rows) == 2
    assert told["turnout_attempts_total"] == 2
    assert told["turnout_tokens_total"] == sum(row.input_tokens + row.output_tokens for row in rows)
    assert round(told["turnout_cost_usd_total"], 9) == sum(row.cost_nano_usd for row in rows) / 1e9
    assert told["turnout_errors_total"] == 1
    assert told["turnout_ledger_healthy"] == 1
    assert told["turnout_requests_in_flight"] == 0
    assert told["turnout_build_info"] == 1


async def test_a_reload_keeps_the_counts_and_shows_the_new_budget(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        await post(gw.url, PATH, ASK)
        store = f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n'
        before = parse_config(store + lab(up.url), {})
        after = parse_config(store + lab(up.url) + "[budgets.team]\namount_usd = 2\n", {})
        await reload(gw.app, before, after, "127.0.0.1")
        await post(gw.url, PATH, ASK)
        told = await series(gw.url)
    assert told["turnout_requests_total"] == 2
    assert told["turnout_budget_amount_usd"] == 2
    assert 0 < told["turnout_budget_used_ratio"] < 1


async def test_where_there_are_keys_only_the_admin_reads_it(tmp_path):
    toml = 'server.admin_key = "adm"\n[keys.ci]\nkey = "sk-ci"\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        for headers in ({}, {"authorization": "Bearer sk-ci"}):
            status, _, text = await asyncio.to_thread(scrape, gw.url, **headers)
            assert status == 401
            assert "turnout_" not in text
        status, kind, _ = await asyncio.to_thread(scrape, gw.url, authorization="Bearer adm")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        assert (await post(gw.url, "/metrics", b"{}", [("authorization", "Bearer adm")]))[0] == 405
