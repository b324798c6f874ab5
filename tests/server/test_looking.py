"""What an admin looks at beside the sums: requests, sessions step by step, models and their health."""

import json

import pytest

from server.test_console import Browser
from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import Script, ScriptedUpstream, answer

ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


async def call(gw, session, **more):
    headers = [("x-turnout-session", session), ("x-turnout-tags", "feature=search")]
    return await post(gw.url, "/v1/chat/completions", json.dumps({**ASK, **more}).encode(), headers)


async def look(gw, path, method="GET", value=None):
    status, _, body = await Browser(gw.url).ask(method, path, value)
    return status, json.loads(body)


@pytest.fixture
async def gw(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        for session in ("one", "one", "a/b?c"):
            await call(gw, session)
        await gw.booked(3)
        yield gw


async def test_the_newest_requests(gw):
    _, told = await look(gw, "/admin/requests?limit=2")
    assert [row["session_id"] for row in told["data"]] == ["a/b?c", "one"]
    rows = gw.rows()
    assert told["data"][0]["cost_usd"] == rows[0].cost_nano_usd / 1e9
    assert (await look(gw, "/admin/requests?session=one"))[1]["data"][1]["step"] == 0
    assert (await look(gw, "/admin/requests?limit=0"))[0] == 400
    _, story = await look(gw, f"/admin/requests/{rows[0].request_id}")
    assert story["decision"]["candidates"][0]["deployment"] == "lab/small"
    assert (await look(gw, "/admin/requests/req_none"))[0] == 404


async def test_requests_are_found_by_what_they_have(gw):
    await call(gw, "one", model="no/such")
    await gw.booked(4)

    async def found(query):
        return [row["session_id"] for row in (await look(gw, f"/admin/requests?{query}"))[1]["data"]]

    assert await found("failed=1") == await found("model=no/such") == ["one"]
    assert await found("feature=search&model=lab/small&limit=2") == ["a/b?c", "one"]
    third = (await look(gw, "/admin/requests?limit=3"))[1]["data"][2]["request_id"]
    assert await found(f"before={third}") == ["one"]
    assert await found("feature=other") == await found("key=nobody") == []


async def test_a_session_step_by_step(gw):
    _, told = await look(gw, "/admin/sessions/one")
    assert [step["step"] for step in told["steps"]] == [0, 1]
    assert told["total"]["requests"] == 2
    assert told["total"]["cost_usd"] == pytest.approx(sum(step["cost_usd"] for step in told["steps"]))
    assert sum(told["steps"][0]["parts"].values()) == pytest.approx(1_000, abs=5)
    assert told["live"][0]["state"] == "running"
    # A name with a slash is one part of a path, as %2F.
    assert (await look(gw, "/admin/sessions/a%2Fb%3Fc"))[1]["id"] == "a/b?c"
    assert (await look(gw, "/admin/sessions/none"))[0] == 404


async def test_a_session_of_the_past_can_be_paused(gw):
    gw.engine.state.memory.runs._runs.clear()  # as after a restart
    status, told = await look(gw, "/admin/sessions/one/pause", "POST", {"by": "ann", "why": "too dear"})
    assert (status, told["data"][0]["state"]) == (200, "paused")
    status, _, raw = await call(gw, "one")
    assert status == 403
    assert "session one is paused by ann: too dear; resume it with" in json.loads(raw)["error"]["message"]
    assert [s["id"] for s in (await look(gw, "/admin/sessions?held=1"))[1]["data"]] == ["one"]
    await look(gw, "/admin/sessions/one/resume", "POST")
    assert (await call(gw, "one"))[0] == 200
    assert (await look(gw, "/admin/sessions/none/pause", "POST"))[0] == 404
    assert (await look(gw, "/admin/sessions/one/pause", "POST", {"why": "x" * 300}))[0] == 400


async def test_limits_of_one_session(gw):
    status, told = await look(gw, "/admin/sessions/one/limits", "POST", {"max_session_steps": 2})
    assert (status, told["data"][0]["limits"]) == (200, {"max_session_steps": 2})
    assert (await call(gw, "one"))[0] == 403
    assert (await call(gw, "another"))[0] == 200
    await look(gw, "/admin/sessions/one/limits", "POST", {"max_session_steps": 5})
    assert (await call(gw, "one"))[0] == 200
    for wrong in ({}, {"max_session_usd": -1}, {"max_steps": 3}):
        assert (await look(gw, "/admin/sessions/one/limits", "POST", wrong))[0] == 400
    assert (await look(gw, "/admin/sessions/none/limits", "POST", {"max_session_usd": 1}))[0] == 404


async def test_models_with_their_health(tmp_path):
    async with ScriptedUpstream(answer(CHAT), Script(status=401)) as up, gateway(lab(up.url), tmp_path) as gw:
        await call(gw, "one")
        _, told = await look(gw, "/admin/models")
        (model,) = told["data"]
        assert (model["model"], model["price"]["input"], model["price"]["source"]) == ("lab/small", 1, "config")
        assert (model["answers"], model["places"][0]["breaker"]) == (1, "closed")
        await call(gw, "two")
        (model,) = (await look(gw, "/admin/models"))[1]["data"]
        assert (model["places"][0]["breaker"], model["places"][0]["why"]) == ("open", "auth")
        assert model["places"][0]["closed_for_s"] > 0


async def test_a_prompt_that_is_only_thought_of(gw):
    _, told = await look(gw, "/admin/route", "POST", ASK)
    assert (told["model"], told["reason"]) == ("lab/small", "explicit")
    assert told["candidates"][0]["expected_cost_usd"] != "unpriced"
    assert len(gw.rows()) == 3
    assert (await look(gw, "/admin/route", "POST", {**ASK, "model": "no/such"}))[0] == 404
