"""Requests that nobody sends in good faith: no 500, no traceback, and the gateway serves the next one."""

import asyncio
import logging

import pytest

from support.calls import CHAT
from support.gateway import gateway, lab
from support.hostile_requests import BODY, CLASSES, RAW, http, ours_to_mend, send, status_of
from support.upstream import ScriptedUpstream, answer

MANY = {"OpenAPI": 160, "strategies": 160}


@pytest.mark.parametrize("kind", list(MANY))
async def test_no_request_shows_a_fault_of_ours(tmp_path, caplog, kind):
    requests = list(CLASSES[kind][1](MANY[kind]))
    assert len(requests) > 80
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        port = int(gw.url.rpartition(":")[2])
        with caplog.at_level(logging.ERROR):
            for request in requests:
                got = await send(port, request)
                assert not ours_to_mend(got), (request[:300], got[:300])
        assert status_of(await send(port, http("POST", "/v1/chat/completions", BODY))) == 200
    assert [r.getMessage() for r in caplog.records] == []


@pytest.mark.parametrize("name", list(RAW))
async def test_no_bytes_show_a_fault_of_ours(tmp_path, caplog, name):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        port = int(gw.url.rpartition(":")[2])
        with caplog.at_level(logging.ERROR):
            got = await send(port, RAW[name], 0.3)
        assert not ours_to_mend(got)
        assert status_of(await send(port, http("POST", "/v1/chat/completions", BODY))) == 200
        await asyncio.sleep(0)
    assert [r.getMessage() for r in caplog.records] == []
