"""What the API's description says is what the gateway does: schemathesis makes requests that fit it and that do not,
and every answer must have a status and a content type that stand there. `make test-api` sends more of them."""

import asyncio
import os

import pytest
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from support.calls import CHAT
from support.gateway import gateway, lab
from support.hostile_requests import drawn, kinds_of
from support.upstream import Script, ScriptedUpstream, answer
from turnout.server.views import described

EACH = int(os.environ.get("TURNOUT_API_EXAMPLES", "1"))
"""Of each kind, for each of some sixty operations."""

CHECKS = [status_code_conformance, content_type_conformance]
LEFT_OUT = ("/console",)
"""Pages for browsers: their sign-in is tests/server/test_console.py's."""

KEYS = '[keys.team]\nkey = "sk-team"\n[server]\nadmin_key = "adm-secret"\n'


def kinds():
    """Each operation and what makes requests of it, twice: such as fit it, and such as do not."""
    return [kind for kind in kinds_of(described) if not kind[0].path.startswith(LEFT_OUT)]


def told(case, response):
    """What is wrong with an answer."""
    if response.status_code == 500:
        return [f"500: {response.text[:200]}"]
    try:
        case.validate_response(response, checks=CHECKS)
    except BaseExceptionGroup as wrong:
        return [str(error)[:400] for error in wrong.exceptions]
    return []


def asked(url, key, number):
    """Send every kind of request to every operation; what was wrong, by operation."""
    wrong = {}
    for operation, strategy in kinds():
        for case in drawn(strategy, EACH, number):
            if isinstance(case.body, dict) and "model" in case.body:
                case.body["model"] = "lab/small"  # further than to the model's name
            headers = {"authorization": f"Bearer {key}", "connection": "close"}
            response = case.call(base_url=url, headers=headers, timeout=20)
            if found := told(case, response):
                wrong[f"{operation.label} {case.body!r:.200}"] = found
    return wrong


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("key", "number"), [("sk-team", 1), ("adm-secret", 2), ("sk-nobody", 3)])
async def test_every_answer_is_described(key, number, tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url) + KEYS, tmp_path) as gw:
        assert await asyncio.to_thread(asked, gw.url, key, number) == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "script",
    [answer({"error": {"message": "no"}}, 409), answer({}, 500), Script(body=b"<html>"), Script(drop=True)],
    ids=["refused", "failed", "no answer", "gone"],
)
async def test_what_follows_a_providers_faults_is_described(script, tmp_path):
    body = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    wanted = {"/v1/chat/completions", "/v1/messages"}
    calls = {operation.label: operation for operation, _ in kinds() if operation.path in wanted}.values()
    toml = "[delivery]\nretries = 0\n" + KEYS
    async with ScriptedUpstream(script) as up, gateway(lab(up.url) + toml, tmp_path) as gw:
        for operation in calls:
            case = operation.Case(body=body, media_type="application/json")
            headers = {"authorization": "Bearer sk-team", "connection": "close"}
            response = await asyncio.to_thread(case.call, base_url=gw.url, headers=headers, timeout=20)
            assert response.status_code >= 400
            assert told(case, response) == []


def test_every_errand_of_an_admin_is_described():
    paths = described()["paths"]
    assert "post" in paths["/admin/budgets/{name}/add"]
    assert set(paths["/admin/requests/{request_id}/texts"]) == {"get", "post", "parameters"}
    assert "delete" in paths["/admin/keys/{name}"]
    assert [told["name"] for told in paths["/admin/usage"]["get"]["parameters"]] == ["by", "since"]
