"""The API's own description: true to what is served."""

import json
import re

import schemathesis

from support.calls import post
from support.gateway import gateway, lab
from support.hostile_requests import http, send
from turnout.server.openapi import BODIES, document
from turnout.server.paths import operation_at
from turnout.server.views import LOOKS


def test_it_is_a_document_that_tools_read():
    operations = [found.ok().label for found in schemathesis.openapi.from_dict(document(LOOKS)).get_all_operations()]
    assert "POST /v1/chat/completions" in operations
    assert "POST /v1beta/models/{model}:streamGenerateContent" in operations
    assert len(operations) >= 20


def test_every_described_call_is_served_by_its_wire_format():
    for path, told in document(LOOKS)["paths"].items():
        if "post" in told and path not in {"/v1/route", "/v1/feedback"}:
            operation = operation_at(re.sub("{.*}", "m", path))
            assert operation is not None, path
            assert operation.name in BODIES


async def test_it_is_there_without_a_key_and_every_look_is_served(tmp_path):
    keys = '[keys.team]\nkey = "sk-team"\n'
    async with gateway(lab("http://127.0.0.1:9") + keys, tmp_path) as gw:
        port = int(gw.url.rpartition(":")[2])
        raw = await send(port, http("GET", "/openapi.json"))
        assert json.loads(raw.partition(b"\r\n\r\n")[2])["openapi"] == "3.1.0"
        for path in LOOKS:
            got = await send(port, http("GET", re.sub("{.*}", "x", path)))
            assert b"nothing is served" not in got
        assert (await post(gw.url, "/openapi.json", b""))[0] == 405
